"""Four radiologists read a phantom chest: what each outlines, how each rates it, what each overlooks.

How far they differ follows LIDC-IDRI: overlap of two outlines 0.5 to 0.85, ratings about one step apart, small nodules
seen by some only (Armato et al., Medical Physics 38(2), 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_shapes import Grid
from synthoma.phantoms.ct import Volume
from synthoma.phantoms.lidc_xml import Mark, Outline, outline_hole, outline_part
from synthoma.phantoms.lung_nodule import DrawnNodule, NoduleParameters
from synthoma.seeding import generator

__all__ = ["READERS", "read_chest"]

READERS = 4
_SMALL_MM = 3.0
_FEWEST_PIXELS = 4  # on a slice, to be outlined there
_CALCIFICATION = {"popcorn": 1, "solid": 3, "central": 5, "absent": 6}


@dataclass(frozen=True)
class _Reader:
    """One person's habits."""

    generous_mm: float
    """How far outside the true edge this reader draws."""
    strict: float
    """Added to ratings of malignancy."""
    watchful: float
    """Added to the log odds of seeing something."""
    glass: float
    """Above 0: outlines ground glass with its nodule; below: its solid core alone."""


def read_chest(
    seed: int,
    nodules: Sequence[tuple[NoduleParameters, DrawnNodule]],
    grid: Grid,
    lungs: Volume,
    lungs_grid: Grid,
) -> list[list[Mark]]:
    """The marks of each reader.

    Args:
        seed: of the readers' habits and whims.
        nodules: as drawn; the first is seen by two readers at least.
        grid: of the images.
        lungs: (z, y, x) distance to the lungs in mm on a grid of its own, for what is looked at and is no nodule.
    """
    habits = generator(seed, "readers")
    readers = [
        _Reader(
            generous_mm=float(habits.normal(0.0, 0.30)),
            strict=float(habits.normal(0, 0.25)),
            watchful=float(habits.normal(0, 0.6)),
            glass=float(habits.normal(0.8, 1.0)),
        )
        for _ in range(READERS)
    ]
    seen = [_who_sees(seed, number, nodule, readers) for number, (nodule, _) in enumerate(nodules)]
    sessions = []
    for number, reader in enumerate(readers):
        rng = generator(seed, "reader", number)
        marks: list[Mark] = []
        for index, (nodule, drawn) in enumerate(nodules):
            if seen[index][number] or (index == 0 and sum(seen[0]) < 2):
                mark = _mark(f"Nodule {len(marks) + 1:03}", nodule, drawn, reader, grid, rng)
                marks += [mark] if mark else []
        marks += _other_marks(rng, lungs, lungs_grid, nodules, grid)
        sessions.append(marks)
    return sessions


def _who_sees(seed: int, index: int, nodule: NoduleParameters, readers: Sequence[_Reader]) -> list[bool]:
    rng = generator(seed, "seen", index)
    odds = 1.1 * (nodule.diameter_mm - 3.2) - (1.2 if nodule.texture == "ground glass" else 0.0)
    return [bool(rng.uniform() < 1 / (1 + np.exp(-(odds + reader.watchful)))) for reader in readers]


def _mark(
    name: str, nodule: NoduleParameters, drawn: DrawnNodule, reader: _Reader, grid: Grid, rng: np.random.Generator
) -> Mark | None:
    if nodule.diameter_mm < _SMALL_MM:
        return Mark(name, (_point(nodule.centre_mm, grid, rng),))
    outlines = _outlines(nodule, drawn, reader, rng)
    return Mark(name, outlines, _ratings(nodule, reader, rng)) if outlines else None


def _point(place_mm: Sequence[float], grid: Grid, rng: np.random.Generator) -> Outline:
    z, y, x = (
        int(
            np.clip(
                round((place_mm[2 - axis] - grid.first_mm[2 - axis]) / grid.spacing_mm[axis]), 0, grid.shape[axis] - 1
            )
        )
        for axis in range(3)
    )
    return Outline(z, ((x + int(rng.integers(-1, 2)), y + int(rng.integers(-1, 2))),))


def _outlines(
    nodule: NoduleParameters, drawn: DrawnNodule, reader: _Reader, rng: np.random.Generator
) -> tuple[Outline, ...]:
    """Where this reader sees the edge: shifted as a whole, wavering, and never twice the same."""
    from scipy import ndimage

    radius = nodule.diameter_mm / 2
    edge = drawn.distance
    if nodule.texture == "part-solid" and reader.glass < 0:
        edge = 0.35 * drawn.distance + 0.65 * drawn.core
    waver: npt.NDArray[np.float64] = ndimage.gaussian_filter(rng.standard_normal(edge.shape), (1.0, 2.2, 2.2))
    waver *= (0.15 + 0.05 * radius) / max(float(waver.std()), 1e-6)
    blurred = 0.25 if nodule.texture == "ground glass" else 0.0
    shift = reader.generous_mm + rng.normal(0.15, 0.2 + 0.06 * radius + blurred)
    mask = edge + waver < shift
    outlines = []
    for z in range(mask.shape[0]):
        part = _largest(mask[z])
        if part.sum() < _FEWEST_PIXELS:
            continue
        outlines += _slice(part, drawn.hole[z] < 0, z, drawn)
    heights = [outline.slice for outline in outlines if outline.inclusion]
    whole = not heights or heights[-1] - heights[0] + 1 == len(set(heights))
    return (
        tuple(outlines) if whole else tuple(outline for outline in outlines if outline.slice in _longest_run(heights))
    )


def _slice(part: npt.NDArray[np.bool_], hole: npt.NDArray[np.bool_], z: int, drawn: DrawnNodule) -> list[Outline]:
    """The outline of one slice, and that of the cavity in it where there is one wholly inside."""
    from scipy import ndimage

    top, left, depth = drawn.box[1].start, drawn.box[2].start, drawn.box[0].start

    def moved(points: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple((x + left, y + top) for x, y in points)

    part = ndimage.binary_fill_holes(part)
    outlines = [Outline(z + depth, moved(outline_part(part)))]
    hole = _largest(hole & ndimage.binary_erosion(part, iterations=2))
    if hole.sum() >= _FEWEST_PIXELS:
        outlines.append(Outline(z + depth, moved(outline_hole(ndimage.binary_fill_holes(hole))), inclusion=False))
    return outlines


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())[1:]
    return np.asarray(parts == 1 + int(sizes.argmax()))


def _longest_run(slices: Sequence[int]) -> set[int]:
    """A reader's nodule is one piece: the longest run of slices that follow each other."""
    runs: list[list[int]] = []
    for z in sorted(set(slices)):
        if runs and z == runs[-1][-1] + 1:
            runs[-1].append(z)
        else:
            runs.append([z])
    longest: list[int] = max(runs, key=len, default=[])
    return set(longest)


def _ratings(nodule: NoduleParameters, reader: _Reader, rng: np.random.Generator) -> dict[str, int]:
    """The nine characteristics, around what is true (scales of the LIDC: 1 to 5, calcification 1 to 6)."""
    n = nodule
    glass = {"ground glass": 1.0, "part-solid": 3.0, "solid": 5.0}[n.texture]
    long = max(n.stretch) / min(n.stretch)
    true = {
        "subtlety": np.clip(1.5 + 0.35 * n.diameter_mm - (1.0 if n.texture == "ground glass" else 0.0), 1, 5),
        "sphericity": 5.2 - 4 * (long - 1) - 1.2 * n.lobes,
        "margin": 5 - 1.5 * n.spikes - (2.0 if glass < 4 else 0.0),
        "lobulation": 1 + 5 * max(0.0, n.lobes - 0.08),
        "spiculation": 1 + 4.2 * n.spikes,
        "texture": glass,
        "malignancy": n.grade + reader.strict,
    }
    noise = dict.fromkeys(true, 0.5) | {"texture": 0.35, "spiculation": 0.6}
    ratings = {
        name: int(np.clip(round(float(value + noise[name] * rng.standard_normal())), 1, 5))
        for name, value in true.items()
    }
    ratings["internalStructure"] = 4 if n.cavity and rng.uniform() < 0.6 else 1
    ratings["calcification"] = _CALCIFICATION[n.calcification]
    return ratings


def _other_marks(
    rng: np.random.Generator,
    lungs: Volume,
    lungs_grid: Grid,
    nodules: Sequence[tuple[NoduleParameters, DrawnNodule]],
    grid: Grid,
) -> list[Mark]:
    """Spots in the lung that a reader looked at and holds to be no nodule: one point each."""
    marks: list[Mark] = []
    axes = [lungs_grid.axis(axis) for axis in (2, 1, 0)]
    voxels = np.argwhere(lungs < -6)
    for z, y, x in voxels[rng.integers(len(voxels), size=int(rng.poisson(2.0)))]:
        place = np.array([axes[0][x], axes[1][y], axes[2][z]])
        if all(np.linalg.norm(place - n.centre_mm) > n.diameter_mm + 10 for n, _ in nodules):
            marks.append(Mark(f"Non-nodule {len(marks) + 1:03}", (_point(place.tolist(), grid, rng),), nodule=False))
    return marks
