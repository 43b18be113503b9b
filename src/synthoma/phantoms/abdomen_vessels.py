"""Aorta, cava, the portal vein and the trees that it and the hepatic veins make in the liver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_body import TrunkParameters
from synthoma.phantoms.abdomen_organs import Organs
from synthoma.phantoms.abdomen_shapes import Box, Space, paint, path, tube
from synthoma.phantoms.ct import Volume
from synthoma.seeding import generator

__all__ = ["VesselParameters", "Vessels", "grow_tree", "paint_vessels", "shape_vessels"]

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VesselParameters:
    """One patient's vessels."""

    seed: int
    aorta_mm: float
    """Radius."""
    portal_mm: float
    plaque: float
    """Calcified share of the aorta's wall, 0 to 1."""
    generations: int = 7


@dataclass(frozen=True)
class Vessels:
    """Distances to the vessels, each in a box of the grid."""

    aorta: tuple[Box, Volume]
    cava: tuple[Box, Volume]
    portal: tuple[tuple[Box, Volume], ...]
    """Trunk, splenic vein, and every branch inside the liver."""
    hepatic: tuple[tuple[Box, Volume], ...]
    others: tuple[tuple[Box, Volume], ...]
    """Arteries of gut and kidneys, renal veins."""


def shape_vessels(v: VesselParameters, p: TrunkParameters, organs: Organs, space: Space) -> Vessels:
    """Lay the large vessels by their usual courses, and fill the liver with the two trees."""
    up, top = p.dome_mm - 85.0, p.dome_mm
    rng = generator(v.seed, "vessels")
    aorta = tube(space, path([(4, -36, -150), (9, -36, -60), (11, -35, 0), (13, -30, 50), (17, -22, 150)]), v.aorta_mm)
    course = path(
        [
            (-20, -30, -150),
            (-22, -31, -50),
            (-24, -33, 10),
            (-27, -40, 50 + up),
            (-20, -50, top + 6),
            (-12, -56, top + 30),
        ]
    )
    cava = tube(space, course, np.interp(np.linspace(0, 1, len(course)), [0, 0.6, 1], [10.0, 12.0, 14.0]))

    hilum = np.array([-26.0, -63.0, 8.0 + up])
    confluence = (2.0, -56.0, -10.0)
    trunk = tube(space, path([confluence, (-12, -60, -2 + 0.5 * up), (hilum[0], hilum[1], hilum[2])]), v.portal_mm)
    splenic = tube(space, path([confluence, (26, -54, 0), (54, -34, 8), (88, -16, 18 + up)]), 0.62 * v.portal_mm)
    mesenteric = tube(space, path([confluence, (0, -62, -40), (4, -72, -90), (8, -78, -150)]), 0.75 * v.portal_mm)
    right, left = _liver_points(organs, space, rng, split_x=-18.0)
    portal: list[tuple[Box, Volume]] = [trunk, splenic, mesenteric]
    for points, calibre in ((right, 0.8), (left, 0.66)):
        portal += grow_tree(space, hilum, points, calibre * v.portal_mm, v.generations, rng)

    mouth = np.array([-24.0, -46.0, 58.0 + up])
    every = np.concatenate([right, left])
    thirds = np.digitize(every[:, 0] + 0.25 * (every[:, 1] + 60.0), [-72.0, -8.0])
    hepatic: list[tuple[Box, Volume]] = []
    for third in range(3):
        hepatic += grow_tree(space, mouth, every[thirds == third], 0.62 * v.portal_mm, v.generations - 1, rng)

    others = [
        tube(space, path([(11, -44, 4), (10, -58, 2), (4, -64, 0)]), 3.2),
        tube(space, path([(10, -44, -12), (8, -58, -22), (6, -64, -60), (8, -70, -150)]), 3.4),
    ]
    for side, x in ((0, -22.0), (1, 9.0)):
        kidney_z = (-46.0, -30.0)[side]
        ends = ((-1, 1)[side] * 36.0, -12.0, kidney_z)
        others.append(
            tube(space, path([(x, -36, kidney_z + 10), (x * 0.5 + ends[0] * 0.5, -30, kidney_z + 6), ends]), 4.4)
        )
    return Vessels(aorta, cava, tuple(portal), tuple(hepatic), tuple(others))


def _liver_points(organs: Organs, space: Space, rng: np.random.Generator, split_x: float) -> tuple[Points, Points]:
    """Random places in the liver, 4 mm and more below its surface, in the right and the left lobe."""
    inside = np.argwhere(organs.liver < -4.0)
    chosen = inside[rng.choice(len(inside), min(3000, len(inside)), replace=False)] if len(inside) else inside
    places = np.stack([axis[tuple(chosen.T)] for axis in space.xyz], axis=1).astype(np.float64)
    right = places[:, 0] < split_x
    return places[right], places[~right]


def grow_tree(
    space: Space, root: Points, points: Points, radius_mm: float, generations: int, rng: np.random.Generator
) -> list[tuple[Box, Volume]]:
    """A tree from ``root`` that supplies ``points``: they are halved again and again across their widest direction, and
    a branch runs to the middle of each half (Wang et al., J Biomech Eng 114:1, 1992). Calibres follow Murray's law,
    r³ = r₁³ + r₂³, by the number of points supplied.
    """
    thinnest = max(0.45, 0.3 * space.grid.spacing_mm[1])
    if len(points) < 12 or radius_mm < thinnest or generations == 0:
        return []
    middle = points.mean(axis=0)
    target = root + 0.62 * (middle - root)
    length = float(np.linalg.norm(target - root))
    bend = (root + target) / 2 + 0.2 * length * rng.normal(size=3)
    t = np.linspace(0, 1, max(2, round(length / 7.0) + 1))[:, None]
    course = (1 - t) ** 2 * root + 2 * t * (1 - t) * bend + t**2 * target  # a quadratic Bézier curve
    branches = [tube(space, course, np.linspace(radius_mm, 0.93 * radius_mm, len(course)), margin_mm=3.0)]
    centred = points - middle
    widest = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    along = centred @ (widest + 0.25 * rng.normal(size=3))
    upper = along > np.quantile(along, rng.uniform(0.36, 0.64))
    for half in (upper, ~upper):
        share = (half.sum() / len(points)) ** (1 / 3)
        branches += grow_tree(space, target, points[half], 0.93 * radius_mm * share, generations - 1, rng)
    return branches


def paint_vessels(hu: Volume, v: VesselParameters, p: TrunkParameters, vessels: Vessels, space: Space) -> None:
    """Veins are as bright as arteries in the portal-venous phase."""
    edge = float(np.mean(space.grid.spacing_mm[1:]))
    for box, distance in vessels.others:
        paint(hu[box], distance, p.blood_hu - 4.0, edge)
    for branches, value in ((vessels.hepatic, p.blood_hu + 5.0), (vessels.portal, p.blood_hu + 14.0)):
        for box, distance in branches:
            paint(hu[box], distance, value, edge)
    box, distance = vessels.cava
    paint(hu[box], distance, p.blood_hu - 8.0 + 8.0 * space.field("mixing", 18.0, box), edge)
    box, distance = vessels.aorta
    paint(hu[box], distance - np.float32(1.2), 60.0, edge)
    paint(hu[box], distance, p.blood_hu, edge)
    if v.plaque > 0:
        patch = space.field("plaque", 14.0, box) - np.float32(2.2 - 1.6 * v.plaque)
        paint(hu[box], np.maximum(np.abs(distance) - np.float32(0.8), -4 * patch), 480.0, edge)
