"""Moving a lesion into another patient's tumour-free slice: parameters drawn first, applied second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Move", "draw_move", "move_lesion"]

TRIES = 40


@dataclass(frozen=True)
class Move:
    """Where a lesion goes: scaled and (in the plane of the last two axes) turned about its centre, which goes to
    ``centre``."""

    rotate_deg: float
    scale: float
    centre: tuple[float, ...]
    """([z,] y, x) in pixels of the target."""


def draw_move(rng: np.random.Generator, body: NDArray[np.bool_], rotate_deg: float, scale: tuple[float, float]) -> Move:
    """A random move into ``body`` ([z,] y, x)."""
    inside = np.argwhere(body)
    centre = inside[rng.integers(len(inside))]
    return Move(
        rotate_deg=float(rng.uniform(-rotate_deg, rotate_deg)),
        scale=float(np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1])))),
        centre=tuple(float(place) for place in centre),
    )


def move_lesion(masks: NDArray[np.uint8], move: Move) -> NDArray[np.uint8]:
    """The lesion masks (part, [z,] y, x) after ``move``, nearest neighbour; what leaves the frame is lost."""
    from scipy.ndimage import affine_transform

    points = np.argwhere(masks.any(axis=0))
    if len(points) == 0:
        return np.zeros_like(masks)
    middle = points.mean(axis=0)
    angle = np.deg2rad(move.rotate_deg)
    # The output pixel p was, before, at matrix @ (p − centre) + middle.
    matrix = np.eye(len(middle))
    matrix[-2:, -2:] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    matrix /= move.scale
    offset = middle - matrix @ np.asarray(move.centre)
    return np.stack([affine_transform(part, matrix, offset, order=0, mode="constant") for part in masks])


def fit_lesion(
    rng: np.random.Generator,
    masks: NDArray[np.uint8],
    body: NDArray[np.bool_],
    rotate_deg: float,
    scale: tuple[float, float],
    inside: float,
) -> NDArray[np.uint8] | None:
    """The lesion moved so that the share ``inside`` of it lies in ``body`` (the rest is cut off), or ``None``.

    A move is drawn anew up to 40 times; a lesion too large for the slice fits nowhere, and an empty one is none.
    """
    if not masks.any():
        return None
    for _ in range(TRIES):
        move = draw_move(rng, body, rotate_deg, scale)
        moved = move_lesion(masks, move)
        whole = masks.any(axis=0).sum() * move.scale**body.ndim
        kept = moved * body.astype(np.uint8)
        if kept.any(axis=0).sum() >= inside * whole:
            return kept
    return None
