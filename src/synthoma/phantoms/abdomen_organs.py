"""The organs of the upper abdomen, fitted into the trunk; liver first, since the others make room for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthoma.phantoms.abdomen_body import Trunk, TrunkParameters
from synthoma.phantoms.abdomen_shapes import Box, Space, ellipsoid, join, meet, paint, path, tube
from synthoma.phantoms.ct import HOUNSFIELD, Volume

__all__ = ["OrganParameters", "Organs", "paint_gallbladder", "paint_organs", "shape_organs"]


@dataclass(frozen=True)
class OrganParameters:
    """One patient's organs. Sizes are factors of the average."""

    liver_size: float
    left_lobe: float
    spleen_size: float
    kidney_size: float
    kidney_lift_mm: tuple[float, float]
    """How much higher than usual the right and left kidney lie."""
    gallbladder: float
    """Size; 0 after its removal."""
    stomach_size: float
    stomach_gas: float
    """Share of gas in the stomach, 0 to 1."""
    nodular_mm: float
    """How uneven a cirrhotic liver's surface is."""
    ascites_mm: float
    """Depth of fluid around liver and spleen."""
    gap_mm: float
    """Fat between organs and wall."""
    liver_hu: float
    spleen_hu: float
    kidney_hu: float
    pancreas_hu: float
    gut_seed: int


@dataclass(frozen=True)
class Organs:
    """Distances (z, y, x) to the organs that others are fitted to."""

    liver: Volume
    spleen: Volume
    kidneys: tuple[tuple[Box, Volume, Volume], ...]
    """Each with its sinus."""
    gallbladder: tuple[Box, Volume] | None
    stomach: tuple[Box, Volume]
    room: Volume
    """Below the diaphragm and inside the wall, short of the fat that lines it."""


def shape_organs(o: OrganParameters, p: TrunkParameters, trunk: Trunk, space: Space) -> Organs:
    """Shape the organs; they touch, but do not overlap."""
    room = meet(trunk.cavity + np.float32(o.gap_mm), trunk.diaphragm + np.float32(3.2), 6.0)
    kidneys = tuple(_kidney(o, space, side) for side in (0, 1))
    gallbladder = _gallbladder(o, space) if o.gallbladder > 0 else None
    liver = _liver(o, p, space, room)
    for box, kidney, _ in kidneys:
        liver[box] = meet(liver[box], np.float32(5.0) - kidney, 8.0)
    if gallbladder:
        box, distance = gallbladder
        liver[box] = meet(liver[box], np.float32(0.8) - distance, 3.0)
    stomach = _stomach(o, p, space)
    box = stomach[0]
    stomach = box, meet(meet(stomach[1], room[box], 6.0), np.float32(2.0) - liver[box], 5.0)
    spleen = _spleen(o, p, space, room)
    spleen[box] = meet(spleen[box], np.float32(3.0) - stomach[1], 8.0)
    spleen = meet(spleen, np.float32(4.0) - liver, 4.0)
    for box, kidney, _ in kidneys:
        spleen[box] = meet(spleen[box], np.float32(5.0) - kidney, 8.0)
    return Organs(liver, spleen, kidneys, gallbladder, stomach, room)


def _liver(o: OrganParameters, p: TrunkParameters, space: Space, room: Volume) -> Volume:
    """A large right lobe down the flank, a left lobe that tapers across the midline, and the caudate behind."""
    box = space.box((-200.0, -200.0, -140.0), (120.0, 60.0, 140.0))
    xyz = space.at(box)
    wide, deep, up, k = p.half_width_mm / 150.0, p.half_depth_mm / 120.0, p.dome_mm - 85.0, o.liver_size
    front = 72.0 - 1.22 * p.half_depth_mm  # shifts organs forward in deep bodies
    right = ellipsoid(
        xyz, (-84.0 * wide, -42.0 + 0.5 * front, 8.0 + up), (70.0 * wide, 84.0 * deep, 104.0 * k), lean=0.16
    )
    middle = ellipsoid(xyz, (-26.0, -72.0 + front * 0.5, 24.0 + up), (52.0 * wide, 50.0 * deep, 56.0 * k), lean=0.2)
    reach = 78.0 * wide * o.left_lobe
    left = ellipsoid(xyz, (8.0, -96.0 + front, 42.0 + up), (reach, 38.0 * deep, 42.0 * k), turn_deg=-12.0, lean=0.25)
    caudate = ellipsoid(xyz, (-16.0, -47.0, 32.0 + up), (22.0, 17.0, 30.0))
    shape = join(join(join(right, middle, 26.0), left, 26.0), caudate, 8.0)
    x, y, z = xyz
    # The fissure of the round ligament parts the left lobe below, the hilum opens towards the duodenum.
    fissure = np.maximum(np.abs(x - 9.0 - 0.12 * (y + 90.0)) - 2.6, np.maximum(z - 26.0 - up, y + 66.0 - front * 0.5))
    hilum = ellipsoid(xyz, (-14.0, -62.0 + front * 0.3, 2.0 + up), (26.0, 9.0, 14.0), turn_deg=28.0)
    cava = np.hypot(x + 24.0, y + 30.0) - 13.0
    spine = np.hypot(x, y + 2.0) - 34.0
    for gap in (fissure, hilum, cava, spine):
        shape = meet(shape, -gap, 5.0)
    liver = np.full(space.grid.shape, 30.0, np.float32)
    surface = np.float32(o.nodular_mm) * space.field("nodules", 11.0, box) if o.nodular_mm else np.float32(0)
    liver[box] = meet(shape + surface + np.float32(1.2) * space.field("lobes", 28.0, box), room[box], 5.0)
    return liver


def _spleen(o: OrganParameters, p: TrunkParameters, space: Space, room: Volume) -> Volume:
    box = space.box((20.0, -120.0, -90.0), (200.0, 60.0, 140.0))
    xyz = space.at(box)
    k, wide = o.spleen_size, p.half_width_mm / 150.0
    middle = (104.0 * wide, -4.0, p.dome_mm - 56.0)
    bean = ellipsoid(xyz, middle, (40.0 * k, 60.0 * k, 54.0 * k), turn_deg=30.0, lean=-0.2)
    hollow = ellipsoid(xyz, (54.0 * wide, -42.0, p.dome_mm - 52.0), (36.0, 44.0, 60.0), turn_deg=30.0)
    spleen = np.full(space.grid.shape, 30.0, np.float32)
    spleen[box] = meet(meet(bean, -hollow, 8.0), room[box], 6.0)
    return spleen


def _kidney(o: OrganParameters, space: Space, side: int) -> tuple[Box, Volume, Volume]:
    """A kidney and its sinus."""
    sign, k = (-1.0, 1.0)[side], o.kidney_size
    x, z = (-58.0, 58.0)[side], (-46.0, -30.0)[side] + o.kidney_lift_mm[side]
    box = space.box((x - 50, -60, z - 75), (x + 50, 60, z + 75))
    xyz = space.at(box)
    centre = (x, 2.0, z)
    bean = ellipsoid(xyz, centre, (22.5 * k, 30.0 * k, 55.0 * k), turn_deg=sign * 38.0, lean=-sign * 0.22)
    hilum = ellipsoid(xyz, (x - sign * 27.0, -12.0, z - 2.0), (17.0 * k, 12.0 * k, 22.0 * k), turn_deg=sign * 38.0)
    sinus = ellipsoid(xyz, (x - sign * 12.0, -5.0, z), (17.0 * k, 9.5 * k, 30.0 * k), turn_deg=sign * 38.0)
    return box, meet(bean, -hilum, 7.0), sinus


def _gallbladder(o: OrganParameters, space: Space) -> tuple[Box, Volume]:
    course = path([(-34, -78, -14), (-44, -90, -24), (-52, -101, -40), (-56, -106, -52)])
    return tube(space, course, o.gallbladder * np.interp(np.linspace(0, 1, len(course)), [0, 0.5, 1], [4.5, 12, 16]))


def _stomach(o: OrganParameters, p: TrunkParameters, space: Space) -> tuple[Box, Volume]:
    up, k = p.dome_mm - 85.0, o.stomach_size
    course = path(
        [(56, -26, 62 + up), (66, -48, 36 + up), (62, -72, 4), (44, -92, -24), (14, -98, -34), (-14, -86, -24)]
    )
    radii = np.interp(np.linspace(0, 1, len(course)), [0, 0.25, 0.55, 0.8, 1], [33 * k, 36 * k, 27 * k, 19, 11])
    return tube(space, course, radii, margin_mm=10.0)


def paint_organs(hu: Volume, o: OrganParameters, p: TrunkParameters, organs: Organs, space: Space) -> None:
    """Pancreas, stomach, spleen, kidneys and liver, in the portal-venous phase."""
    edge = float(np.mean(space.grid.spacing_mm[1:]))
    if o.ascites_mm > 0:
        near = np.minimum(organs.liver, organs.spleen) - np.float32(o.ascites_mm)
        paint(hu, meet(near, organs.room - np.float32(o.gap_mm - 0.5)), 10.0, edge)
    _paint_pancreas(hu, o, p, organs, space, edge)
    _paint_stomach(hu, o, organs, space, edge)
    grain = space.field("parenchyma", 5.0)
    paint(hu, organs.spleen, o.spleen_hu + np.float32(2.0) * grain, edge)
    for box, kidney, sinus in organs.kidneys:
        _paint_kidney(hu[box], o, kidney, sinus, space, box, edge)
    patches = np.float32(3.0) * space.field("patches", 30.0) + np.float32(2.0) * grain
    paint(hu, organs.liver, o.liver_hu + patches, edge)


def paint_gallbladder(hu: Volume, organs: Organs, space: Space) -> None:
    """Bile in a thin wall, over any vessel that would cross it."""
    if organs.gallbladder:
        edge = float(np.mean(space.grid.spacing_mm[1:]))
        box, distance = organs.gallbladder
        paint(hu[box], distance, 55.0, edge)
        paint(hu[box], distance + np.float32(1.6), HOUNSFIELD["bile"], edge)


def _paint_pancreas(
    hu: Volume, o: OrganParameters, p: TrunkParameters, organs: Organs, space: Space, edge: float
) -> None:
    up = p.dome_mm - 85.0
    course = path([(-26, -58, -36), (-22, -64, -16), (0, -72, -6), (24, -66, 4), (50, -42, 12), (78, -24, 20 + up)])
    radii = np.interp(np.linspace(0, 1, len(course)), [0, 0.2, 0.4, 1], [13, 14, 9, 9])
    box, distance = tube(space, course, radii)
    lobules = space.field("lobules", 6.0, box)
    distance = meet(distance + np.float32(1.6) * lobules, 3.0 - np.minimum(organs.liver, organs.spleen)[box])
    paint(hu[box], distance, o.pancreas_hu + 8.0 * lobules, edge)
    course = path([(-36, -58, -14), (-38, -62, -34), (-32, -62, -58), (2, -57, -66), (34, -58, -56)])
    box, distance = tube(space, course, 11.5)
    distance = meet(distance, 2.0 - organs.liver[box])
    paint(hu[box], distance, 80.0, edge)  # the duodenum
    paint(hu[box], distance + np.float32(3.0), 18.0, edge)


def _paint_stomach(hu: Volume, o: OrganParameters, organs: Organs, space: Space, edge: float) -> None:
    box, distance = organs.stomach
    image, y = hu[box], space.grid.axis(1)[box[1]][:, None]
    folds = np.float32(1.3) * space.field("rugae", 7.0, box)
    paint(image, distance, 78.0, edge)
    lumen = distance + np.float32(5.0) + folds
    food = space.field("food", 6.0, box)
    paint(image, lumen, 18.0 + 14.0 * np.clip(food, 0, 2), edge)
    inside = lumen < 0
    if o.stomach_gas > 0 and inside.any():
        depth = np.broadcast_to(y, image.shape)[inside]
        level = float(np.quantile(depth, o.stomach_gas))
        paint(image, meet(lumen + np.float32(0.5), np.broadcast_to(y - np.float32(level), image.shape)), -980.0, edge)


def _paint_kidney(
    image: Volume, o: OrganParameters, kidney: Volume, sinus: Volume, space: Space, box: Box, edge: float
) -> None:
    """Cortex, pyramids and the fat of the sinus with the pelvis in it."""
    paint(image, kidney, o.kidney_hu + 14.0, edge)
    pyramids = space.field("pyramids", 13.0, box)
    paint(image, kidney + 5.0 + 2.5 * pyramids, o.kidney_hu - 24.0, edge * 2)
    sinus = meet(sinus + np.float32(2.5) * pyramids, kidney + np.float32(8.0), 3.0)
    paint(image, sinus, -75.0, edge)
    paint(image, sinus + np.float32(2.5) + np.float32(3.0) * np.abs(pyramids), 25.0, edge)
