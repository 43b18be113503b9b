"""Bring a scan to one shape of isotropic voxels without changing its aspect."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import background
from synthoma.preprocessing.resampling import resampled_grid, sampled, soft_to_mask
from synthoma.preprocessing.step import StepOptions
from synthoma.records import BODY, Scan

__all__ = ["ResizeVolume"]

Side = Annotated[int, Field(ge=8, le=1024)]
Sides = Annotated[tuple[Side, Side, Side], BeforeValidator(lambda size: (size,) * 3 if isinstance(size, int) else size)]


class ResizeVolume(StepOptions):
    """Resample a scan to ``size`` voxels of one length along all three axes: the shortest with which all of it fits.

    Where voxels grow along an axis it is antialiased (Gaussian of σ = (factor − 1) / 2). What lies outside the scan is
    background. Masks are averaged in the same way and cut at one half; if a part would vanish from the scan, its
    strongest voxel stays and the scan's notes say so.
    """

    step: Literal["resize_volume"] = "resize_volume"
    size: Sides = (64, 64, 64)
    """Voxels along z, y and x; one number for all three."""
    crop: Literal["none", "body"] = "none"
    """``body``: cut to the box around the body first."""
    margin_mm: float = Field(default=4.0, ge=0)
    """Left around the body when cropping."""
    enlarge: bool = False
    """Allow voxels shorter than the scan's shortest; otherwise a small scan is padded instead."""
    interpolation: Literal["linear", "cubic"] = "linear"
    """Of images: linear, which never goes beyond the values of its neighbours, or cubic B-splines."""

    def __call__(self, scan: Scan) -> Scan:
        """The scan on its new grid: a world point stays where it was.

        Raises:
            ScanError: asked to crop to a body that is absent or empty.
        """
        centre, extent = self._box(scan)
        spacing = np.asarray(scan.grid.spacing_mm)
        new_spacing = float((extent * spacing / self.size).max())
        if not self.enlarge:
            new_spacing = max(new_spacing, float(spacing.min()))
        step = new_spacing / spacing  # source voxels a new voxel, along z, y and x
        step = np.where(np.isclose(step, 1, rtol=1e-9, atol=0), 1.0, step)
        start = centre - (np.asarray(self.size) - 1) / 2 * step
        start = np.where(step == 1, np.floor(start), start)  # at scale 1 voxels are copied, not interpolated
        notes: list[str] = []
        masks = {}
        for name, mask in scan.masks.items():
            soft = sampled(mask, self.size, start, step, 1, 0.0)
            masks[name] = soft_to_mask(soft)
            if soft.max() > 0 and not masks[name].any():
                masks[name].flat[int(np.argmax(soft))] = 1
                notes.append(f"{name}: too small for the new voxels")
        return scan.with_(
            channels={
                name: self._channel(channel, start, step, name in scan.intensity)
                for name, channel in scan.channels.items()
            },
            masks=masks,
            grid=resampled_grid(scan.grid, self.size, start, step),
            notes=(*scan.notes, *notes),
        )

    def _box(self, scan: Scan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centre and extent (z, y, x) of what is kept, in source voxels."""
        last = np.array(scan.grid.shape) - 1
        low, high = np.zeros(3), last.astype(np.float64)
        if self.crop == "body":
            if BODY not in scan.masks or not scan.masks[BODY].any():
                remedy = "Put the step skull_strip before resize_volume, or set crop to 'none'."
                what = f"{scan.patient}: step resize_volume"
                raise ScanError(describe(what, "a mask 'body' to crop to", "none", remedy))
            margin = self.margin_mm / np.asarray(scan.grid.spacing_mm)
            for axis in range(3):
                others = tuple(other for other in range(3) if other != axis)
                along = np.flatnonzero(scan.masks[BODY].any(axis=others))
                low[axis] = max(0, along[0] - margin[axis])
                high[axis] = min(last[axis], along[-1] + margin[axis])
        return (low + high) / 2, high - low + 1

    def _channel(
        self,
        channel: NDArray[np.float32],
        start: NDArray[np.float64],
        step: NDArray[np.float64],
        normalised: bool,
    ) -> NDArray[np.float32]:
        outside = -1.0 if normalised else background(channel)[0]
        result = sampled(channel, self.size, start, step, 3 if self.interpolation == "cubic" else 1, outside)
        # Cubic curves overshoot: no value may leave the range that was there.
        return np.clip(result, min(outside, channel.min()), max(outside, channel.max()), out=result)
