"""``Measurement``: one number with all that is needed to believe it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

__all__ = ["Measurement"]


@dataclass(frozen=True)
class Measurement:
    """One number, its interval, and how it was found. An undefined number is ``None``, never NaN."""

    name: str
    """``ssim``, ``psnr``, ``mae``, ``frechet-distance``, ``kid``, ``accuracy``, …"""
    value: float | None
    low: float | None
    """Lower end of the 95 % interval; ``None`` where none can be given (``method`` says why)."""
    high: float | None
    n_images: int
    n_patients: int
    """The patient is the unit of every interval."""
    arm: str
    """What was measured: ``synthetic``, a baseline (``source image``, …), or a classifier arm (``real+synthetic``)."""
    region: str = "frame"
    """``frame``, ``body`` or ``lesion``; empty where it does not apply."""
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    method: str = ""
    """Extractor and hash of its weights, data range, window, kind of interval, version: enough to repeat it."""
    compared: str = ""
    """What it is compared with: ``real test``, ``real train``, …"""

    def __post_init__(self) -> None:
        for end in ("value", "low", "high"):
            number = getattr(self, end)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.name}: {end} must be a finite number or None, got {number}")

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for JSON and for a row of ``evidence.csv``."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Back from :meth:`to_json`."""
        return cls(**content)
