"""Which segments of which segmentation objects (SEG) are which masks: the settings, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from synthoma.options import Options
from synthoma.records import BODY, part_of
from synthoma.scans.anatomy import is_organ, plain_name
from synthoma.scans.dicom_seg_header import Described

__all__ = ["Expression", "MaskOptions", "SegmentationRule", "fits", "healthy"]


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""A regular expression."""

Segments = Annotated[
    tuple[Annotated[int, Field(ge=1)] | Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1),
    BeforeValidator(lambda given: (given,) if isinstance(given, str | int) else given),
]
"""Labels or numbers of segments; one of them may stand alone."""


class SegmentationRule(Options):
    """Which segmentation objects (SEG) masks are read from."""

    read: bool = True
    """Whether they are read at all."""
    description: Expression = ""
    """Regular expression that is searched for in their series description, whatever the case of its letters; those
    that it does not fit are left out."""
    several: Literal["refuse", "join"] = "refuse"
    """Several segmentations of one scan: ``refuse`` the scan, or ``join`` their segments, of which equal labels are
    numbered."""


class MaskOptions(Options):
    """What a source that reads masks from any segmentation lets the user say of them."""

    masks: dict[Annotated[str, Field(min_length=1)], Segments] = Field(default_factory=dict)
    """Mask → the labels or numbers of its segments (SEG), whose union it is: ``{tumour: [Enhancing, Necrosis]}``.
    Capitals and signs do not count. Without it every segment is a mask, named by its label. A segment named ``body`` is
    the body."""
    organs: tuple[str, ...] | None = None
    """Masks of healthy anatomy, every other but ``body`` being a lesion; by default those whose names (of segments that
    are masks as they are: whose codes or labels) say so."""
    segmentations: SegmentationRule = SegmentationRule()
    """Which segmentation objects (SEG) are read."""


def fits(segment: Described, wanted: Sequence[str | int]) -> bool:
    """Whether a segment is one of those ``wanted`` by label or number."""
    return any(
        one == segment.number if isinstance(one, int) else plain_name(one) in (segment.label, segment.name)
        for one in wanted
    )


def healthy(name: str, segment: Described | None, options: MaskOptions) -> bool:
    """Whether a mask is the body or an organ; ``segment`` is what it is made of as it is."""
    if name == BODY:
        return True
    if options.organs is not None:
        return name in options.organs or part_of(name) in options.organs
    return is_organ(plain_name(name)) if segment is None else not segment.lesion
