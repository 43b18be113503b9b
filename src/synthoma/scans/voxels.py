"""From a file's numbers to channels and masks, and what no channel and no mask may hold."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe

__all__ = ["as_channel", "as_mask", "as_whole_numbers", "numbers"]

_WHOLE_NUMBER_TOLERANCE = 1e-3
"""Labels stored as scaled integers or floats come back as 0.99999997."""


_LARGEST_LABEL = 2**53  # beyond, not every whole number is one of double precision


def numbers(values: Collection[Any], most: int = 8) -> str:
    """``1, 2, 4``; long lists are cut."""
    shown = sorted(values)[:most]
    return ", ".join(f"{value:g}" for value in shown) + (", …" if len(values) > most else "")


def as_channel(array: NDArray[Any], what: str) -> NDArray[np.float32]:
    """``array`` as float32; ``what`` (file or channel) names it in the error.

    Raises:
        ScanError: no real numbers, NaN or infinite values, or the same value everywhere.
    """
    if array.dtype.kind not in "buif":
        raise ScanError(describe(what, "real numbers", f"values of type {array.dtype}"))
    if array.size == 0:
        raise ScanError(describe(what, "voxels", f"none (shape {array.shape})"))
    with np.errstate(over="ignore"):  # becomes infinite, which is refused below
        channel = np.ascontiguousarray(array, dtype=np.float32)
    low, high = float(channel.min()), float(channel.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int(np.count_nonzero(~np.isfinite(channel)))
        raise ScanError(describe(what, "finite intensities", f"{count} voxels that are NaN or infinite"))
    if low == high:
        raise ScanError(describe(what, "an image", f"the constant {low:g} in every voxel"))
    return channel


def as_whole_numbers(array: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Labels as integers; values within 0.001 of one are rounded.

    Raises:
        ScanError: other values.
    """
    if array.dtype.kind in "bui":
        return array.astype(np.int64)
    if array.dtype.kind != "f":
        raise ScanError(describe(what, "labels (whole numbers)", f"values of type {array.dtype}"))
    with np.errstate(invalid="ignore"):
        rounded = np.rint(array)
        wrong = ~((np.abs(array - rounded) <= _WHOLE_NUMBER_TOLERANCE) & (np.abs(rounded) < _LARGEST_LABEL))
    if wrong.any():
        values = set(np.unique(array[wrong])[:9].tolist())
        raise ScanError(describe(what, "labels (whole numbers)", numbers(values)))
    whole: NDArray[np.int64] = rounded.astype(np.int64)
    return whole


def as_mask(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """A mask of 0 and 1 from one of zero and a single other value (1 or 255 as a rule).

    Raises:
        ScanError: several non-zero values: labels, or the traces of a lossy compression.
    """
    labels = as_whole_numbers(array, what)
    values = set(np.unique(labels[labels != 0]).tolist())
    if len(values) > 1:
        raise ScanError(describe(what, "a mask of 0 and one other value", f"the values {numbers(values | {0})}"))
    return np.ascontiguousarray(labels != 0).astype(np.uint8)
