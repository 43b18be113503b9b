"""What lies around the patient: its value, and the voxels that are not it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.records import BODY, Scan

__all__ = ["background", "body_or_foreground", "foreground", "lesion"]


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
    """The union of the lesion masks; all false without any."""
    found = np.zeros(scan.grid.shape, dtype=bool)
    for name, mask in scan.masks.items():
        if name != BODY:
            found |= mask > 0
    return found
