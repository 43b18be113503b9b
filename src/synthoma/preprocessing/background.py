"""What lies around the patient: its value, and the voxels that are not it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.records import BODY, Scan, part_of

__all__ = ["background", "body_or_foreground", "check_normalised", "foreground", "lesion", "masks_of", "union"]


def background(channel: NDArray[Any]) -> tuple[float, float]:
    """The most frequent value on the four in-plane sides of a (z, y, x) channel, and the share of them that has it."""
    sides = [channel[:, 0], channel[:, -1], channel[:, :, 0], channel[:, :, -1]]
    values, counts = np.unique(np.concatenate([side.ravel() for side in sides]), return_counts=True)
    most = int(np.argmax(counts))
    return float(values[most]), float(counts[most] / counts.sum())


def foreground(scan: Scan) -> NDArray[np.bool_]:
    """Voxels at which some channel differs from its background.

    "Above zero" would be wrong: resampling leaves negative values in a brain, and the background of a standardised
    scan is a negative constant.
    """
    found = np.zeros(scan.grid.shape, dtype=bool)
    for channel in scan.channels.values():
        found |= channel != np.float32(background(channel)[0])
    return found


def body_or_foreground(scan: Scan) -> NDArray[np.bool_]:
    """The body mask, or the foreground of a scan that has none."""
    return scan.masks[BODY] > 0 if BODY in scan.masks else foreground(scan)


def lesion(scan: Scan) -> NDArray[np.bool_]:
    """The union of the lesion masks; all false without any. Organs are no lesions."""
    return union(scan, scan.lesions)


def union(scan: Scan, masks: Iterable[str]) -> NDArray[np.bool_]:
    """Voxels that some of the masks hold; all false without any."""
    found = np.zeros(scan.grid.shape, dtype=bool)
    for name in masks:
        np.logical_or(found, scan.masks[name], out=found)
    return found


def masks_of(scan: Scan, part: str) -> tuple[str, ...]:
    """The masks that make up a part: the one of that name, and its single findings (``nodule``: ``nodule-1``, …)."""
    return tuple(name for name in scan.masks if part in (name, part_of(name)))


def check_normalised(scan: Scan, channels: Iterable[str], step: str = "") -> None:
    """Refuse a scan whose values are still the scanner's."""
    for name in channels:
        if name not in scan.intensity:
            what = f"{scan.patient}: step {step}, channel {name}" if step else f"{scan.patient}: channel {name}"
            remedy = "Add the step normalise to preprocessing.steps."
            if step:
                remedy = f"Put {step} after the step normalise or windows."
            raise ScanError(describe(what, "values in [−1, 1]", "scanner values", remedy))
