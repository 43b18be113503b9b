"""The wall of the chest: skin, fat, muscles, ribs, cartilage, sternum, collar bones, shoulder blades, spine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_shapes import join, paint, path, tube
from synthoma.phantoms.chest_space import Frame, Thorax, ramp
from synthoma.phantoms.ct import HOUNSFIELD, Volume

__all__ = ["paint_bones", "paint_soft_wall", "spine_distance"]

RIB_LAYER_MM = 11.0
"""From the inner surface of the ribs to the outer."""
_RIB_STEP_MM, _RIB_DROP_MM = 23.5, 88.0  # from rib to rib at the spine; fall from the spine to the front
_VERTEBRA_MM = 23.5
_CANAL_Y_MM = 23.0


def paint_soft_wall(image: Volume, frame: Frame, thorax: Thorax, pixel_mm: float) -> None:
    """Skin over fat over muscles, into air."""
    build = thorax.build
    d, angle, z = frame.cavity, frame.angle, thorax.xyz[2]
    texture = thorax.field("fat", 9.0)
    paint(image, frame.skin, 25.0, pixel_mm)
    paint(image, frame.skin + 2.0, HOUNSFIELD["fat"] + 7 * texture, pixel_mm)

    thick = build.muscle * (
        3
        + 23 * np.exp(-((angle / 0.42) ** 2))  # the straight muscles of the back
        + 9 * np.exp(-(((angle - 1.25) / 0.5) ** 2)) * ramp(z, -150, -60)  # serratus, latissimus
        + (14 + 6 * ramp(z, -20, 60)) * np.exp(-(((angle - 2.3) / 0.36) ** 2)) * ramp(z, -75, -15)  # pectorals
        + 24 * np.exp(-(((angle - 0.98) / 0.36) ** 2)) * ramp(z, -60, 5)  # around the shoulder blade
    )
    thick += 34 * ramp(z, 30, 85) * np.exp(-(((angle - 1.3) / 0.8) ** 2))  # shoulders
    inside = np.maximum(d - (RIB_LAYER_MM + thick), frame.skin + np.float32(2.0 + 0.45 * build.fat_mm))
    # Planes of fat part the muscles; marbling grows with age.
    gaps = (np.abs(thorax.field("planes", 34.0)) - 0.07) * 18
    layer = np.abs(d - RIB_LAYER_MM - 1.2) - 1.3 + 9 * ramp(z, 78, 98)  # none above the ribs
    outside_ribs = d > RIB_LAYER_MM - 1
    muscle = np.maximum(inside, np.where(outside_ribs, -np.minimum(gaps, layer), -9))
    marbling = np.clip(0.10 + 0.14 * thorax.field("marbling", 5.0) + 0.002 * (build.age_years - 60), 0, 0.5)
    flesh = HOUNSFIELD["muscle"] - 130 * marbling
    paint(image, muscle, flesh, pixel_mm)


def paint_bones(image: Volume, frame: Frame, thorax: Thorax, pixel_mm: float) -> None:
    """All bones, over the soft wall and whatever lies inside."""
    _paint_ribs(image, frame, thorax, pixel_mm)
    _paint_sternum(image, frame, thorax, pixel_mm)
    _paint_shoulder_blades(image, frame, thorax, pixel_mm)
    marrow = _marrow(thorax)
    for side in (-1, 1):
        bone = path([(side * 22, -106, 52), (side * 60, -112, 66), (side * 100, -82, 84), (side * 150, -55, 92)])
        box, distance = tube(thorax, bone, 6.0)
        _paint_shell(image[box], distance, 1.6, HOUNSFIELD["cortex"], marrow, pixel_mm)
    _paint_spine(image, thorax, pixel_mm)


def spine_distance(thorax: Thorax) -> Volume:
    """Distance to the column of vertebrae and what lies along it, which lungs do not enter."""
    x, y, _ = thorax.xyz
    body: Volume = (np.hypot(x / 22.0, (y + 1) / 19.0) - 1) * 19
    back: Volume = (np.hypot(x / 34.0, (y - 34) / 20.0) - 1) * 20
    return join(body, back, 10.0)


def _marrow(thorax: Thorax) -> float:
    """Cancellous bone loses about 2.5 HU a year (Pickhardt et al., Ann Intern Med 158:588, 2013)."""
    return float(np.clip(HOUNSFIELD["marrow"] + 2.2 * (60 - thorax.build.age_years), 90, 280))


def _paint_shell(
    image: Volume,
    distance: Volume,
    cortex_mm: float,
    cortex_hu: Volume | float,
    marrow_hu: Volume | float,
    pixel_mm: float,
) -> None:
    paint(image, distance, cortex_hu, pixel_mm)
    paint(image, distance + np.float32(cortex_mm), marrow_hu, pixel_mm)


def _paint_ribs(image: Volume, frame: Frame, thorax: Thorax, pixel_mm: float) -> None:
    """Ribs run down and forward inside the wall, so that a slice cuts each where it happens to cross."""
    middle = RIB_LAYER_MM / 2
    voxels = np.flatnonzero((np.abs(frame.cavity - middle) < 8) & (frame.angle > 0.28) & (frame.angle < 2.94))
    d, angle = frame.cavity.ravel()[voxels] - middle, frame.angle.ravel()[voxels]
    z = thorax.xyz[2].ravel()[voxels]
    # Down along the side, then up again as cartilage.
    forward = np.clip((angle - 0.35) / 1.95, 0, 1)
    fall = _RIB_DROP_MM * forward**1.15 - 30 * np.clip((angle - 2.35) / 0.6, 0, 1) ** 1.3
    slope = np.float32(0.80)
    turn = (z + fall) / _RIB_STEP_MM
    number = np.rint(turn)  # 4 is the first rib, −8 about the last whose front reaches the cartilage
    across = (turn - number) * _RIB_STEP_MM * slope
    distance = (np.hypot(d / 3.9, across / 6.3) - 1) * 4.4
    distance = np.maximum(distance, (0.33 - angle) * 60)
    distance[(number > 4) | (number < -7)] = 9
    cartilage = ramp(angle, 2.30, 2.36)
    calcified = np.clip((thorax.build.age_years - 45) / 40, 0, 1)
    cortex = (1 - cartilage) * np.float32(HOUNSFIELD["cortex"] - 150) + cartilage * np.float32(120 + 260 * calcified)
    core = (1 - cartilage) * np.float32(_marrow(thorax) + 20) + cartilage * np.float32(HOUNSFIELD["cartilage"])
    part = image.ravel()[voxels]
    _paint_shell(part, distance, 1.4, cortex, core, pixel_mm)
    image.ravel()[voxels] = part


def _paint_sternum(image: Volume, frame: Frame, thorax: Thorax, pixel_mm: float) -> None:
    box = thorax.box((-40, -190, -105), (40, -60, 66), 10)
    x, _, z = thorax.at(box)
    wide = 15 + 9 * ramp(z, 15, 45) - 5 * ramp(z, -70, -100)
    flat = np.abs(frame.cavity[box] - 5) - 5.2
    across = np.abs(x) - wide
    ends = np.maximum(z - 60, -98 - z)
    joint = np.abs(z - 18) < 1.5  # between manubrium and body
    distance = np.maximum(_round(flat, across, 4.0), ends)
    front = frame.angle[box] > 2.3
    distance = np.where(front & ~joint, distance, 9).astype(np.float32)
    _paint_shell(image[box], distance, 1.3, 520, _marrow(thorax) - 20, pixel_mm)


def _round(a: npt.NDArray[Any], b: npt.NDArray[Any], corner_mm: float) -> Volume:
    """The distance to what lies in both slabs, corners rounded."""
    a, b = a + np.float32(corner_mm), b + np.float32(corner_mm)
    outside = np.hypot(np.maximum(a, 0), np.maximum(b, 0))
    result: Volume = outside + np.minimum(np.maximum(a, b), 0) - np.float32(corner_mm)
    return result


def _paint_shoulder_blades(image: Volume, frame: Frame, thorax: Thorax, pixel_mm: float) -> None:
    z = thorax.xyz[2]
    voxels = np.flatnonzero((z > -48) & (z < 108) & (frame.angle > 0.5) & (frame.angle < 1.75) & (frame.cavity > 12))
    d, angle, z = frame.cavity.ravel()[voxels], frame.angle.ravel()[voxels], z.ravel()[voxels]
    up = np.clip((z + 42) / 130, 0, 1)
    medial, lateral = 0.78 - 0.05 * up, 0.92 + 0.52 * up
    along = np.clip((angle - medial) / (lateral - medial), 0, 1)
    away = d - (19 + 15 * along + 12 * up * along)
    thick = 1.5 + 3.3 * ramp(along, 0.72, 1.0) + 0.8 * ramp(along, 0.15, 0.0)
    distance = np.maximum(np.abs(away) - thick, np.maximum(angle - lateral, medial - angle) * 118)
    distance = np.maximum(distance, np.maximum(z - 100, -42 - z))
    # The spine of the blade: a ridge at the back of its upper third.
    ridge = np.maximum(np.abs(z - (42 + 34 * along)) - 2.6, np.maximum(np.abs(away - 9) - 10, medial + 0.05 - angle))
    distance = np.minimum(distance, np.maximum(ridge, (angle - lateral - 0.1) * 118))
    part = image.ravel()[voxels]
    _paint_shell(part, distance.astype(np.float32), 1.3, HOUNSFIELD["cortex"] - 100, _marrow(thorax) + 60, pixel_mm)
    image.ravel()[voxels] = part


def _paint_spine(image: Volume, thorax: Thorax, pixel_mm: float) -> None:
    box = thorax.box((-48, -30, -215), (48, 85, 160))
    x, y, z = thorax.at(box)
    part = image[box]
    turn = z / np.float32(_VERTEBRA_MM)
    height = (turn - np.rint(turn)) * np.float32(_VERTEBRA_MM)  # from the middle of its vertebra
    waist = 1.2 * (1 - (2 * height / _VERTEBRA_MM) ** 2)
    body = (np.hypot(x / 17.5, y / 15.0) - 1) * 15.5 + waist
    disc = np.abs(height) - 9.4
    marrow = _marrow(thorax) + 26 * thorax.field("trabeculae", 3.2, box)
    # Behind: the arch around the canal, its joints and transverse processes, the spinous process that points down.
    arch = np.hypot(x / 1.12, y - _CANAL_Y_MM + 1.0) - 15.0
    joints = np.hypot(np.hypot(np.abs(x) - 15, y - 27) / 1.0, 0.55 * height) - 7.5
    side = _round(np.abs(y - 28 - 0.32 * np.abs(x)) - 4.6, np.abs(height - 4) - 5.5, 3.0)
    side = np.maximum(side, np.abs(x) - 35)
    tip = _round(np.abs(x) - 3.4, np.abs(height + 0.55 * (y - 40) - 1) - 7, 2.5)
    tip = np.maximum(np.maximum(tip, y - 62), 30 - y)
    back = join(join(np.maximum(arch, np.abs(height - 1) - 8.5), joints, 3.0), np.minimum(side, tip), 3.0)
    canal = np.hypot(x / 1.1, y - _CANAL_Y_MM) - 8.6
    paint(part, body, HOUNSFIELD["cartilage"] - 5, pixel_mm)  # the discs
    bone = np.maximum(body, disc)
    paint(part, bone, 560, pixel_mm)
    paint(part, bone + np.float32(1.3), marrow, pixel_mm)
    _paint_shell(part, back.astype(np.float32), 1.6, HOUNSFIELD["cortex"] - 200, marrow + 60, pixel_mm)
    paint(part, canal, -20.0, pixel_mm)
    paint(part, np.hypot(x / 1.15, y - _CANAL_Y_MM) - np.float32(6.6), 32.0, pixel_mm)  # the dural sac
