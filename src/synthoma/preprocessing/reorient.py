"""Turn a scan's arrays to the nearest anatomical axes; nothing is resampled."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from synthoma.preprocessing.step import StepOptions
from synthoma.records import Grid, Scan

__all__ = ["Reorient", "turned_to"]

_AXES = ("LR", "PA", "IS")


class Reorient(StepOptions):
    """Flip and transpose to the wanted axis codes. A scan whose file says nothing of geometry is left alone."""

    step: Literal["reorient"] = "reorient"
    to: str = "LPS"
    """Axis codes in NIfTI order (x, y, z): the patient's direction in which each index grows."""

    @field_validator("to")
    @classmethod
    def _three_directions(cls, to: str) -> str:
        if sorted(_world_axis(code) for code in to) != [0, 1, 2]:
            raise ValueError(f"expected one letter each of L/R, P/A and I/S, such as LPS, found '{to}'")
        return to

    def __call__(self, scan: Scan) -> Scan:
        """The same voxels at the same world positions, their indices in another order."""
        if not scan.grid.known:
            return scan
        turned = turned_to(scan, self.to)
        if turned is scan:
            return scan
        note = f"reoriented from {scan.grid.orientation} to {self.to}"
        return turned.with_(notes=(*scan.notes, note))


def turned_to(scan: Scan, to: str) -> Scan:
    """The scan with its axes in the wanted order and direction, by what its grid says, known or not."""
    order, flips = _moves(scan.grid, to)
    if order == (0, 1, 2) and not any(flips):
        return scan

    def turn(array: NDArray[Any]) -> NDArray[Any]:
        turned = np.transpose(array, order)
        return np.ascontiguousarray(turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)])

    return scan.with_(
        channels={name: turn(array) for name, array in scan.channels.items()},
        masks={name: turn(array) for name, array in scan.masks.items()},
        grid=_turned(scan.grid, order, flips),
    )


def _world_axis(code: str) -> int:
    return next((axis for axis, codes in enumerate(_AXES) if code in codes), -1)


def _moves(grid: Grid, to: str) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which source axis becomes each of (z, y, x), and whether it is flipped afterwards."""
    direction = np.asarray(grid.direction)
    wanted = [(_world_axis(code), 1.0 if code in "RAS" else -1.0) for code in reversed(to)]
    # The best of the six orders: choosing axis by axis could take one axis twice on an oblique scan.
    order = max(
        itertools.permutations(range(3)),
        key=lambda p: sum(abs(direction[p[i], wanted[i][0]]) for i in range(3)),
    )
    flips = [bool(direction[order[i], wanted[i][0]] * wanted[i][1] < 0) for i in range(3)]
    return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])


def _turned(grid: Grid, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Grid:
    origin = np.asarray(grid.origin_mm)
    shape, spacing, direction = [], [], []
    for source, flip in zip(order, flips, strict=True):
        unit = np.asarray(grid.direction[source])
        if flip:  # the new first voxel is the old last one
            origin = origin + unit * grid.spacing_mm[source] * (grid.shape[source] - 1)
            unit = -unit
        shape.append(grid.shape[source])
        spacing.append(grid.spacing_mm[source])
        direction.append((float(unit[0]), float(unit[1]), float(unit[2])))
    return Grid(
        (shape[0], shape[1], shape[2]),
        (spacing[0], spacing[1], spacing[2]),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(direction),
        grid.known,
    )
