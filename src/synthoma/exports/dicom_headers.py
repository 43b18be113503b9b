"""The headers of exported DICOM: nothing of the source's header is in them, since a cohort has kept nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthoma import __version__
from synthoma.errors import CohortError, describe
from synthoma.exports.dicom_study import ROOT, Study, uid
from synthoma.exports.volumes import Volume
from synthoma.records import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["decimal", "image_header", "position", "provenance"]

_LONGEST_NAME = 64
"""Letters of a description of study or series (LO), PS3.5 6.2."""


def decimal(value: float) -> str:
    """A decimal string (DS) of at most 16 letters, as near as it can be."""
    from pydicom.valuerep import format_number_as_ds

    return str(format_number_as_ds(float(value) + 0.0))


def _orientation(grid: Grid, what: str) -> list[str]:
    """Image Orientation (Patient): the directions of x and y, in LPS.

    Raises:
        CohortError: rows and columns that are not at right angles, which DICOM cannot say.
    """
    _, y, x = (np.asarray(row) * (-1, -1, 1) for row in grid.direction)
    if abs(float(x @ y)) > 1e-4:
        raise CohortError(describe(what, "rows and columns at right angles", f"a cosine of {float(x @ y):.4f}"))
    return [decimal(value) for value in (*x, *y)]


def position(grid: Grid, z: int) -> list[str]:
    """Image Position (Patient) of a slice: the centre of its first voxel, in LPS millimetres."""
    x, y, up = np.asarray(grid.origin_mm) + z * grid.spacing_mm[0] * np.asarray(grid.direction[0])
    return [decimal(value) for value in (-x, -y, up)]


def image_header(study: Study, volume: Volume, channel: str, number: int, pair: tuple[float, float]) -> Dataset:
    """All attributes that the slices of a channel share: CT Image IOD (PS3.3 A.3) or MR Image IOD (A.4)."""
    from pydicom import Dataset

    dataset = Dataset()
    ct = study.modality == "CT"
    modules = (
        _patient(study),
        _study(study, volume),
        _series(study, channel, number),
        _image(study, volume),
        _plane(volume),
        _ct(study, pair) if ct else _mr(pair),
    )
    for keyword, value in (pair for module in modules for pair in module.items()):
        setattr(dataset, keyword, value)
    dataset.file_meta = _meta(str(dataset.SOPClassUID))
    return dataset


def _meta(sop_class: str) -> Any:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(ROOT + "1")
    meta.ImplementationVersionName = "SYNTHOMA"
    return meta


def _patient(study: Study) -> dict[str, Any]:
    """Patient (C.7.1.1): the cohort's name of the patient, and nothing else."""
    name = "".join(" " if letter in "^=" else letter for letter in study.patient)
    how = "Synthetic image" if study.synthetic else "Pseudonym; header made anew by synthoma"
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": name,
        "PatientID": study.patient,
        "PatientBirthDate": "",
        "PatientSex": "",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": how,
    }


def _study(study: Study, volume: Volume) -> dict[str, Any]:
    """General Study (C.7.2.1), Frame of Reference (C.7.4.1), General Equipment (C.7.5.1)."""
    kind = "Synthetic images" if study.synthetic else "Prepared images"
    return {
        "StudyInstanceUID": uid(study, "study"),
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "StudyDescription": f"{kind}: {volume.name}"[:_LONGEST_NAME],
        "FrameOfReferenceUID": uid(study, "frame"),
        "PositionReferenceIndicator": "",
        "Manufacturer": "synthoma",
        "ManufacturerModelName": "synthoma export",
        "SoftwareVersions": __version__,
    }


def _series(study: Study, channel: str, number: int) -> dict[str, Any]:
    """General Series (C.7.3.1)."""
    return {
        "Modality": study.modality,
        "SeriesInstanceUID": uid(study, "series", channel),
        "SeriesNumber": number,
        "SeriesDescription": channel[:_LONGEST_NAME],
        "PatientPosition": "",
        "Laterality": "",  # the body part is not known: it may be one of a pair
        "AcquisitionNumber": "",
    }


def _image(study: Study, volume: Volume) -> dict[str, Any]:
    """General Image (C.7.6.1), General Reference (C.12.4), SOP Common (C.12.1): what made this image."""
    comment = {} if volume.grid.known else {"ImageComments": "The place in the patient is not known."}
    return comment | {
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL" if study.modality == "CT" else "OTHER"],
        "DerivationDescription": study.derivation,
        "BurnedInAnnotation": "NO",
        "ContentDate": "",
        "ContentTime": "",
        **provenance(study),
    }


def provenance(study: Study) -> dict[str, Any]:
    """Synthetic Data (0008,001C) and Contributing Equipment Sequence (0018,A001), an item a step (C.12.1.1)."""
    from pydicom import Dataset

    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    items = []
    for lineage in study.lineages or (None,):
        item = Dataset()
        item.PurposeOfReferenceCodeSequence = [purpose]
        item.Manufacturer = "synthoma"
        item.ManufacturerModelName = f"synthoma {lineage.step if lineage else 'export'}"
        item.SoftwareVersions = lineage.version if lineage else __version__
        if lineage:
            item.ContributionDescription = f"Lineage {lineage.id}, recipe SHA-256 {lineage.recipe_sha256}"
        items.append(item)
    said = {"SyntheticData": "YES"} if study.synthetic else {}
    return said | {"ContributingEquipmentSequence": items}


def _plane(volume: Volume) -> dict[str, Any]:
    """Image Plane (C.7.6.2), Image Pixel (C.7.6.3)."""
    z, y, x = volume.grid.spacing_mm
    return {
        "ImageOrientationPatient": _orientation(volume.grid, f"volume {volume.name}"),
        "PixelSpacing": [decimal(y), decimal(x)],
        "SliceThickness": decimal(z),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": volume.grid.shape[1],
        "Columns": volume.grid.shape[2],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
    }


def _ct(study: Study, pair: tuple[float, float]) -> dict[str, Any]:
    """CT Image (C.8.2.1)."""
    from pydicom.uid import CTImageStorage

    return {
        "SOPClassUID": CTImageStorage,
        "KVP": "",
        "RescaleIntercept": decimal(pair[1]),
        "RescaleSlope": decimal(pair[0]),
        "RescaleType": "HU" if study.unit == "HU" else "US",
    }


def _mr(pair: tuple[float, float]) -> dict[str, Any]:
    """MR Image (C.8.3.1), and the way to the values twice.

    The MR Image IOD has no rescale pair, though scanners write one and readers look for it: with it an instance is of a
    Standard Extended SOP Class (PS3.2 3.11). The Real World Value Mapping (C.7.6.16.2.11) says the same within the IOD.
    Where the stored values are the values neither is there.
    """
    from pydicom import Dataset
    from pydicom.uid import MRImageStorage

    header = {
        "SOPClassUID": MRImageStorage,
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "",
        "RepetitionTime": "",
        "EchoTime": "",
        "EchoTrainLength": "",
    }
    if pair == (1.0, 0.0):
        return header
    unit, mapping = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "1", "UCUM", "no units"
    mapping.MeasurementUnitsCodeSequence = [unit]
    mapping.LUTExplanation, mapping.LUTLabel = "The scanner's unit", "SCANNER"
    for end, value in (("First", -32768), ("Last", 32767)):
        mapping.add_new((0x0040, 0x9216 if end == "First" else 0x9211), "SS", value)
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = pair
    return header | {
        "RealWorldValueMappingSequence": [mapping],
        "RescaleIntercept": decimal(pair[1]),
        "RescaleSlope": decimal(pair[0]),
        "RescaleType": "US",
    }
