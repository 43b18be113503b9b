"""Between the lungs: heart, great vessels, airways, oesophagus; and what lies below the diaphragm."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from synthoma.phantoms.abdomen_shapes import Box, ellipsoid, join, meet, paint, path, tube
from synthoma.phantoms.chest_space import Frame, Thorax, ramp
from synthoma.phantoms.chest_wall import spine_distance
from synthoma.phantoms.ct import HOUNSFIELD, Volume

__all__ = [
    "HILA",
    "Contrast",
    "Mediastinum",
    "diaphragm_distance",
    "paint_abdomen",
    "paint_cavity_fat",
    "paint_mediastinum",
    "shape_mediastinum",
]

Points = list[tuple[float, float, float]]
_Tubes = dict[str, tuple[Points, list[float]]]

# Course and radii (mm) in the standard chest.
_ARTERIES: _Tubes = {
    "aorta": (
        [
            *((-6, -78, -58), (-14, -80, -25), (-14, -72, 8), (-2, -52, 26), (14, -30, 27), (24, -12, 12)),
            *((26, -4, -15), (25, -3, -60), (19, -6, -110), (10, -12, -160), (6, -18, -220)),
        ],
        [16, 16, 15, 14, 13.5, 13, 12.5, 12, 11.5, 11, 10.5],
    ),
    "brachiocephalic": ([(-8, -60, 26), (-16, -58, 48), (-26, -48, 72), (-42, -40, 92)], [6.5, 6.0, 5.5, 4.5]),
    "left carotid": ([(4, -46, 32), (11, -50, 60), (17, -52, 90), (20, -55, 130)], [4.0, 3.8, 3.5, 3.4]),
    "left subclavian": ([(16, -28, 32), (24, -30, 60), (30, -30, 80), (52, -38, 98)], [5.0, 4.8, 4.6, 4.4]),
}
_PULMONARY: _Tubes = {
    "trunk": ([(14, -104, -60), (18, -96, -38), (18, -78, -20), (22, -58, -12)], [14, 14.5, 14, 12.5]),
    "left": ([(18, -66, -16), (32, -46, -9), (44, -32, -14), (50, -20, -34), (54, -15, -52)], [12.5, 11.5, 10, 8, 6]),
    "right": ([(16, -66, -22), (0, -50, -24), (-22, -46, -25), (-40, -44, -28), (-48, -36, -46)], [12, 11, 11, 9.5, 7]),
    "right upper": ([(-30, -47, -22), (-44, -48, -12), (-54, -50, -4)], [7, 5.5, 4.5]),
}
_SYSTEMIC_VEINS: _Tubes = {
    "superior cava": ([(-31, -70, 58), (-30, -66, 30), (-30, -66, -5), (-32, -66, -42)], [8.5, 9, 9.5, 10.5]),
    "right brachiocephalic": ([(-31, -70, 56), (-36, -66, 80), (-48, -58, 100)], [8.5, 7, 6]),
    "left brachiocephalic": ([(-29, -71, 50), (-4, -88, 55), (22, -82, 68), (44, -66, 88)], [7, 6.5, 6.5, 6]),
    "azygos": ([(-8, -16, -200), (-9, -15, -60), (-11, -17, 5), (-20, -34, 16), (-29, -58, 14)], [3, 3.6, 4, 4.2, 4.2]),
    "inferior cava": ([(-30, -58, -92), (-29, -46, -120), (-26, -36, -160), (-25, -32, -230)], [12, 12, 11.5, 11.5]),
}
_PULMONARY_VEINS: _Tubes = {
    "right upper": ([(-14, -56, -46), (-34, -60, -42), (-52, -62, -34)], [7, 6.5, 5]),
    "right lower": ([(-12, -44, -66), (-30, -36, -68), (-50, -28, -74)], [7.5, 7, 5]),
    "left upper": ([(18, -56, -42), (36, -58, -36), (54, -62, -28)], [7, 6.5, 5]),
    "left lower": ([(18, -42, -64), (34, -30, -66), (52, -22, -74)], [7.5, 6.5, 5]),
}
_AIRWAYS: _Tubes = {
    "trachea": ([(0, -52, 150), (-1, -46, 90), (-2, -39, 45), (-2, -34, 4), (-2, -33, -6)], [8.6, 8.6, 8.8, 9.2, 9.0]),
    "right main": (
        [(-4, -33, -2), (-17, -30, -14), (-29, -28, -26), (-36, -27, -46), (-44, -22, -66)],
        [8, 7.4, 6.8, 5.4, 4],
    ),
    "right upper": ([(-24, -29, -20), (-38, -30, -14), (-52, -34, -6)], [5.2, 4.6, 3.6]),
    "left main": (
        [(1, -33, -4), (17, -29, -18), (34, -25, -31), (44, -20, -44), (52, -14, -64)],
        [7.6, 6.9, 6.2, 5.0, 3.8],
    ),
    "left upper": ([(34, -25, -30), (46, -34, -30), (58, -42, -22)], [5.0, 4.4, 3.5]),
}
HILA: dict[str, dict[int, tuple[float, float, float]]] = {
    "arteries": {-1: (-44, -40, -32), 1: (48, -26, -26)},
    "veins": {-1: (-48, -46, -52), 1: (50, -44, -50)},
}
"""Where the trees of the lungs begin: −1 right, 1 left."""


@dataclass(frozen=True)
class Contrast:
    """What the blood looks like, in Hounsfield units; all near 42 without contrast agent."""

    aorta: float
    pulmonary: float
    veins: float
    superior_cava: float
    myocardium: float


@dataclass(frozen=True)
class Mediastinum:
    """Distances in mm; tubes and chambers with the box that each is known in."""

    surface: Volume
    """(z, y, x): negative where no lung is."""
    arteries: list[tuple[Box, Volume]]
    pulmonary: list[tuple[Box, Volume]]
    veins: dict[str, tuple[Box, Volume]]
    pulmonary_veins: list[tuple[Box, Volume]]
    airways: list[tuple[Box, Volume]]
    oesophagus: tuple[Box, Volume]
    chambers: dict[str, tuple[Box, Volume]] = field(default_factory=dict)


_HEART_BOX = ((-75.0, -150.0, -165.0), (100.0, -10.0, -20.0))
# Centre, radii, turn about z, lean; the left ventricle's tip points to the left, down and forward.
_CHAMBERS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], float, float]] = {
    "heart": ((19, -82, -96), (66, 47, 50), -33.0, -0.25),
    "left ventricle": ((44, -82, -100), (44, 26, 33), -38.0, -0.25),
    "left cavity": ((43, -81, -99), (33, 16, 23), -38.0, -0.25),
    "right ventricle": ((14, -108, -100), (39, 17, 34), -30.0, -0.2),
    "right atrium": ((-31, -80, -84), (19, 25, 34), -12.0, 0.0),
    "left atrium": ((2, -50, -60), (33, 18, 21), 0.0, 0.0),
}


def shape_mediastinum(thorax: Thorax) -> Mediastinum:
    """Fit the organs into the patient and wrap them in fat."""
    reach = 16.0

    def tubes(table: _Tubes) -> dict[str, tuple[Box, Volume]]:
        drawn = {}
        for name, (points, radii) in table.items():
            line = path(points, 5.0)
            along = np.linspace(0, 1, len(line))
            drawn[name] = tube(thorax, line, np.interp(along, np.linspace(0, 1, len(radii)), radii), reach)
        return drawn

    arteries, pulmonary, airways = tubes(_ARTERIES), tubes(_PULMONARY), tubes(_AIRWAYS)
    veins, pulmonary_veins = tubes(_SYSTEMIC_VEINS), tubes(_PULMONARY_VEINS)
    gullet = tubes(
        {"": ([(4, -32, 150), (4, -24, 60), (4, -20, 0), (5, -24, -60), (12, -30, -120), (24, -44, -165)], [7.5, 7.5])}
    )
    oesophagus = gullet[""]
    box = thorax.box(*_HEART_BOX)
    chambers = {name: (box, ellipsoid(thorax.at(box), *shape)) for name, shape in _CHAMBERS.items()}

    surface = spine_distance(thorax)
    margin = {**dict.fromkeys(airways, 3.0), "right main": 3.5, "left main": 3.5}
    for name, (place, distance) in [*arteries.items(), *pulmonary.items(), *veins.items(), *airways.items()]:
        surface[place] = join(surface[place], distance - np.float32(margin.get(name, 2.0)), 9.0)
    for place, distance in [*pulmonary_veins.values(), oesophagus, chambers["heart"], chambers["left atrium"]]:
        surface[place] = join(surface[place], distance - np.float32(2.5), 9.0)
    surface = join(surface, _junction(thorax), 12.0)
    return Mediastinum(
        surface,
        list(arteries.values()),
        list(pulmonary.values()),
        veins,
        list(pulmonary_veins.values()),
        list(airways.values()),
        oesophagus,
        chambers,
    )


def _junction(thorax: Thorax) -> Volume:
    """The fat between the lungs: a thin sheet from spine to sternum, wider at the diaphragm and towards the neck."""
    x, y, z = thorax.xyz
    half = 3.0 + 0.13 * np.maximum(z - 20, 0) + 12 * ramp(y, -118, -136) + 16 * ramp(z, -70, -120)
    front: Volume = np.maximum(np.abs(x - 3) - half, y + 5)
    neck: Volume = np.maximum(np.hypot(x / 1.5, y + 42) - (12 + 0.42 * np.maximum(z - 35, 0)), 30 - z)
    return np.minimum(front, neck)


def paint_cavity_fat(image: Volume, cavity: Volume, thorax: Thorax, pixel_mm: float) -> None:
    """Fill the whole cavity with fat; lungs and organs are drawn over it."""
    fat = HOUNSFIELD["fat"] + 10 * thorax.field("fat", 9.0) + 22 * np.maximum(thorax.field("strands", 6.0) - 0.8, 0)
    paint(image, cavity, fat, pixel_mm)


def paint_mediastinum(
    image: Volume, mediastinum: Mediastinum, contrast: Contrast, thorax: Thorax, pixel_mm: float
) -> None:
    """Draw the organs into the fat that is there already."""
    m = mediastinum
    _paint_heart(image, m, contrast, thorax, pixel_mm)
    for name, (box, distance) in m.veins.items():
        # Injected into an arm, the agent comes undiluted down to the heart.
        bright = contrast.veins if name in ("azygos", "inferior cava") else contrast.superior_cava
        _vessel(image[box], distance, bright, pixel_mm)
    for box, distance in m.pulmonary:
        _vessel(image[box], distance, contrast.pulmonary, pixel_mm)
    for box, distance in m.pulmonary_veins:
        _vessel(image[box], distance, 0.92 * contrast.pulmonary, pixel_mm)
    for box, distance in m.arteries:
        _vessel(image[box], distance, contrast.aorta, pixel_mm)
    _paint_calcium(image, m, thorax, pixel_mm)
    box, distance = m.oesophagus
    paint(image[box], distance, 40.0, pixel_mm)
    gas = distance + 6.0 + 2.0 * thorax.field("gas", 14.0, box)
    paint(image[box], np.maximum(gas, distance + 3.5), -600.0, pixel_mm)
    _paint_nodes(image, m, thorax, pixel_mm)
    for box, distance in m.airways:
        paint(image[box], distance - np.float32(1.5), 30.0, pixel_mm)
    for box, distance in m.airways:
        paint(image[box], distance, -990.0, pixel_mm)


def _vessel(image: Volume, distance: Volume, blood: float, pixel_mm: float) -> None:
    paint(image, distance - np.float32(1.0), 45.0, pixel_mm)  # the wall
    paint(image, distance, blood, pixel_mm)


def _paint_heart(image: Volume, m: Mediastinum, contrast: Contrast, thorax: Thorax, pixel_mm: float) -> None:
    box = m.chambers["heart"][0]
    part = image[box]
    d = {name: distance for name, (_, distance) in m.chambers.items()}
    paint(part, d["left ventricle"], contrast.myocardium, pixel_mm)
    paint(part, d["right ventricle"] - 3, contrast.myocardium, pixel_mm)
    paint(part, d["right ventricle"], contrast.pulmonary - 6, pixel_mm)
    paint(part, d["left ventricle"], contrast.myocardium, pixel_mm)
    trabeculae = 1.6 * thorax.field("trabeculae-heart", 8.0, box)
    paint(part, d["left cavity"] + trabeculae, contrast.aorta - 4, pixel_mm)
    paint(part, d["right atrium"] - 1.5, contrast.myocardium, pixel_mm)
    paint(part, d["right atrium"], 0.5 * (contrast.veins + contrast.superior_cava), pixel_mm)
    paint(part, d["left atrium"] - 1.5, contrast.myocardium, pixel_mm)
    paint(part, d["left atrium"], 0.97 * contrast.aorta, pixel_mm)
    # The pericardium: a thin line between two layers of fat.
    sac = np.abs(d["heart"] - 1.5) - 0.5
    chambers = np.minimum.reduce([d[name] for name in d if name != "heart"])
    paint(part, np.where(chambers > 4, sac, 9).astype(np.float32), 20.0, pixel_mm)


def _paint_calcium(image: Volume, m: Mediastinum, thorax: Thorax, pixel_mm: float) -> None:
    """Plaques in the wall of the aorta, more with age."""
    box, distance = m.arteries[0]
    spots = thorax.field("plaque", 7.0, box) - np.float32(3.4 - 0.022 * thorax.build.age_years)
    paint(image[box], np.maximum(np.abs(distance) - 1.2, -2 * spots), 650.0, pixel_mm)


def _paint_nodes(image: Volume, m: Mediastinum, thorax: Thorax, pixel_mm: float) -> None:
    """Lymph nodes of ordinary size, beside the airways."""
    for z, x, y in ((22, -16, -42), (8, -14, -50), (-16, 4, -48), (-30, 6, -28), (14, 22, -48), (-40, -30, -38)):
        box = thorax.box((x - 9, y - 9, z - 12), (x + 9, y + 9, z + 12))
        node = ellipsoid(thorax.at(box), (x, y, z), (5.2, 3.6, 6.5), 25.0)
        free = np.maximum(node, -m.surface[box] - 60)
        paint(image[box], free, 48.0, pixel_mm)


def diaphragm_distance(frame: Frame, thorax: Thorax) -> Volume:
    """Negative below the domes, which fall steeply where the lung's lower edge lies along the wall."""
    x, y, z = thorax.xyz
    depth = np.clip(1 + frame.cavity / 64, 0, 1.05)
    dome = -104 + thorax.build.dome_mm - 11 * ramp(x, -40, 40) - 15 * np.exp(-((x / 26) ** 2)) + 0.10 * (y + 60) * -1
    height = dome - 84 * depth**2.6 - 5 * thorax.field("dome", 60.0)
    steep = 1 / np.sqrt(1 + (218 / 64 * depth**1.6) ** 2)
    result: Volume = ((z - height) * steep).astype(np.float32)
    return result


def paint_abdomen(
    image: Volume, diaphragm: Volume, frame: Frame, contrast: Contrast, thorax: Thorax, pixel_mm: float
) -> None:
    """Liver, spleen and stomach under their domes, in fat; drawn before heart and vessels."""
    below = np.maximum(diaphragm, frame.cavity)
    if float(below.min()) > 0:
        return
    part, xyz = image, (thorax.xyz[0], thorax.xyz[1], thorax.xyz[2])
    gain = 0.25 * (contrast.veins - HOUNSFIELD["blood"])
    paint(part, below, HOUNSFIELD["muscle"], pixel_mm)  # the diaphragm itself
    paint(part, below + np.float32(2.2), HOUNSFIELD["fat"], pixel_mm)
    x, _, _ = xyz
    edge = np.where(x < 10, below + 2.4, below + 2.4 + 0.5 * (x - 10)).astype(np.float32)
    liver = meet(edge, ellipsoid(xyz, (-62, -60, -175), (105, 92, 90)), 10.0)
    texture = 4 * thorax.field("liver", 12.0)
    paint(part, liver, HOUNSFIELD["liver"] + gain + texture, pixel_mm)
    for start, stop in (((-30, -40, -150), (-80, -70, -135)), ((-34, -50, -148), (-70, -20, -130))):
        place, vein = tube(thorax, path([start, stop], 6.0), 3.6)
        paint(image[place], np.maximum(vein, diaphragm[place] + 8), contrast.veins, pixel_mm)
    spleen = meet(below + 3.0, ellipsoid(xyz, (92, -5, -170), (36, 52, 44), 20.0), 6.0)
    paint(part, spleen, HOUNSFIELD["spleen"] + 1.6 * gain, pixel_mm)
    stomach = meet(below + 5.0, ellipsoid(xyz, (62, -72, -165), (42, 44, 40)), 8.0)
    paint(part, stomach, 45.0, pixel_mm)
    paint(part, stomach + np.float32(4), 22.0, pixel_mm)
    level = xyz[1] + np.float32(92)  # gas rises to the front of a patient on her back
    paint(part, np.maximum(stomach + np.float32(4), level), -985.0, pixel_mm)
