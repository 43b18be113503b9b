"""Small pictures of planes of a scan, as radiologists look at them or as an array lies."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator

from synthoma.records import Grid

__all__ = ["AS_STORED", "SIDE", "Order", "Stored", "Thumbnail", "plane", "thumbnail", "upright", "viewing_order"]

Array = NDArray[Any]

SIDE = 144
"""Most pixels a side of a small picture."""
LINEUP_SIDE = 96


def _encoded(array: Array) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.str, "shape": array.shape, "data": data}


def _decoded(stored: Any) -> Array:
    if isinstance(stored, np.ndarray):
        return stored
    array = np.frombuffer(base64.b64decode(stored["data"]), dtype=np.dtype(stored["dtype"]))
    return array.reshape(stored["shape"])


Stored = Annotated[NDArray[Any], PlainValidator(_decoded), PlainSerializer(_encoded)]
"""A small array that can stand in JSON."""


@dataclass(frozen=True)
class Thumbnail:
    """A small grey picture of one plane."""

    pixels: Stored
    """(y, x) uint8."""
    lesion: Stored
    """0 and 1, of the same size."""
    aspect: float
    """Height over width of a pixel in the patient."""


Order = tuple[tuple[int, int, int], tuple[int, int, int]]
"""Array axes to be taken as slices, rows and columns, and the direction (1, −1) in which each is walked."""
AS_STORED: Order = ((0, 1, 2), (1, 1, 1))


VIEWS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "axial": ((2, 1, 0), (1, -1, -1)),
    "coronal": ((1, 2, 0), (-1, -1, -1)),
    "sagittal": ((0, 2, 1), (-1, -1, -1)),
}
"""World axes (x, y, z of RAS+) of slices, rows and columns as radiologists look, and the direction along each."""


def viewing_order(grid: Grid, view: str) -> Order:
    """How to walk an array to see its ``view`` as radiologists do; rows of axial slices go towards the back."""
    return _order(grid, *VIEWS[view])


def _order(grid: Grid, world: tuple[int, int, int], towards: tuple[int, int, int]) -> Order:
    direction = np.asarray(grid.direction)  # rows: array axes, columns: x, y, z of RAS+
    axes: list[int] = []
    signs = []
    for axis, sign in zip(world, towards, strict=True):
        free = [a for a in range(3) if a not in axes]
        best = max(free, key=lambda a: abs(direction[a, axis]))
        axes.append(best)
        signs.append(1 if direction[best, axis] * sign >= 0 else -1)
    return (axes[0], axes[1], axes[2]), (signs[0], signs[1], signs[2])


def plane(
    grid: Grid, axis: int, lesion: NDArray[np.bool_], point_mm: tuple[float, float, float] | None
) -> tuple[int, tuple[float, float, float]]:
    """Index of the plane along ``axis``, and the world position of its middle."""
    count = grid.shape[axis]
    if point_mm is not None:
        index = float((np.linalg.inv(grid.affine) @ [*point_mm, 1])[2 - axis])
        at = min(max(round(index), 0), count - 1)
    else:
        area = np.count_nonzero(lesion, axis=tuple(a for a in range(3) if a != axis))
        most = np.flatnonzero(area == area.max()) if area.any() else np.arange(count)
        at = int(most[len(most) // 2])
    middle = [(n - 1) / 2 for n in grid.shape]
    middle[axis] = at
    x, y, z = (grid.affine @ [*reversed(middle), 1])[:3]
    return at, (float(x), float(y), float(z))


def thumbnail(
    channel: Array,
    lesion: NDArray[np.bool_],
    grid: Grid,
    order: Order,
    index: int,
    window: tuple[float, float],
    side: int,
) -> Thumbnail:
    """A plane, shrunk with averaging to at most ``side`` pixels a side, ``window`` black to white."""
    from PIL import Image

    (axis, row, column), (_, row_sign, column_sign) = order
    planes = [np.take(array, index, axis=axis) for array in (channel, lesion)]
    if row > column:
        planes = [plane.T for plane in planes]
    image, mask = (plane[::row_sign, ::column_sign] for plane in planes)
    low, high = window
    grey = np.clip((image - low) * (255 / max(high - low, 1e-30)), 0, 255).round().astype(np.uint8)
    scale = min(1.0, side / max(grey.shape))
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    pixels = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))
    soft = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX))
    small = (soft >= 128).astype(np.uint8)
    if soft.any() and not small.any():
        small.flat[int(soft.argmax())] = 1
    spacing_mm = (grid.spacing_mm[row] * grey.shape[0] / size[1], grid.spacing_mm[column] * grey.shape[1] / size[0])
    return Thumbnail(pixels, small, spacing_mm[0] / spacing_mm[1])


def upright(channel: Array, lesion: NDArray[np.bool_], grid: Grid, window: tuple[float, float]) -> Thumbnail:
    """The coronal plane through the middle: rows towards the feet, columns towards the patient's left."""
    order = viewing_order(grid, "coronal")
    return thumbnail(channel, lesion, grid, order, grid.shape[order[0][0]] // 2, window, LINEUP_SIDE)
