"""3D-IRCADb: folders and archives, masks stored as CT images."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from synthoma.errors import ScanError
from synthoma.scans import IrcadbData, find, read


def some(key: int, shape=(3, 4, 5)) -> np.ndarray:
    return (np.random.default_rng(key).random(shape) > 0.5).astype(np.uint8)


def only(path: Path, **options):
    data = IrcadbData(path=path, **options)
    (case,) = find(data).cases
    return read(case, data)


def zipped(folder: Path, archive: Path) -> Path:
    """``folder`` in an archive, under its own name."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                out.write(path, path.relative_to(folder.parent))
    return archive


def as_archives(folder: Path, root: Path) -> Path:
    """As distributed: PATIENT_DICOM.zip and MASKS_DICOM.zip in the patient's folder."""
    for name in ("PATIENT_DICOM", "MASKS_DICOM"):
        zipped(folder / name, root / folder.name / f"{name}.zip")
    return root


@pytest.mark.parametrize("form", ["loose", "sub-folder", "archives", "nested", "nested twice", "the patient's own"])
def test_every_form_of_the_set_gives_the_same_scan(writers, tmp_path, form):
    masks = {"liver": some(1), "livertumor1": some(2), "livertumor02": some(3)}
    folder = writers.write_ircadb_patient(tmp_path / "made" / "3Dircadb1.17", 7, masks)
    root = tmp_path / "root"
    if form == "loose":
        shutil.copytree(folder, root / folder.name)
    elif form == "sub-folder":
        shutil.copytree(folder, root / folder.name / "loose")
    elif form == "archives":
        as_archives(folder, root)
    elif form == "the patient's own":
        root = as_archives(folder, root) / folder.name
    else:
        inner = as_archives(folder, tmp_path / "inner") / folder.name
        archive = zipped(inner, (tmp_path / "outer" if form == "nested twice" else root) / f"{folder.name}.zip")
        if form == "nested twice":
            zipped(archive.parent, root / "3Dircadb1.zip")
    scan = only(root)
    assert (scan.patient, scan.modality, scan.unit, scan.organs) == ("3Dircadb1.17", "CT", "HU", ("liver",))
    assert scan.lesions == ("tumour-1", "tumour-2")
    np.testing.assert_array_equal(scan.channels["ct"], writers.voxels(7))
    for name, stored in {"liver": "liver", "tumour-1": "livertumor1", "tumour-2": "livertumor02"}.items():
        np.testing.assert_array_equal(scan.masks[name], masks[stored])
    assert "Somebody" not in repr(scan)


@pytest.mark.parametrize(
    ("stored", "masks"),
    [
        (("livertumor1", "livertumor2"), ("tumour-1", "tumour-2")),
        (("livertumor01", "livertumor10"), ("tumour-1", "tumour-10")),
        (("LiverTumor3",), ("tumour-3",)),
        (("livertumor",), ("tumour-1",)),
        (("livertumors", "livertumor2"), ("tumour-2",)),
        (("tumor",), ("tumour-1",)),
        (("livercyst1",), ("tumour",)),
    ],
)
def test_names_of_tumours(writers, tmp_path, stored, masks):
    writers.write_ircadb_patient(tmp_path / "3Dircadb1.1", 7, {"liver": some(9), **{name: some(1) for name in stored}})
    scan = only(tmp_path)
    assert scan.lesions == masks
    unread = [name.lower() for name in stored if name in ("livertumors", "livercyst1")]
    assert [note for note in scan.notes if "not read" in note] == [f"masks that are not read: {n}" for n in unread]


def test_no_tumour_is_an_empty_mask_and_no_masks_are_none(writers, tmp_path):
    writers.write_ircadb_patient(tmp_path / "a" / "3Dircadb1.5", 7, {"liver": some(1)})
    scan = only(tmp_path / "a")
    assert not scan.masks["tumour"].any()
    assert "no tumour was drawn" in scan.notes
    writers.write_ircadb_patient(tmp_path / "b" / "3Dircadb1.6", 8, {})
    scan = only(tmp_path / "b")
    assert dict(scan.masks) == {}
    assert scan.notes == ("no mask liver", "no masks: no MASKS_DICOM")


def test_organs_are_chosen_and_the_rest_is_noted(writers, tmp_path):
    masks = {"liver": some(1), "bone": some(2), "portalvein": some(3), "livertumor1": some(4)}
    writers.write_ircadb_patient(tmp_path / "3Dircadb1.1", 7, masks)
    scan = only(tmp_path, organs=("bone", "spleen"))
    assert (scan.organs, scan.lesions) == (("bone",), ("tumour-1",))
    assert scan.notes == ("no mask spleen", "masks that are not read: liver, portalvein")
    np.testing.assert_array_equal(scan.masks["bone"], masks["bone"])


def test_masks_lie_where_their_positions_say(writers, tmp_path):
    """Neither names nor instance numbers decide, and slices nobody drew on are empty."""
    folder = writers.write_ircadb_patient(tmp_path / "3Dircadb1.1", 7, {})
    mask = some(5, (2, 4, 5))
    stored = (255 * mask).astype(np.uint8)
    writers.write_slices(
        folder / "MASKS_DICOM" / "livertumor1", stored, "1.2.77", first=1, RescaleIntercept=0, InstanceNumber=0
    )
    scan = only(tmp_path)
    np.testing.assert_array_equal(scan.masks["tumour-1"][1:], mask)
    assert not scan.masks["tumour-1"][0].any()
    assert "tumour-1 was drawn on 2 of 3 slices" in scan.notes


@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        (
            {"PixelSpacing": [0.8, 0.8]},
            (3, 4, 5),
            r"liver on the slices of the CT, found slice 1 of it 0\.57 voxels off",
        ),
        ({}, (3, 4, 6), r"liver of 4 × 5 pixels, as the CT, found 4 × 6"),
    ],
)
def test_masks_of_another_geometry_are_refused(writers, tmp_path, change, shape, message):
    folder = writers.write_ircadb_patient(tmp_path / "3Dircadb1.1", 7, {})
    mask = np.ones(shape, np.uint8)
    mask[0, 0, 0] = 0
    writers.write_slices(folder / "MASKS_DICOM" / "liver", mask, "1.2.77", RescaleIntercept=0, **change)
    with pytest.raises(ScanError, match=f"3Dircadb1.1: expected {message}"):
        only(tmp_path)


def test_masks_beyond_the_ct_and_masks_that_are_no_masks_are_refused(writers, tmp_path):
    folder = writers.write_ircadb_patient(tmp_path / "3Dircadb1.1", 7, {})
    liver = folder / "MASKS_DICOM" / "liver"
    writers.write_slices(liver, some(1), "1.2.77", first=20, RescaleIntercept=0)
    with pytest.raises(ScanError, match="liver on the slices of the CT, found none of its slices there"):
        only(tmp_path)
    shutil.rmtree(liver)
    writers.write_slices(liver, writers.voxels(1), "1.2.78", RescaleIntercept=0)
    with pytest.raises(ScanError, match=r"3Dircadb1\.1, mask liver: expected a mask of 0 and one other value"):
        only(tmp_path)


def test_what_is_left_out_has_its_reason(writers, tmp_path):
    writers.write_ircadb_patient(tmp_path / "3Dircadb1.1", 7, {"liver": some(1)})
    writers.write_slices(tmp_path / "3Dircadb1.1" / "LABELLED_DICOM", writers.voxels(1), "1.2.80")
    writers.write_slices(tmp_path / "3Dircadb1.2" / "MASKS_DICOM" / "liver", some(1), "1.2.81")
    folder = writers.write_ircadb_patient(tmp_path / "3Dircadb1.3", 9, {})
    writers.write_slices(folder / "PATIENT_DICOM" / "again", writers.voxels(2), "1.2.82")
    found = find(IrcadbData(path=tmp_path))
    assert [case.name for case in found.cases] == ["3Dircadb1.1"]
    assert {out.name: out.reason for out in found.left_out} == {
        "3Dircadb1.1/LABELLED_DICOM": "neither in PATIENT_DICOM nor in MASKS_DICOM",
        "3Dircadb1.2": "masks only, no PATIENT_DICOM",
        "3Dircadb1.3": "PATIENT_DICOM holds several series: 2 series",
    }


LIVER_CT = "liver-ct/3Dircadb1.17"


def check_patient_17(scan, depth: int) -> None:
    assert (scan.patient, scan.unit, scan.grid.shape) == ("3Dircadb1.17", "HU", (depth, 512, 512))
    assert scan.lesions == ("tumour-1", "tumour-2")
    assert scan.grid.orientation == "LPS"
    np.testing.assert_allclose(scan.grid.spacing_mm, (1.6, 0.743, 0.743), atol=1e-6)
    for name in scan.lesions:
        assert not np.any(scan.masks[name] > scan.masks["liver"])
    assert not np.any(scan.masks["tumour-1"] & scan.masks["tumour-2"])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["archives", "loose"])
def test_real_patient(shared_data, tmp_path, form):
    """Tumours of 85.6 and 78.6 ml, wholly inside the liver of 99 ± 38 HU."""
    root = shared_data / LIVER_CT
    if form == "loose":
        root = tmp_path / "3Dircadb1.17"
        for name in ("PATIENT_DICOM", "MASKS_DICOM"):
            with zipfile.ZipFile(shared_data / LIVER_CT / f"{name}.zip") as archive:
                archive.extractall(root)
    scan = only(root)
    check_patient_17(scan, 59)
    voxel_ml = np.prod(scan.grid.spacing_mm) / 1000
    volumes = [scan.masks[name].sum() * voxel_ml for name in scan.lesions]
    np.testing.assert_allclose(volumes, (85.6, 78.6), atol=0.05)
    liver = scan.channels["ct"][scan.masks["liver"] > 0]
    assert (round(float(liver.mean())), round(float(liver.std()))) == (99, 38)
    tumours = [scan.channels["ct"][scan.masks[name] > 0] for name in scan.lesions]
    assert [(round(float(t.mean())), round(float(t.std()))) for t in tumours] == [(88, 89), (63, 32)]
    assert "masks that are not read: bone, portalvein, venoussystem" in scan.notes


def test_real_loose_slices(shared_data):
    check_patient_17(only(shared_data / LIVER_CT / "loose"), 3)
