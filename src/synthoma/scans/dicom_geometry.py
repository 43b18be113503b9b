"""Where the slices of a series lie: their order, the grid that they make up, and what is wrong with it.

Positions and orientations are those of PS3.3 C.7.6.2: LPS millimetres, of the centre of a slice's first pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import Grid

__all__ = ["GeometryRule", "Plane", "check_directions", "in_order", "irregularity", "lps_grid", "without_duplicates"]

Array = NDArray[np.float64]

SAME_PLACE_MM = 1e-2
"""Slices nearer to each other are at one place."""
_SAME_DIRECTION = 1e-3


class GeometryRule(Options):
    """What to do with a series whose slices do not make up an even grid at right angles."""

    irregular: Literal["refuse", "resample", "keep"] = "refuse"
    """Uneven steps, missing slices, a gantry tilt, several different slices at one place: ``refuse`` the series with
    the figures, or ``resample`` it by linear interpolation along the true positions onto an even grid without tilt. Its
    step is the smallest that at least a fifth of the steps do not exceed. Of several slices at one place the first
    counts then. ``keep`` takes the slices as they are, for work on single slices: the distance between them is then
    their median, and the scan's notes say what is wrong with it."""
    tolerance_mm: float = Field(0.1, gt=0, le=10)
    """A slice that lies no farther from its place on the even grid is in its place. Positions are often rounded."""
    longest_gap_mm: float = Field(10.0, gt=0, le=1000)
    """Over wider gaps nothing is interpolated: the series is refused even by ``resample``."""
    mixed: Literal["refuse", "split"] = "refuse"
    """A series of several sizes or orientations (a localizer among the slices): ``refuse`` all of it, or ``split`` it
    into scans of one size and orientation each."""


@dataclass(frozen=True)
class Plane:
    """One slice as its header describes it."""

    sop_uid: str
    frame: int
    """Number of the frame in its file, from 1."""
    instance_number: int | None
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, float] | None
    """Distance of rows and of columns."""
    thickness_mm: float | None = None
    """Distance of slices that the header states; used only where positions tell none."""


def axes(orientation: Sequence[float]) -> Array:
    """Unit vectors (LPS) along the normal, down a column, along a row: the directions of z, y, x."""
    row, column = np.asarray(orientation[:3], dtype=np.float64), np.asarray(orientation[3:], dtype=np.float64)
    return np.stack([np.cross(row, column), column, row])


def positions(planes: Sequence[Plane]) -> Array | None:
    """(n, 3) positions in the axes' coordinates (z, y, x), mm; ``None`` where they are void: absent, or all zero."""
    found = [plane.position for plane in planes]
    first = planes[0].orientation
    if first is None or any(position is None for position in found):
        return None
    if len(found) > 1 and not np.any(np.asarray(found, dtype=np.float64)):
        return None
    placed: Array = np.asarray(found, dtype=np.float64) @ axes(first).T
    return placed


def check_directions(planes: Sequence[Plane], what: Path) -> None:
    """Refuse slices of one series that differ in orientation or pixel spacing, or of which some have no position.

    Raises:
        ScanError: with the figures.
    """
    for name in ("position", "orientation", "spacing_mm"):
        missing = sum(getattr(plane, name) is None for plane in planes)
        if 0 < missing < len(planes):
            raise ScanError(
                describe(what, f"{name} of every slice or of none", f"none in {missing} of {len(planes)} slices")
            )
    first = planes[0]
    for plane in planes:
        for name, unit in (("orientation", ""), ("spacing_mm", " mm")):
            one, other = getattr(first, name), getattr(plane, name)
            if one is not None and max(abs(a - b) for a, b in zip(one, other, strict=True)) > _SAME_DIRECTION:
                word = "orientation" if name == "orientation" else "pixel spacing"
                found = f"{_shown(one)}{unit} and {_shown(other)}{unit}"
                if name == "orientation":
                    found += f" (normals {_angle(axes(one)[0], axes(other)[0]):.1f}° apart)"
                raise ScanError(describe(what, f"slices of one {word}", found))


def in_order(planes: Sequence[Plane], what: Path) -> tuple[list[int], tuple[str, ...]]:
    """The order of the slices: by position along the normal, or by instance number where positions are void.

    Returns:
        Indices of ``planes``, and notes.

    Raises:
        ScanError: neither positions nor instance numbers.
    """
    placed = positions(planes)
    numbers = [plane.instance_number for plane in planes]
    if placed is not None:
        keys = [(round(float(z) / SAME_PLACE_MM), number or 0) for z, number in zip(placed[:, 0], numbers, strict=True)]
        return sorted(range(len(planes)), key=lambda i: (keys[i], planes[i].frame)), ()
    if len(planes) == 1:
        return [0], ("the header gives no position in the patient",)
    ordered = sorted(range(len(planes)), key=lambda i: (numbers[i] or 0, planes[i].frame))
    if len({(plane.instance_number, plane.frame) for plane in planes}) < len(planes):
        raise ScanError(describe(what, "positions or instance numbers that tell the slices' order", "neither"))
    return ordered, ("slices without positions: ordered by instance number, their distance is not known for sure",)


def without_duplicates(
    planes: Sequence[Plane], same: Callable[[int, int], bool], rule: GeometryRule, what: Path
) -> tuple[list[int], tuple[str, ...]]:
    """Indices of ``planes``, which are in order, without those at the place of the one before.

    Copies (``same`` compares the pixels of two slices) are dropped with a note; others by ``resample`` only.

    Raises:
        ScanError: different slices at one place, and the rule is ``refuse``.
    """
    placed = positions(planes)
    if placed is None:
        return list(range(len(planes))), ()
    kept: list[int] = []
    copies = others = 0
    for i in range(len(planes)):
        if not kept or np.linalg.norm(placed[i] - placed[kept[-1]]) > SAME_PLACE_MM:
            kept.append(i)
        elif same(i, kept[-1]):
            copies += 1
        else:
            others += 1
    if others and rule.irregular != "resample":
        raise ScanError(
            describe(
                what,
                "one slice at each place",
                f"{others + len(kept)} different slices at {len(kept)} places (several phases, echoes or repetitions?)",
                "Separate them, or keep the first of each place with data.geometry.irregular=resample.",
            )
        )
    notes = []
    if copies:
        notes.append(f"{copies} duplicate slices dropped")
    if others:
        notes.append(f"{others} slices dropped that differ from the first at their place")
    return kept, tuple(notes)


def irregularity(placed: Array, tolerance_mm: float) -> str:
    """What keeps slices at ``placed`` (n, 3: z, y, x, in mm) from an even grid at right angles, in words with figures.

    Empty where every slice lies within ``tolerance_mm`` of its place.
    """
    if len(placed) < 2:
        return ""
    faults = []
    along, across = placed[:, 0], placed[:, 1:] - placed[0, 1:]
    shift = float(np.linalg.norm(across, axis=1).max())
    if shift > tolerance_mm:
        length = float(along[-1] - along[0])
        tilt = math.degrees(math.atan2(float(np.linalg.norm(across[-1])), length))
        faults.append(
            f"a gantry tilt of {tilt:.1f}° (the slices shift sideways by {shift:.2f} mm over {length:.2f} mm)"
        )
    even = np.linspace(along[0], along[-1], len(along))
    if float(np.abs(along - even).max()) > tolerance_mm:
        faults.append(_uneven(np.diff(along), tolerance_mm))
    return "; ".join(faults)


def finest_step(steps: Array) -> float:
    """The smallest distance that at least a fifth of the steps do not exceed, so that no odd one decides."""
    return float(np.sort(steps)[len(steps) // 5])


def lps_grid(
    shape: tuple[int, int, int], plane: Plane, step_mm: float, origin: Array | None = None, *, known: bool = True
) -> Grid:
    """The grid (RAS) of slices ``step_mm`` apart along the normal; ``plane`` is the first of them.

    Args:
        origin: position of the first voxel (LPS) where it is not the plane's own.
    """
    directions = axes(plane.orientation or (1, 0, 0, 0, 1, 0)) * (-1, -1, 1) + 0.0
    start = np.asarray(plane.position or (0, 0, 0), dtype=np.float64) if origin is None else origin
    spacing = plane.spacing_mm or (1.0, 1.0)
    x, y, z = (float(value) for value in start)
    return Grid(
        shape,
        (step_mm, *spacing),
        (0.0 - x, 0.0 - y, z + 0.0),  # no −0.0
        tuple((float(a), float(b), float(c)) for a, b, c in directions),
        known,
    )


def _uneven(steps: Array, tolerance_mm: float) -> str:
    step = finest_step(steps)
    counts = np.maximum(np.rint(steps / step), 1)
    at = int(np.argmax(steps))
    widest = f"the widest, {steps[at]:.2f} mm, after slice {at + 1} of {len(steps) + 1}"
    if np.abs(steps - counts * step).max() <= tolerance_mm:
        return f"{int(counts.sum()) - len(steps)} slices missing (steps of {step:.2f} mm, {widest})"
    typical = float(np.median(steps))
    return f"uneven steps of {steps.min():.2f} to {steps.max():.2f} mm (median {typical:.2f} mm; {widest})"


def _shown(values: Sequence[float]) -> str:
    return "/".join(f"{value:.4g}" for value in values)


def _angle(one: Array, other: Array) -> float:
    return math.degrees(math.acos(float(np.clip(one @ other, -1, 1))))
