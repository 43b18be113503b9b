"""What the settings of every step have in common."""

from __future__ import annotations

from typing import Literal

from synthoma.options import Options

__all__ = ["StepOptions", "odd"]


def odd(size: int) -> int:
    """A number of voxels with one in the middle."""
    if size % 2 == 0:
        raise ValueError(f"expected an odd number, found {size}")
    return size


class StepOptions(Options):
    """A step of preprocessing: a frozen block of settings that one calls, ``step(scan) -> Scan``."""

    step: str
    modality: Literal["any", "MR", "CT", "OT"] = "any"
    """Scans of which modality the step is for; those of another pass it by unchanged."""
