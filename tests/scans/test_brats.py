"""BraTS folders: names, labels, grids."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from synthoma.errors import ScanError
from synthoma.records import Grid
from synthoma.scans import BratsData, find, read
from synthoma.scans.brats import ATLAS
from synthoma.scans.orientation import contradicts, trusted_grids

SEG = {"2021": "_seg", "2023": "-seg"}


def only(folder):
    """Read the only case of a folder."""
    options = BratsData(path=folder)
    (case,) = find(options).cases
    return read(case, options)


@pytest.mark.parametrize(("year", "labels"), [("2021", (1, 2, 4)), ("2023", (1, 2, 3))])
def test_labels_become_the_same_masks(writers, tmp_path, year, labels):
    writers.write_brats_case(tmp_path, "P", 1, (*labels, labels[2]), year=year)
    scan = only(tmp_path)
    where = {name: np.flatnonzero(mask).tolist() for name, mask in scan.masks.items()}
    assert where == {"necrosis": [0], "oedema": [1], "enhancing": [2, 3]}


@pytest.mark.parametrize(
    ("year", "label", "known", "why"),
    [
        ("2021", 3, "0, 1, 2, 4", "non-enhancing core in BraTS 2012-2015 and enhancing tumour since 2023"),
        ("2023", 4, "0, 1, 2, 3", "enhancing tumour until 2021.*resection cavity"),
    ],
)
def test_a_label_of_the_other_convention_is_explained(writers, tmp_path, year, label, known, why):
    writers.write_brats_case(tmp_path, "P", 1, (1, 2, label), year=year)
    message = rf"P{SEG[year]}\.nii\.gz: expected the labels {known} of .*, found 0, 1, 2, {label}\.\n.*{why}"
    with pytest.raises(ScanError, match=message):
        only(tmp_path)


def test_unknown_label_is_refused(writers, tmp_path):
    writers.write_brats_case(tmp_path, "P", 1, (1, 9))
    with pytest.raises(ScanError, match=r"expected the labels 0, 1, 2, 4 .*, found 0, 1, 9\."):
        only(tmp_path)


@pytest.mark.parametrize(("value", "ok"), [(0.99999997, True), (1.0009, True), (1.5, False), (1.002, False)])
def test_labels_next_to_whole_numbers_are_rounded(writers, tmp_path, value, ok):
    writers.write_brats_case(tmp_path, "P", 1)
    seg = np.zeros((3, 4, 5), np.float32)
    seg[1, 2, 3] = value
    writers.write_volume(tmp_path / "P_seg.nii.gz", seg)
    if ok:
        assert np.argwhere(only(tmp_path).masks["necrosis"]).tolist() == [[1, 2, 3]]
    else:
        with pytest.raises(ScanError, match=rf"whole numbers.*found {value:g}"):
            only(tmp_path)


def test_a_scaled_integer_mask_is_read(writers, tmp_path):
    """As the 2013 brain mask: integers with a scale factor whose ones come back as 0.99999997."""
    writers.write_brats_case(tmp_path, "P", 1)
    raw = np.zeros((3, 4, 5), np.int32)
    raw[0, 0, 0] = 2**30
    image = nib.Nifti1Image(raw.T, writers.LPS)
    image.header.set_slope_inter(0.99999997 / 2**30, 0)
    nib.save(image, tmp_path / "P_seg.nii.gz")
    assert only(tmp_path).masks["necrosis"].sum() == 1


@pytest.mark.parametrize(
    ("name", "patient", "site"),
    [
        ("BraTS-GLI-00001-000", "BraTS-GLI-00001", ""),
        ("BraTS-MET-00110-012", "BraTS-MET-00110", ""),
        ("BraTS2021_00000", "BraTS2021_00000", ""),
        ("BraTS20_Training_001", "BraTS20_Training_001", ""),
        ("TCGA-FG-6692", "TCGA-FG-6692", "FG"),
        ("Brats17_TCIA_TCGA_FG_6692_1", "TCGA-FG-6692", "FG"),
        ("sub-01_ses-2", "sub-01_ses-2", ""),
    ],
)
def test_patient_and_site_of_a_name(writers, tmp_path, name, patient, site):
    writers.write_brats_case(tmp_path, name, 1, (1,))
    scan = only(tmp_path)
    assert (scan.patient, scan.site) == (patient, site)


def test_sites_come_from_the_table_of_participants(writers, tmp_path):
    names = ("BraTS2021_00001", "BraTS-GLI-00001-000", "TCGA-FG-6692", "TCGA-CS-4942", "X", "Y")
    for key, name in enumerate(names):
        writers.write_brats_case(tmp_path / name, name, key)
    rows = ["participant_id\tage\tsite", "BraTS2021_00001\t60\tA", "BraTS-GLI-00001\t\tB", "TCGA-FG-6692\t9\tC"]
    rows += ["sub-X\t5\tD", "Y\t5\tn/a", "nobody\t5\tE"]
    (tmp_path / "participants.tsv").write_text("\n".join(rows) + "\n")
    sites = {case.name: case.site for case in find(BratsData(path=tmp_path)).cases}
    assert sites == dict(zip(names, ("A", "B", "C", "CS", "D", ""), strict=True))


def test_a_table_of_participants_without_sites_or_ids(writers, tmp_path):
    writers.write_brats_case(tmp_path, "P", 1)
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nP\t60\n")
    assert find(BratsData(path=tmp_path)).cases[0].site == ""
    (tmp_path / "participants.tsv").write_text("name\tsite\nP\tA\n")
    with pytest.raises(ScanError, match=r"participants.tsv: expected a column participant_id, found name, site\."):
        find(BratsData(path=tmp_path))
    (tmp_path / "participants.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScanError, match=r"participants.tsv: expected a table separated by tabs"):
        find(BratsData(path=tmp_path))


def test_no_segmentation_and_a_missing_modality_are_said(writers, tmp_path):
    writers.write_brats_case(tmp_path, "P", 1)
    (tmp_path / "P_t2.nii.gz").unlink()
    scan = only(tmp_path)
    assert (scan.missing, dict(scan.masks), scan.notes) == (("t2",), {}, ("no segmentation",))
    assert list(scan.channels) == ["t1", "t1ce", "flair"]


def test_orientation_and_affine_are_kept(writers, tmp_path):
    ras = writers.LPS * np.array([[-1.0], [-1], [1], [1]])
    writers.write_brats_case(tmp_path / "a", "A", 1, (1,))
    writers.write_brats_case(tmp_path / "b", "B", 2, (1,), affine=ras)
    options = BratsData(path=tmp_path)
    found = find(options)
    assert found.notes == (
        "The headers give different orientations, which are kept as they are: LPS 1 (A); RAS 1 (B).",
    )
    for case, affine, codes in zip(found.cases, (writers.LPS, ras), ("LPS", "RAS"), strict=True):
        scan = read(case, options)
        np.testing.assert_allclose(scan.grid.affine, affine)
        assert (scan.grid.orientation, scan.grid.spacing_mm, scan.grid.known) == (codes, (3.0, 2.0, 1.0), True)
    np.testing.assert_array_equal(read(found.cases[1], options).channels["t1"], writers.voxels(20))


def test_a_header_that_contradicts_the_others_is_named(writers, tmp_path):
    """One origin and two orientations: most cases are right. Reoriented in truth, a case has another origin."""
    ras = writers.LPS * np.array([[-1.0], [-1], [1], [1]])
    ras[:3, 3] = writers.LPS[:3, 3]
    true_ras = ras.copy()
    true_ras[:2, 3] -= (4, 6)  # the first voxel at the other ends of x and y
    affines = {"A": writers.LPS, "B": writers.LPS, "C": ras, "D": true_ras}
    for key, (name, affine) in enumerate(affines.items()):
        writers.write_brats_case(tmp_path / name, name, key, (1,), affine=affine)
    for orientation, codes in (("header", "RAS"), ("others", "LPS")):
        options = BratsData(path=tmp_path, orientation=orientation)
        scans = {case.name: read(case, options) for case in find(options).cases}
        assert {name for name, scan in scans.items() if any("contradicts" in note for note in scan.notes)} == {"C"}
        (note,) = scans["C"].notes
        assert note.startswith("the header says RAS with the origin (10, 20, -5) mm")
        assert "LPS: it contradicts them" in note
        assert "data.orientation=others" in note
        assert [scan.grid.orientation for scan in scans.values()] == ["LPS", "LPS", codes, "RAS"]
        np.testing.assert_array_equal(scans["C"].channels["t1"], writers.voxels(20))
    np.testing.assert_allclose(scans["C"].grid.affine, writers.LPS)


def test_one_against_one_is_not_decided(writers, tmp_path):
    ras = writers.LPS * np.array([[-1.0], [-1], [1], [1]])
    ras[:3, 3] = writers.LPS[:3, 3]
    writers.write_brats_case(tmp_path / "a", "A", 1, (1,))
    writers.write_brats_case(tmp_path / "b", "B", 2, (1,), affine=ras)
    options = BratsData(path=tmp_path, orientation="others")
    assert [read(case, options).notes for case in find(options).cases] == [(), ()]


@pytest.mark.parametrize(("origin", "wrong"), [((0, 239, 0), True), ((-239, 0, 0), False), ((0, 0, 0), False)])
def test_the_atlas_speaks_for_a_case_that_is_alone(origin, wrong):
    """RAS with the origin of the LPS atlas lies outside it; with the other corner's it lies inside."""
    affine = np.eye(4)
    affine[:3, 3] = origin
    grid = Grid.from_affine((155, 240, 240), affine)
    (trusted,) = trusted_grids({"P": grid}, (ATLAS,)).values()
    assert contradicts(grid, trusted) == wrong


def test_one_modality_that_contradicts_is_named_or_corrected(writers, tmp_path):
    writers.write_brats_case(tmp_path, "P", 1, (1,))
    turned = writers.LPS * np.array([[-1.0], [-1], [1], [1]])
    turned[:3, 3] = writers.LPS[:3, 3]
    writers.write_volume(tmp_path / "P_t2.nii.gz", writers.voxels(1), turned)
    with pytest.raises(ScanError, match=r"P: expected t2 on the grid of t1 .*LPS\), found .*RAS"):
        only(tmp_path)
    options = BratsData(path=tmp_path, orientation="others")
    scan = read(find(options).cases[0], options)
    assert scan.notes[0].startswith("t2: the header says RAS")
    np.testing.assert_array_equal(scan.channels["t2"], writers.voxels(1))


def test_another_grid_is_refused(writers, tmp_path):
    writers.write_brats_case(tmp_path, "P", 1, (1,))
    moved = writers.LPS.copy()
    moved[0, 3] += 0.5
    writers.write_volume(tmp_path / "P_t2.nii.gz", writers.voxels(1), moved)
    with pytest.raises(ScanError, match=r"P: expected t2 on the grid of t1 .*origin \(10, 20, -5\).*origin \(10.5"):
        only(tmp_path)


def test_a_segmentation_of_another_shape_is_refused(writers, tmp_path):
    writers.write_brats_case(tmp_path, "P", 1)
    writers.write_volume(tmp_path / "P_seg.nii.gz", np.ones((3, 4, 6), np.uint8))
    with pytest.raises(ScanError, match=r"P: expected seg of the shape of t1, \(3, 4, 5\), found \(3, 4, 6\)"):
        only(tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "1 voxels that are NaN or infinite"),
        (np.inf, "NaN or infinite"),
        (None, "the constant 7 in every voxel"),
    ],
)
def test_nan_infinite_and_constant_are_refused(writers, tmp_path, value, message):
    writers.write_brats_case(tmp_path, "P", 1)
    array = np.full((3, 4, 5), 7, np.float32)
    if value is not None:
        array[0, 0, 0] = value
    writers.write_volume(tmp_path / "P_flair.nii.gz", array)
    with pytest.raises(ScanError, match=rf"P_flair\.nii\.gz: expected .*found .*{message}"):
        only(tmp_path)


def test_negative_values_are_kept(writers, tmp_path):
    writers.write_brats_case(tmp_path, "P", 1)
    writers.write_volume(tmp_path / "P_flair.nii.gz", writers.voxels(1) - 136)
    assert only(tmp_path).channels["flair"].min() == writers.voxels(1).min() - 136 < 0


def test_what_is_left_out_is_said_with_the_reason(writers, tmp_path):
    writers.write_brats_case(tmp_path / "good", "P", 1, (1,))
    writers.write_volume(tmp_path / "old/Flair_x.nii.gz", writers.voxels(1))
    writers.write_volume(tmp_path / "extra/auto-seg_1.nii.gz", writers.voxels(1))
    writers.write_volume(tmp_path / "lone/Q_seg.nii.gz", writers.voxels(1))
    writers.write_brats_case(tmp_path / "mixed", "M", 2)
    writers.write_volume(tmp_path / "mixed/M-seg.nii.gz", writers.voxels(1))
    writers.write_brats_case(tmp_path / "twice", "T", 3)
    shutil.copy(tmp_path / "twice/T_t1.nii.gz", tmp_path / "twice/T_t1.nii")
    writers.write_brats_case(tmp_path / "zcopy", "P", 1, (1,))
    found = find(BratsData(path=tmp_path))
    assert [case.name for case in found.cases] == ["P"]
    reasons = {out.name: out.reason for out in found.left_out}
    assert list(reasons) == sorted(reasons)
    assert reasons == {
        "old": "no BraTS names (…_t1.nii.gz or …-t1n.nii.gz); found Flair_x.nii.gz",
        "extra": "only segmentations: auto-seg_1.nii.gz",
        "Q": "only a segmentation",
        "M": "files named by both conventions, so the meaning of its labels is unknown",
        "T": "t1 is there twice: T_t1.nii, T_t1.nii.gz",
        "zcopy/P": "a case of this name is in good already",
    }


def test_only_left_out_is_an_error_with_the_reasons(writers, tmp_path):
    writers.write_volume(tmp_path / "extra/auto-seg_1.nii.gz", writers.voxels(1))
    with pytest.raises(ScanError, match=r"found none; left out extra \(only segmentations: auto-seg_1.nii.gz\)"):
        find(BratsData(path=tmp_path))


def test_real_folder(shared_data):
    options = BratsData(path=shared_data / "brats")
    found = find(options)
    assert [case.name for case in found.cases] == ["BraTS-GLI-00001-000", "BraTS-MET-00110-000", "TCGA-FG-6692"]
    assert [out.name for out in found.left_out] == ["brats_2013_pat0001_1", "extra"]
    assert "no BraTS names" in found.left_out[0].reason
    assert "only segmentations" in found.left_out[1].reason
    assert "LPS 2" in found.notes[0]
    assert "RAS 1 (BraTS-MET-00110-000)" in found.notes[0]


@pytest.mark.slow
def test_real_voxels(shared_data):
    options = BratsData(path=shared_data / "brats")
    scans = {case.name: read(case, options) for case in find(options).cases}
    counts = {name: {k: int(v.sum()) for k, v in scan.masks.items()} for name, scan in scans.items()}
    assert counts == {  # the table of the folder's README
        "BraTS-GLI-00001-000": {"necrosis": 17878, "oedema": 88029, "enhancing": 23327},
        "BraTS-MET-00110-000": {},
        "TCGA-FG-6692": {"necrosis": 2477, "oedema": 20862, "enhancing": 6840},
    }
    assert [scan.grid.orientation for scan in scans.values()] == ["LPS", "RAS", "LPS"]
    contradicted = {name: [n for n in scan.notes if "contradicts" in n] for name, scan in scans.items()}
    assert {name for name, notes in contradicted.items() if notes} == {"BraTS-MET-00110-000"}
    (note,) = contradicted["BraTS-MET-00110-000"]
    assert note.startswith("the header says RAS with the origin (0, 239, 0) mm, where other BraTS cases")
    trusting = BratsData(path=options.path, orientation="others")
    corrected = read(find(trusting).cases[1], trusting)
    np.testing.assert_allclose(corrected.grid.affine, scans["BraTS-GLI-00001-000"].grid.affine, atol=1e-6)
    np.testing.assert_array_equal(corrected.channels["t1"], scans["BraTS-MET-00110-000"].channels["t1"])
    assert all(scan.grid.shape == (155, 240, 240) for scan in scans.values())
    fg = scans["TCGA-FG-6692"].channels
    negative = {name: int((array < 0).sum()) for name, array in fg.items()}
    assert negative == {"t1": 1472, "t1ce": 4, "t2": 5528, "flair": 14121}
    gli = scans["BraTS-GLI-00001-000"]
    assert {int((array > 0).sum()) for array in gli.channels.values()} == {1638891}
    reference = nib.load(options.path / gli.source[0].path)
    np.testing.assert_allclose(gli.grid.affine, reference.affine)
    np.testing.assert_array_equal(gli.channels["t1"], np.asarray(reference.dataobj).T)


def test_2021_name_with_the_extra_segmentation(shared_data, tmp_path):
    """No case under a BraTS 2021 name was to be had: the same voxels under such a name."""
    real = shared_data / "brats"
    shutil.copy(real / "BraTS-GLI-00001-000/BraTS-GLI-00001-000-t1n.nii.gz", tmp_path / "BraTS2021_00001_t1.nii.gz")
    seg = "extra/BraTS-GLI-00001-000_auto-seg_labels-0124.nii.gz"
    shutil.copy(real / seg, tmp_path / "BraTS2021_00001_seg.nii.gz")
    scan = only(tmp_path)
    assert all(mask.any() for mask in scan.masks.values())
    assert scan.missing == ("t1ce", "t2", "flair")
