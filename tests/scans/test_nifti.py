"""Any folder of NIfTI files, and NIfTI files themselves."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthoma.errors import ScanError
from synthoma.scans import NiftiData, find, read
from synthoma.scans.volumes import read_header, read_volume


def test_flat_files_and_the_pattern_that_says_more_wins(writers, tmp_path):
    for patient in ("A", "B_x"):
        writers.write_volume(tmp_path / f"{patient}.nii.gz", writers.voxels(1))
        writers.write_volume(tmp_path / f"{patient}_0001.nii.gz", writers.voxels(2))
    writers.write_volume(tmp_path / "A_seg.nii.gz", writers.voxels(3) % 3)
    options = NiftiData(
        path=tmp_path,
        channels={"t1": "{patient}.nii.gz", "flair": "{patient}_0001.nii.gz"},
        masks={"all": "{patient}_seg.nii.gz", "two": {"file": "{patient}_seg.nii.gz", "labels": [2]}},
        modality="CT",
        unit="HU",
        site="north",
    )
    found = find(options)
    assert [case.name for case in found.cases] == ["A", "B_x"]
    scan, other = (read(case, options) for case in found.cases)
    np.testing.assert_array_equal(scan.masks["all"], writers.voxels(3) % 3 > 0)
    np.testing.assert_array_equal(scan.masks["two"], writers.voxels(3) % 3 == 2)
    assert (scan.modality, scan.unit, scan.site) == ("CT", "HU", "north")
    assert len(scan.source) == 3
    assert (dict(other.masks), other.notes) == ({}, ("no mask all", "no mask two"))


def test_missing_channels_masks_only_and_folders_that_do_not_fit(writers, tmp_path):
    writers.write_volume(tmp_path / "A/t1.nii", writers.voxels(1))
    writers.write_volume(tmp_path / "B/seg.nii", writers.voxels(2))
    writers.write_volume(tmp_path / "C/other.nii", writers.voxels(3))
    options = NiftiData(
        path=tmp_path,
        channels={"t1": "{patient}/t1.nii", "t2": "{patient}/t2.nii"},
        masks={"lesion": "{patient}/seg.nii"},
    )
    found = find(options)
    assert [(case.name, case.missing) for case in found.cases] == [("A", ("t2",))]
    assert [(out.name, out.reason) for out in found.left_out] == [
        ("B", "masks only, no channel"),
        ("C", "no file fits a pattern; found other.nii"),
    ]


def test_star_and_a_repeated_patient(writers, tmp_path):
    writers.write_volume(tmp_path / "sub-1/anat/sub-1_ses-1_T1w.nii.gz", writers.voxels(1))
    writers.write_volume(tmp_path / "sub-1/anat/sub-2_ses-1_T1w.nii.gz", writers.voxels(1))
    options = NiftiData(path=tmp_path, channels={"t1": "{patient}/anat/{patient}_*T1w.nii.gz"})
    assert [case.files["t1"].name for case in find(options).cases] == ["sub-1_ses-1_T1w.nii.gz"]
    writers.write_volume(tmp_path / "sub-1/anat/sub-1_ses-2_T1w.nii.gz", writers.voxels(1))
    with pytest.raises(ScanError, match=r"expected one file for t1 of sub-1, found .*ses-1.* and .*ses-2"):
        find(options)


def test_barcode_names_patient_and_site(writers, tmp_path):
    writers.write_volume(tmp_path / "TCGA_FG_6692_20020606.nii", writers.voxels(1))
    (case,) = find(NiftiData(path=tmp_path, channels={"t1": "{patient}.nii"}, site="x")).cases
    assert (case.patient, case.site) == ("TCGA-FG-6692", "FG")


def test_mask_labels_that_are_not_there_are_noted_and_fractions_refused(writers, tmp_path):
    writers.write_volume(tmp_path / "A.nii", writers.voxels(1))
    writers.write_volume(tmp_path / "A_m.nii", np.ones((3, 4, 5), np.uint8))
    options = NiftiData(
        path=tmp_path, channels={"t1": "{patient}.nii"}, masks={"core": {"file": "{patient}_m.nii", "labels": [3, 4]}}
    )
    (case,) = find(options).cases
    assert read(case, options).notes == ("A_m.nii: no label 3, 4 for core; found 1",)
    writers.write_volume(tmp_path / "A_m.nii", np.full((3, 4, 5), 0.4, np.float32))
    with pytest.raises(ScanError, match=r"A_m\.nii: expected labels \(whole numbers\), found 0.4"):
        read(case, options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": {}}, "at least 1 item"),
        ({"channels": {"t1": "t1.nii"}}, "should match pattern"),
        ({"channels": {"t1": "{patient}.nii", "t2": "{patient}.nii"}}, "two channels have the same file name"),
        ({"masks": {"m": {"file": "{patient}.nii", "labels": []}}}, "at least 1 item"),
        ({"masks": {"m": {"file": "{patient}.nii", "labels": [0]}}}, "greater than or equal to 1"),
    ],
)
def test_bad_settings(tmp_path, change, message):
    with pytest.raises(ValidationError, match=message):
        NiftiData(**{"path": tmp_path, "channels": {"t1": "{patient}.nii"}, **change})


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("end", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_volume_equals_nibabel(writers, tmp_path, kind, end, dtype):
    array = writers.voxels(1).astype(dtype)
    image = kind(array.T, writers.LPS)
    if dtype == "int16":
        image.header.set_slope_inter(0.5, -7)
    nib.save(image, tmp_path / f"a{end}")
    volume = read_volume(tmp_path / f"a{end}")
    reference = nib.load(tmp_path / f"a{end}")
    np.testing.assert_array_equal(volume.array, np.asanyarray(reference.dataobj).T)
    np.testing.assert_allclose(volume.grid.affine, reference.affine, atol=1e-6)
    assert read_header(tmp_path / f"a{end}") == volume.grid


def test_axes_of_length_one_are_dropped_and_time_is_refused(writers, tmp_path):
    nib.save(nib.Nifti1Image(writers.voxels(1).T[..., None], writers.LPS), tmp_path / "one.nii")
    assert read_volume(tmp_path / "one.nii").array.shape == (3, 4, 5)
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 3, 2), np.uint8), writers.LPS), tmp_path / "time.nii")
    with pytest.raises(ScanError, match=r"time\.nii: expected a volume of three axes, found shape \(5, 4, 3, 2\)"):
        read_volume(tmp_path / "time.nii")
    nib.save(nib.Nifti1Image(np.ones((5, 4), np.uint8), writers.LPS), tmp_path / "flat.nii")
    assert read_volume(tmp_path / "flat.nii").array.shape == (1, 4, 5)


def test_no_orientation_is_noted_and_a_broken_affine_refused(writers, tmp_path):
    image = nib.Nifti1Image(writers.voxels(1).T, None)
    image.header.set_zooms((1, 2, 3))
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.notes == ("a.nii: the header gives no orientation",)
    assert volume.grid.spacing_mm == (3, 2, 1)
    for affine in (np.diag([0.0, 1, 1, 1]), np.diag([np.nan, 1, 1, 1]), np.diag([1e30, 1, 1, 1])):
        image = nib.Nifti1Image(writers.voxels(1).T, np.eye(4))
        image.header.set_sform(affine, 1)
        (tmp_path / "b.nii").write_bytes(image.header.binaryblock + bytes(4) + writers.voxels(1).tobytes())
        with pytest.raises(ScanError, match=r"b\.nii: expected a usable affine"):
            read_volume(tmp_path / "b.nii")


def test_colours_and_complex_numbers_are_refused(writers, tmp_path):
    for dtype, message in (("complex64", "complex64"), ([("R", "u1"), ("G", "u1"), ("B", "u1")], "'R'")):
        nib.save(nib.Nifti1Image(np.zeros((5, 4, 3), dtype), writers.LPS), tmp_path / "A.nii")
        options = NiftiData(path=tmp_path, channels={"t1": "{patient}.nii"})
        with pytest.raises(ScanError, match=f"expected real numbers, found values of type .*{message}"):
            read(find(options).cases[0], options)


@pytest.fixture(scope="module")
def packed(writers, tmp_path_factory):
    """A small .nii.gz."""
    return writers.write_volume(tmp_path_factory.mktemp("packed") / "a.nii.gz", writers.voxels(1))


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_to_a_packed_file_is_noticed(packed, data):
    """Cut anywhere or one byte changed: refused, or (in the header of gzip) without effect; never other voxels."""
    content = packed.read_bytes()
    good = read_volume(packed).array
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = packed.with_name("damaged.nii.gz")
    if data.draw(st.booleans()):
        damaged.write_bytes(content[:place])
        with pytest.raises(ScanError, match=r"damaged\.nii\.gz"):
            read_volume(damaged)
    else:
        changed = bytes([content[place] ^ data.draw(st.integers(1, 255))])
        damaged.write_bytes(content[:place] + changed + content[place + 1 :])
        try:
            array = read_volume(damaged).array
        except ScanError as error:
            assert "damaged.nii.gz" in str(error)  # noqa: PT017 (both outcomes are right)
        else:
            np.testing.assert_array_equal(array, good)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_to_a_header_is_a_scan_error_at_most(packed, data):
    content = bytearray(gzip.decompress(packed.read_bytes()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 347))] = data.draw(st.integers(0, 255))
    damaged = packed.with_name("damaged.nii")
    damaged.write_bytes(content)
    for reader in (read_header, read_volume):
        try:
            reader(damaged)
        except ScanError as error:
            assert "damaged.nii" in str(error)  # noqa: PT017 (both outcomes are right)


def test_truncated_volume_says_so(packed, tmp_path):
    (tmp_path / "cut.nii").write_bytes(gzip.decompress(packed.read_bytes())[:-1])
    with pytest.raises(ScanError, match=r"cut\.nii: expected a complete NIfTI file"):
        read_volume(tmp_path / "cut.nii")
    (tmp_path / "short.nii").write_bytes(gzip.decompress(packed.read_bytes())[:352])
    (tmp_path / "short.nii.gz").write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ScanError, match=r"short\.nii\.gz: .*Compressed file ended"):
        read_volume(tmp_path / "short.nii.gz")
