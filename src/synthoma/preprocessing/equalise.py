"""Histogram equalisation inside the body: every grey value as frequent as any other."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import check_normalised
from synthoma.preprocessing.step import StepOptions
from synthoma.records import BODY, Scan

__all__ = ["Equalise"]

Image = NDArray[np.float32]


class Equalise(StepOptions):
    """Histogram equalisation (Gonzalez & Woods, "Digital Image Processing", 4th ed., section 3.3) or CLAHE.

    Comes after the normalising step and stays in [−1, 1]. Only the body is counted, so that air takes no grey values;
    outside it all is −1. The map is no longer linear, so the way back to the scanner's values is given up: the scan's
    unit becomes ``arbitrary``, its ``intensity`` (−1, 1), and a note says so.
    """

    step: Literal["equalise"] = "equalise"
    method: Literal["global", "clahe"] = "global"
    """``global``: one monotone map for the whole volume. ``clahe``: contrast limited and adaptive, slice by slice
    (Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994)."""
    bins: int = Field(default=256, ge=16, le=4096)
    """Of the histogram."""
    tiles: int = Field(default=8, ge=1, le=32)
    """Only for ``clahe``: tiles along either side of a slice, each with a histogram of its own."""
    clip_limit: float = Field(default=3.0, ge=1)
    """Only for ``clahe``: no bin counts for more than this many times the mean of all bins, so that noise in flat
    regions is not drawn out without end; at 1 little changes."""

    def __call__(self, scan: Scan) -> Scan:
        """The scan with equalised channels. Without a mask ``body`` the whole picture counts as the body.

        Raises:
            ScanError: the scan is not normalised yet, its body is empty, or a channel is constant in it.
        """
        check_normalised(scan, scan.channels, "equalise")
        body = scan.masks[BODY] > 0 if BODY in scan.masks else np.ones(scan.grid.shape, dtype=bool)
        channels = {}
        for name, channel in scan.channels.items():
            counts = np.histogram(channel[body], self.bins, (-1, 1))[0]
            if np.count_nonzero(counts) < 2:
                what = f"{scan.patient}: step equalise, channel {name}"
                raise ScanError(describe(what, "a body whose intensities vary", "one value or none"))
            result = np.full(channel.shape, -1, dtype=np.float32)
            global_map = _map(counts)
            for new, image, inside in zip(result, channel, body, strict=True):
                if inside.any():
                    equal = _looked_up(image, global_map) if self.method == "global" else self._clahe(image, inside)
                    np.copyto(new, equal, where=inside)
            channels[name] = result
        note = f"equalised ({self.method}): the values no longer lead back to the scanner's"
        unit_range = dict.fromkeys(channels, (-1.0, 1.0))
        return scan.with_(channels=channels, intensity=unit_range, unit="arbitrary", notes=(*scan.notes, note))

    def _clahe(self, image: Image, inside: NDArray[np.bool_]) -> Image:
        """A slice by the maps of its tiles, blended linearly between the tiles' middles."""
        rows, columns = (np.linspace(0, size, self.tiles + 1) for size in image.shape)
        maps = np.empty((self.tiles, self.tiles, self.bins + 1), dtype=np.float32)
        for i in range(self.tiles):
            for j in range(self.tiles):
                tile = np.s_[int(rows[i]) : int(rows[i + 1]), int(columns[j]) : int(columns[j + 1])]
                counts = np.histogram(image[tile][inside[tile]], self.bins, (-1, 1))[0]
                maps[i, j] = _map(_clipped(counts, self.clip_limit))
        above, below, down = _neighbours(image.shape[0], self.tiles)
        left, right, across = _neighbours(image.shape[1], self.tiles)
        place = (image + 1) * np.float32(self.bins / 2)
        bin_ = np.minimum(place.astype(np.intp), self.bins - 1)
        part = place - bin_
        result = np.zeros(image.shape, dtype=np.float32)
        for row, vertical in ((above, 1 - down), (below, down)):
            for column, horizontal in ((left, 1 - across), (right, across)):
                edge = maps[row[:, None], column[None, :], bin_]
                value = edge + part * (maps[row[:, None], column[None, :], bin_ + 1] - edge)
                result += value * vertical[:, None] * horizontal[None, :]
        return result


def _map(counts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float32]:
    """Value at each edge of the bins: the share of voxels below it, from −1 to +1; the identity without any voxel."""
    total = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    if total[-1] == 0:
        return np.linspace(-1, 1, len(total)).astype(np.float32)
    return np.asarray(2 * total / total[-1] - 1, dtype=np.float32)


def _looked_up(image: Image, edges: NDArray[np.float32]) -> Image:
    return np.interp(image, np.linspace(-1, 1, len(edges)), edges).astype(np.float32)


def _clipped(counts: NDArray[np.integer], limit: float) -> NDArray[np.floating]:
    """The histogram without what exceeds ``limit`` times its mean, which is spread over all bins."""
    most = limit * counts.mean()
    kept = np.minimum(counts, most)
    return np.asarray(kept + (counts.sum() - kept.sum()) / len(counts))


def _neighbours(size: int, tiles: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each row or column the tiles whose middles lie before and after it, and how far on the way it is."""
    place = np.clip((np.arange(size) + 0.5) * tiles / size - 0.5, 0, tiles - 1)
    before = np.minimum(place.astype(np.intp), max(tiles - 2, 0))
    return before, np.minimum(before + 1, tiles - 1), (place - before).astype(np.float32)
