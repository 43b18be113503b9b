"""Cut a scan to the box around an organ or a lesion."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import background, masks_of, union
from synthoma.preprocessing.resampling import resampled_grid, sampled
from synthoma.preprocessing.step import StepOptions
from synthoma.records import Scan

__all__ = ["CropRoi"]

Length = Annotated[float, Field(gt=0, le=2000)]
Lengths = Annotated[
    tuple[Length | None, Length | None, Length | None],
    BeforeValidator(lambda length: (length,) * 3 if isinstance(length, int | float) else length),
]


class CropRoi(StepOptions):
    """Cut to the box around a region of interest and its margin; voxels are kept as they are, none is interpolated."""

    step: Literal["crop_roi"] = "crop_roi"
    around: str = Field(default="lesion", min_length=1)
    """``lesion``: all lesions together. Otherwise a mask by its name, such as ``body`` or ``liver``; ``nodule`` is also
    all of ``nodule-1``, ``nodule-2``, …"""
    margin_mm: float = Field(default=10.0, ge=0)
    """Left around the region on every side, as far as the scan reaches."""
    size_mm: Lengths | None = None
    """A box of this size around the middle of the region instead of its own extent and margin: one number, or z, y, x,
    where ``null`` keeps the region's extent and margin. What the scan does not reach is background."""

    def __call__(self, scan: Scan) -> Scan:
        """The scan within the box: a world point stays where it was.

        Raises:
            ScanError: the scan has no such mask, or it is empty.
        """
        region = self._region(scan)
        spacing = np.asarray(scan.grid.spacing_mm)
        first, count = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
        for axis, size_mm in enumerate(self.size_mm or (None,) * 3):
            others = tuple(other for other in range(3) if other != axis)
            along = np.flatnonzero(region.any(axis=others))
            if size_mm is None:
                margin = int(np.ceil(self.margin_mm / spacing[axis] - 1e-9))
                first[axis] = max(0, along[0] - margin)
                count[axis] = min(scan.grid.shape[axis], along[-1] + margin + 1) - first[axis]
            else:
                count[axis] = max(1, int(np.rint(size_mm / spacing[axis])))
                first[axis] = int(np.floor((along[0] + along[-1] - count[axis] + 1) / 2 + 0.5))
        shape = (int(count[0]), int(count[1]), int(count[2]))
        masks = {name: _box(mask, first, shape, 0) for name, mask in scan.masks.items()}
        lost = [name for name in scan.lesions if scan.masks[name].any() and not masks[name].any()]
        channels = {
            name: _box(channel, first, shape, -1.0 if name in scan.intensity else None)
            for name, channel in scan.channels.items()
        }
        return scan.with_(
            channels=channels,
            masks=masks,
            grid=resampled_grid(scan.grid, shape, first.astype(np.float64), np.ones(3)),
            notes=(*scan.notes, *(f"{name}: outside the box around {self.around}" for name in lost)),
        )

    def _region(self, scan: Scan) -> NDArray[np.bool_]:
        names = scan.lesions if self.around == "lesion" else masks_of(scan, self.around)
        region = union(scan, names)
        if not region.any():
            found = "an empty one" if names else f"the masks {', '.join(scan.masks) or '(none)'}"
            what = f"{scan.patient}: step crop_roi"
            raise ScanError(describe(what, f"a mask '{self.around}' to crop around", found))
        return region


def _box(array: NDArray[Any], first: NDArray[np.intp], shape: tuple[int, int, int], outside: float | None) -> Any:
    """A view where the scan holds all of the box; else a copy, padded."""
    last = first + shape
    if (first >= 0).all() and (last <= array.shape).all():
        return array[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    value = background(array)[0] if outside is None else outside
    return sampled(array, shape, first.astype(np.float64), np.ones(3), 1, value).astype(array.dtype, copy=False)
