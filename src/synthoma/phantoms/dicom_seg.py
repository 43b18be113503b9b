"""Writes masks as a DICOM segmentation (PS3.3 A.51), which names the CT slices that they were drawn on."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthoma.storage import write_bytes

__all__ = ["SEGMENTS", "Segment", "write_segmentation"]

_STAMP = "20000101", "120000"  # no time of writing: the same masks are the same file


@dataclass(frozen=True)
class Segment:
    """What a segment is, in SNOMED CT."""

    label: str
    category: tuple[str, str]
    """Code and meaning of the kind of thing."""
    type: tuple[str, str]
    """Code and meaning of the thing."""


_ANATOMY = ("123037004", "Anatomical Structure")
_ABNORMAL = ("49755003", "Morphologically Altered Structure")

SEGMENTS: Mapping[str, Segment] = {
    "liver": Segment("Liver", _ANATOMY, ("10200004", "Liver")),
    "mass": Segment("Mass", _ABNORMAL, ("4147007", "Mass")),
    "portal-vein": Segment("Portal vein", _ANATOMY, ("32764006", "Portal vein")),
    "abdominal-aorta": Segment("Abdominal aorta", _ANATOMY, ("7832008", "Abdominal aorta")),
}
"""The segments of HCC-TACE-Seg, in its order."""


def write_segmentation(
    file: Path, images: Sequence[Path], masks: Mapping[str, npt.NDArray[np.bool_]], *, seed: int
) -> None:
    """Write masks as one binary segmentation; frames without a voxel are left out, as archives do.

    Args:
        images: the CT slices, in the order of the masks' z.
        masks: names of :data:`SEGMENTS` → (z, y, x); one without a voxel is described all the same: looked for in vain.
        seed: from which, with the series' own identifiers, those of the segmentation follow.

    Raises:
        ValueError: no mask has a voxel, or one does not fit the slices.
    """
    import pydicom
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.coding import Code
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    source = [pydicom.dcmread(path) for path in images]
    if not any(mask.any() for mask in masks.values()):
        raise ValueError("masks: expected one with a voxel at least, found none")
    for name, mask in masks.items():
        if mask.shape != (len(source), source[0].Rows, source[0].Columns):
            raise ValueError(f"mask {name}: expected one (z, y, x) of the slices, found {mask.shape}")

    def uid(name: str) -> str:
        entropy = ["synthoma-phantom", str(seed), str(source[0].SeriesInstanceUID), name]
        return str(generate_uid("1.2.826.0.1.3680043.8.498.", entropy_srcs=entropy))

    method = AlgorithmIdentificationSequence(
        "synthoma phantom", Code("123109", "DCM", "Manual Processing"), version="1"
    )
    descriptions = []
    for number, name in enumerate(masks, start=1):
        segment = SEGMENTS[name]
        descriptions.append(
            SegmentDescription(
                segment_number=number,
                segment_label=segment.label,
                segmented_property_category=Code(segment.category[0], "SCT", segment.category[1]),
                segmented_property_type=Code(segment.type[0], "SCT", segment.type[1]),
                algorithm_type="AUTOMATIC",
                algorithm_identification=method,
                tracking_uid=uid(f"tracking-{name}"),
                tracking_id=segment.label,
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        segmentation = Segmentation(
            source_images=source,
            pixel_array=np.stack(list(masks.values()), axis=-1).astype(np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=descriptions,
            series_instance_uid=uid("series"),
            series_number=300,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            manufacturer="synthoma",
            manufacturer_model_name="Phantom",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            omit_empty_frames=True,
            series_description="Segmentation",
            content_label="SEGMENTATION",
            content_description="Liver and masses",
        )
    organisation = uid("dimensions")
    for item in [*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence]:
        item.DimensionOrganizationUID = organisation
    for element in list(segmentation.iterall()):
        if element.VR == "DA" and element.value and "Birth" not in element.keyword:
            element.value = _STAMP[0]
        elif element.VR == "TM" and element.value:
            element.value = _STAMP[1]
        elif element.VR == "DT" and element.value:
            element.value = "".join(_STAMP)
    buffer = io.BytesIO()
    segmentation.save_as(buffer, enforce_file_format=True)
    write_bytes(file, buffer.getvalue())
