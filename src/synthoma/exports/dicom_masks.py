"""Masks as a DICOM segmentation (PS3.3 A.51) that names the slices which it lies on."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synthoma import __version__
from synthoma.exports.dicom_headers import provenance
from synthoma.exports.dicom_study import Study, uid
from synthoma.records import BODY

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

__all__ = ["segmentation_bytes"]

_ANATOMY = ("123037004", "Anatomical Structure")
_ABNORMAL = ("49755003", "Morphologically Altered Structure")
_BODY = ("38266002", "Whole body")
_TYPES = {
    r"necro": ("6574001", "Necrosis"),
    r"o?edema": ("79654002", "Edema"),
    r"nodul": ("27925004", "Nodule"),
    r"mass": ("4147007", "Mass"),
    r"tumou?r|neoplas|cancer|carcinoma": ("108369006", "Neoplasm"),
}
"""What the name of a mask speaks of → its SNOMED CT code; any other is a lesion."""
_LESION = ("52988006", "Lesion")
_STAMP = {"DA": "20000101", "TM": "120000", "DT": "20000101120000"}  # no time of writing: equal masks, equal files


def segmentation_bytes(source: Sequence[Dataset], masks: Mapping[str, npt.NDArray[np.uint8]], study: Study) -> bytes:
    """One binary segmentation, a segment a mask; masks may overlap, and frames without a voxel are left out.

    Args:
        source: the slices of one series, in the order of the masks' z.
        masks: name → (z, y, x) of 0 and 1. One without a voxel is described all the same: looked for in vain.
        study: what the slices share.
    """
    from highdicom.seg import Segmentation
    from pydicom.uid import ExplicitVRLittleEndian

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty dates, and of a segmentation without a voxel
        segmentation = Segmentation(
            source_images=source,
            pixel_array=np.stack(list(masks.values()), axis=-1),
            segmentation_type="BINARY",
            segment_descriptions=[_described(number, name, study) for number, name in enumerate(masks, start=1)],
            series_instance_uid=uid(study, "segmentation"),
            series_number=1000,
            sop_instance_uid=uid(study, "segmentation", "instance"),
            instance_number=1,
            manufacturer="synthoma",
            manufacturer_model_name="synthoma export",
            software_versions=__version__,
            device_serial_number="none",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            omit_empty_frames=any(mask.any() for mask in masks.values()),
            series_description="Masks",
            content_label="SEGMENTATION",
            content_description="Masks of the cohort",
        )
    own = {"PatientIdentityRemoved": "YES", "DeidentificationMethod": source[0].DeidentificationMethod}
    said = {"BurnedInAnnotation": "NO", "DerivationDescription": study.derivation}
    for keyword, value in (own | said | provenance(study)).items():
        setattr(segmentation, keyword, value)
    _settle(segmentation, study)
    buffer = io.BytesIO()
    segmentation.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _described(number: int, name: str, study: Study) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.coding import Code

    category, kind = (_ANATOMY, _BODY) if name == BODY else (_ABNORMAL, _type(name))
    family = Code("123109", "DCM", "Manual Processing")
    return SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=Code(category[0], "SCT", category[1]),
        segmented_property_type=Code(kind[0], "SCT", kind[1]),
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence("synthoma prepare", family, version=__version__),
        tracking_uid=uid(study, "tracking", name),
        tracking_id=name[:64],
    )


def _type(name: str) -> tuple[str, str]:
    return next((code for words, code in _TYPES.items() if re.search(words, name.lower())), _LESION)


def _settle(segmentation: Dataset, study: Study) -> None:
    """Replace what highdicom takes from the clock and from chance."""
    organisation = uid(study, "dimensions")
    for item in [*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence]:
        item.DimensionOrganizationUID = organisation
    for element in segmentation.iterall():
        if element.VR in _STAMP and element.value:
            element.value = _STAMP[element.VR]
