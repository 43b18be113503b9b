"""One patient's chest as a space: where the shapes of a standard chest lie in the scan.

Standard coordinates are (x, y, z) mm to the left, back and head; the origin is the middle of the vertebral body at the
level of the carina, where the trachea divides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_shapes import Box, Corner, Grid, Space
from synthoma.phantoms.ct import Volume
from synthoma.seeding import generator

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["AXIS_Y_MM", "Build", "Fields", "Frame", "Thorax", "cavity_radii", "ramp", "shape_thorax"]

AXIS_Y_MM = -45.0
"""The axis of the chest, around which the wall is described by an angle."""

_APEX_MM, _WIDEST_MM = 108.0, -60.0  # z of the tops of the lungs, and from where on the cavity is a cylinder
_BEND_MM, _BEND_LATTICE_MM = 3.4, 42.0
_FIELD_MM = ((-180.0, 140.0), (-250.0, 165.0), (-210.0, 210.0))  # where random fields are defined (z, y, x)


@dataclass(frozen=True)
class Build:
    """One patient's build. ``seed`` names the random fields."""

    seed: int
    sex: str
    age_years: int
    scale: tuple[float, float, float]
    """Of the standard chest, along x, y and z."""
    stoop: float
    """Forward bend of the upper spine; 1 is average."""
    fat_mm: float
    """Typical thickness of the fat below the skin."""
    muscle: float
    """Factor of the thickness of muscles; 1 is average."""
    dome_mm: float
    """How much higher than average the diaphragm stands: shallow breath."""


class Fields:
    """Smooth random fields of one patient, the same on any grid: cubic B-splines over lattices of normal values.

    A chest is drawn a few slices at a time, so the lattices are kept.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._lattices: dict[tuple[str, float], Volume] = {}

    def on(self, grid: Grid, name: str, lattice_mm: float, box: Box | None = None) -> Volume:
        """The field ``name`` of unit variance on a grid, or on a box of it."""
        if (name, lattice_mm) not in self._lattices:
            counts = [int(np.ceil((high - low) / lattice_mm)) + 4 for low, high in _FIELD_MM]
            lattice = generator(self.seed, "field", name).standard_normal(counts, dtype=np.float32)
            lattice /= np.float32((151 / 315) ** 1.5)  # 151/315: mean sum of squared spline weights
            self._lattices[name, lattice_mm] = lattice
        field = self._lattices[name, lattice_mm]
        splines = []
        for index, (low, high) in enumerate(_FIELD_MM):
            positions = grid.axis(index)[box[index] if box else slice(None)]
            splines.append(_splines(np.clip(positions, low, high) - np.float32(low), lattice_mm, field.shape[index]))
        if splines[0].nnz:  # only the layers of the lattice that reach these slices
            first, last = int(splines[0].indices.min()), int(splines[0].indices.max()) + 1
            field, splines[0] = field[first:last], splines[0][:, first:last]
        for index in (2, 1, 0):  # z last: its rows are whole slices, so the largest product runs along memory
            front = np.ascontiguousarray(np.moveaxis(field, index, 0))
            flat = splines[index] @ front.reshape(front.shape[0], int(np.prod(front.shape[1:])))
            field = np.moveaxis(flat.reshape(flat.shape[0], *front.shape[1:]), 0, index)
        return field


def _splines(positions: Volume, lattice_mm: float, count: int) -> sparse.csr_array:
    """Weights (positions, count) of the four cubic B-splines that reach each position."""
    from scipy import sparse

    cell, u = np.divmod(positions / np.float32(lattice_mm), 1.0)
    weights = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], axis=1) / 6
    columns = cell.astype(int)[:, None] + np.arange(4)
    rows = np.repeat(np.arange(len(positions)), 4)
    return sparse.csr_array((weights.astype(np.float32).ravel(), (rows, columns.ravel())), (len(positions), count))


class Thorax(Space):
    """The grid with the standard coordinates of every voxel, as the build scales, bends and stoops them."""

    def __init__(self, build: Build, grid: Grid, fields: Fields) -> None:
        self.seed, self.grid, self.build, self._fields = build.seed, grid, build, fields
        straight = (grid.axis(2), grid.axis(1)[:, None], grid.axis(0)[:, None, None])
        self.xyz = []
        for name, axis, scale in zip("xyz", straight, build.scale, strict=True):
            bent = self.field(f"bend-{name}", _BEND_LATTICE_MM)
            bent *= np.float32(_BEND_MM)
            bent += axis
            bent /= np.float32(scale)
            self.xyz.append(bent)
        self.xyz[1] += self._stoop(self.xyz[2])
        self.reach_mm = 3.0 * _BEND_MM

    def field(self, name: str, lattice_mm: float, box: Box | None = None) -> Volume:
        """A random field of the patient's own, of unit variance."""
        return self._fields.on(self.grid, name, lattice_mm, box)

    def _stoop(self, z: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        bent: npt.NDArray[np.float32] = np.float32(0.0011 * self.build.stoop) * np.maximum(z + 10, 0) ** 2
        return bent

    def box(self, low: Corner, high: Corner, margin_mm: float = 0.0) -> Box:
        """A box that holds all that may lie between two corners of the standard chest."""
        z = np.array([low[2], high[2]], np.float32)
        bend = self._stoop(z)
        corners = np.array([[low[0], low[1] - bend.max(), low[2]], [high[0], high[1] - bend.min(), high[2]]])
        corners *= np.array(self.build.scale)
        return super().box(corners[0].tolist(), corners[1].tolist(), margin_mm)

    def place(self, point: Sequence[float]) -> tuple[float, float, float]:
        """Where a point of the standard chest lies in the scan, but for the small random bends."""
        x, y, z = point
        bend = float(self._stoop(np.array([z], np.float32))[0])
        scale = self.build.scale
        return x * scale[0], (y - bend) * scale[1], z * scale[2]


@dataclass(frozen=True)
class Frame:
    """What the wall is described by, (z, y, x) each: distances in mm, negative inside, and the angle."""

    cavity: Volume
    """From the inner surface of the ribs."""
    skin: Volume
    angle: Volume
    """0 at the spine, π at the sternum, the same on both sides."""


def ramp(values: Volume, start: float, stop: float) -> Volume:
    """0 below ``start``, 1 above ``stop``, smooth between; falling where ``start`` is above ``stop``."""
    t = np.clip((values - np.float32(start)) / np.float32(stop - start), 0, 1)
    result: Volume = t * t * (3 - 2 * t)
    return result


def cavity_radii(z: Volume) -> tuple[Volume, Volume, Volume, Volume]:
    """Half width, front depth and back depth of the cavity at height z, and the steepness of its roof."""
    up = np.clip((z - np.float32(_WIDEST_MM)) / np.float32(_APEX_MM - _WIDEST_MM), 0, 0.999)
    share = np.sqrt(1 - up * up)
    lower = np.clip(-z / 80, 0, 1)
    steep = np.minimum(0.72 * up / np.maximum(share, 1e-3), 4.0)
    return 121 * share, 98 * share * (0.80 + 0.20 * lower), 88 * share**0.7, 1 / np.sqrt(1 + steep * steep)


def shape_thorax(thorax: Thorax) -> Frame:
    """Distances to cavity and skin in polar coordinates around the axis of the chest."""
    build = thorax.build
    x, y, z = thorax.xyz
    y = y - np.float32(AXIS_Y_MM)
    radius = np.hypot(x, y)
    angle = np.arctan2(np.abs(x), y)
    sin, cos = np.abs(x) / np.maximum(radius, 1e-3), np.abs(y) / np.maximum(radius, 1e-3)
    front = y < 0
    # The radii depend on z alone but for the bending; a table is faster than a million square roots.
    heights = np.arange(-220, 181, dtype=np.float32)
    level = np.rint(np.clip(z + 220, 0, 400)).astype(np.int16)

    inner = [np.asarray(table, np.float32)[level] for table in cavity_radii(heights)]
    cavity: Volume = (radius - _outline(sin, cos, front, (inner[0], inner[1], inner[2]), 2.2)) * inner[3]
    cavity = np.maximum(cavity, 0.9 * (z - np.float32(_APEX_MM)))  # above the tops

    fat = build.fat_mm
    low = np.clip((60 - heights) / 140, 0, 1)
    top = np.clip((heights - 20) / 80, 0, 1)
    wide = 143 + 0.8 * fat + 22 * top - 6 * np.clip(-(heights + 90) / 60, 0, 1)
    ahead = 106 * (0.66 + 0.34 * low) + fat
    behind = 116 + 0.75 * fat - 10 * top
    outer = [np.asarray(table, np.float32)[level] for table in (wide, ahead, behind)]
    outline = _outline(sin, cos, front, (outer[0], outer[1], outer[2]), 2.45)
    if build.sex == "F":  # breasts, flat on a patient who lies on her back
        breast = np.exp(-(((angle - 2.35) / 0.38) ** 2)) * np.exp(-(((z + 45) / 48) ** 2))
        outline += np.float32(10 + 0.9 * fat) * breast
    outline -= np.float32(6) * np.exp(-((angle / 0.09) ** 2))  # the furrow over the spine
    skin = radius - outline - np.float32(2.2) * thorax.field("outline", 70.0)
    return Frame(cavity, skin, angle)


def _outline(sin: Volume, cos: Volume, front: npt.NDArray[np.bool_], radii: tuple[Volume, ...], power: float) -> Volume:
    """Radius of a superellipse with one half depth in front and another behind."""
    wide, ahead, behind = radii
    deep = np.where(front, ahead, behind)
    around: npt.NDArray[np.floating] = (sin / np.maximum(wide, 1)) ** np.float32(power) + (
        cos / np.maximum(deep, 1)
    ) ** np.float32(power)
    np.power(around, np.float32(-1 / power), out=around)
    return around
