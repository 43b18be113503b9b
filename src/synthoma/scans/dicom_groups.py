"""What a DICOM file says of each of its frames: in functional groups (multi-frame) or in the header (plain)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthoma.scans.dicom_geometry import Plane
from synthoma.scans.dicom_header import Instance, plane
from synthoma.scans.dicom_parse import number

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["group_of", "plane_of"]


def group_of(dataset: Dataset, frame: int) -> Dataset:
    """All that concerns one frame of a multi-frame file, in one data set: shared and own functional groups (PS3.3
    C.7.6.16); of a plain file the data set itself."""
    from pydicom import Dataset as Elements

    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if not shared and not own:
        return dataset
    merged = Elements()
    for groups in (*shared[:1], *own[frame : frame + 1]):
        for element in groups:
            if element.VR == "SQ" and element.value:
                merged.update(element.value[0])
    return merged


def plane_of(dataset: Dataset, group: Dataset, instance: Instance, frame: int) -> Plane:
    """Frame number ``frame`` (from 1), by its functional ``group`` first and the file's own elements second.

    Raises:
        ValueError: numbers that make no sense.
    """
    position, orientation, spacing = plane(group)
    top_position, top_orientation, top_spacing = plane(dataset)
    return Plane(
        sop_uid=instance.sop_uid,
        frame=frame,
        instance_number=instance.instance_number,
        position=position or top_position,
        orientation=orientation or top_orientation,
        spacing_mm=spacing or top_spacing,
        thickness_mm=next(
            (
                value
                for name in ("SpacingBetweenSlices", "SliceThickness")
                for source in (group, dataset)
                if (value := number(source, name)) is not None and value > 0
            ),
            None,
        ),
    )
