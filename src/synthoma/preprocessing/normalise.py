"""Scanner values to [−1, 1], patient by patient and channel by channel, with the way back."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, model_validator

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.step import StepOptions
from synthoma.records import BODY, Scan

__all__ = ["CLIPPED_WORTH_A_NOTE", "Normalise", "chained", "to_unit_range"]


CLIPPED_WORTH_A_NOTE = 0.01
"""Share of the body; the default percentiles clip half of that on either side, which need not be said of everyone."""


class Normalise(StepOptions):
    """Map each channel's values inside the body, over the whole volume, linearly to [−1, 1], and clip.

    The scan then knows ``intensity[channel] = (low, high)``, the scanner's values of −1 and +1:
    x = low + (v + 1) / 2 · (high − low).
    """

    step: Literal["normalise"] = "normalise"
    method: Literal["percentiles", "median-iqr", "zscore", "window"] = "percentiles"
    """``percentiles``: from ``low_percent`` to ``high_percent``. ``median-iqr``: median ± ``width`` · interquartile
    range, which moves less with the size of a lesion. ``zscore``: mean ± ``width`` · standard deviation. ``window``:
    the same ``window`` for every patient, for values of physical meaning (CT) or of one display."""
    low_percent: float = Field(default=0.5, ge=0, lt=100)
    """Percentile of the body that becomes −1."""
    high_percent: float = Field(default=99.5, gt=0, le=100)
    """Percentile of the body that becomes +1."""
    width: float = Field(default=3.0, gt=0)
    """Half of the window, in interquartile ranges or standard deviations."""
    window: tuple[FiniteFloat, FiniteFloat] | None = None
    """Only for ``method: window``: the scanner's values that become −1 and +1, such as ``[-1000, 400]`` HU."""
    keep_outside: bool = False
    """Map what lies outside the body too, instead of setting it to −1."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Normalise:
        if self.low_percent >= self.high_percent:
            raise ValueError(f"expected low_percent below high_percent, found {self.low_percent}, {self.high_percent}")
        if (self.window is None) == (self.method == "window"):
            found = f"method {self.method} " + ("without one" if self.window is None else "with one")
            raise ValueError(f"expected a window (low, high) for method window and for no other, found {found}")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f"expected a window from low to high, found {self.window[0]:g}, {self.window[1]:g}")
        return self

    def __call__(self, scan: Scan) -> Scan:
        """The scan in [−1, 1]. Without a mask ``body`` the whole picture counts as the body.

        Raises:
            ScanError: the body is empty, a channel is constant in it, or a value is not finite.
        """
        body = scan.masks[BODY] > 0 if BODY in scan.masks else None
        if body is not None and not body.any():
            raise ScanError(describe(f"{scan.patient}: step normalise", "a body mask with voxels", "an empty one"))
        channels, intensity, notes = {}, dict(scan.intensity), []
        for name, channel in scan.channels.items():
            inside = channel.ravel() if body is None else channel[body]
            low, high = self._window(inside, f"{scan.patient}: step normalise, channel {name}")
            below, above = float((inside < low).mean()), float((inside > high).mean())
            channels[name] = to_unit_range(channel, low, high, None if self.keep_outside else body)
            intensity[name] = chained(scan.intensity.get(name), low, high)
            if max(below, above) > CLIPPED_WORTH_A_NOTE:
                notes.append(f"{name}: {100 * below:.2f} % of the body clipped below, {100 * above:.2f} % above")
        return scan.with_(channels=channels, intensity=intensity, notes=(*scan.notes, *notes))

    def _window(self, inside: NDArray[np.float32], what: str) -> tuple[float, float]:
        if not np.isfinite(inside).all():
            raise ScanError(describe(what, "finite values", "NaN or infinity", "Repair the file or leave it out."))
        least, most = inside.min(), inside.max()
        if least == most:
            raise ScanError(describe(what, "intensities that vary", f"the constant {least:g}"))
        if self.window is not None:
            return self.window
        if self.method == "percentiles":
            low, high = map(float, np.percentile(inside, [self.low_percent, self.high_percent]))
        elif self.method == "median-iqr":
            first, middle, third = map(float, np.percentile(inside, [25, 50, 75]))
            low, high = middle - self.width * (third - first), middle + self.width * (third - first)
        else:
            mean, deviation = float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64))
            low, high = mean - self.width * deviation, mean + self.width * deviation
        if not high > low:
            remedy = "Nearly all of the body has one value; try method 'zscore'."
            raise ScanError(describe(what, f"a window by {self.method}", f"{low:g} to {high:g}", remedy))
        return low, high


def to_unit_range(
    channel: NDArray[np.float32], low: float, high: float, body: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """``channel`` with ``low`` at −1 and ``high`` at +1, clipped; outside of ``body``, where there is one, −1."""
    mapped: NDArray[np.float32] = channel - np.float32(low)
    mapped *= np.float32(2 / (high - low))
    mapped -= np.float32(1)
    np.clip(mapped, -1, 1, out=mapped)
    if body is not None:
        np.copyto(mapped, np.float32(-1), where=~body)
    return mapped


def chained(before: tuple[float, float] | None, low: float, high: float) -> tuple[float, float]:
    """The window in the scanner's values, also if the scan was mapped once before."""
    if before is None:
        return low, high
    start, half = before[0], (before[1] - before[0]) / 2
    return start + (low + 1) * half, start + (high + 1) * half
