"""The trunk around the organs: skin, fat, muscle, ribs, spine, diaphragm, lung bases and heart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_shapes import Space, ellipsoid, join, meet, paint, path, smooth_field, tube
from synthoma.phantoms.ct import HOUNSFIELD, Volume

__all__ = ["BACK_MM", "Trunk", "TrunkParameters", "paint_chest", "paint_spine", "shape_trunk"]

BACK_MM = 28.0
"""From the middle of a vertebral body to the front of the spinous muscles: where the cavity ends at the back."""

_VERTEBRA_MM = 31.0  # one vertebral body with its disc
_RIB_MM = 27.0  # from rib to rib along the spine
_LAST_RIB_MM = 8.0  # where the twelfth leaves the spine


@dataclass(frozen=True)
class TrunkParameters:
    """One patient's build. ``seed`` names the random fields."""

    seed: int
    half_width_mm: float
    half_depth_mm: float
    subcutaneous_mm: float
    """Typical thickness of the fat below the skin."""
    muscle: float
    """Factor of the thickness of muscles; 1 is average."""
    marbling: float
    """Share of fat in the muscles of the back, 0 to 0.5."""
    dome_mm: float
    """Height of the right dome of the diaphragm above the first lumbar vertebra."""
    marrow_hu: float
    """Cancellous bone: falls with age."""
    muscle_hu: float
    blood_hu: float
    """Arteries and veins in the portal-venous phase."""


@dataclass(frozen=True)
class Trunk:
    """Distances (z, y, x) that organs are fitted to, in mm, negative inside."""

    skin: Volume
    wall: Volume
    """The outer surface of the muscles."""
    cavity: Volume
    """The inner surface of the wall: peritoneum and pleura."""
    diaphragm: Volume
    """Negative below the domes."""
    angle: npt.NDArray[np.float32]
    """(y, x): −π to π around the trunk; 0 at the back, positive on the left."""


def shape_trunk(parameters: TrunkParameters, space: Space) -> Trunk:
    """The surfaces of the trunk, in polar coordinates around its axis."""
    grid, p = space.grid, parameters
    axis_y = BACK_MM + 44.0 - p.half_depth_mm  # the spine keeps its distance from the skin of the back
    x, y = grid.axis(2)[None, :], grid.axis(1)[:, None] - np.float32(axis_y)
    angle = np.arctan2(x, y).astype(np.float32)
    radius = np.hypot(x, y).astype(np.float32)
    z = grid.axis(0)[:, None, None]

    power = 2.35
    around = (np.abs(np.sin(angle)) / p.half_width_mm) ** power + (np.abs(np.cos(angle)) / p.half_depth_mm) ** power
    outline = around ** (-1 / power)
    outline -= 5.0 * np.exp(-((angle / 0.10) ** 2))  # the furrow of the back, between its two muscles
    outline += 3.0 * np.exp(-(((np.abs(angle) - 0.3) / 0.2) ** 2))
    # Narrower at the waist, wider again at hips and chest; a little of every patient's own.
    waist = 1.0 - 0.04 * np.exp(-(((z + 60.0) / 70.0) ** 2)) + 0.0002 * np.minimum(z, 40.0)
    own = smooth_field(p.seed, "outline", grid, 90.0)
    skin = radius - outline * waist - np.float32(2.5) * own

    front = np.abs(angle) / np.float32(np.pi)
    low = 1 / (1 + np.exp((z - 10.0) / 30.0))  # 1 in the abdomen, 0 in the chest
    fat = p.subcutaneous_mm * (
        0.75
        + 0.45 * np.exp(-(((front - 0.35) / 0.12) ** 2)) * low  # flanks
        + 0.35 * np.exp(-(((front - 1.0) / 0.28) ** 2)) * low  # belly
        + 0.2 * smooth_field(p.seed, "fat", grid, 50.0)
    )
    wall = skin + np.maximum(fat, 3.0)

    lateral, chest = np.float32(12.0 * p.muscle), 1 - low
    thickness = (
        lateral
        + 4.0 * chest
        + np.exp(-((angle / 0.52) ** 2)) * np.float32(26.0)
        + np.exp(-((angle / 0.16) ** 2)) * np.float32(12.0)
        - 3.0 * np.exp(-(((front - 1.0) / 0.05) ** 2)) * low  # linea alba
        - 4.0 * np.exp(-(((front - 0.78) / 0.05) ** 2)) * low  # linea semilunaris
    )
    cavity = wall + thickness
    return Trunk(skin, wall, cavity, _diaphragm(p, space, axis_y), angle)


def _diaphragm(p: TrunkParameters, space: Space, axis_y: float) -> Volume:
    """Two domes and the saddle of the heart between them, closed below so that no lung lies beside the abdomen."""
    x, y, z = (axis.copy() for axis in space.xyz)
    floor = np.float32(p.dome_mm - 92.0)
    down = np.maximum(floor - z, 0)
    z = np.maximum(z, floor)
    middle = np.float32(axis_y - 4.0)
    y = middle + np.where(y < middle, (y - middle) * np.float32(0.80), y - middle)  # shallower at the back
    wide = p.half_width_mm / 150.0
    deep = p.half_depth_mm / 120.0 * 72.0
    right = ellipsoid((x, y, z), (-60.0 * wide, float(middle), float(floor)), (74.0 * wide, deep, 92.0))
    left = ellipsoid((x, y, z), (64.0 * wide, float(middle) + 4.0, float(floor)), (72.0 * wide, deep, 78.0))
    saddle = ellipsoid((x, y, z), (4.0, float(middle) - 14.0, float(floor)), (60.0 * wide, deep * 0.9, 74.0))
    domes: Volume = join(join(right, saddle, 14.0), left, 14.0)
    domes -= down * np.float32(0.7)
    return domes


def paint_chest(hu: Volume, p: TrunkParameters, trunk: Trunk, space: Space) -> None:
    """Fill the trunk: skin, fat, the muscles of the wall, lungs, heart, diaphragm, ribs and sternum."""
    grid = space.grid
    edge = float(np.mean(grid.spacing_mm[1:]))
    paint(hu, trunk.skin, 5.0, edge)
    septa = 7.0 * np.abs(smooth_field(p.seed, "septa", grid, 7.0))
    paint(hu, trunk.skin + np.float32(2.0), HOUNSFIELD["fat"] - 4.0 + septa, edge)
    fibres = smooth_field(p.seed, "fibres", grid, 6.0)
    stripes = smooth_field(p.seed, "stripes", grid, 11.0)
    back = np.exp(-((trunk.angle / 0.6) ** 2))
    lean = np.clip(1.35 - np.abs(stripes) * 2.2, 0, 1) * (0.25 + 2.0 * p.marbling * back)
    muscle = p.muscle_hu + 6.0 * fibres - (p.muscle_hu + 90.0) * np.clip(lean - 0.18, 0, 0.9)
    paint(hu, trunk.wall, muscle, edge)
    _part_layers(hu, trunk)
    paint(hu, trunk.cavity, HOUNSFIELD["fat"] + 6.0 * np.abs(smooth_field(p.seed, "visceral", grid, 9.0)), edge)
    _paint_lungs(hu, p, trunk, space, edge)
    _paint_ribs(hu, p, trunk, space, edge)


def _part_layers(hu: Volume, trunk: Trunk) -> None:
    """Thin sheets of fat between the layers of the flank, and between the muscles of the back."""
    muscle = np.nonzero((trunk.wall < 0) & (trunk.cavity > 0))
    depth, angle = -trunk.wall[muscle], np.abs(trunk.angle)
    side = np.exp(-(((angle - 1.7) / 0.6) ** 2)).astype(np.float32)[muscle[1:]]
    rear = np.exp(-(((angle - 0.62) / 0.05) ** 2)).astype(np.float32)[muscle[1:]]
    sheet = np.exp(-(((depth - 5.0) / 0.9) ** 2)) + np.exp(-(((depth - 9.0) / 0.9) ** 2))
    share = np.clip(0.55 * sheet * side + 0.8 * rear * (depth > 2), 0, 0.9)
    hu[muscle] += share * (np.float32(HOUNSFIELD["fat"]) - hu[muscle])


def _paint_lungs(hu: Volume, p: TrunkParameters, trunk: Trunk, space: Space, edge: float) -> None:
    grid = space.grid
    box = grid.box((-400.0, -400.0, p.dome_mm - 100.0), (400.0, 400.0, 400.0))
    image, xyz, seed = hu[box], space.at(box), p.seed
    if image.size == 0:
        return
    sheet = np.abs(trunk.diaphragm[box] + np.float32(1.5)) - np.float32(1.7)
    paint(image, meet(trunk.cavity[box] + 0.5, sheet), p.muscle_hu - 5.0, edge)
    # The mediastinum keeps the lungs apart; below the heart it is fat, gullet and aorta.
    x, y, _ = xyz
    mediastinum = np.hypot((x - 4.0) / 24.0, (y + 34.0) / 44.0) * 24.0 - 24.0
    heart = ellipsoid(xyz, (24.0, -72.0, p.dome_mm + 24.0), (66.0, 46.0, 46.0), turn_deg=-32.0)
    lungs = meet(meet(trunk.cavity[box] + 1.5, -trunk.diaphragm[box], 3.0), -join(mediastinum, heart - 5.0, 12.0), 4.0)
    squared = smooth_field(seed, "lung-1", grid, 15.0, box) ** 2 + smooth_field(seed, "lung-2", grid, 15.0, box) ** 2
    vessels = 700.0 * np.exp(-squared / 0.006)
    gradient = np.float32(0.45) * y  # more blood in the dependent lung
    paint(image, lungs, HOUNSFIELD["lung"] + 10.0 + gradient + vessels, edge)
    pool = meet(heart + 9.0, -(np.abs(x - 22.0 - 0.6 * (y + 72.0)) - 4.0), 4.0)  # chambers beside the septum
    paint(image, meet(heart, trunk.cavity[box] + 4.0), 108.0, edge)
    paint(image, meet(pool, trunk.cavity[box] + 8.0), p.blood_hu - 6.0, edge)
    gullet = np.hypot(x - 14.0, y + 46.0) - 7.5
    paint(image, meet(gullet, -trunk.diaphragm[box] - 14.0), 62.0, edge)


def _paint_ribs(hu: Volume, p: TrunkParameters, trunk: Trunk, space: Space, edge: float) -> None:
    """Ribs run down and forward in the wall, cartilage brings the seventh to tenth up to the sternum again."""
    grid = space.grid
    depth = trunk.cavity - np.float32(5.5)
    shell = np.nonzero(np.abs(depth) < 8.0)  # ribs lie nowhere else
    angle, z = trunk.angle[shell[1:]], grid.axis(0)[shell[0]]
    u = np.abs(angle) / np.float32(np.pi)
    drop = np.where(u < 0.68, 105.0 * (u / 0.68) ** 1.15, 105.0 - 290.0 * (u - 0.68))
    side = np.where(angle > 0, np.float32(3.0), np.float32(-2.0))  # no two sides are level
    level = (z + drop + side - _LAST_RIB_MM) / _RIB_MM
    number = np.rint(level)  # 0 is the twelfth rib
    reach = np.array([0.0, 0.33, 0.50, 0.75, 0.965], np.float32)[np.clip(number + 1, 0, 4).astype(int)]
    across = (level - number) * np.float32(_RIB_MM / 1.2)  # ribs slope: perpendicular to their course they are nearer
    distance = (np.sqrt((across / 6.2) ** 2 + (depth[shell] / 3.6) ** 2) - 1) * np.float32(4.2)
    distance = np.maximum(distance, np.maximum((u - reach) * 300.0, (0.055 - u) * 300.0))
    cartilage = np.clip((u - 0.68) * 60.0, 0, 1)
    cortex = HOUNSFIELD["cortex"] * 0.5
    values = hu[shell]
    paint(values, distance, cortex + (HOUNSFIELD["cartilage"] + 10.0 - cortex) * cartilage, edge)
    marrow = p.marrow_hu + 20.0
    paint(values, distance + np.float32(1.8), marrow + (HOUNSFIELD["cartilage"] - 10.0 - marrow) * cartilage, edge)
    hu[shell] = values
    _paint_sternum(hu, p, trunk, depth, space, edge)


def _paint_sternum(hu: Volume, p: TrunkParameters, trunk: Trunk, depth: Volume, space: Space, edge: float) -> None:
    grid = space.grid
    box = grid.box((-40.0, -400.0, p.dome_mm - 30.0), (40.0, 400.0, 400.0))
    if hu[box].size == 0:
        return
    x, z = grid.axis(2)[box[2]], grid.axis(0)[box[0]][:, None, None]
    plate = np.maximum(np.abs(depth[box]) - 4.5, np.maximum(np.abs(x) - 15.0, 4.0 - (z - p.dome_mm + 30.0)))
    plate = np.where(np.abs(trunk.angle[box[1:]]) > 2.0, plate, np.float32(9.0))
    paint(hu[box], plate, p.marrow_hu + 140.0, edge)
    paint(hu[box], plate + np.float32(1.8), p.marrow_hu - 10.0, edge)


def paint_spine(hu: Volume, p: TrunkParameters, space: Space) -> None:
    """Vertebral bodies, discs, the canal, arches and processes; psoas and crura beside them."""
    grid = space.grid
    edge = float(np.mean(grid.spacing_mm[1:]))
    _paint_psoas(hu, p, space, edge)
    box = grid.box((-62.0, -30.0, -400.0), (62.0, 80.0, 400.0))
    image = hu[box]
    x, y, z = (grid.axis(2)[box[2]], grid.axis(1)[box[1]][:, None], grid.axis(0)[box[0]][:, None, None])
    x = x - 1.2 * np.sin(z / 70.0)  # nobody's spine is straight
    phase = z - _VERTEBRA_MM * np.rint(z / _VERTEBRA_MM)  # 0 in the middle of each body
    ax = np.abs(x)
    size = 1.0 - 0.0006 * z  # vertebrae grow downwards

    waist = 1.0 - 0.10 * np.clip(1 - (phase / 13.0) ** 2, 0, 1)
    flat = np.where(y > 8, (y - 8) * 0.75 + 8, y)
    column = ((ax / (22.5 * size * waist)) ** 2.5 + (np.abs(flat) / (17.0 * size * waist)) ** 2.5) ** 0.4
    column = ((column - 1) * 17.0).astype(np.float32)
    ends = (np.abs(phase) - 12.0 - 0.02 * (ax**2 + y**2) ** 0.75 * 0.5).astype(np.float32)  # concave endplates
    texture = 22.0 * smooth_field(p.seed, "trabeculae", grid, 4.5, box)
    paint(image, column, 82.0, edge)
    bone = np.maximum(column, ends)
    paint(image, bone, p.marrow_hu + 190.0, edge)
    paint(image, bone + np.float32(2.0), p.marrow_hu + texture, edge)

    arch = _arch(ax, y, phase, size)
    paint(image, arch, p.marrow_hu + 300.0, edge)
    paint(image, arch + np.float32(2.2), p.marrow_hu + 40.0 + texture, edge)
    canal = (np.hypot(ax / 11.5, (y - 25.5) / 8.5) - 1) * 9.0
    paint(image, np.broadcast_to(canal, image.shape), -40.0, edge)
    paint(image, np.broadcast_to(canal + 2.2, image.shape), 22.0, edge)
    paint(image, np.broadcast_to(np.hypot(ax / 1.15, y - 25.0) - 4.0, image.shape), 42.0, edge)


def _arch(ax: Volume, y: Volume, phase: Volume, size: Volume) -> Volume:
    """Pedicles, laminae, spinous, transverse and articular processes around the canal."""
    pedicle = np.maximum(np.hypot(ax - 14.0, (phase - 5.0) * 0.6) - 4.2, np.abs(y - 19.0) - 9.0)
    lamina = np.hypot(np.maximum(np.abs(ax * 0.62 + (y - 39.0) * 0.78) - 1.6, 0), (phase + 3.0) * 0.25) - 2.6
    lamina = np.maximum(lamina, np.maximum(ax - 17.0, np.maximum(24.0 - y, y - 44.0)))
    tilt = phase + 0.35 * (y - 40.0)
    spinous = np.maximum(np.maximum(ax - 3.2, np.abs(tilt + 4.0) - 9.0), np.maximum(36.0 - y, y - 60.0))
    level = np.abs(y - 27.0 - 0.22 * ax)
    transverse = np.maximum(np.hypot(level, phase - 2.0) - 4.2, np.maximum(ax - 38.0 * size, 15.0 - ax))
    facet = np.hypot(np.hypot(ax - 17.0, y - 31.0), np.maximum(np.abs(phase - 13.0) - 5.0, 0)) - 6.0
    arch = np.minimum(np.minimum(pedicle, lamina), np.minimum(np.minimum(spinous, transverse), facet))
    return np.asarray(arch, np.float32)


def _paint_psoas(hu: Volume, p: TrunkParameters, space: Space, edge: float) -> None:
    """Psoas grows downwards from the first lumbar vertebra; the crura hug the spine above it."""
    for side in (-1.0, 1.0):
        course = path([(side * 24, 6, 10), (side * 32, 6, -30), (side * 40, 4, -70), (side * 47, 0, -130)])
        box, distance = tube(space, course, np.linspace(5.0, 21.0 * p.muscle, len(course)))
        paint(hu[box], distance, p.muscle_hu, edge)
        plate = ellipsoid(space.at(box), (side * 66.0, 24.0, -80.0), (24.0, 8.0, 80.0), turn_deg=side * 18.0)
        paint(hu[box], plate, p.muscle_hu - 3.0, edge)
        course = path(
            [(side * 19, -22, -40), (side * 15, -28, 0), (side * 17, -30, 30), (side * 12, -42, p.dome_mm - 18)]
        )
        box, distance = tube(space, course, np.linspace(4.5, 4.5, len(course)))
        paint(hu[box], distance, p.muscle_hu, edge)
