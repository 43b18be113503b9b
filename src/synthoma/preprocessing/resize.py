"""Bring the slices to one square size without changing their aspect."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import background
from synthoma.preprocessing.resampling import resampled_grid, sampled, soft_to_mask
from synthoma.preprocessing.step import StepOptions
from synthoma.records import BODY, Scan

__all__ = ["Resize"]

Vector = NDArray[np.float64]


class Resize(StepOptions):
    """Resample in the plane to ``size`` × ``size`` pixels, square in the patient too, padded with background; or cut
    out as many around the middle.

    One box and one factor for all slices of a volume. Shrinking is antialiased (Gaussian of σ = (factor − 1) / 2).
    Masks are averaged in the same way and cut at one half, which keeps areas better than the nearest voxel; if a
    part would vanish from a slice, its strongest pixel stays and the scan's notes say so.
    """

    step: Literal["resize"] = "resize"
    size: int = Field(default=256, ge=8, le=2048)
    """Pixels a side."""
    crop: Literal["none", "body", "centre"] = "none"
    """``body``: cut to the box around the body over all slices first. ``centre``: keep ``size`` × ``size`` pixels
    around the middle as they are, cut or padded, none interpolated: for pictures that have their object there."""
    margin_pixels: int = Field(default=4, ge=0)
    """Left around the body when cropping."""
    enlarge: bool = False
    """Magnify a picture that is smaller than ``size``; otherwise it is padded only, and no pixel is interpolated."""
    interpolation: Literal["linear", "cubic"] = "linear"
    """Of images: linear, which never goes beyond the values of its neighbours, or cubic B-splines."""

    @model_validator(mode="after")
    def _centre_keeps_pixels(self) -> Resize:
        if self.crop == "centre" and self.enlarge:
            raise ValueError("crop 'centre' keeps the pixels as they are: expected enlarge false, found true")
        return self

    def __call__(self, scan: Scan) -> Scan:
        """The scan on its new grid: a world point stays where it was.

        Raises:
            ScanError: asked to crop to a body that is absent or empty.
        """
        centre, extent = self._box(scan)
        step = np.ones(2) if self.crop == "centre" else self._step(np.asarray(scan.grid.spacing_mm[1:]), extent)
        start = centre - (self.size - 1) / 2 * step
        start = np.where(step == 1, np.floor(start), start)  # at scale 1 pixels are copied, not interpolated
        start, step = np.array([0.0, *start]), np.array([1.0, *step])  # slices stay where they are
        shape = (scan.grid.shape[0], self.size, self.size)
        vanished: dict[str, int] = {}
        masks = {name: _resized(name, mask, shape, start, step, vanished) for name, mask in scan.masks.items()}
        why = "outside the cut" if self.crop == "centre" else "too small for the new pixels"
        notes = [f"{name}: {why} in {n} slices" for name, n in vanished.items()]
        return scan.with_(
            channels={name: self._channel(scan, name, shape, start, step) for name in scan.channels},
            masks=masks,
            grid=resampled_grid(scan.grid, shape, start, step),
            notes=(*scan.notes, *notes),
        )

    def _step(self, spacing: Vector, extent: Vector) -> Vector:
        """Source pixels a new pixel, along y and x."""
        new_spacing = float((extent * spacing).max()) / self.size
        if not self.enlarge:
            new_spacing = max(new_spacing, float(spacing.min()))
        step = new_spacing / spacing
        return np.where(np.isclose(step, 1, rtol=1e-9, atol=0), 1.0, step)

    def _box(self, scan: Scan) -> tuple[Vector, Vector]:
        """Centre and extent (y, x) of what is kept, in source pixels."""
        last = np.array(scan.grid.shape[1:]) - 1
        low, high = np.zeros(2), last.astype(np.float64)
        if self.crop == "body":
            if BODY not in scan.masks or not scan.masks[BODY].any():
                remedy = "Put the step skull_strip before resize, or set crop to 'none'."
                raise ScanError(describe(f"{scan.patient}: step resize", "a mask 'body' to crop to", "none", remedy))
            seen = scan.masks[BODY].any(axis=0)
            for axis in (0, 1):
                along = np.flatnonzero(np.any(seen, axis=1 - axis))
                low[axis] = max(0, along[0] - self.margin_pixels)
                high[axis] = min(last[axis], along[-1] + self.margin_pixels)
        return (low + high) / 2, high - low + 1

    def _channel(
        self, scan: Scan, name: str, shape: tuple[int, int, int], start: Vector, step: Vector
    ) -> NDArray[np.float32]:
        channel = scan.channels[name]
        outside = -1.0 if name in scan.intensity else background(channel)[0]
        result = sampled(channel, shape, start, step, 3 if self.interpolation == "cubic" else 1, outside)
        # Cubic curves overshoot: no value may leave the range that was there.
        return np.clip(result, min(outside, channel.min()), max(outside, channel.max()), out=result)


def _resized(
    name: str,
    mask: NDArray[np.uint8],
    shape: tuple[int, int, int],
    start: Vector,
    step: Vector,
    vanished: dict[str, int],
) -> NDArray[np.uint8]:
    soft = sampled(mask, shape, start, step, 1, 0.0)
    result = soft_to_mask(soft)
    for z in np.flatnonzero(mask.any(axis=(1, 2)) & ~result.any(axis=(1, 2))):
        vanished[name] = vanished.get(name, 0) + 1
        if soft[z].max() > 0:
            result[z].flat[int(np.argmax(soft[z]))] = 1
    return result
