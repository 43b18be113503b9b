"""No identifying tag of a DICOM file reaches a cohort, its pages and tables, or anything that is printed."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

TAGS = {
    "PatientName": "Zzmarkername^Given", "PatientID": "ZZMARKERID77", "PatientBirthDate": "19441203",
    "PatientBirthName": "Zzmarkerbirth", "OtherPatientIDs": "ZZMARKEROTHER", "PatientAddress": "Zzmarkerstreet 5",
    "PatientTelephoneNumbers": "ZZMARKERPHONE", "PatientMotherBirthName": "Zzmarkermother",
    "ReferringPhysicianName": "Zzmarkerreferrer", "PerformingPhysicianName": "Zzmarkerperformer",
    "OperatorsName": "Zzmarkeroperator", "InstitutionName": "Zzmarkerhospital",
    "InstitutionAddress": "Zzmarkertown", "InstitutionalDepartmentName": "Zzmarkerward",
    "StationName": "ZZMARKERSTATION", "AccessionNumber": "ZZMARKERACC", "StudyID": "ZZMARKERSTUDY",
    "DeviceSerialNumber": "ZZMARKERSERIAL", "PatientComments": "Zzmarkercomment", "ProtocolName": "Zzmarkerprotocol",
    "StudyDescription": "Zzmarkerstudydescription", "SeriesDescription": "Zzmarkerseries",
    "RequestingPhysician": "Zzmarkerrequester", "StudyDate": "20190417", "AcquisitionDate": "20190418",
}  # fmt: skip
"""Keyword → a value found nowhere else."""
MARKERS = [part for value in TAGS.values() for part in value.split("^") if part != "Given"]
SETTINGS = (
    "--no-split", "--workers", "1",
    "--set", "preprocessing.steps=[{step: normalise, method: window, window: [-200, 300], keep_outside: true}, "
    "{step: resize, size: 16}]",
)  # fmt: skip


def write_series(folder: Path, key: int, *, slices: int = 5, **changes: object) -> list[Path]:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(key)
    study, series = (generate_uid(entropy_srcs=[kind, str(key)]) for kind in ("study", "series"))
    folder.mkdir(parents=True)
    paths = []
    for z in range(slices):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        uid = generate_uid(entropy_srcs=[str(key), str(z)])
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid
        data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = study, series, "CT"
        for keyword, value in TAGS.items():
            setattr(data, keyword, value)
        data.PatientID = f"{TAGS['PatientID']}-{key}"
        data.add_new((0x0011, 0x0010), "LO", "Zzmarkerprivatecreator")
        data.add_new((0x0011, 0x1001), "LO", "Zzmarkerprivate")
        data.InstanceNumber, data.Rows, data.Columns = z + 1, 24, 20
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2.0 * z], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [1, 1], 2
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -1024, "HU"
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelData = rng.integers(800, 1400, (24, 20), dtype=np.uint16).tobytes()
        for keyword, value in changes.items():
            if value is None:
                delattr(data, keyword)
            else:
                setattr(data, keyword, value)
        path = folder / f"{z:03d}.dcm"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def splice(path: Path, old: bytes, new: bytes) -> None:
    """Put bytes into a file that no library would write."""
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good patients, and others broken in ways that make a library speak of the values it could not use."""
    root = tmp_path_factory.mktemp("identifying") / "archive"
    write_series(root / "good", 0)
    write_series(root / "other", 1)
    for path in write_series(root / "cut", 2):
        path.write_bytes(path.read_bytes()[:-300])
    write_series(root / "unplaced", 3, PixelSpacing=None)
    write_series(root / "uneven", 4, slices=6)
    (root / "uneven" / "003.dcm").unlink()
    for path in write_series(root / "dates", 5):
        splice(path, b"19441203", b"Zzmarker")  # a date of birth that is none
        splice(path, b"20190417", b"Zzmarker")
    for path in write_series(root / "numbers", 6, PixelSpacing=[1.25, 1.25]):
        splice(path, b"1.25\\1.25", b"nonumbers")
    for path in write_series(root / "letters", 7):
        content = path.read_bytes()
        path.write_bytes(content.replace(b"Zzmarkername^Given", b"Zzmarkername^\xff\xfe\xd8\x80\x81"))
    write_series(root / "empty", 8, PixelData=b"")
    (root / "noise.dcm").write_bytes(b"\x00" * 128 + b"DICM" + b"Zzmarkername" * 50)
    return root


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def found(content: bytes) -> list[str]:
    text = content.lower()
    return [marker for marker in [*MARKERS, "zzmarker"] if marker.lower().encode() in text]


def test_the_markers_are_in_the_files(archive: Path) -> None:
    content = everything(archive / "good")
    assert [marker for marker in MARKERS if marker.encode() not in content] == []


@pytest.mark.parametrize("more", [(), ("--debug",), ("--set", "preprocessing.sampling.kind=volumes")])
def test_nothing_identifying_is_written_or_printed(typed, archive, tmp_path, more) -> None:
    said = typed("prepare", "dicom", archive, "--out", tmp_path / "x.cohort", *SETTINGS, *more)
    assert said.code == 0, said.err
    assert found((said.out + said.err).encode()) == []
    assert found(everything(tmp_path / "x.cohort")) == []
    rejected = (tmp_path / "x.cohort" / "rejected.csv").read_text(encoding="utf-8")
    assert rejected.count("\n") > 3, rejected
    info = typed("info", tmp_path / "x.cohort", "--json")
    assert found((info.out + info.err).encode()) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_nor_by_workers_or_with_a_salt_that_is_not_shown(shell, archive, tmp_path, workers) -> None:
    words = ("prepare", "dicom", archive, "--out", tmp_path / "x.cohort", *SETTINGS, "--workers", workers)
    done = shell(*words, "--set", "data.salt=Zzmarkersalt", "--debug", PYTHONWARNINGS="default")
    assert done.returncode == 0, done.stderr
    assert found((done.stdout + done.stderr).encode()) == []
    assert found(everything(tmp_path / "x.cohort")) == []


@pytest.mark.parametrize("broken", ["cut", "unplaced", "uneven", "dates", "numbers", "letters", "empty"])
def test_nor_when_it_stops_with_a_traceback(archive, tmp_path, broken, capfd) -> None:
    from synthoma.commands import main

    words = ["prepare", "dicom", str(archive / broken), "--out", str(tmp_path / "x.cohort"), *SETTINGS, "--strict"]
    try:
        main([*words, "--debug"])
    except SystemExit:
        pass
    except Exception:
        traceback.print_exc(file=sys.stderr)
    printed = capfd.readouterr()
    assert found((printed.out + printed.err).encode()) == []
    if (tmp_path / "x.cohort").exists():
        assert found(everything(tmp_path / "x.cohort")) == []
