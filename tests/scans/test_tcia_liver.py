"""HCC-TACE-Seg: CT series and the segmentations that name them."""

from __future__ import annotations

import zipfile

import numpy as np
import pydicom
import pytest

from synthoma.errors import ScanError
from synthoma.scans import TciaLiverData, find, read

SHAPE = (3, 8, 8)


def some(key: int) -> np.ndarray:
    return (np.random.default_rng(key).random(SHAPE) > 0.6).astype(np.uint8)


def read_all(path, **options):
    data = TciaLiverData(path=path, **options)
    found = find(data)
    return found, [read(case, data) for case in found.cases]


def test_segments_get_the_names_of_the_field(writers, tmp_path):
    liver, mass = some(1), some(2)
    segments = {"Liver": liver, "Mass": mass, "Portal vein": some(3), "Necrosis": some(4)}
    writers.write_liver_patient(tmp_path / "HCC_001", 5, segments, "HCC_001")
    _, (scan,) = read_all(tmp_path)
    assert (scan.patient, scan.modality, scan.unit) == ("HCC_001", "CT", "HU")
    assert scan.organs == ("liver", "portal-vein")
    assert scan.lesions == ("tumour", "necrosis")
    np.testing.assert_array_equal(scan.masks["tumour"], mass)
    np.testing.assert_array_equal(scan.masks["portal-vein"], segments["Portal vein"])


def test_the_liver_holds_its_tumours(writers, tmp_path):
    liver = some(1)
    mass = some(2) * (1 - liver)
    writers.write_liver_patient(tmp_path / "HCC_001", 5, {"Liver": liver, "Mass": mass}, "HCC_001")
    _, (scan,) = read_all(tmp_path)
    np.testing.assert_array_equal(scan.masks["tumour"], mass)
    np.testing.assert_array_equal(scan.masks["liver"], liver | mass)


def test_several_tumours_are_numbered(writers, tmp_path):
    first, second = some(1), some(2)
    segments = {"Neoplasm, Primary": first, "Liver": some(3), "Tumor 2": second}
    writers.write_liver_patient(tmp_path / "HCC_001", 5, segments, "HCC_001")
    _, (scan,) = read_all(tmp_path)
    assert scan.lesions == ("tumour-1", "tumour-2")
    np.testing.assert_array_equal(scan.masks["tumour-1"], first)
    np.testing.assert_array_equal(scan.masks["tumour-2"], second)


def test_no_tumour_is_said(writers, tmp_path):
    writers.write_liver_patient(tmp_path / "HCC_001", 5, {"Liver": some(1)}, "HCC_001")
    _, (scan,) = read_all(tmp_path)
    assert (scan.lesions, scan.notes) == (("tumour",), ("no segment of a tumour",))
    assert not scan.masks["tumour"].any()


def test_the_ct_that_the_segmentation_names_is_taken(writers, tmp_path):
    """Of two phases at one place; the other is left out, and so is an MR."""
    writers.write_liver_patient(tmp_path / "HCC_001" / "a", 5, {"Mass": some(1)}, "HCC_001")
    writers.write_slices(
        tmp_path / "HCC_001" / "native", writers.voxels(6, SHAPE), "1.2.6", ".dcm", PatientID="HCC_001"
    )
    mr = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "PatientID": "HCC_001"}
    writers.write_slices(tmp_path / "HCC_001" / "mr", writers.voxels(7, SHAPE), "1.2.7", ".dcm", **mr)
    found, (scan,) = read_all(tmp_path)
    np.testing.assert_array_equal(scan.channels["ct"], writers.voxels(5, SHAPE) - 1024)
    assert {out.name: out.reason for out in found.left_out} == {
        "HCC_001/native": "a CT series without a segmentation",
        "HCC_001/mr": "modality MR, not CT",
    }


def test_phases_are_cases_of_one_patient(writers, tmp_path):
    for key, folder in ((6, "b"), (5, "a")):
        writers.write_liver_patient(tmp_path / "HCC_001" / folder, key, {"Mass": some(key)}, "HCC_001")
    found, scans = read_all(tmp_path)
    assert [case.name for case in found.cases] == ["HCC_001-1", "HCC_001-2"]
    assert {scan.patient for scan in scans} == {"HCC_001"}
    for scan, key in zip(scans, (5, 6), strict=True):
        np.testing.assert_array_equal(scan.masks["tumour"], some(key))


def test_archives_are_read_like_folders(writers, tmp_path):
    writers.write_liver_patient(tmp_path / "made" / "HCC_001", 5, {"Mass": some(1)}, "HCC_001")
    (tmp_path / "root").mkdir()
    with zipfile.ZipFile(tmp_path / "root" / "all.zip", "w") as out:
        for path in (tmp_path / "made").rglob("*.dcm"):
            out.write(path, path.relative_to(tmp_path / "made"))
    _, (scan,) = read_all(tmp_path / "root")
    np.testing.assert_array_equal(scan.masks["tumour"], some(1))
    assert "all.zip/HCC_001/seg/1-1.dcm" in {file.path for file in scan.source}


def test_a_segmentation_without_its_ct_and_a_patient_without_pseudonym_are_left_out(writers, tmp_path):
    writers.write_liver_patient(tmp_path / "HCC_001", 5, {"Mass": some(1)}, "HCC_001")
    for path in (tmp_path / "HCC_001" / "ct").iterdir():
        path.unlink()
    writers.write_liver_patient(tmp_path / "HCC_002", 6, {"Mass": some(1)}, "Somebody Real")
    writers.write_liver_patient(tmp_path / "HCC_003", 7, {"Mass": some(1)}, "")
    writers.write_liver_patient(tmp_path / "HCC_004", 8, {"Mass": some(1)}, "HCC_004")
    found, _ = read_all(tmp_path)
    assert [case.name for case in found.cases] == ["HCC_004"]
    reasons = {out.name: out.reason for out in found.left_out if "seg" in out.name}
    assert reasons == {
        "HCC_001/seg/1-1.dcm": "a segmentation of a CT series that is not here (…1.2.5.0)",
        "HCC_002/seg/1-1.dcm": "a PatientID that is no pseudonym",
        "HCC_003/seg/1-1.dcm": "no PatientID",
    }
    assert "Somebody" not in repr(found)


def test_only_segmentations_is_an_error(writers, tmp_path):
    writers.write_liver_patient(tmp_path / "HCC_001", 5, {"Mass": some(1)}, "HCC_001")
    for path in (tmp_path / "HCC_001" / "ct").iterdir():
        path.unlink()
    with pytest.raises(ScanError, match=r"found none; left out HCC_001/seg/1-1\.dcm \(a segmentation of a CT series"):
        find(TciaLiverData(path=tmp_path))


def test_a_damaged_segmentation_costs_its_case_only(writers, tmp_path):
    for key, patient in ((5, "HCC_001"), (6, "HCC_002")):
        writers.write_liver_patient(tmp_path / patient, key, {"Mass": some(key)}, patient)
    path = tmp_path / "HCC_001" / "seg" / "1-1.dcm"
    path.write_bytes(path.read_bytes()[:400])
    found, (scan,) = read_all(tmp_path)
    assert scan.patient == "HCC_002"
    assert any(out.name == "HCC_001/seg/1-1.dcm" for out in found.left_out)


def test_no_tag_reaches_the_scan(writers, tmp_path):
    writers.write_liver_patient(tmp_path / "HCC_001", 5, {"Mass": some(1)}, "HCC_001")
    for path in (tmp_path / "HCC_001").rglob("*.dcm"):
        data = pydicom.dcmread(path)
        data.PatientName, data.PatientBirthDate, data.SeriesDescription = "Somebody^Real", "19010203", "Dr Real's"
        data.save_as(path)
    found, (scan,) = read_all(tmp_path)
    for secret in ("Somebody", "19010203", "Dr Real"):
        assert secret not in repr(scan)
        assert secret not in repr(found)
