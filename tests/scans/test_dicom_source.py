"""The source ``dicom``: which series are scans, what patients are called, which series is which channel."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from synthoma.errors import ScanError
from synthoma.scans import DicomData, find, read

MR = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None}


def write_study(writers, root, patient: str, study: str, series: dict[str, dict], count: int = 3) -> None:
    """Series of ``count`` slices: name → elements; the name is the series description."""
    for number, (name, elements) in enumerate(series.items()):
        stored = writers.voxels(number + len(patient), (count, 4, 5))
        for z in range(count):
            given = {
                "PatientID": patient,
                "StudyInstanceUID": study,
                "SeriesInstanceUID": f"{study}.{number}",
                "SeriesDescription": name,
                "SOPInstanceUID": f"{study}.{number}.{z}",
                "ImagePositionPatient": [0, 0, 3 * z],
            }
            writers.write_dicom(root / f"{name}-{z}", stored[z], **given | elements)


def test_every_series_is_a_scan(writers, tmp_path):
    write_study(writers, tmp_path / "a", "one", "1.1", {"lung": {}, "bone": {}, "t1": MR})
    write_study(writers, tmp_path / "b", "two", "1.2", {"lung": {}})
    found = find(DicomData(path=tmp_path))
    assert sorted(sorted(case.series) for case in found.cases) == [["ct"], ["ct"], ["ct"], ["mr"]]
    assert len({case.name for case in found.cases}) == 4
    assert len({case.patient for case in found.cases}) == 2
    only_mr = DicomData(path=tmp_path, modality="mr")
    (case,) = find(only_mr).cases
    scan = read(case, only_mr)
    assert (scan.modality, scan.unit, list(scan.channels)) == ("MR", "arbitrary", ["mr"])
    ct = DicomData(path=tmp_path / "b")
    scan = read(find(ct).cases[0], ct)
    assert (scan.modality, scan.unit, list(scan.channels)) == ("CT", "HU", ["ct"])


def test_patients_are_pseudonyms_folders_or_ids(writers, tmp_path):
    write_study(writers, tmp_path / "folder 7" / "x", "hospital 4711", "1.1", {"lung": {}})
    plain = DicomData(path=tmp_path)

    def patients(**settings) -> set[str]:
        return {case.patient for case in find(plain.model_copy(update=settings)).cases}

    digest = hashlib.blake2b(b"hospital 4711", digest_size=8).hexdigest()
    assert patients() == {f"p-{digest}"}
    salted = patients(salt="secret")
    assert salted != patients()
    assert salted == patients(salt="secret")
    assert salted != patients(salt="another")
    assert patients(patient="folder") == {"folder 7"}
    assert patients(patient="patient-id") == {"hospital 4711"}
    case = find(plain).cases[0]
    assert "4711" not in repr(replace(case, files={}))
    assert "1.1" not in case.name


def test_without_an_id_the_study_stands_for_the_patient(writers, tmp_path):
    write_study(writers, tmp_path / "a", "", "1.1", {"lung": {}})
    write_study(writers, tmp_path / "b", "", "1.2", {"lung": {}})
    assert len({case.patient for case in find(DicomData(path=tmp_path)).cases}) == 2
    with pytest.raises(ScanError, match=r"none; left out a/lung-0 \(no patient ID\)"):
        find(DicomData(path=tmp_path, patient="patient-id"))


def test_a_tcga_barcode_tells_patient_and_site(writers, tmp_path):
    write_study(writers, tmp_path, "TCGA-DD-A114", "1.1", {"liver": {}})
    (case,) = find(DicomData(path=tmp_path, site="ours")).cases
    assert (case.patient, case.site) == ("TCGA-DD-A114", "DD")


def test_channels_are_chosen_by_modality_and_description(writers, tmp_path):
    series = {"ax T1 pre": MR, "ax T1 POST": MR, "ax T2": MR, "lung": {}}
    write_study(writers, tmp_path / "a", "one", "1.1", series)
    write_study(writers, tmp_path / "b", "two", "1.2", {"ax T2": MR})
    write_study(writers, tmp_path / "c", "three", "1.3", {"lung": {}})
    write_study(writers, tmp_path / "d", "four", "1.4", {"T2 a": MR, "T2 b": MR})
    channels = {
        "t1": {"modality": "MR", "description": "t1.*pre"},
        "t1ce": {"modality": "MR", "description": "t1.*post"},
        "t2": {"modality": "MR", "description": r"\bt2"},
    }
    options = DicomData(path=tmp_path, channels=channels)
    found = find(options)
    assert {case.missing for case in found.cases} == {(), ("t1", "t1ce")}
    (whole,) = [case for case in found.cases if not case.missing]
    scan = read(whole, options)
    for number, channel in enumerate(("t1", "t1ce", "t2")):
        np.testing.assert_array_equal(scan.channels[channel], writers.voxels(number + 3, (3, 4, 5)))
    reasons = {out.name: (out.reason, out.remedy) for out in found.left_out}
    assert reasons == {
        "c/lung-0": ("no series of its study fits a channel (t1, t1ce, t2)", ""),
        "d/T2 a-0": (
            "2 series fit channel t2: those of d/T2 a-0, d/T2 b-0",
            "Narrow data.channels.t2.description.",
        ),
    }


def test_channels_on_different_grids(writers, tmp_path):
    write_study(writers, tmp_path, "one", "1.1", {"t1": MR, "t2": MR | {"PixelSpacing": [2, 2]}})
    channels = {"t1": {"description": "t1"}, "t2": {"description": "t2"}}
    options = DicomData(path=tmp_path, channels=channels)
    (case,) = find(options).cases
    with pytest.raises(ScanError, match="expected t2 on the grid of t1"):
        read(case, options)
    scan = read(case, options.model_copy(update={"align": "resample"}))
    assert scan.grid.spacing_mm == (3, 1, 1)
    assert any("t2 resampled" in note for note in scan.notes)


def test_short_and_mixed_series_are_left_out_with_the_reason(writers, tmp_path):
    write_study(writers, tmp_path / "long", "one", "1.1", {"lung": {}}, count=5)
    write_study(writers, tmp_path / "short", "one", "1.2", {"scout": {}}, count=2)
    write_study(writers, tmp_path / "mixed", "one", "1.3", {"lung": {}})
    writers.write_dicom(
        tmp_path / "mixed" / "z", writers.voxels(1, (6, 7)), StudyInstanceUID="1.3", SeriesInstanceUID="1.3.0"
    )
    options = DicomData(path=tmp_path, min_slices=3)
    found = find(options)
    assert [case.series["ct"].slices for case in found.cases] == [5]
    reasons = {out.name: out for out in found.left_out}
    assert reasons["short/scout-0"].reason == "2 slices, fewer than data.min_slices=3"
    assert reasons["mixed/lung-0"].reason.startswith("a series of several sizes or orientations: 3 files 4 × 5")
    assert reasons["mixed/lung-0"].remedy == "Take the series apart with data.geometry.mixed=split."
    split = options.model_copy(
        update={"geometry": options.geometry.model_copy(update={"mixed": "split"}), "min_slices": 1}
    )
    found = find(split)
    assert sorted(case.series["ct"].slices for case in found.cases) == [1, 2, 3, 5]
    assert len({case.name for case in found.cases}) == 4
    for case in found.cases:
        read(case, split)


def test_one_bad_file_stops_no_other(writers, tmp_path):
    write_study(writers, tmp_path / "good", "one", "1.1", {"lung": {}})
    write_study(writers, tmp_path / "bad", "two", "1.2", {"lung": {}})
    (tmp_path / "bad" / "lung-1").write_bytes((tmp_path / "bad" / "lung-1").read_bytes()[:500])
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    found = find(DicomData(path=tmp_path))
    assert len(found.cases) == 2
    assert {out.name for out in found.left_out} == {"bad/lung-1", "broken.zip"}


def test_settings(tmp_path):
    with pytest.raises(ValidationError, match="no regular expression"):
        DicomData(path=tmp_path, channels={"t1": {"description": "("}})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        DicomData(path=tmp_path, min_slices=0)
