"""Bring a scan to voxels of a wanted length."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import background
from synthoma.preprocessing.resampling import resampled_grid, sampled, soft_to_mask
from synthoma.preprocessing.step import StepOptions
from synthoma.records import Scan

__all__ = ["Resample"]

Vector = NDArray[np.float64]
Length = Annotated[float, Field(gt=0, le=100)]
Lengths = Annotated[
    tuple[Length | None, Length | None, Length | None],
    BeforeValidator(lambda length: (length,) * 3 if isinstance(length, int | float) else length),
]

LARGEST = 2**31
"""Voxels of a channel, 8 GiB; more is a mistake in the spacing."""


class Resample(StepOptions):
    """Resample to voxels of ``spacing_mm``; the scan keeps its place, its axes and, to half a voxel, its extent.

    Images are read from a cubic B-spline (Unser, Aldroubi & Eden, IEEE TSP 41(2), 1993) or linearly, and averaged
    first where voxels grow (Gaussian of σ = (factor − 1) / 2 source voxels, as in ``resize``). The values are those of
    ``SimpleITK.Resample``. A mask that would vanish keeps its strongest voxel, and the scan's notes say so.
    """

    step: Literal["resample"] = "resample"
    spacing_mm: Lengths = (1.0, 1.0, 1.0)
    """Length of a voxel along z, y and x; one number for all three. ``null`` keeps an axis: ``[null, 1, 1]``."""
    interpolation: Literal["linear", "cubic"] = "cubic"
    """Of images: cubic B-splines, or linear, which never goes beyond the values of its neighbours."""
    masks: Literal["nearest", "linear"] = "nearest"
    """``nearest``: the value of the nearest voxel. ``linear``: averaged as the images, interpolated and cut at one
    half, which keeps volumes better where voxels grow."""
    antialias: bool = True
    """Average before voxels grow; without it fine texture turns into noise."""

    def __call__(self, scan: Scan) -> Scan:
        """The scan on its new grid: a world point stays where it was.

        Raises:
            ScanError: the file says nothing of the spacing, a value is not finite, or the result would be huge.
        """
        shape, start, step = self._geometry(scan)
        if (step == 1).all():
            return scan
        masks, notes = {}, []
        for name, mask in scan.masks.items():
            masks[name] = self._mask(mask, shape, start, step)
            if mask.any() and not masks[name].any():
                masks[name][_nearest_to(mask, shape, start, step)] = 1
                notes.append(f"{name}: too small for the new voxels")
        return scan.with_(
            channels={name: self._channel(scan, name, shape, start, step) for name in scan.channels},
            masks=masks,
            grid=resampled_grid(scan.grid, shape, start, step),
            notes=(*scan.notes, *notes),
        )

    def _geometry(self, scan: Scan) -> tuple[tuple[int, int, int], Vector, Vector]:
        """Shape, first voxel and step of the new grid, in source voxels; its middle is that of the old one."""
        what = f"{scan.patient}: step resample"
        if not scan.grid.known:
            remedy = "Use resize, which needs no spacing."
            raise ScanError(describe(what, "a file that tells the spacing", "none", remedy))
        old = np.asarray(scan.grid.spacing_mm)
        new = np.array([length or kept for length, kept in zip(self.spacing_mm, old, strict=True)])
        step = np.where(np.isclose(new, old, rtol=1e-6, atol=0), 1.0, new / old)
        count = np.maximum(np.rint(np.asarray(scan.grid.shape) / step), 1)
        if np.prod(count) > LARGEST:
            found = " × ".join(f"{n:.0f}" for n in count)
            raise ScanError(describe(what, f"at most {LARGEST} voxels", found, "Raise spacing_mm."))
        start = (np.asarray(scan.grid.shape) - 1 - (count - 1) * step) / 2
        return (int(count[0]), int(count[1]), int(count[2])), start, step

    def _channel(
        self,
        scan: Scan,
        name: str,
        shape: tuple[int, int, int],
        start: Vector,
        step: Vector,
    ) -> NDArray[np.float32]:
        channel = scan.channels[name]
        low, high = float(channel.min()), float(channel.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            what = f"{scan.patient}: step resample, channel {name}"
            raise ScanError(describe(what, "finite values", "NaN or infinity", "Repair the file or leave it out."))
        outside = -1.0 if name in scan.intensity else background(channel)[0]
        order: Literal[1, 3] = 3 if self.interpolation == "cubic" else 1
        result = sampled(channel, shape, start, step, order, outside, antialias=self.antialias)
        # Cubic curves overshoot: no value may leave the range that was there.
        return np.clip(result, min(outside, low), max(outside, high), out=result)

    def _mask(
        self,
        mask: NDArray[np.uint8],
        shape: tuple[int, int, int],
        start: Vector,
        step: Vector,
    ) -> NDArray[np.uint8]:
        if self.masks == "linear":
            return soft_to_mask(sampled(mask, shape, start, step, 1, 0.0, antialias=self.antialias))
        places = [
            np.clip(np.floor(first + np.arange(count) * by + 0.5), 0, size - 1).astype(int)
            for first, count, by, size in zip(start, shape, step, mask.shape, strict=True)
        ]
        return np.ascontiguousarray(mask[np.ix_(*places)])


def _nearest_to(mask: NDArray[Any], shape: tuple[int, int, int], start: Any, step: Any) -> tuple[int, ...]:
    """The new voxel nearest to the middle of a mask."""
    middle = np.array([(indices.min() + indices.max()) / 2 for indices in np.nonzero(mask)])
    return tuple(np.clip(np.rint((middle - start) / step), 0, np.asarray(shape) - 1).astype(int).tolist())
