"""Branching vessels that fill the lungs.

A branch grows from its start towards the centroid of the points it must reach, then the points are parted by a plane
and each half has a branch of its own (Tawhai et al., Ann Biomed Eng 28:793, 2000). Calibre follows the number of points
so that the sum of r³ is kept at every fork (Murray, PNAS 12:207, 1926).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.abdomen_shapes import Grid
from synthoma.phantoms.ct import Volume

__all__ = ["Branches", "draw_branches", "grow_tree"]

_Points = npt.NDArray[np.float64]

_STEP = 0.42  # of the way to the centroid
_EXPONENT = 1 / 3


@dataclass(frozen=True)
class Branches:
    """Straight pieces: (n, 3) start and end in mm (x, y, z), (n,) radii in mm."""

    start: _Points
    end: _Points
    radius: npt.NDArray[np.float64]


def grow_tree(
    points: _Points, root: tuple[float, float, float], radius_mm: float, rng: np.random.Generator
) -> Branches:
    """A tree from ``root`` that reaches every one of ``points`` (n, 3)."""
    pieces: list[tuple[_Points, _Points, float]] = []
    total = len(points)
    todo = [(np.arange(total), np.asarray(root, dtype=np.float64))]
    while todo:
        mine, start = todo.pop()
        radius = radius_mm * (len(mine) / total) ** _EXPONENT
        ahead = points[mine].mean(axis=0) - start
        end = start + ahead * (_STEP if len(mine) > 1 else 0.9)
        bow = 0.08 * float(np.linalg.norm(end - start)) * rng.standard_normal(3)
        middle = (start + end) / 2 + bow
        pieces += [(start, middle, radius), (middle, end, radius)]
        if len(mine) > 1:
            todo += [(half, end) for half in _part(points, mine, end, ahead) if len(half)]
    starts, ends, radii = zip(*pieces, strict=True)
    return Branches(np.array(starts), np.array(ends), np.array(radii))


def _part(points: _Points, mine: npt.NDArray[np.int64], end: _Points, ahead: _Points) -> list[npt.NDArray[np.int64]]:
    """Part points by the plane along the branch across their widest spread."""
    direction = ahead / max(float(np.linalg.norm(ahead)), 1e-9)
    away = points[mine] - points[mine].mean(axis=0)
    away -= np.outer(away @ direction, direction)
    _, vectors = np.linalg.eigh(away.T @ away)
    side = (points[mine] - end) @ vectors[:, -1] > 0
    if side.all() or not side.any():  # the branch runs beside all of them: halve them in their order
        order = np.argsort(away @ vectors[:, -1], kind="stable")
        return [mine[order[: len(mine) // 2]], mine[order[len(mine) // 2 :]]]
    return [mine[side], mine[~side]]


def draw_branches(share: Volume, grid: Grid, branches: Branches, pixel_mm: float) -> None:
    """Put round tubes into ``share`` (z, y, x), in place: the part of each voxel that they fill."""
    width, high = np.float32(pixel_mm), grid.spacing_mm[0]
    # A thin tube between two slices fills a part of both: slices reach half their distance beyond a pixel's.
    reach = max(0.0, (high - pixel_mm) / 2)
    x, y, z = grid.axis(2), grid.axis(1)[:, None], grid.axis(0)[:, None, None]
    far = branches.radius + 0.5 * pixel_mm + reach
    lowest = np.minimum(branches.start[:, 2], branches.end[:, 2]) - far
    highest = np.maximum(branches.start[:, 2], branches.end[:, 2]) + far
    here = np.flatnonzero((lowest < float(z.max())) & (highest > float(z.min())))
    for start, end, radius in zip(branches.start[here], branches.end[here], branches.radius[here], strict=True):
        low, top = np.minimum(start, end), np.maximum(start, end)
        box = grid.box(low.tolist(), top.tolist(), float(radius) + 0.5 * pixel_mm + reach)
        if any(axis.start >= axis.stop for axis in box):
            continue
        step = (end - start).astype(np.float32)
        dx, dy, dz = x[box[2]] - start[0], y[box[1]] - start[1], z[box[0]] - start[2]
        along = (dx * step[0] + dy * step[1] + dz * step[2]) / np.float32(max(float(step @ step), 1e-6))
        np.clip(along, 0, 1, out=along)
        dx, dy, dz = dx - along * step[0], dy - along * step[1], np.abs(dz - along * step[2]) - np.float32(reach)
        np.maximum(dz, 0, out=dz)
        distance = np.sqrt(dx * dx + dy * dy + dz * dz) - np.float32(radius)
        filled = np.clip(np.float32(0.5) - distance / width, 0, 1)
        filled *= np.float32(min(1.0, radius / (0.62 * pixel_mm)))
        np.maximum(share[box], filled, out=share[box])
