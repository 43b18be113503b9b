"""Colon, small bowel and the vessels of the mesentery: what fills the abdomen around the organs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_body import TrunkParameters
from synthoma.phantoms.abdomen_organs import OrganParameters, Organs
from synthoma.phantoms.abdomen_shapes import Box, Space, meet, paint, path, smooth_field, tube
from synthoma.phantoms.ct import Volume
from synthoma.seeding import generator

__all__ = ["paint_gut"]


def paint_gut(hu: Volume, o: OrganParameters, p: TrunkParameters, organs: Organs, space: Space) -> None:
    """Paint the gut into the fat; organs painted later lie over it."""
    edge = float(np.mean(space.grid.spacing_mm[1:]))
    _paint_mesentery(hu, p, organs, space)
    rng = generator(o.gut_seed, "gut")
    for course in _loops(rng, p):
        _paint_bowel(hu, organs, space, course, float(rng.uniform(9.0, 13.5)), rng, edge)
    _paint_colon(hu, p, organs, space, rng, edge)


def _paint_mesentery(hu: Volume, p: TrunkParameters, organs: Organs, space: Space) -> None:
    """Where two smooth fields are both near zero there is a curve in space: vessels of one to two millimetres."""
    grid = space.grid
    box = space.box((-150.0, -200.0, -150.0), (150.0, 10.0, p.dome_mm - 30.0))
    squared = smooth_field(p.seed, "mesentery-1", grid, 17.0, box) ** 2
    squared += smooth_field(p.seed, "mesentery-2", grid, 17.0, box) ** 2
    share = 0.9 * np.exp(-squared / 0.012) * np.clip(-organs.room[box] / 8.0, 0, 1)
    hu[box] += share.astype(np.float32) * (np.float32(p.blood_hu - 20.0) - hu[box])


def _loops(rng: np.random.Generator, p: TrunkParameters) -> list[npt.NDArray[np.float64]]:
    """Loops of small bowel: short walks that keep their direction, ileum below and jejunum on the left."""
    front = 26.0 - p.half_depth_mm * 0.86
    clusters = (
        (34, np.array([10.0, front, -94.0]), np.array([p.half_width_mm * 0.54, p.half_depth_mm * 0.38, 52.0])),
        (14, np.array([p.half_width_mm * 0.38, front + 14.0, -34.0]), np.array([34.0, p.half_depth_mm * 0.34, 34.0])),
    )
    loops = []
    for count, centre, half in clusters:
        for _ in range(count):
            place = centre + half * rng.uniform(-1, 1, 3)
            heading, points = rng.normal(size=3), []
            for _ in range(5):
                points.append((float(place[0]), float(place[1]), float(place[2])))
                heading = 0.6 * heading / np.linalg.norm(heading) + 0.75 * rng.normal(size=3)
                heading -= 0.5 * np.maximum(np.abs((place - centre) / half) - 0.7, 0) * np.sign(place - centre)
                place = place + 15.0 * heading / np.linalg.norm(heading)
            loops.append(path(points, 8.0))
    return loops


def _fit(distance: Volume, organs: Organs, space: Space, box: Box) -> Volume:
    """Inside the peritoneum and clear of liver, spleen, and the great vessels before the spine."""
    x, y, _ = space.at(box)
    spine = np.hypot(x / np.float32(1.45), y) - np.float32(49.0)
    near = np.minimum(np.minimum(organs.liver[box], organs.spleen[box]), spine)
    return meet(meet(distance, organs.room[box] + np.float32(1.0), 5.0), np.float32(4.0) - near, 4.0)


def _paint_bowel(
    hu: Volume,
    organs: Organs,
    space: Space,
    course: npt.NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
    edge: float,
) -> None:
    wall, content, gas = float(rng.uniform(70, 105)), float(rng.uniform(5, 60)), rng.uniform() < 0.18
    box, distance = tube(space, course, radius, margin_mm=3.0)
    if any(axis.start >= axis.stop for axis in box):
        return
    distance = _fit(distance, organs, space, box)
    image = hu[box]
    paint(image, distance - np.float32(1.2), -95.0, edge)  # a film of fat keeps loops apart
    paint(image, distance, wall, edge)
    lumen = distance + np.float32(2.6)
    paint(image, lumen, content, edge)
    if gas:
        y = space.grid.axis(1)[box[1]][:, None]
        top = np.float32(course[:, 1].mean() - 0.2 * radius)
        paint(image, meet(lumen, np.broadcast_to(y - top, image.shape)), -900.0, edge)


def _paint_colon(
    hu: Volume, p: TrunkParameters, organs: Organs, space: Space, rng: np.random.Generator, edge: float
) -> None:
    """Ascending, transverse and descending colon with haustra; stool riddled with gas, or gas alone."""
    side, front = p.half_width_mm * 0.66, 60.0 - 1.22 * p.half_depth_mm
    sag = float(rng.uniform(-84, -48))
    right_bend, left_bend = (-side + 14, -48.0, -66.0), (side - 6, -56.0, -2.0)
    ascending = [(-side, -20.0, -150.0), (-side, -22.0, -110.0), (-side + 4, -32.0, -80.0), right_bend]
    transverse = [right_bend, (-56.0, -92.0 + front * 0.6, -70.0), (-10.0, -100.0 + front, sag)]
    transverse += [(40.0, -100.0 + front, sag + 8), (76.0, -84.0 + front * 0.5, -36.0), left_bend]
    descending = [left_bend, (side + 2, -34.0, -8.0), (side + 6, -14.0, -50.0), (side + 2, -8.0, -100.0)]
    descending += [(side, -8.0, -150.0)]
    parts = ((ascending, 21.0, 0.3), (transverse, 20.0, 0.65), (descending, 15.0, 0.3))
    for points, radius, gassy in parts:
        course = path(points, 5.0)
        along = np.arange(len(course)) * 5.0
        radii = radius * (1 + 0.13 * np.sin(2 * np.pi * along / 31.0 + rng.uniform(0, 6)))
        box, distance = tube(space, course, radii, margin_mm=4.0)
        if any(axis.start >= axis.stop for axis in box):
            continue
        distance = _fit(distance, organs, space, box)
        image = hu[box]
        paint(image, distance - np.float32(1.0), -98.0, edge)
        paint(image, distance, 72.0, edge)
        lumen = distance + np.float32(2.4)
        bubbles = space.field("stool", 4.5, box) + 0.6 * space.field("stool-broad", 14.0, box)
        stool = np.where(bubbles > 0.55, -550.0, 35.0 + 25.0 * bubbles)
        paint(image, lumen, stool.astype(np.float32), edge)
        if rng.uniform() < gassy:
            y = space.grid.axis(1)[box[1]][:, None]
            level = np.float32(course[:, 1].mean() + rng.uniform(-8, 6))
            paint(image, meet(lumen, np.broadcast_to(y - level, image.shape)), -950.0, edge)
