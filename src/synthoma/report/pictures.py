"""Arrays as pictures in the page: grey images, difference maps and the outlines drawn over them.

Every grey picture maps the cohort's window, −1 … 1, to black … white: no picture has a stretch of its own, so two
pictures can be compared by eye. Outlines are vectors over the picture; the pixels below stay as they are.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIFFERENCE_TOP", "Frame", "Picture", "colour_bar", "difference_picture", "grey_picture", "plane_index"]

Array = NDArray[Any]

DIFFERENCE_TOP = 0.5
"""The absolute difference, in network units, that a difference map shows as its brightest colour: a quarter of the
window of width 2. Larger ones are shown alike, and the colour bar says so."""
MAXIMUM_PIXELS = 256
"""Larger pictures are shrunk by whole-number block means, which keeps the file small."""


@dataclass(frozen=True)
class Picture:
    """One picture of the page."""

    uri: str
    """The PNG file itself, as a data URI."""
    width: int
    height: int
    alt: str
    outline: str = ""
    """SVG path of the lesion's outline, in pixels of the picture; empty for none."""
    caption: str = ""
    aspect: float = 1.0
    """Height over width of a pixel in the patient."""
    heat: str = ""
    """A small, partly clear picture that is laid over this one, as a data URI; empty for none."""


@dataclass(frozen=True)
class Frame:
    """The part of the image plane that is shown, one for all pictures of a gallery, so that their scale is one."""

    top: int
    bottom: int
    left: int
    right: int
    aspect: float = 1.0
    """Height over width of a pixel in the patient."""

    @classmethod
    def around(cls, masks: Array, margin: int = 3, aspect: float = 1.0) -> Frame:
        """The box around everything set in ``masks`` (n, y, x), with a margin; the whole plane if nothing is."""
        union: NDArray[np.bool_] = np.logical_or.reduce(np.asarray(masks, dtype=bool), axis=0)
        height, width = union.shape
        rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
        if not len(rows):
            return cls(0, height, 0, width, aspect)
        return cls(
            max(0, int(rows[0]) - margin),
            min(height, int(rows[-1]) + 1 + margin),
            max(0, int(columns[0]) - margin),
            min(width, int(columns[-1]) + 1 + margin),
            aspect,
        )

    @property
    def shrink(self) -> int:
        """How many pixels a side become one in the picture."""
        return -(-max(self.bottom - self.top, self.right - self.left) // MAXIMUM_PIXELS)

    def cut(self, image: Array) -> NDArray[np.float64]:
        """The part of ``image`` (y, x) that is shown, as float64."""
        part = np.asarray(image, dtype=np.float64)[self.top : self.bottom, self.left : self.right]
        k = self.shrink
        if k == 1:
            return part
        part = part[: part.shape[0] // k * k, : part.shape[1] // k * k]
        blocks: NDArray[np.float64] = part.reshape(part.shape[0] // k, k, -1, k).mean(axis=(1, 3))
        return blocks


def plane_index(lesion: Array, body: Array) -> int:
    """The slice of a volume (z, y, x) to show: the most lesion, else the most body."""
    for mask in (lesion, body):
        area = np.asarray(mask).sum(axis=(1, 2))
        if area.any():
            return int(area.argmax())
    return len(body) // 2


def grey_picture(image: Array, frame: Frame, alt: str, lesion: Array | None = None, caption: str = "") -> Picture:
    """``image`` (y, x) with −1 as black and 1 as white; ``lesion`` (y, x) is drawn as an outline over it."""
    part = frame.cut(image)
    pixels = np.round(np.clip((part + 1) / 2, 0, 1) * 255).astype(np.uint8)
    outline = "" if lesion is None else _outline(frame.cut(lesion))
    return Picture(_png(pixels), pixels.shape[1], pixels.shape[0], alt, outline, caption, frame.aspect)


def difference_picture(x: Array, y: Array, frame: Frame, alt: str, lesion: Array | None = None) -> Picture:
    """|x − y| (y, x) in colours, 0 … :data:`DIFFERENCE_TOP`."""
    share = np.clip(frame.cut(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64))) / DIFFERENCE_TOP, 0, 1)
    pixels = np.round(share * 255).astype(np.uint8)
    outline = "" if lesion is None else _outline(frame.cut(lesion))
    return Picture(_png(pixels, palette=True), pixels.shape[1], pixels.shape[0], alt, outline, aspect=frame.aspect)


def colour_bar() -> Picture:
    """The colours of :func:`difference_picture`, from 0 on the left to :data:`DIFFERENCE_TOP` on the right."""
    pixels = np.tile(np.arange(256, dtype=np.uint8), (10, 1))
    return Picture(_png(pixels, palette=True), 256, 10, f"colour bar from 0 (black) to {DIFFERENCE_TOP} (pale yellow)")


def _outline(mask: Array) -> str:
    """Contours at one half of a mask (y, x), as an SVG path in pixel coordinates (pixel centres at half numbers)."""
    from skimage.measure import find_contours

    if not mask.any():
        return ""
    padded = np.pad(np.asarray(mask, dtype=np.float64), 1)  # so that a lesion at the edge has a closed outline
    pieces = []
    for contour in find_contours(padded, 0.5):
        points = " ".join(f"{x - 0.5:g},{y - 0.5:g}" for y, x in contour[:-1])
        pieces.append(f"M{points}Z")
    return "".join(pieces)


def _png(pixels: NDArray[np.uint8], *, palette: bool = False) -> str:
    from PIL import Image

    image = Image.fromarray(pixels)
    if palette:
        from matplotlib import colormaps

        colours = np.round(colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8)
        image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
