"""Shapes in space: signed distances in millimetres, and how they are put into an image.

Coordinates are the patient's, (x, y, z) to the left, back and head (LPS), with the origin in the middle of the first
lumbar vertebra; arrays are (z, y, x). A distance is negative inside a shape. Ellipsoids by the estimate of I. Quilez,
"Ellipsoid SDF" (iquilezles.org): exact on the surface and to first order near it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthoma.seeding import generator

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Box", "Grid", "Space", "ellipsoid", "join", "meet", "paint", "path", "smooth_field", "tube"]

Volume = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating[Any]]
"""What NumPy's types make of float32 arrays and plain numbers, which stay float32."""
Box = tuple[slice, slice, slice]
Point = tuple[float, float, float]
Corner = Sequence[float] | npt.NDArray[np.float64]

_EXTENT_MM = ((-160.0, 160.0), (-270.0, 180.0), (-215.0, 215.0))
"""Where random fields are defined (z, y, x): larger than any examination."""


@dataclass(frozen=True)
class Grid:
    """Voxels (z, y, x) of one examination."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    first_mm: Point
    """Where the centre of voxel [0, 0, 0] is, (x, y, z)."""

    def axis(self, index: int) -> npt.NDArray[np.float32]:
        """Positions of the voxels along array axis ``index`` (0 is z)."""
        steps = np.arange(self.shape[index], dtype=np.float32) * np.float32(self.spacing_mm[index])
        return steps + np.float32(self.first_mm[2 - index])

    def box(self, low: Corner, high: Corner, margin_mm: float = 0.0) -> Box:
        """The voxels between two corners (x, y, z); empty slices where they lie off the grid."""
        slices = []
        for index in range(3):
            first, step, count = self.first_mm[2 - index], self.spacing_mm[index], self.shape[index]
            start = int(np.floor((low[2 - index] - margin_mm - first) / step))
            stop = int(np.ceil((high[2 - index] + margin_mm - first) / step)) + 1
            slices.append(slice(min(max(start, 0), count), min(max(stop, 0), count)))
        return slices[0], slices[1], slices[2]


def smooth_field(seed: int, name: str, grid: Grid, lattice_mm: float, box: Box | None = None) -> Volume:
    """A smooth random field of unit variance: cubic B-splines over a lattice of independent normal values.

    The lattice is fixed in millimetres, so the same field can be had on any grid. Sparse products sum in a fixed order:
    the result does not depend on the number of threads.
    """
    axes = [grid.axis(index)[box[index] if box else slice(None)] for index in range(3)]
    counts = [int(np.ceil((high - low) / lattice_mm)) + 4 for low, high in _EXTENT_MM]
    field = generator(seed, "field", name).standard_normal(counts, dtype=np.float32)
    field /= np.float32((151 / 315) ** 1.5)  # 151/315: mean sum of squared spline weights
    for index in (2, 1, 0):  # z last: its rows are whole slices, so the largest product runs along memory
        spline = _splines(axes[index], *_EXTENT_MM[index], lattice_mm, counts[index])
        first = np.ascontiguousarray(np.moveaxis(field, index, 0))
        rest = first.shape[1:]
        field = np.moveaxis((spline @ first.reshape(counts[index], -1)).reshape(-1, *rest), 0, index)
    return field


def _splines(positions: Volume, low: float, high: float, lattice_mm: float, count: int) -> sparse.csr_array:
    """Weights (positions, count) of the four cubic B-splines that reach each position."""
    from scipy import sparse

    cell, u = np.divmod((np.clip(positions, low, high) - np.float32(low)) / np.float32(lattice_mm), 1.0)
    weights = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], axis=1) / 6
    columns = cell.astype(int)[:, None] + np.arange(4)
    rows = np.repeat(np.arange(len(positions)), 4)
    return sparse.csr_array((weights.astype(np.float32).ravel(), (rows, columns.ravel())), (len(positions), count))


class Space:
    """The grid as one patient's body bends it: organs are simple shapes of the coordinates that stand here."""

    def __init__(self, seed: int, grid: Grid, bend_mm: float, ripple_mm: float) -> None:
        self.seed, self.grid = seed, grid
        straight = (grid.axis(2), grid.axis(1)[:, None], grid.axis(0)[:, None, None])
        self.xyz = [
            axis
            + np.float32(bend_mm) * smooth_field(seed, f"bend-{name}", grid, 60.0)
            + np.float32(ripple_mm) * smooth_field(seed, f"ripple-{name}", grid, 24.0)
            for name, axis in zip("xyz", straight, strict=True)
        ]
        self.reach_mm = 3.0 * bend_mm + 2.0 * ripple_mm
        """How far a bent point can be from where it looks: boxes are drawn this much larger."""

    def box(self, low: Corner, high: Corner, margin_mm: float = 0.0) -> Box:
        """A box that holds all that may lie between two corners (x, y, z)."""
        return self.grid.box(low, high, margin_mm + self.reach_mm)

    def at(self, box: Box) -> tuple[Volume, Volume, Volume]:
        """The bent coordinates x, y, z in a box."""
        x, y, z = (axis[box] for axis in self.xyz)
        return x, y, z

    def field(self, name: str, lattice_mm: float, box: Box | None = None) -> Volume:
        """A random field of the patient's own (:func:`smooth_field`)."""
        return smooth_field(self.seed, name, self.grid, lattice_mm, box)


def ellipsoid(
    xyz: tuple[Volume, Volume, Volume], centre: Point, radii: Point, turn_deg: float = 0.0, lean: float = 0.0
) -> Volume:
    """Distance to an ellipsoid turned about z, whose centre moves by ``lean`` mm in x per mm in z."""
    x, y, z = (axis - np.float32(place) for axis, place in zip(xyz, centre, strict=True))
    if lean:
        x = x - np.float32(lean) * z
    if turn_deg:
        cos, sin = np.float32(np.cos(np.deg2rad(turn_deg))), np.float32(np.sin(np.deg2rad(turn_deg)))
        x, y = cos * x + sin * y, cos * y - sin * x
    near, steep = np.zeros_like(x), np.zeros_like(x)
    for axis, radius in zip((x, y, z), radii, strict=True):
        axis *= np.float32(1 / radius)
        axis *= axis
        near += axis
        axis *= np.float32(1 / radius**2)
        steep += axis
    np.sqrt(near, out=near)
    np.sqrt(steep, out=steep)
    np.maximum(steep, np.float32(1e-6), out=steep)
    result: Volume = near * (near - 1) / steep
    return result


def path(points: Sequence[Point], step_mm: float = 6.0) -> npt.NDArray[np.float64]:
    """A smooth curve (n, 3) through ``points``, a point about every ``step_mm``."""
    from scipy.interpolate import CubicSpline

    corners = np.asarray(points, dtype=np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    count = max(2, round(float(along[-1]) / step_mm) + 1)
    return np.asarray(CubicSpline(along, corners)(np.linspace(0, along[-1], count)))


def tube(
    space: Space, points: npt.NDArray[np.float64], radii: npt.NDArray[np.float64] | float, margin_mm: float = 6.0
) -> tuple[Box, Volume]:
    """Distance to a chain of cones through ``points`` (n, 3) with ``radii`` (n,), and the box that it is known in."""
    radii = np.broadcast_to(np.asarray(radii, dtype=np.float64), len(points))
    reach = float(radii.max()) + margin_mm
    box = space.box(points.min(axis=0), points.max(axis=0), reach)
    distance = np.full([axis.stop - axis.start for axis in box], margin_mm, np.float32)
    for start, stop, first, last in zip(points, points[1:], radii, radii[1:], strict=False):
        part = space.box(np.minimum(start, stop), np.maximum(start, stop), max(first, last) + margin_mm)
        if any(axis.start >= axis.stop for axis in part):
            continue
        inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, box, strict=True))
        d = _cone(space.at(part), start, stop, float(first), float(last))
        np.minimum(distance[inner], d, out=distance[inner])
    return box, distance


def _cone(
    xyz: tuple[Volume, Volume, Volume],
    start: npt.NDArray[np.float64],
    stop: npt.NDArray[np.float64],
    first: float,
    last: float,
) -> Volume:
    along = (stop - start).astype(np.float32)
    x, y, z = (axis - np.float32(place) for axis, place in zip(xyz, start, strict=True))
    share = (x * along[0] + y * along[1] + z * along[2]) / np.float32(max(float(along @ along), 1e-6))
    np.clip(share, 0, 1, out=share)
    x, y, z = (axis - share * step for axis, step in zip((x, y, z), along, strict=True))
    result: Volume = np.sqrt(x * x + y * y + z * z) - (np.float32(first) + share * np.float32(last - first))
    return result


def join(a: Floats, b: Floats, round_mm: float = 0.0) -> Volume:
    """The distance to both shapes together, their seam rounded over ``round_mm`` (polynomial smooth minimum)."""
    result: Volume = np.minimum(a, b)
    if round_mm:
        result -= _seam(a, b, round_mm)
    return result


def meet(a: Floats, b: Floats, round_mm: float = 0.0) -> Volume:
    """The distance to what lies in both shapes, its edge rounded."""
    result: Volume = np.maximum(a, b)
    if round_mm:
        result += _seam(a, b, round_mm)
    return result


def _seam(a: Floats, b: Floats, round_mm: float) -> Volume:
    seam: Volume = np.abs(np.subtract(a, b))
    np.subtract(np.float32(round_mm), seam, out=seam)
    np.maximum(seam, 0, out=seam)
    seam *= seam
    seam *= np.float32(0.25 / round_mm)
    return seam


def paint(image: Volume, distance: Floats, value: Floats | float, width_mm: float) -> None:
    """Put ``value`` into ``image`` (in place) inside a shape, whose edge partial volume makes ``width_mm`` wide."""
    share = np.clip(np.float32(0.5) - distance / np.float32(width_mm), 0, 1)
    image += share * (np.asarray(value, dtype=np.float32) - image)
