"""What the settings of every step have in common."""

from __future__ import annotations

from typing import Literal

from synthoma.options import Options

__all__ = ["StepOptions"]


class StepOptions(Options):
    """A step of preprocessing: a frozen block of settings that one calls, ``step(scan) -> Scan``."""

    step: str
    modality: Literal["any", "MR", "CT", "OT"] = "any"
    """Scans of which modality the step is for; those of another pass it by unchanged."""
