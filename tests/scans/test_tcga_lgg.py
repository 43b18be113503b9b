"""The kaggle_3m folder: order, missing sequences, blank slices."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from synthoma.errors import ScanError
from synthoma.scans import BratsData, TcgaLggData, find, read

NAME = "TCGA_HT_A616_19991226"


def only(folder):
    """Read the only case of a folder."""
    options = TcgaLggData(path=folder)
    (case,) = find(options).cases
    return read(case, options)


@pytest.mark.parametrize(
    ("copies", "missing"), [((0,), ("t1",)), ((2,), ("t1ce",)), ((0, 2), ("t1", "t1ce")), ((), ())]
)
def test_a_copy_of_flair_in_every_slice_is_missing(writers, tmp_path, copies, missing):
    stack = writers.voxels(1, (4, 5, 6, 3), "uint8")
    for channel in copies:
        stack[..., channel] = stack[..., 1]
    writers.write_tcga_patient(tmp_path, NAME, stack)
    scan = only(tmp_path)
    assert scan.missing == missing
    assert set(scan.channels) == {"t1", "flair", "t1ce"} - set(missing)
    assert scan.notes == tuple(f"{name} is a copy of FLAIR in every slice: missing" for name in missing)


def test_a_copy_in_all_slices_but_one_is_measured(writers, tmp_path):
    stack = writers.voxels(1, (4, 5, 6, 3), "uint8")
    stack[1:, ..., 2] = stack[1:, ..., 1]
    writers.write_tcga_patient(tmp_path, NAME, stack)
    assert only(tmp_path).missing == ()


def test_blank_slices_are_noted_by_their_file_numbers(writers, tmp_path):
    stack = writers.voxels(1, (4, 5, 6, 3), "uint8")
    stack[0, ..., 1:] = 0
    stack[3, ..., 2] = 0
    writers.write_tcga_patient(tmp_path, NAME, stack)
    assert only(tmp_path).notes == ("flair is blank in slice 1", "t1ce is blank in slices 1, 4")


def test_a_constant_channel_is_refused(writers, tmp_path):
    stack = writers.voxels(1, (4, 5, 6, 3), "uint8")
    stack[..., 0] = 0
    writers.write_tcga_patient(tmp_path, NAME, stack)
    with pytest.raises(ScanError, match=f"{NAME}, t1: expected an image, found the constant 0"):
        only(tmp_path)


def test_mask_is_sorted_by_number_with_the_slices(writers, tmp_path):
    masks = np.zeros((12, 5, 6), np.uint8)
    masks[9, 2, 3] = 255  # slice 10, which a sort by text puts second
    writers.write_tcga_patient(tmp_path, NAME, writers.voxels(1, (12, 5, 6, 3), "uint8"), masks)
    assert np.argwhere(only(tmp_path).masks["lesion"]).tolist() == [[9, 2, 3]]


def test_mask_with_labels_or_another_shape_is_refused(writers, tmp_path):
    folder = writers.write_tcga_patient(tmp_path, NAME, writers.voxels(1, (2, 5, 6, 3), "uint8"))
    mask = folder / f"{NAME}_1_mask.tif"
    tifffile.imwrite(mask, np.array([[0, 1, 255, 0, 0, 0]] * 5, np.uint8))
    with pytest.raises(ScanError, match=f"{NAME}, mask: expected a mask of 0 and one other value, found .* 0, 1, 255"):
        only(tmp_path)
    tifffile.imwrite(mask, np.zeros((5, 7), np.uint8))
    with pytest.raises(
        ScanError, match=rf"{mask.name}: expected 8-bit pixels of shape \(5, 6\), found uint8 of .*5, 7"
    ):
        only(tmp_path)


def test_what_is_left_out_and_gaps(writers, tmp_path):
    writers.write_tcga_patient(tmp_path, NAME, writers.voxels(1, (5, 5, 6, 3), "uint8"))
    for end in ("3", "3_mask"):
        (tmp_path / NAME / f"{NAME}_{end}.tif").unlink()
    other = "TCGA_CS_4942_19970222"
    writers.write_tcga_patient(tmp_path, other, writers.voxels(1, (3, 5, 6, 3), "uint8"))
    (tmp_path / other / f"{other}_2_mask.tif").unlink()
    (tmp_path / "TCGA_CS_4943_20000902").mkdir()
    (tmp_path / "figures").mkdir()
    found = find(TcgaLggData(path=tmp_path))
    assert [(out.name, out.reason) for out in found.left_out] == [
        (other, "no mask for slice 2"),
        ("TCGA_CS_4943_20000902", "no slices named TCGA_CS_4943_20000902_<number>.tif"),
        ("figures", "not named as a patient (TCGA_CS_4942_19970222)"),
    ]
    assert found.cases[0].notes == ("no file for slice 3",)
    assert only(tmp_path).grid.shape == (4, 5, 6)


def test_real_folder_equals_its_readme(shared_data):
    options = TcgaLggData(path=shared_data / "tcga-lgg")
    found = find(options)
    assert found == find(TcgaLggData(path=shared_data / "tcga-lgg/kaggle_3m"))
    assert (len(found.cases), found.left_out) == (24, ())
    sites = [case.site for case in found.cases]
    assert {site: sites.count(site) for site in sites} == {"CS": 6, "DU": 5, "EZ": 1, "FG": 3, "HT": 9}
    assert sum(len(case.files) for case in found.cases) == 1252
    brats = {case.patient for case in find(BratsData(path=shared_data / "brats")).cases}
    assert brats & {case.patient for case in found.cases} == {"TCGA-FG-6692"}


@pytest.mark.slow
def test_real_missing_sequences_and_tumour_slices(shared_data):
    options = TcgaLggData(path=shared_data / "tcga-lgg")
    scans = [read(case, options) for case in find(options).cases]
    assert {scan.patient: scan.missing for scan in scans if scan.missing} == {
        "TCGA-DU-8165": ("t1ce",),
        "TCGA-FG-7634": ("t1ce",),
        "TCGA-FG-A60K": ("t1", "t1ce"),
        "TCGA-HT-7877": ("t1", "t1ce"),
        "TCGA-HT-A616": ("t1", "t1ce"),
    }
    assert sum(len(scan.masks["lesion"]) for scan in scans) == 626
    assert sum(int(scan.masks["lesion"].any(axis=(1, 2)).sum()) for scan in scans) == 200
    notes = {scan.patient: scan.notes for scan in scans}
    assert notes["TCGA-CS-5397"] == ("flair is blank in slice 1", "t1ce is blank in slice 1")
    assert all(not scan.grid.known for scan in scans)
