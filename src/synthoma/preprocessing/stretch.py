"""More contrast: the body's values between two percentiles drawn out to the whole range."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import check_normalised
from synthoma.preprocessing.normalise import chained, to_unit_range
from synthoma.preprocessing.step import StepOptions
from synthoma.records import BODY, Scan

__all__ = ["Stretch"]


class Stretch(StepOptions):
    """Percentile contrast stretching (Gonzalez & Woods, "Digital Image Processing", 4th ed., section 3.2).

    Comes after the normalising step: what lies between two percentiles of the body, over the whole volume, is mapped
    linearly to [−1, 1] and the rest clipped. The way back stays open: ``intensity`` then holds the scanner's values of
    the new ends. (Straight from the scanner's values, that is what ``normalise`` does.)
    """

    step: Literal["stretch"] = "stretch"
    low_percent: float = Field(default=2.0, ge=0, lt=100)
    """Percentile of the body that becomes −1."""
    high_percent: float = Field(default=98.0, gt=0, le=100)
    """Percentile of the body that becomes +1."""
    keep_outside: bool = False
    """Stretch what lies outside the body too, instead of setting it to −1."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Stretch:
        if self.low_percent >= self.high_percent:
            raise ValueError(f"expected low_percent below high_percent, found {self.low_percent}, {self.high_percent}")
        return self

    def __call__(self, scan: Scan) -> Scan:
        """The scan in [−1, 1]. Without a mask ``body`` the whole picture counts as the body.

        Raises:
            ScanError: the scan is not normalised yet, its body is empty, or nothing lies between the percentiles.
        """
        check_normalised(scan, scan.channels, "stretch")
        body = scan.masks[BODY] > 0 if BODY in scan.masks else None
        channels, intensity = {}, dict(scan.intensity)
        for name, channel in scan.channels.items():
            inside = channel.ravel() if body is None else channel[body]
            if not inside.size:
                raise ScanError(describe(f"{scan.patient}: step stretch", "a body mask with voxels", "an empty one"))
            low, high = map(float, np.percentile(inside, [self.low_percent, self.high_percent]))
            if low >= high:
                what = f"{scan.patient}: step stretch, channel {name}"
                remedy = "Nearly all of the body has one value: widen the window or the percentiles."
                raise ScanError(describe(what, "percentiles that differ", f"both at {low:g}", remedy))
            channels[name] = to_unit_range(channel, low, high, None if self.keep_outside else body)
            intensity[name] = chained(scan.intensity[name], low, high)
        return scan.with_(channels=channels, intensity=intensity)
