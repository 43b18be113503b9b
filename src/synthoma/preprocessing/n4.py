"""Correction of the slow brightness changes that the coil leaves in an MR image."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import body_or_foreground
from synthoma.preprocessing.step import StepOptions
from synthoma.records import Scan

__all__ = ["N4"]


class N4(StepOptions):
    """N4 bias field correction of each channel (Tustison et al., IEEE TMI 29(6), 2010) by SimpleITK.

    The field has a geometric mean of 1 over the body, so values stay in the scanner's unit. One thread: the result
    does not depend on the machine's number of cores.
    """

    step: Literal["n4"] = "n4"
    shrink: int = Field(default=4, ge=1, le=16)
    """The field is estimated on a picture this many times coarser. Fewer along an axis of few slices."""
    iterations: int = Field(default=50, ge=1)
    """At most this many at each level."""
    levels: int = Field(default=3, ge=1, le=6)
    """Levels of the B-spline field, each twice as fine as the one before."""

    def __call__(self, scan: Scan) -> Scan:
        """The scan with every channel divided by its field.

        Raises:
            ScanError: the scan is CT, or more than a tenth of a channel's body is not positive (a standardised scan).
        """
        if scan.modality == "CT":
            what = f"{scan.patient}: step n4"
            raise ScanError(
                describe(what, "an MR scan", "CT, whose values are physical", "Set the step's modality to MR.")
            )
        body = body_or_foreground(scan)
        channels, notes = {}, []
        for name, channel in scan.channels.items():
            inside = body & (channel > 0)
            if inside.sum() <= 0.9 * body.sum():
                share = 100 - 100 * inside.sum() / max(int(body.sum()), 1)
                what = f"{scan.patient}: step n4, channel {name}"
                remedy = "Standardised scans cannot be corrected: leave this step out."
                raise ScanError(describe(what, "positive intensities", f"{share:.0f} % at or below zero", remedy))
            field = self._log_field(channel, inside, scan.grid.spacing_mm)
            field -= float(field[inside].mean())
            channels[name] = (channel / np.exp(field)).astype(np.float32)
            low, high = np.exp(np.percentile(field[inside], [1, 99]))
            notes.append(f"{name}: bias field {low:.2f} to {high:.2f}")
        return scan.with_(channels=channels, notes=(*scan.notes, *notes))

    def _log_field(
        self, channel: NDArray[np.float32], inside: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
    ) -> NDArray[np.float64]:
        import SimpleITK

        image = SimpleITK.GetImageFromArray(channel)
        mask = SimpleITK.GetImageFromArray(inside.astype(np.uint8))
        for picture in (image, mask):
            picture.SetSpacing(tuple(reversed(spacing_mm)))
        factors = [max(1, min(self.shrink, size // 16)) for size in reversed(channel.shape)]
        correction = SimpleITK.N4BiasFieldCorrectionImageFilter()
        correction.SetMaximumNumberOfIterations([self.iterations] * self.levels)
        correction.SetNumberOfThreads(1)
        correction.Execute(SimpleITK.Shrink(image, factors), SimpleITK.Shrink(mask, factors))
        field = SimpleITK.GetArrayFromImage(correction.GetLogBiasFieldAsImage(image))
        return np.asarray(field, dtype=np.float64)
