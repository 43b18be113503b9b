"""The phantom chest: one patient's anatomy, drawn as parameters first and as Hounsfield units second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthoma.phantoms.abdomen_shapes import Grid
from synthoma.phantoms.chest_lungs import LungParameters, Trees, grow_lungs, paint_lungs, shape_lungs
from synthoma.phantoms.chest_mediastinum import (
    Contrast,
    diaphragm_distance,
    paint_abdomen,
    paint_cavity_fat,
    paint_mediastinum,
    shape_mediastinum,
)
from synthoma.phantoms.chest_space import Build, Fields, Thorax, shape_thorax
from synthoma.phantoms.chest_wall import paint_bones, paint_soft_wall
from synthoma.phantoms.ct import HOUNSFIELD, Volume, lay_table

__all__ = ["ChestParameters", "ChestPlan", "chest_grid", "draw_chest", "lung_distance", "plan_chest", "render_chest"]

_TOP_MM, _BOTTOM_MM = 116.0, -162.0  # of the standard chest: from above the lungs to below their lower edges
_MIDDLE_Y_MM = -42.0
_COARSE_MM = 5.0
_SLAB = 12  # slices drawn together


@dataclass(frozen=True)
class ChestParameters:
    """All that is random about one patient's healthy chest."""

    build: Build
    lungs: LungParameters
    contrast: Contrast
    agent: bool
    """Whether a contrast agent was given."""


@dataclass(frozen=True)
class ChestPlan:
    """What a patient's slices have in common, found on a coarse grid."""

    fields: Fields
    grid: Grid
    lungs: Volume
    """(z, y, x) distance to the lungs in mm on the coarse grid, negative inside."""
    trees: Trees
    back_mm: float
    """y of the skin of the back."""


def draw_chest(rng: np.random.Generator, seed: int) -> ChestParameters:
    """Draw one patient."""
    sex = "F" if rng.uniform() < 0.45 else "M"
    size = float(np.clip(rng.normal(0.94 if sex == "F" else 1.02, 0.035), 0.85, 1.1))
    x, y, z = size * np.exp(rng.normal(0, (0.035, 0.05, 0.035)))
    build = Build(
        seed=seed,
        sex=sex,
        age_years=int(np.clip(rng.normal(62, 11), 30, 88)),
        scale=(float(x), float(y), float(z)),
        stoop=float(np.clip(rng.normal(1.0, 0.4), 0, 2.2)),
        fat_mm=float(np.clip(rng.lognormal(2.6, 0.4), 6, 30)),
        muscle=float(np.clip(rng.normal(0.85 if sex == "F" else 1.05, 0.12), 0.6, 1.4)),
        dome_mm=float(np.clip(rng.normal(0, 9), -18, 22)),
    )
    lungs = LungParameters(
        hu=float(rng.normal(-868, 16)),
        gradient_hu=float(rng.uniform(35, 90)),
        emphysema=float(max(0.0, rng.normal(0.10, 0.16))),
        dependent=float(max(0.0, rng.normal(0.25, 0.25))),
    )
    blood = HOUNSFIELD["blood"]
    agent = bool(rng.uniform() < 0.7)
    aorta, pulmonary, veins, cava = rng.uniform((150, 140, 60, 160), (300, 330, 130, 420))
    if agent:
        contrast = Contrast(float(aorta), float(pulmonary), float(veins), float(cava), float(90 + 0.1 * (aorta - 150)))
    else:
        contrast = Contrast(blood, blood + 1, blood - 1, blood, blood + 6)
    return ChestParameters(build, lungs, contrast, agent)


def chest_grid(parameters: ChestParameters, size: int, field_mm: float, spacing_mm: float) -> Grid:
    """The examination from above the lungs to below them: square slices of ``size`` pixels."""
    pixel_mm, scale = field_mm / size, parameters.build.scale
    low, high = _BOTTOM_MM * scale[2], _TOP_MM * scale[2]
    slices = int(np.ceil((high - low) / spacing_mm)) + 1
    half = (size - 1) / 2 * pixel_mm
    return Grid((slices, size, size), (spacing_mm, pixel_mm, pixel_mm), (-half, _MIDDLE_Y_MM - half, low))


def plan_chest(parameters: ChestParameters) -> ChestPlan:
    """Find out where the lungs are, and grow their vessels. The plan depends on no grid but its own."""
    coarse = chest_grid(parameters, round(400 / _COARSE_MM), 400.0, _COARSE_MM)
    fields = Fields(parameters.build.seed)
    thorax = Thorax(parameters.build, coarse, fields)
    frame = shape_thorax(thorax)
    lungs = shape_lungs(frame, shape_mediastinum(thorax), diaphragm_distance(frame, thorax))
    back = np.flatnonzero((frame.skin < 0).any(axis=(0, 2))).max()
    return ChestPlan(fields, coarse, lungs, grow_lungs(lungs, thorax), float(coarse.axis(1)[back]) + _COARSE_MM / 2)


def render_chest(parameters: ChestParameters, plan: ChestPlan, grid: Grid) -> Volume:
    """Draw the object in the scanner, (z, y, x) Hounsfield units: a few slices at a time, which stay in the cache."""
    image = np.full(grid.shape, HOUNSFIELD["air"], np.float32)
    for start in range(0, grid.shape[0], _SLAB):
        part = image[start : start + _SLAB]
        first = (grid.first_mm[0], grid.first_mm[1], grid.first_mm[2] + start * grid.spacing_mm[0])
        _draw_slab(part, parameters, plan, Grid(part.shape, grid.spacing_mm, first))
    return image


def lung_distance(parameters: ChestParameters, plan: ChestPlan, grid: Grid) -> tuple[Volume, Volume]:
    """Distances in mm to the lungs and to the cavity that holds them, on a grid (a small one, around a nodule)."""
    thorax = Thorax(parameters.build, grid, plan.fields)
    frame = shape_thorax(thorax)
    return shape_lungs(frame, shape_mediastinum(thorax), diaphragm_distance(frame, thorax)), frame.cavity


def _draw_slab(image: Volume, p: ChestParameters, plan: ChestPlan, grid: Grid) -> None:
    pixel_mm = grid.spacing_mm[1]
    thorax = Thorax(p.build, grid, plan.fields)
    frame = shape_thorax(thorax)
    mediastinum = shape_mediastinum(thorax)
    diaphragm = diaphragm_distance(frame, thorax)
    lungs = shape_lungs(frame, mediastinum, diaphragm)
    paint_soft_wall(image, frame, thorax, pixel_mm)
    paint_cavity_fat(image, frame.cavity, thorax, pixel_mm)
    paint_abdomen(image, diaphragm, frame, p.contrast, thorax, pixel_mm)
    paint_lungs(image, lungs, frame, p.lungs, plan.trees, p.contrast, thorax)
    paint_mediastinum(image, mediastinum, p.contrast, thorax, pixel_mm)
    paint_bones(image, frame, thorax, pixel_mm)
    lay_table(image, grid.axis(2), grid.axis(1), plan.back_mm + 3.0)
