"""Writes a CT examination as a DICOM series (CT Image IOD, PS3.3 A.3), one file a slice."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.ct import OUTSIDE_HU, ScanParameters
from synthoma.storage import write_bytes

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Patient", "SeriesUids", "draw_uids", "write_series"]

_ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's own root, which its users may use
_IMPLEMENTATION = _ROOT + "1"
_INTERCEPT = -1024
_DATE, _TIME = "20000101", "120000"  # no time of writing: the same scan is the same file


@dataclass(frozen=True)
class Patient:
    """Whom the headers name."""

    id: str
    sex: str = ""
    """``F``, ``M``, or empty."""
    age_years: int | None = None


@dataclass(frozen=True)
class SeriesUids:
    """The identifiers of one series."""

    study: str
    series: str
    frame_of_reference: str
    instances: tuple[str, ...]
    """One for each slice, in the order of the array's z."""


def draw_uids(seed: int, patient_id: str, slices: int, series: str = "ct") -> SeriesUids:
    """Identifiers that follow from the seed and the names alone; series of one patient share study and frame."""
    from pydicom.uid import generate_uid

    def uid(*names: str) -> str:
        return str(generate_uid(_ROOT, entropy_srcs=["synthoma-phantom", str(seed), patient_id, *names]))

    return SeriesUids(
        uid("study"), uid("series", series), uid("frame"), tuple(uid("slice", series, str(z)) for z in range(slices))
    )


def write_series(
    folder: Path,
    volume_hu: npt.NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    origin_mm: tuple[float, float, float],
    *,
    uids: SeriesUids,
    patient: Patient,
    scan: ScanParameters,
    description: str,
    body_part: str,
    window_hu: tuple[float, float] = (40.0, 400.0),
    contrast: str = "",
) -> tuple[Path, ...]:
    """Write ``1-001.dcm``, ``1-002.dcm``, … from head to foot, as scanners number them.

    Args:
        folder: made when absent.
        volume_hu: (z, y, x) as :func:`synthoma.phantoms.ct.acquire` makes it, z towards the head.
        spacing_mm: (z, y, x).
        origin_mm: (x, y, z) of the centre of voxel [0, 0, 0], DICOM patient axes (LPS).
        body_part: ``CHEST``, ``ABDOMEN``, … (PS3.16 Annex L).
        window_hu: (centre, width) that a viewer opens with.
        contrast: the agent; empty for a scan without.

    Returns:
        the files, in the order of the array's z.
    """
    from pydicom.uid import UID

    slices = volume_hu.shape[0]
    if len(uids.instances) != slices:
        raise ValueError(f"uids: expected one for each of {slices} slices, found {len(uids.instances)}")
    common = _common(volume_hu, spacing_mm, uids, patient, scan, description, body_part, window_hu, contrast)
    # Stored values below the 12 bits mark what was not reconstructed.
    stored = (volume_hu.astype(np.int32) - _INTERCEPT).astype("<i2")
    digits = max(3, len(str(slices)))
    files = []
    for z in range(slices):
        number = slices - z
        place = (origin_mm[0], origin_mm[1], origin_mm[2] + z * spacing_mm[0])
        common.SOPInstanceUID = common.file_meta.MediaStorageSOPInstanceUID = UID(uids.instances[z])
        common.InstanceNumber = number
        common.ImagePositionPatient = [_ds(value) for value in place]
        common.SliceLocation = _ds(place[2])
        common.PixelData = stored[z].tobytes()
        file = folder / f"1-{number:0{digits}}.dcm"
        buffer = io.BytesIO()
        common.save_as(buffer, enforce_file_format=True)
        write_bytes(file, buffer.getvalue())
        files.append(file)
    return tuple(files)


def _ds(value: float) -> str:
    """A decimal string: at most 16 characters."""
    return f"{round(value, 6) + 0.0:.6f}"


def _common(
    volume_hu: npt.NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    uids: SeriesUids,
    patient: Patient,
    scan: ScanParameters,
    description: str,
    body_part: str,
    window_hu: tuple[float, float],
    contrast: str,
) -> Dataset:
    """All attributes that the slices share."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = "SYNTHOMA"
    dataset = Dataset()
    dataset.file_meta = meta
    age = {} if patient.age_years is None else {"PatientAge": f"{patient.age_years:03}Y"}
    agent = {"ContrastBolusAgent": contrast} if contrast else {}
    modules: list[dict[str, Any]] = [
        _identity(uids, patient, description, body_part) | age,
        _equipment(scan) | agent,
        _pixels(volume_hu.shape[1:], spacing_mm, window_hu),
    ]
    for module in modules:
        for keyword, value in module.items():
            setattr(dataset, keyword, value)
    return dataset


def _identity(uids: SeriesUids, patient: Patient, description: str, body_part: str) -> dict[str, Any]:
    """Patient, General Study, General Series, Frame of Reference, SOP Common (PS3.3 C.7.1 to C.7.4, C.12.1)."""
    from pydicom.uid import CTImageStorage

    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": CTImageStorage,
        "PatientName": patient.id.replace("-", "^", 1),
        "PatientID": patient.id,
        "PatientBirthDate": "",
        "PatientSex": patient.sex,
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "Phantom: no person",
        "StudyInstanceUID": uids.study,
        "StudyDate": _DATE,
        "StudyTime": _TIME,
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "SeriesInstanceUID": uids.series,
        "SeriesNumber": 1,
        "SeriesDate": _DATE,
        "SeriesTime": _TIME,
        "SeriesDescription": description,
        "Modality": "CT",
        "BodyPartExamined": body_part,
        "PatientPosition": "HFS",
        "FrameOfReferenceUID": uids.frame_of_reference,
        "PositionReferenceIndicator": "",
    }


def _equipment(scan: ScanParameters) -> dict[str, Any]:
    """General Equipment, CT Image: the machine and its settings (PS3.3 C.7.5.1, C.8.2.1)."""
    return {
        "Manufacturer": "synthoma",
        "ManufacturerModelName": f"Phantom scanner {scan.site.name}",
        "InstitutionName": f"Phantom site {scan.site.name}",
        "AcquisitionNumber": 1,
        "AcquisitionDate": _DATE,
        "AcquisitionTime": _TIME,
        "ContentDate": _DATE,
        "ContentTime": _TIME,
        "KVP": _ds(scan.site.kvp),
        "XRayTubeCurrent": scan.tube_current_ma,
        "ConvolutionKernel": scan.site.kernel,
        "GantryDetectorTilt": _ds(0.0),
        "SliceThickness": _ds(scan.thickness_mm),
    }


def _pixels(shape: tuple[int, ...], spacing_mm: tuple[float, float, float], window_hu: tuple[float, float]) -> Any:
    """Image Plane, Image Pixel, VOI LUT, rescaling (PS3.3 C.7.6.2, C.7.6.3, C.11.2, C.8.2.1)."""
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [_ds(spacing_mm[1]), _ds(spacing_mm[2])],
        "ReconstructionDiameter": _ds(spacing_mm[1] * min(shape)),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": shape[0],
        "Columns": shape[1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "PixelPaddingValue": OUTSIDE_HU - _INTERCEPT,
        "RescaleIntercept": str(_INTERCEPT),
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenter": _ds(window_hu[0]),
        "WindowWidth": _ds(window_hu[1]),
        "BurnedInAnnotation": "NO",
    }
