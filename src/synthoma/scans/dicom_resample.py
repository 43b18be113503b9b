"""Tilted or uneven slices onto an even grid at right angles, by linear interpolation along their true positions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.scans.dicom_geometry import Array, GeometryRule, finest_step
from synthoma.scans.dicom_pixels import MOST_DECODED_BYTES

__all__ = ["Resampling", "plan", "resample"]

_IN_PLACE_MM = 5e-4
"""A slice no farther from its new place is kept as it is."""
_WHOLE_PIXEL = 1e-6
_MOST_SLICES = 100
"""Times the slices that are there: a fifth of them 1 mm apart and all others 10 mm make 8; sparse ones far more."""


@dataclass(frozen=True)
class Resampling:
    """How an even grid is made out of slices; the same for the image and for masks on its slices."""

    along_mm: Array
    """Place of each slice along the normal."""
    shift: Array
    """(n, 2) rows and columns by which each slice lies off the first."""
    targets_mm: Array
    """Place of each new slice along the normal, even."""
    corner: tuple[int, int]
    """Row and column, counted from the first slice's first pixel, where the new slices begin."""
    shape: tuple[int, int]
    """Rows and columns of the new slices: all that any slice covers."""

    def kept(self, index: int) -> int | None:
        """The slice that new slice ``index`` is, unchanged; ``None`` where it is interpolated."""
        nearest = int(np.argmin(np.abs(self.along_mm - self.targets_mm[index])))
        in_place = abs(self.along_mm[nearest] - self.targets_mm[index]) <= _IN_PLACE_MM
        return nearest if in_place and not np.any(self.shift[nearest] % 1) else None


def plan(
    placed: Array, spacing_mm: tuple[float, float], shape: tuple[int, int], rule: GeometryRule, what: Path
) -> Resampling:
    """The even grid for slices at ``placed`` (n, 3: z, y, x in mm) of ``shape`` (rows, columns).

    The new slices keep the orientation and pixels of the old ones, so that nothing is interpolated across them but what
    the tilt asks for; they are anchored where most old slices stay as they are, and lie between the first and the last.

    Raises:
        ScanError: a gap too wide to be filled, a grid too large to hold.
    """
    along = placed[:, 0] - placed[0, 0]
    steps = np.diff(along)
    if steps.max() > rule.longest_gap_mm:
        at = int(np.argmax(steps))
        raise ScanError(
            describe(
                what,
                f"gaps of at most {rule.longest_gap_mm:g} mm to interpolate over",
                f"{steps[at]:.2f} mm after slice {at + 1} of {len(placed)}",
                "Use a complete series, or set data.geometry.longest_gap_mm.",
            )
        )
    step = finest_step(steps)
    offsets = (along[:, None] - along[None, :]) / step
    in_place = np.abs(offsets - np.rint(offsets)) * step <= _IN_PLACE_MM
    anchor = float(along[int(np.argmax(in_place.sum(axis=1)))])
    slack = _IN_PLACE_MM / step
    first, last = np.ceil(-anchor / step - slack), np.floor((along[-1] - anchor) / step + slack)
    across = placed[:, 1:] - placed[0, 1:]
    if np.linalg.norm(across, axis=1).max() <= rule.tolerance_mm:
        across = np.zeros_like(across)
    shift = across / spacing_mm
    shift = np.where(np.abs(shift - np.rint(shift)) < _WHOLE_PIXEL, np.rint(shift), shift)
    low, high = np.floor(shift.min(axis=0)), np.ceil(shift.max(axis=0))
    size = (last - first + 1, *(np.asarray(shape) + high - low))
    if size[0] > _MOST_SLICES * len(along):
        expected = f"slices that an even grid makes at most {_MOST_SLICES} times as many"
        found = f"{len(along)} that become {size[0]:.0f}, {step:.3g} mm apart"
        raise ScanError(describe(what, expected, found, "Remove the slices that lie too near to each other."))
    if 4 * float(np.prod(size)) > MOST_DECODED_BYTES:  # shifted by a thousand images
        found = " × ".join(f"{number:.0f}" for number in size)
        raise ScanError(describe(what, f"at most {MOST_DECODED_BYTES:,} bytes of voxels when resampled", found))
    return Resampling(
        along_mm=along,
        shift=shift,
        targets_mm=anchor + step * np.arange(first, last + 1),
        corner=(int(low[0]), int(low[1])),
        shape=(int(size[1]), int(size[2])),
    )


def resample(stack: NDArray[np.float32], resampling: Resampling, fill: float) -> NDArray[np.float32]:
    """``stack`` (one slice for each of ``resampling.along_mm``) on the new grid; ``fill`` where no slice reaches."""
    along = resampling.along_mm
    made = np.empty((len(resampling.targets_mm), *resampling.shape), dtype=np.float32)
    shifted: dict[int, NDArray[np.float32]] = {}
    for index, target in enumerate(resampling.targets_mm):
        below = int(np.clip(np.searchsorted(along, target, side="right") - 1, 0, len(along) - 2))
        weight = float(np.clip((target - along[below]) / (along[below + 1] - along[below]), 0, 1))
        exact = resampling.kept(index)
        if exact is not None:
            below, weight = (exact, 0.0) if exact < len(along) - 1 else (exact - 1, 1.0)
        shifted = {
            i: shifted[i] if i in shifted else _shifted(stack[i], resampling, resampling.shift[i], fill)
            for i in (below, below + 1)
        }
        if weight in (0.0, 1.0):
            made[index] = shifted[below + int(weight)]
        else:
            made[index] = (1 - weight) * shifted[below] + weight * shifted[below + 1]
    return made


def _shifted(image: NDArray[np.float32], resampling: Resampling, shift: Array, fill: float) -> NDArray[np.float32]:
    """A slice on the raster of the new ones, bilinear."""
    from scipy.ndimage import affine_transform

    offset = np.asarray(resampling.corner) - shift
    if not np.any(offset) and image.shape == resampling.shape:
        return image
    moved: NDArray[np.float32] = affine_transform(
        image, np.ones(2), offset=offset, output_shape=resampling.shape, order=1, mode="constant", cval=fill
    )
    return moved
