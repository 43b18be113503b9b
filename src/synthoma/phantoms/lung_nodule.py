"""Nodules in the lung: what a grade of malignancy looks like, where one grows, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_shapes import Box, Grid
from synthoma.phantoms.chest import ChestParameters, ChestPlan, lung_distance
from synthoma.phantoms.ct import Volume
from synthoma.seeding import generator

__all__ = ["DrawnNodule", "NoduleParameters", "draw_nodule", "paint_nodule"]

Calcification = Literal["absent", "central", "solid", "popcorn"]
Texture = Literal["ground glass", "part-solid", "solid"]

# Median diameters by grade: MacMahon et al., Radiology 284:228, 2017, give the risks by size behind them.
_MEDIAN_MM = {1: 6.0, 2: 7.5, 3: 9.5, 4: 14.0, 5: 20.0}
_SPIKES_OF_GRADE = {1: 0.0, 2: 0.08, 3: 0.25, 4: 0.55, 5: 0.85}
_LOBES_OF_GRADE = {1: 0.05, 2: 0.12, 3: 0.25, 4: 0.45, 5: 0.55}
_SOLID_HU, _GROUND_GLASS_HU, _SPICULE_HU, _CALCIUM_HU = 38.0, -610.0, -110.0, 520.0
_FINER = (3, 2, 2)  # points a voxel along z, y, x


@dataclass(frozen=True)
class NoduleParameters:
    """All that is random about one nodule. ``seed`` names its bumps, spikes and spots."""

    seed: int
    grade: int
    """1 highly unlikely to be malignant … 5 highly suspicious."""
    centre_mm: tuple[float, float, float]
    """(x, y, z), patient axes (LPS)."""
    diameter_mm: float
    stretch: tuple[float, float, float]
    lobes: float
    """0 smooth … 1 deeply lobed."""
    spikes: float
    """0 none … 1 a full crown of spicules."""
    texture: Texture
    solid_share: float
    """Radius of the solid core of a part-solid nodule, as a share of the whole."""
    solid_hu: float
    calcification: Calcification
    cavity: float
    """Radius of the air inside, as a share of the whole; 0 for none."""
    attached: Literal["", "pleura", "vessel"]


@dataclass(frozen=True)
class DrawnNodule:
    """A nodule as it lies on the grid."""

    box: Box
    distance: Volume
    """Distance in mm of each voxel's centre in the box to the nodule's surface, spicules left out; negative inside."""
    core: Volume
    """The same for the solid core; equal to ``distance`` where there is no ground glass."""
    hole: Volume
    """The same for the cavity; positive everywhere where there is none."""


def draw_nodule(
    rng: np.random.Generator,
    seed: int,
    grade: int,
    chest: ChestParameters,
    plan: ChestPlan,
    others: list[NoduleParameters],
    largest_mm: float = 30.0,
) -> NoduleParameters:
    """Draw a nodule of ``grade`` and a place for it, clear of ``others``. Grade 0 is a benign nodule below 3 mm."""
    small = grade == 0
    size = (
        rng.uniform(2.0, 2.9)
        if small
        else np.clip(_MEDIAN_MM[grade] * np.exp(0.28 * rng.standard_normal()), 4.0, largest_mm)
    )
    grade = max(grade, 1)
    glass = {1: 0.08, 2: 0.12, 3: 0.25, 4: 0.15, 5: 0.03}[grade]
    mixed = {1: 0.0, 2: 0.03, 3: 0.2, 4: 0.3, 5: 0.25}[grade]
    kind = 0.99 if small else rng.uniform()
    texture: Texture = "ground glass" if kind < glass else "part-solid" if kind < glass + mixed else "solid"
    calcium: Calcification = "absent"
    if texture == "solid" and rng.uniform() < {1: 0.55, 2: 0.2}.get(grade, 0.02):
        calcium = ("central", "solid", "popcorn")[int(rng.integers(3 if size > 8 else 2))]
    cavity = (
        float(rng.uniform(0.3, 0.5))
        if grade >= 4 and texture == "solid" and size > 13 and rng.uniform() < 0.25
        else 0.0
    )
    chance = rng.uniform()
    attached: Literal["", "pleura", "vessel"] = "pleura" if chance < 0.2 else "vessel" if chance < 0.45 else ""
    stretch = np.exp(rng.normal(0, 0.10 + 0.03 * (grade >= 3), 3))
    stretch /= np.prod(stretch) ** (1 / 3)
    return NoduleParameters(
        seed=seed,
        grade=grade,
        centre_mm=_place(rng, plan, float(size) / 2, attached, others),
        diameter_mm=float(size),
        stretch=(float(stretch[0]), float(stretch[1]), float(stretch[2])),
        lobes=float(np.clip(_LOBES_OF_GRADE[grade] + 0.12 * rng.standard_normal(), 0, 1)),
        spikes=float(np.clip(_SPIKES_OF_GRADE[grade] + 0.15 * rng.standard_normal(), 0, 1)) if size > 5 else 0.0,
        texture=texture,
        solid_share=float(rng.uniform(0.4, 0.7)),
        solid_hu=_SOLID_HU + float(rng.normal(0, 12)) + (float(rng.uniform(5, 40)) if chest.agent else 0.0),
        calcification=calcium,
        cavity=cavity,
        attached=attached,
    )


def _place(
    rng: np.random.Generator, plan: ChestPlan, radius: float, attached: str, others: list[NoduleParameters]
) -> tuple[float, float, float]:
    """A centre inside the lung; at its edge, or beside a vessel of 1 mm or more, where it is attached."""
    grid, depth = plan.grid, -plan.lungs
    axes = [grid.axis(axis).astype(np.float64) for axis in (2, 1, 0)]
    if attached == "vessel":
        tree = plan.trees["arteries"][int(rng.integers(2))]
        wide = np.flatnonzero((tree.radius > 0.9) & (tree.radius < 2.2))
        chosen = tree.end[rng.permutation(wide)] + 0.8 * radius * _direction(rng)
    else:
        near, far = (0.15 * radius, 0.6 * radius + 1) if attached == "pleura" else (radius + 3, np.inf)
        voxels = np.argwhere((depth >= near) & (depth <= far))
        chosen = np.array([[axes[0][x], axes[1][y], axes[2][z]] for z, y, x in rng.permutation(voxels)[:400]])
    for point in chosen:
        z, y, x = (int(np.argmin(np.abs(axes[axis] - point[axis]))) for axis in (2, 1, 0))
        gaps = [np.linalg.norm(point - other.centre_mm) - radius - other.diameter_mm / 2 for other in others]
        inside = depth[z, y, x] > (0 if attached == "pleura" else 0.8 * radius)
        if inside and min(gaps, default=np.inf) > 12 and axes[2][0] + 12 < point[2] < axes[2][-1] - 12:
            return float(point[0]), float(point[1]), float(point[2])
    return _place(rng, plan, radius, "", others) if attached else _place(rng, plan, 0.7 * radius, "", others)


def _direction(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def paint_nodule(
    image: Volume, grid: Grid, p: NoduleParameters, chest: ChestParameters, plan: ChestPlan
) -> DrawnNodule:
    """Draw a nodule into ``image`` (z, y, x), in place: inside the lung only."""
    reach = 0.5 * p.diameter_mm * 2.4 + 3.0
    low, high = ([place + sign * reach for place in p.centre_mm] for sign in (-1, 1))
    box = grid.box(low, high)
    small = _part(grid, box)
    lungs, cavity = lung_distance(chest, plan, small)
    shape = _Shape(p)
    fine = Grid(
        (small.shape[0] * _FINER[0], small.shape[1] * _FINER[1], small.shape[2] * _FINER[2]),
        (small.spacing_mm[0] / _FINER[0], small.spacing_mm[1] / _FINER[1], small.spacing_mm[2] / _FINER[2]),
        tuple(  # type: ignore[arg-type]
            first - step / 2 * (1 - 1 / finer)
            for first, step, finer in zip(small.first_mm, small.spacing_mm[::-1], _FINER[::-1], strict=True)
        ),
    )
    body, spikes, core, hole = shape.distances(fine)
    width = 0.7 * small.spacing_mm[1]
    # A nodule at the pleura is flat where the wall begins; elsewhere it may push into the mediastinum's edge.
    room = np.clip(0.5 - np.maximum(cavity, lungs - 2) / np.float32(1.5), 0, 1)

    def share(distance: Volume) -> Volume:
        return np.asarray(_mean(np.clip(0.5 - distance / np.float32(width), 0, 1)) * room, np.float32)

    part = image[box]
    _soften(part, share(np.maximum(spikes, -body - 0.5)), _SPICULE_HU)
    if p.texture != "solid":
        _soften(part, share(body), _GROUND_GLASS_HU + 45 * shape.spots(small, 4.0))
    solid = share(core if p.texture != "solid" else body) if p.texture != "ground glass" else None
    if solid is not None:
        part += solid * (np.float32(p.solid_hu) + 9 * shape.spots(small, 5.0) - part)
    if p.calcification != "absent":
        part += share(shape.calcium(fine, body)) * (np.float32(_CALCIUM_HU) - part)
    if p.cavity:
        part += share(hole) * (np.float32(-960) - part)
    body, _, core, hole = shape.distances(small)
    return DrawnNodule(box, np.maximum(body, cavity), np.maximum(core, cavity), hole)


def _part(grid: Grid, box: Box) -> Grid:
    first = tuple(float(grid.axis(axis)[box[axis].start]) for axis in (2, 1, 0))
    shape = tuple(axis.stop - axis.start for axis in box)
    return Grid((shape[0], shape[1], shape[2]), grid.spacing_mm, (first[0], first[1], first[2]))


def _mean(fine: Volume) -> Volume:
    """The mean of a finer image over each voxel."""
    z, y, x = (n // finer for n, finer in zip(fine.shape, _FINER, strict=True))
    blocks = fine.reshape(z, _FINER[0], y, _FINER[1], x, _FINER[2])
    return np.asarray(blocks.mean(axis=(1, 3, 5)), np.float32)


def _soften(image: Volume, share: Volume, hu: Volume | float) -> None:
    """Add what is denser than air and lighter than flesh: it hides no vessel."""
    image += share * np.maximum(np.asarray(hu, np.float32) - image, 0)


class _Shape:
    """The surface of a nodule: an ellipsoid with bumps, and needles that stand on it."""

    def __init__(self, p: NoduleParameters) -> None:
        self.p = p
        rng = generator(p.seed, "shape")
        self.bumps = np.array([_direction(rng) for _ in range(9)])
        self.heights = p.lobes * rng.uniform(-0.45, 0.65, 9) + 0.06 * rng.standard_normal(9)
        count = round(p.spikes * rng.uniform(30, 55))
        self.needles = [(_direction(rng), *rng.uniform((0.35, 0.45), (1.0, 0.9))) for _ in range(count)]
        self.off = 0.12 * _direction(rng)

    def distances(self, grid: Grid) -> tuple[Volume, Volume, Volume, Volume]:
        """To the body, to the spicules, to the solid core and to the cavity."""
        p, radius = self.p, self.p.diameter_mm / 2
        x, y, z = self._from_centre(grid)
        r = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
        surface = np.full(r.shape, radius, np.float32)
        for bump, height in zip(self.bumps, self.heights, strict=True):
            towards = (x * np.float32(bump[0]) + y * np.float32(bump[1]) + z * np.float32(bump[2])) / r
            surface += np.float32(radius * height) * np.exp(5.5 * (towards - 1))
        body = r - surface
        crown = np.full(r.shape, 99, np.float32)
        for needle, length, width in self.needles:
            along = x * np.float32(needle[0]) + y * np.float32(needle[1]) + z * np.float32(needle[2])
            away = np.sqrt(np.maximum(r * r - along * along, 0))
            tip = np.clip((along - 0.7 * radius) / np.float32(radius * (0.3 + length)), 0, 1)
            thick = np.float32(0.26 * radius * width + 0.5) * (1 - tip) ** 1.5 + 0.45
            needle_distance = np.where((along > 0) & (tip < 1), away - thick, 9)
            crown = np.minimum(crown, needle_distance)
        core = r - surface * np.float32(p.solid_share)
        near = (x - self.off[0] * radius) ** 2 + (y - self.off[1] * radius) ** 2 + (z - self.off[2] * radius) ** 2
        hole = np.sqrt(near) - surface * np.float32(p.cavity) if p.cavity else np.full(r.shape, 99.0)
        parts = (body, crown, core if p.texture == "part-solid" else body, hole)
        body, crown, core, hole = (np.asarray(part, np.float32) for part in parts)
        return body, crown, core, hole

    def calcium(self, grid: Grid, body: Volume) -> Volume:
        """Distance to what is calcified."""
        radius = self.p.diameter_mm / 2
        if self.p.calcification == "central":
            return body + np.float32(0.55 * radius)
        if self.p.calcification == "solid":
            return body + np.float32(0.15 * radius)
        result: Volume = np.maximum(body + 1.0, (0.6 - self.spots(grid, 3.0)) * 2)
        return result

    def spots(self, grid: Grid, lattice_mm: float) -> Volume:
        """Random spots of unit variance, fixed to the nodule."""
        from scipy import ndimage

        rng = generator(self.p.seed, "spots", round(lattice_mm * 10))
        lattice = rng.standard_normal((24, 24, 24), dtype=np.float32)
        x, y, z = self._from_centre(grid, stretched=False)
        where = [np.broadcast_to(axis / np.float32(lattice_mm) + 12, grid.shape) for axis in (z, y, x)]
        result: Volume = ndimage.map_coordinates(lattice, where, order=1, mode="wrap") * np.float32(1.6)
        return result

    def _from_centre(self, grid: Grid, *, stretched: bool = True) -> list[Volume]:
        p, axes = self.p, (grid.axis(2), grid.axis(1)[:, None], grid.axis(0)[:, None, None])
        stretch = p.stretch if stretched else (1.0, 1.0, 1.0)
        return [
            (axis - np.float32(centre)) / np.float32(factor)
            for axis, centre, factor in zip(axes, p.centre_mm, stretch, strict=True)
        ]
