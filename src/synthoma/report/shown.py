"""How a sample is shown: its name, its slice, the part of the image plane around its body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.records import Cohort
from synthoma.report.pictures import Frame, Picture, grey_picture, plane_index

__all__ = ["aspect_of", "flat", "frame_of", "label", "plane_of", "real_picture", "region_of", "slice_text", "who"]

Array = NDArray[Any]


def label(channel: str) -> str:
    """A channel's name as the field writes it: ``t1ce`` → ``T1ce``, ``flair`` → ``FLAIR``."""
    known = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR", "ct": "CT"}
    return known.get(channel, channel)


def real_picture(real: Cohort, row: int, channel: str, frame: Frame) -> Picture:
    """One channel of a real sample, its lesion outlined."""
    z = plane_of(real, row)
    alt = f"real {label(channel)} of {who(real, row)}"
    return grey_picture(flat(real.channel(channel)[row], z), frame, alt, flat(real.lesion(row), z))


def plane_of(cohort: Cohort, row: int) -> int:
    """The slice to show of a 3D sample; of no meaning for a 2D one."""
    return plane_index(cohort.lesion(row), region_of(cohort, row)) if cohort.images.ndim == 5 else 0


def flat(array: Array, z: int) -> Array:
    """Slice ``z`` of a volume; an image as it is."""
    return array[z] if array.ndim == 3 else array


def region_of(cohort: Cohort, row: int) -> NDArray[np.bool_]:
    """The body; where its mask is empty or absent, the whole frame."""
    if "body" in cohort.mask_names and (body := cohort.body(row)).any():
        return body
    return np.ones(cohort.images.shape[2:], dtype=bool)


def frame_of(cohort: Cohort, rows: Sequence[int]) -> Frame:
    """The box around the bodies of these samples, its pixels as high and wide as they are in the first of them."""
    bodies = [region_of(cohort, row) for row in rows]
    planes = np.stack([body.any(axis=0) if body.ndim == 3 else body for body in bodies])
    return Frame.around(planes, aspect=aspect_of(cohort, rows[0]))


def aspect_of(cohort: Cohort, row: int) -> float:
    """Height over width of a pixel of a sample; 1 where it is not known."""
    spacing = [float(text) for text in str(cohort.table["spacing_mm"][row]).split()][-2:]
    return spacing[0] / spacing[1] if len(spacing) == 2 else 1.0


def who(cohort: Cohort, row: int) -> str:
    """Patient and slice of a sample, for a picture's description."""
    return f"patient {cohort.table['patient'][row]}, {slice_text(cohort, row)}"


def slice_text(cohort: Cohort, row: int, z: int | None = None) -> str:
    """Of a slice its index in the scan, of a volume that of the slice which is shown."""
    if cohort.images.ndim == 5:
        return f"slice {plane_of(cohort, row) if z is None else z}"
    return f"slice {cohort.table['slice'][row]}"
