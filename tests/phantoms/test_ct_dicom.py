"""The DICOM series of a phantom: valid, complete, the same every time, and read back as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from dicom_standard import complaints, conditions
from synthoma.phantoms.ct import OUTSIDE_HU, SITES, draw_scan
from synthoma.phantoms.ct_dicom import Patient, SeriesUids, draw_uids, write_series
from synthoma.seeding import generator
from synthoma.storage import file_sha256

SPACING_MM, ORIGIN_MM = (2.5, 1.328125, 1.328125), (-169.3359375, -201.25, -97.625)


@pytest.fixture(scope="module")
def volume() -> npt.NDArray[np.int16]:
    volume = generator(1, "volume").integers(-1024, 3072, (5, 12, 16)).astype(np.int16)
    volume[:, 0, :3] = OUTSIDE_HU
    volume[0, 5, 5], volume[0, 5, 6] = -1024, 3071
    return volume


@pytest.fixture(scope="module")
def uids() -> SeriesUids:
    return draw_uids(3, "PHANTOM-LUNG-0001", 5)


def _write(folder: Path, volume: npt.NDArray[np.int16], uids: SeriesUids) -> tuple[Path, ...]:
    return write_series(
        folder,
        volume,
        SPACING_MM,
        ORIGIN_MM,
        uids=uids,
        patient=Patient("PHANTOM-LUNG-0001", "F", 61),
        scan=draw_scan(generator(1, "scan"), 1, SITES["A"], 2.5),
        description="Chest phantom",
        body_part="CHEST",
        contrast="IV",
    )


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, volume: npt.NDArray[np.int16], uids: SeriesUids
) -> tuple[Path, ...]:
    return _write(tmp_path_factory.mktemp("series"), volume, uids)


def test_values_and_places_are_read_as_written(
    files: tuple[Path, ...], volume: npt.NDArray[np.int16], uids: SeriesUids
) -> None:
    for z, file in enumerate(files):
        image = pydicom.dcmread(file)
        stored = image.pixel_array.astype(int)
        np.testing.assert_array_equal(stored * int(image.RescaleSlope) + int(image.RescaleIntercept), volume[z])
        assert image.PixelPaddingValue == stored[0, 0]
        place = (ORIGIN_MM[0], ORIGIN_MM[1], ORIGIN_MM[2] + 2.5 * z)
        assert [float(value) for value in image.ImagePositionPatient] == pytest.approx(place, abs=1e-6)
        assert [float(value) for value in image.PixelSpacing] == pytest.approx(SPACING_MM[1:], abs=1e-9)
        assert image.SOPInstanceUID == image.file_meta.MediaStorageSOPInstanceUID == uids.instances[z]
        assert (image.SeriesInstanceUID, image.StudyInstanceUID) == (uids.series, uids.study)


def test_slices_are_numbered_from_head_to_foot(files: tuple[Path, ...]) -> None:
    assert [file.name for file in files] == ["1-005.dcm", "1-004.dcm", "1-003.dcm", "1-002.dcm", "1-001.dcm"]
    assert [pydicom.dcmread(file).InstanceNumber for file in files] == [5, 4, 3, 2, 1]


def test_the_same_scan_is_the_same_file(
    files: tuple[Path, ...], volume: npt.NDArray[np.int16], uids: SeriesUids, tmp_path: Path
) -> None:
    again = _write(tmp_path, volume, uids)
    assert [file_sha256(file) for file in files] == [file_sha256(file) for file in again]


def test_identifiers_follow_from_seed_patient_and_series() -> None:
    drawn = [draw_uids(3, "A", 4), draw_uids(4, "A", 4), draw_uids(3, "B", 4), draw_uids(3, "A", 4, series="other")]
    assert drawn[0] == draw_uids(3, "A", 4)
    assert drawn[0].study == drawn[3].study
    assert drawn[0].series != drawn[3].series
    assert drawn[0].frame_of_reference == drawn[3].frame_of_reference
    everything = {uid for one in drawn[:3] for uid in (one.study, one.series, one.frame_of_reference, *one.instances)}
    assert len(everything) == 3 * 7
    assert all(pydicom.uid.UID(uid).is_valid for uid in everything)


def test_dicom_validator_has_no_complaint(files: tuple[Path, ...]) -> None:
    assert [complaints(file) for file in files] == [[]] * 5


def test_dciodvfy_finds_no_error(files: tuple[Path, ...]) -> None:
    assert [conditions(file) for file in files] == [[]] * 5


def test_dicom_validator_would_notice(files: tuple[Path, ...], tmp_path: Path) -> None:
    image = pydicom.dcmread(files[0])
    assert image.ContrastBolusAgent == "IV"
    image.EchoTime = "3"
    del image.KVP
    image.save_as(tmp_path / "other.dcm")
    assert complaints(tmp_path / "other.dcm") == ["(0018,0060) TagMissing", "(0018,0081) TagUnexpected"]


def test_identifiers_must_fit_the_slices(volume: npt.NDArray[np.int16], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one for each of 5 slices, found 4"):
        _write(tmp_path, volume, draw_uids(3, "PHANTOM-LUNG-0001", 4))
    assert list(tmp_path.iterdir()) == []
