"""A glioma: oedema that follows the white matter, an enhancing rim, a necrotic core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.anatomy import Grid, Template, Tissues, Volume, smooth_field

__all__ = ["Tumour", "TumourParameters", "grow_tumour", "push_aside", "tumour_centre"]

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
"""Label values of BraTS 2012 to 2021."""

_GREY_COST = 2.5
"""Oedema spreads along the loose fibres of white matter; a millimetre of grey matter counts as so many."""


@dataclass(frozen=True)
class TumourParameters:
    """One tumour. ``seed`` names the random fields that make its outline irregular."""

    seed: int
    place: float
    """In [0, 1): which of the template's possible places it starts from."""
    core_radius_mm: float
    stretch: tuple[float, float, float]
    """Relative half axes of the core."""
    rim_mm: float
    """Thickness of the enhancing rim; above the radius there is no necrosis."""
    oedema_reach_mm: float
    """How far the oedema goes beyond the core, in millimetres of white matter."""
    push: float
    """Mass effect: how much of the core's room is made by pushing tissue away (0 to 0.5)."""
    irregularity: float


@dataclass(frozen=True)
class Tumour:
    """Fractions of the tumour's tissues in each of the brain's ``n`` voxels, and BraTS labels."""

    oedema: Volume
    enhancing: Volume
    necrosis: Volume
    labels: npt.NDArray[np.uint8]


def tumour_centre(parameters: TumourParameters, where: list[Volume], template: Template) -> tuple[int, int, int]:
    """The patient's voxel that shows the template's place number ``place``."""
    target = template.places[int(parameters.place * len(template.places))]
    distance = sum((axis - np.float32(goal)) ** 2 for axis, goal in zip(where, target, strict=True))
    x, y, z = np.unravel_index(int(np.argmin(distance)), where[0].shape)
    return int(x), int(y), int(z)


def _offsets(centre: tuple[int, int, int], grid: Grid) -> list[Volume]:
    """Millimetres from the centre along each axis, as three arrays that broadcast."""
    axes = [(np.arange(n, dtype=np.float32) - c) * grid.spacing_mm for n, c in zip(grid.shape, centre, strict=True)]
    return [axis.astype(np.float32) for axis in np.meshgrid(*axes, indexing="ij", sparse=True)]


def push_aside(
    parameters: TumourParameters, where: list[Volume], centre: tuple[int, int, int], grid: Grid
) -> list[Volume]:
    """Mass effect: near the tumour, show tissue from nearer to its centre, so that the surroundings move outwards."""
    reach = 1.6 * parameters.core_radius_mm
    squared = sum(axis**2 for axis in _offsets(centre, grid))
    pull = np.float32(parameters.push) * np.exp(-squared / np.float32(2 * reach**2))
    return [axis + pull * (axis[centre] - axis) for axis in where]


def grow_tumour(parameters: TumourParameters, tissues: Tissues, centre: tuple[int, int, int], grid: Grid) -> Tumour:
    """Grow a tumour from ``centre``; CSF and the edge of the brain stop it.

    The core is an ellipsoid with an irregular outline; the oedema reaches the voxels within some *travel distance*, the
    shortest way through tissue where grey matter is slow and CSF closed (Dijkstra's algorithm).
    """
    brain = tissues.brain

    def noise(name: str, lattice_mm: float) -> Volume:
        return smooth_field(parameters.seed, name, grid, lattice_mm)[brain] * np.float32(parameters.irregularity)

    radius, reach = parameters.core_radius_mm, parameters.oedema_reach_mm
    squared = sum((axis / s) ** 2 for axis, s in zip(_offsets(centre, grid), parameters.stretch, strict=True))
    outline = np.exp(1.2 * noise("outline", 14.0) + 0.6 * noise("fringe", 6.0))
    from_centre = np.sqrt(np.broadcast_to(squared, grid.shape)[brain]) * outline
    way = _travel_distance(tissues, centre, grid, 1.8 * (radius + reach))
    travel = way * np.exp(1.5 * noise("oedema", 16.0))

    tissue = np.clip(1.5 - 2 * tissues.csf - 2 * tissues.ventricles, 0, 1) * (travel < np.inf)
    beside = np.clip((2.2 * radius - way) / 2, 0, 1)  # a core has no islands beyond a sulcus or ventricle
    core = np.clip((radius - from_centre) / 2 + 0.5, 0, 1) * tissue * beside
    rim = parameters.rim_mm * np.exp(1.5 * noise("rim", 8.0))
    necrosis = core * np.clip((radius - rim - from_centre) / 2 + 0.5, 0, 1)
    # Water thins out towards the edge of the oedema; the cortex takes up less of it.
    swollen = np.clip((radius + reach - travel) / (0.35 * reach) + 0.35, 0, 1) * tissue
    oedema = np.minimum(swollen * (1 - 0.5 * tissues.grey) * (1 - tissues.csf), 1 - core)

    labels = np.zeros(from_centre.shape, np.uint8)
    closed = (tissues.csf > 0.4) | (tissues.ventricles > 0.3)
    labels[(swollen >= 0.5) & (oedema >= 0.3)] = OEDEMA
    labels[core >= 0.5] = ENHANCING
    labels[necrosis >= 0.5] = NECROSIS
    labels[closed] = 0
    return Tumour(oedema, core - necrosis, necrosis, labels)


def _travel_distance(tissues: Tissues, centre: tuple[int, int, int], grid: Grid, farthest_mm: float) -> Volume:
    """Shortest way from the centre through tissue, in millimetres of white matter; infinite beyond ``farthest_mm``."""
    from skimage.graph import MCP_Geometric

    cost = np.full(grid.shape, -1.0)  # negative: closed
    open_to = (tissues.csf < 0.45) & (tissues.ventricles < 0.3)
    cost[tissues.brain] = np.where(open_to, 1 + (_GREY_COST - 1) * tissues.grey + 4 * tissues.csf, -1.0)
    cost[centre] = 1.0
    reach = int(np.ceil(farthest_mm / grid.spacing_mm))
    box = tuple(slice(max(0, c - reach), c + reach + 1) for c in centre)
    start = tuple(c - part.start for c, part in zip(centre, box, strict=True))
    search = MCP_Geometric(cost[box], sampling=(grid.spacing_mm,) * 3)
    distance = np.full(grid.shape, np.inf, np.float32)
    distance[box] = search.find_costs([start])[0]
    return np.where(distance > farthest_mm, np.float32(np.inf), distance)[tissues.brain]
