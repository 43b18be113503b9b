"""One patient's abdomen: parameters of trunk, organs and vessels, and the object that they make in Hounsfield units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_body import Trunk, TrunkParameters, paint_chest, paint_spine, shape_trunk
from synthoma.phantoms.abdomen_gut import paint_gut
from synthoma.phantoms.abdomen_organs import OrganParameters, Organs, paint_gallbladder, paint_organs, shape_organs
from synthoma.phantoms.abdomen_shapes import Box, Grid, Space, paint
from synthoma.phantoms.abdomen_vessels import VesselParameters, Vessels, paint_vessels, shape_vessels
from synthoma.phantoms.ct import HOUNSFIELD, Volume

__all__ = ["Abdomen", "AbdomenParameters", "draw_abdomen", "render_abdomen"]


@dataclass(frozen=True)
class AbdomenParameters:
    """All that is random about one patient's anatomy."""

    seed: int
    bend_mm: float
    """Standard deviation of the smooth deformation of everything (60 mm lattice)."""
    ripple_mm: float
    """The same, 24 mm lattice."""
    trunk: TrunkParameters
    organs: OrganParameters
    vessels: VesselParameters
    cysts: tuple[tuple[float, float], ...]
    """Simple cysts of the liver: (place between 0 and 1, radius in mm)."""


@dataclass(frozen=True)
class Abdomen:
    """The object before it is scanned, (z, y, x) on the grid of ``space``."""

    hu: Volume
    space: Space
    trunk: Trunk
    organs: Organs
    vessels: Vessels


def draw_abdomen(rng: np.random.Generator, seed: int) -> AbdomenParameters:
    """Draw a patient: build, sizes, liver disease, and how well the contrast agent arrived."""
    size = rng.normal(0, 1)
    stout = float(np.clip(rng.normal(0, 1), -1.6, 2.0))
    cirrhosis = float(rng.uniform()) if rng.uniform() < 0.6 else 0.0
    steatosis = float(rng.uniform(10.0, 45.0)) if rng.uniform() < 0.25 else 0.0
    uptake = rng.normal(0, 1)
    trunk = TrunkParameters(
        seed=seed,
        half_width_mm=float(np.clip(152.0 + 5.0 * size + 8.0 * stout + rng.normal(0, 4), 134.0, 178.0)),
        half_depth_mm=float(np.clip(118.0 + 3.0 * size + 10.0 * stout + rng.normal(0, 6), 100.0, 146.0)),
        subcutaneous_mm=float(np.clip(13.0 + 5.5 * stout + rng.normal(0, 3), 5.0, 30.0)),
        muscle=float(np.clip(rng.normal(1.0, 0.12), 0.7, 1.3)),
        marbling=float(np.clip(rng.beta(1.5, 5.0), 0, 0.5)),
        dome_mm=float(rng.normal(84.0, 5.0)),
        marrow_hu=float(rng.uniform(120.0, 230.0)),
        muscle_hu=float(rng.normal(60.0, 4.0)),
        blood_hu=float(np.clip(150.0 + 14.0 * uptake, 115.0, 190.0)),
    )
    organs = OrganParameters(
        liver_size=float(np.clip(rng.normal(1.0 - 0.06 * cirrhosis, 0.06), 0.82, 1.15)),
        left_lobe=float(np.clip(rng.normal(1.0 + 0.12 * cirrhosis, 0.14), 0.65, 1.4)),
        spleen_size=float(np.clip(rng.normal(0.97 + 0.17 * cirrhosis, 0.07), 0.8, 1.3)),
        kidney_size=float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.15)),
        kidney_lift_mm=(float(rng.normal(0, 6)), float(rng.normal(0, 6))),
        gallbladder=0.0 if rng.uniform() < 0.15 else float(np.clip(rng.normal(1.0, 0.2), 0.5, 1.4)),
        stomach_size=float(np.clip(rng.normal(0.85, 0.18), 0.5, 1.25)),
        stomach_gas=float(rng.uniform(0.0, 0.5)),
        nodular_mm=1.6 * cirrhosis,
        ascites_mm=float(rng.uniform(3.0, 12.0)) if rng.uniform() < 0.5 * cirrhosis - 0.15 else 0.0,
        gap_mm=float(np.clip(3.0 + 1.2 * stout, 1.5, 6.0)),
        liver_hu=float(np.clip(107.0 + 8.0 * uptake - steatosis, 45.0, 135.0)),
        spleen_hu=float(118.0 + 9.0 * uptake),
        kidney_hu=float(168.0 + 12.0 * uptake),
        pancreas_hu=float(92.0 + 8.0 * uptake),
        gut_seed=seed,
    )
    vessels = VesselParameters(
        seed=seed,
        aorta_mm=float(np.clip(rng.normal(10.5, 1.0), 8.5, 14.0)),
        portal_mm=float(np.clip(rng.normal(6.6 + 0.8 * cirrhosis, 0.6), 5.0, 8.5)),
        plaque=float(rng.uniform(0, 0.8)) if rng.uniform() < 0.6 else 0.0,
    )
    count = int(rng.choice([0, 1, 2, 3], p=[0.65, 0.2, 0.1, 0.05]))
    cysts = tuple((float(rng.uniform()), float(np.exp(rng.normal(1.7, 0.45)))) for _ in range(count))
    return AbdomenParameters(
        seed, float(rng.uniform(2.0, 3.2)), float(rng.uniform(0.7, 1.1)), trunk, organs, vessels, cysts
    )


def render_abdomen(parameters: AbdomenParameters, grid: Grid) -> Abdomen:
    """Compute the object on a grid; each voxel holds about the mean over itself (edges are painted one voxel wide)."""
    p, o, v = parameters.trunk, parameters.organs, parameters.vessels
    space = Space(parameters.seed, grid, parameters.bend_mm, parameters.ripple_mm)
    trunk = shape_trunk(p, space)
    hu = np.full(grid.shape, HOUNSFIELD["air"], np.float32)
    paint_chest(hu, p, trunk, space)
    paint_spine(hu, p, space)
    organs = shape_organs(o, p, trunk, space)
    vessels = shape_vessels(v, p, organs, space)
    paint_gut(hu, o, p, organs, space)
    paint_organs(hu, o, p, organs, space)
    paint_vessels(hu, v, p, vessels, space)
    paint_gallbladder(hu, organs, space)
    _paint_cysts(hu, parameters, organs, space)
    return Abdomen(hu, space, trunk, organs, vessels)


def _paint_cysts(hu: Volume, parameters: AbdomenParameters, organs: Organs, space: Space) -> None:
    """Water in the liver, which is no lesion of anybody's."""
    inside = np.argwhere(organs.liver[::2, ::4, ::4] < -4.0) * (2, 4, 4)
    for place, radius in parameters.cysts:
        if not len(inside):
            return
        voxel = tuple(inside[int(place * len(inside))])
        centre = [float(axis[voxel]) for axis in space.xyz]
        box: Box = space.box(centre, centre, radius + 4.0)
        x, y, z = (axis - np.float32(middle) for axis, middle in zip(space.at(box), centre, strict=True))
        ball: npt.NDArray[np.float32] = np.sqrt(x * x + y * y + z * z) - np.float32(radius)
        paint(hu[box], np.maximum(ball, organs.liver[box] + 1.0), 6.0, float(np.mean(space.grid.spacing_mm[1:])))
