"""The lungs: their tissue, its gravity gradient, fissures, emphysema, and the vessels and airways in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthoma.phantoms.abdomen_shapes import meet, paint
from synthoma.phantoms.chest_mediastinum import HILA, Contrast, Mediastinum
from synthoma.phantoms.chest_space import AXIS_Y_MM, Frame, Thorax, ramp
from synthoma.phantoms.chest_trees import Branches, draw_branches, grow_tree
from synthoma.phantoms.ct import Volume
from synthoma.seeding import generator

__all__ = ["LungParameters", "Trees", "grow_lungs", "paint_lungs", "shape_lungs"]

Trees = dict[str, list[Branches]]
"""``arteries`` and ``veins``, each of the right lung and the left."""

_LEAVES, _ROOT_RADIUS_MM = 900, {"arteries": 5.0, "veins": 4.6}
_SMALLEST_BRONCHUS_MM = 1.25  # radius of the artery beside the last airway that is drawn


@dataclass(frozen=True)
class LungParameters:
    """One patient's lungs."""

    hu: float
    """Mean attenuation of the tissue between the vessels that are drawn."""
    gradient_hu: float
    """From the front to the back of a patient who lies on her back."""
    emphysema: float
    """Share of destroyed tissue in the upper lobes, 0 to 0.5."""
    dependent: float
    """Strength of the band of collapsed tissue along the back, 0 to 1."""


def shape_lungs(frame: Frame, mediastinum: Mediastinum, diaphragm: Volume) -> Volume:
    """Distance to both lungs, negative inside."""
    return meet(meet(frame.cavity + np.float32(0.6), -mediastinum.surface, 6.0), -diaphragm, 3.0)


def grow_lungs(lungs: Volume, thorax: Thorax) -> Trees:
    """The trees of both lungs, fitted to their shape on any grid; a few millimetres are fine enough."""
    return {kind: [_tree(kind, side, lungs, thorax) for side in (-1, 1)] for kind in ("arteries", "veins")}


def paint_lungs(
    image: Volume,
    lungs: Volume,
    frame: Frame,
    p: LungParameters,
    trees: Trees,
    contrast: Contrast,
    thorax: Thorax,
) -> None:
    """Draw tissue, fissures, vessels and airways; hila and nodules are drawn later."""
    pixel_mm = thorax.grid.spacing_mm[1]
    if not (lungs < pixel_mm).any():
        return
    paint(image, lungs, _tissue(frame, p, thorax), pixel_mm)
    inside = np.clip(0.5 - lungs / 3.0, 0, 1)
    for kind, blood in (("arteries", contrast.pulmonary), ("veins", 0.92 * contrast.pulmonary)):
        share = np.zeros_like(image)
        for tree in trees[kind]:
            draw_branches(share, thorax.grid, tree, pixel_mm)
        if kind == "arteries":
            _paint_bronchi(image, inside, trees[kind], thorax, pixel_mm)
        share *= inside
        image += share * (np.float32(blood) - image)


def _tissue(frame: Frame, p: LungParameters, thorax: Thorax) -> Volume:
    _, y, z = thorax.xyz
    back = (y - np.float32(AXIS_Y_MM)) / np.float32(170)
    tissue: Volume = np.float32(p.hu) + np.float32(p.gradient_hu) * back
    tissue += 15 * thorax.field("lobules", 11.0) + 30 * thorax.field("acini", 3.2)
    if p.emphysema > 0.02:
        holes = thorax.field("emphysema", 6.5) + 0.7 * ramp(z, -90, 60) - np.float32(2.1 - 3.0 * p.emphysema)
        tissue += np.clip(holes, 0, 1) * np.float32(-95)
    if p.dependent > 0.05:
        band = np.exp(-np.maximum(-frame.cavity, 0) / np.float32(5 + 5 * p.dependent)) * ramp(y, -5, 35)
        tissue += band * np.float32(190 * p.dependent) * (1 + 0.5 * thorax.field("dependent", 14.0))
    for fissure in _fissures(thorax):
        tissue += np.exp(-((fissure / np.float32(1.15)) ** 2)) * np.float32(65)
    np.clip(tissue, -985, -350, out=tissue)
    return tissue


def _fissures(thorax: Thorax) -> list[Volume]:
    """Distances to the oblique fissures and to the horizontal one of the right lung."""
    x, y, z = thorax.xyz
    waves = 4 * thorax.field("fissures", 38.0)
    oblique = 0.72 * (z - 26 - np.where(x < 0, 4, 0)) - 0.69 * (y - 32) + waves
    level = np.where((x < 0) & (oblique > 0), z + 34 + 0.12 * (y + 80) + waves, 99)
    return [oblique.astype(np.float32), level.astype(np.float32)]


def _tree(kind: str, side: int, lungs: Volume, thorax: Thorax) -> Branches:
    """A tree for one lung (side −1 is the right), from the hilum to points in all of its tissue."""
    grid = thorax.grid
    rng = generator(thorax.seed, "tree", kind, side)
    x = grid.axis(2)
    half = (side * x > 0)[None, None, :]
    voxels = np.flatnonzero((lungs < -3.0) & half)
    if len(voxels) < _LEAVES:  # the examination shows no lung on this side
        return Branches(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    chosen = np.unravel_index(rng.choice(voxels, _LEAVES, replace=False), lungs.shape)
    leaves = np.stack([grid.axis(axis)[chosen[axis]] for axis in (2, 1, 0)], axis=1).astype(np.float64)
    leaves += rng.uniform(-1, 1, leaves.shape)
    return grow_tree(leaves, thorax.place(HILA[kind][side]), _ROOT_RADIUS_MM[kind], rng)


def _paint_bronchi(image: Volume, inside: Volume, trees: list[Branches], thorax: Thorax, pixel_mm: float) -> None:
    """An airway runs beside each larger artery, about as wide as it, with a wall of a fifth of its width."""
    wall, lumen = np.zeros_like(image), np.zeros_like(image)
    for side, tree in zip((-1, 1), trees, strict=True):
        keep = tree.radius > _SMALLEST_BRONCHUS_MM
        radius = 0.82 * tree.radius[keep]
        beside = np.array([-0.62 * side, 0.55, 0.56]) * (1.05 * tree.radius[keep] + radius + 0.5)[:, None]
        start, end = tree.start[keep] + beside, tree.end[keep] + beside
        draw_branches(wall, thorax.grid, Branches(start, end, 1.2 * radius + 0.45), pixel_mm)
        draw_branches(lumen, thorax.grid, Branches(start, end, radius), pixel_mm)
    image += wall * inside * (np.float32(-60) - image)
    image += lumen * inside * (np.float32(-960) - image)
