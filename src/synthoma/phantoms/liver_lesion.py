"""Hepatocellular carcinomas as a portal-venous CT shows them: washed out, in a capsule, necrotic when large.

The signs are those of LI-RADS v2018 (Chernyak et al., Radiology 289:816, 2018): in this phase a carcinoma is darker
than the liver ("washout") and its capsule brighter, both major features; mosaic architecture is an ancillary one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_shapes import Box, Space, meet, paint, smooth_field
from synthoma.phantoms.ct import Volume

__all__ = ["LesionParameters", "draw_lesion", "paint_lesion", "place_lesions", "shape_lesion"]

_MARGIN_MM = 1.5  # of liver left around every lesion


@dataclass(frozen=True)
class LesionParameters:
    """One carcinoma. ``seed`` names its random fields."""

    seed: int
    place: float
    """Which of the places it fits into, 0 to 1."""
    diameter_mm: float
    stretch: tuple[float, float, float]
    """Factors of the radius along x, y and z."""
    irregularity: float
    """Standard deviation of the surface, as a share of the radius."""
    washout_hu: float
    """How much darker than the liver."""
    capsule_mm: float
    """Thickness; 0 for a lesion without."""
    capsule_hu: float
    """How much brighter than the liver."""
    necrosis: float
    """Share of the radius, 0 to 0.7, that is dead tissue."""
    mosaic_hu: float
    """Standard deviation of its patchwork."""


def draw_lesion(rng: np.random.Generator, seed: int, smallest_mm: float, largest_mm: float) -> LesionParameters:
    """Draw a carcinoma; diameters are log-normal with a median of 28 mm, cut off at both ends."""
    diameter = float(np.clip(np.exp(rng.normal(np.log(28.0), 0.55)), smallest_mm, largest_mm))
    stretch = np.exp(rng.normal(0, 0.10, 3))
    large = np.clip((diameter - 30.0) / 30.0, 0.0, 1.0)
    encapsulated = rng.uniform() < 0.65
    return LesionParameters(
        seed=seed,
        place=float(rng.uniform()),
        diameter_mm=diameter,
        stretch=(float(stretch[0]), float(stretch[1]), float(stretch[2])),
        irregularity=float(rng.uniform(0.04, 0.14)),
        washout_hu=float(rng.uniform(22.0, 48.0)),
        capsule_mm=float(rng.uniform(1.2, 2.6)) if encapsulated else 0.0,
        capsule_hu=float(rng.uniform(12.0, 32.0)),
        necrosis=float(large * rng.uniform(0.15, 0.7)),
        mosaic_hu=float(rng.uniform(4.0, 10.0)),
    )


def place_lesions(
    lesions: Sequence[LesionParameters], liver: Volume, space: Space
) -> list[tuple[npt.NDArray[np.float64], float]]:
    """Find room for lesions in the liver, largest first, none touching another.

    A lesion too large for the room that is left becomes as small as it has to be, and is left out below 6 mm.

    Args:
        liver: (z, y, x) distance to the liver's surface.

    Returns:
        for each lesion its centre (x, y, z) and radius in mm; the radius is 0 where there was no room.
    """
    from scipy import ndimage

    steps = tuple(max(1, round(4.0 / spacing)) for spacing in space.grid.spacing_mm)
    coarse = tuple(slice(None, None, step) for step in steps)
    spacing = [step * mm for step, mm in zip(steps, space.grid.spacing_mm, strict=True)]
    inside = liver[coarse] < 0
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    chosen = np.argwhere(depth > 3.0 + _MARGIN_MM)
    room = depth[tuple(chosen.T)] - _MARGIN_MM
    places = np.stack([axis[coarse][tuple(chosen.T)] for axis in space.xyz], axis=1).astype(np.float64)
    found: list[tuple[npt.NDArray[np.float64], float]] = [(np.zeros(3), 0.0)] * len(lesions)
    for index in sorted(range(len(lesions)), key=lambda i: -lesions[i].diameter_mm):
        if not len(room) or room.max() < 3.0:
            break
        radius = min(lesions[index].diameter_mm / 2, float(room.max()) * 1.15)
        fits = np.flatnonzero(room >= radius / 1.15)  # large ones flatten against the liver's surface
        centre = places[fits[int(lesions[index].place * len(fits))]]
        found[index] = centre, radius
        room = np.minimum(room, np.linalg.norm(places - centre, axis=1) - 1.35 * radius - 4.0)
    return found


def shape_lesion(
    lesion: LesionParameters, centre: npt.NDArray[np.float64], radius_mm: float, liver: Volume, space: Space
) -> tuple[Box, Volume]:
    """Distance to a lesion, which stays inside the liver, and the box that it is known in."""
    reach = radius_mm * 1.5 + 4.0
    box = space.box(centre - reach, centre + reach)
    x, y, z = (
        (axis - np.float32(place)) / np.float32(factor)
        for axis, place, factor in zip(space.at(box), centre, lesion.stretch, strict=True)
    )
    lattice = max(7.0, 0.8 * radius_mm)
    bumps = np.clip(smooth_field(lesion.seed, "lesion", space.grid, lattice, box), -2.0, 2.0)
    sphere = np.sqrt(x * x + y * y + z * z) - np.float32(radius_mm) * (1 + np.float32(lesion.irregularity) * bumps)
    return box, meet(sphere, liver[box] + np.float32(_MARGIN_MM), 4.0)


def paint_lesion(
    hu: Volume, lesion: LesionParameters, radius_mm: float, box: Box, distance: Volume, liver_hu: float, space: Space
) -> None:
    """Paint one lesion: capsule, mosaic of washed-out tissue, necrosis."""
    image, grid = hu[box], space.grid
    edge = float(np.mean(grid.spacing_mm[1:]))
    if lesion.capsule_mm:
        paint(image, distance, liver_hu + lesion.capsule_hu, edge)
        distance = distance + np.float32(lesion.capsule_mm)
    patches = smooth_field(lesion.seed, "patches", grid, max(6.0, 0.5 * radius_mm), box)
    grain = smooth_field(lesion.seed, "grain", grid, 5.0, box)
    mosaic = 0.8 * np.sign(patches) * np.sqrt(np.abs(patches)) + 0.5 * grain
    tissue = liver_hu - lesion.washout_hu + np.float32(lesion.mosaic_hu) * mosaic
    paint(image, distance, tissue, edge)
    if lesion.necrosis > 0.05:
        core = distance + np.float32((1 - lesion.necrosis) * radius_mm) + np.float32(0.22 * radius_mm) * patches
        paint(image, np.maximum(core, distance + np.float32(3.0)), 24.0 + 5.0 * grain, 3.0)
