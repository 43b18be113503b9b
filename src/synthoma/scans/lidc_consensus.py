"""From the marks of several readers to nodules: outlines filled, marks joined, one mask by vote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.scans.lidc_xml import Mark

__all__ = [
    "Nodule",
    "Pixels",
    "cluster",
    "consensus",
    "fill_outline",
    "fill_outlines",
    "filled",
    "label_of",
    "malignancy",
]

Pixels = NDArray[np.int64]
"""(n, 2): row y and column x, sorted, none twice."""

_ROW, _MARGIN = 2**18, 2**16  # more than the columns of any DICOM image: a pixel, also one beside it, as one number


@dataclass(frozen=True, eq=False)
class Nodule:
    """The marks that readers made of one nodule."""

    marks: tuple[Mark, ...]
    pixels: tuple[Mapping[str, Pixels], ...]
    """For each mark: SOP UID of a slice → the pixels inside the outlines."""

    @property
    def readers(self) -> tuple[int, ...]:
        """Who marked it, in order."""
        return tuple(sorted({mark.reader for mark in self.marks}))


def fill_outline(points: NDArray[np.int64]) -> tuple[Pixels, Pixels]:
    """The pixels inside a closed outline and those on its line, as (y, x); ``points`` are (n, 2) of x and y.

    The outline of a nodule runs along the first pixels outside it, so the line is no part of the inside (Armato et al.,
    Medical Physics 38(2), 2011). Inside is where the winding number is not 0, in whole numbers: exact. Where two points
    that follow each other are no neighbours, the line between them is drawn straight.
    """
    steps = np.roll(points, -1, axis=0) - points
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    edge, k = _counted(np.abs(steps[:, 1]))  # an edge crosses the rows from its upper end to just above its lower end
    down = np.sign(steps[edge, 1])
    row = k + np.minimum(points[edge, 1], points[edge, 1] + steps[edge, 1])
    along = (row - points[edge, 1]) * down * steps[edge, 0]
    column = points[edge, 0] - (-along // np.abs(steps[edge, 1]))  # the first at or right of the crossing
    turns = np.zeros((bottom - top + 1, right - left + 2), dtype=np.int64)
    np.add.at(turns, (row - top, column - left), down)
    winding = turns[:, ::-1].cumsum(axis=1)[:, -2::-1]  # of the crossings right of each pixel
    line = _line(points, steps)
    winding[line[:, 0] - top, line[:, 1] - left] = 0
    return np.argwhere(winding) + np.array([top, left]), line


def fill_outlines(mark: Mark) -> dict[str, Pixels]:
    """SOP UID → pixels (y, x) inside the mark's outlines on that slice, holes cut out; slices without one are left out.

    A hole takes its line with it: every line of a nodule runs outside the nodule.
    """
    inside: dict[str, list[Pixels]] = {}
    holes: dict[str, list[Pixels]] = {}
    for outline in mark.outlines:
        within, line = fill_outline(outline.points)
        if outline.inclusion:
            inside.setdefault(outline.sop_uid, []).append(within)
        else:
            holes.setdefault(outline.sop_uid, []).extend((within, line))
    pixels = {}
    for uid, parts in inside.items():
        keys = _keys(np.concatenate(parts))
        if uid in holes:
            keys = np.setdiff1d(keys, _keys(np.concatenate(holes[uid])))
        if len(keys):
            pixels[uid] = _pixels(np.unique(keys))
    return pixels


def cluster(marks: Sequence[Mark]) -> list[Nodule]:
    """Marks of nodules joined to nodules, in the order of their first marks; marks that enclose no pixel are left out.

    Two marks of **different** readers are of one nodule if the insides of their outlines share a pixel on a slice, and
    so are all that hang together by such pairs. Two marks of one reader stay two nodules, even where they overlap,
    unless a mark of another reader overlaps both. (pylidc joins marks whose outlines come nearer than a slice's
    thickness, of one reader too, and narrows that until no nodule has more than four. Overlap needs no distance.)
    """
    drawn = [(mark, pixels) for mark in marks if (pixels := fill_outlines(mark))]
    keys = [{uid: _keys(pixels) for uid, pixels in slices.items()} for _, slices in drawn]
    group = list(range(len(drawn)))
    for i, (mark, _) in enumerate(drawn):
        for j in range(i):
            if mark.reader != drawn[j][0].reader and group[i] != group[j] and _overlap(keys[i], keys[j]):
                kept, joined = sorted((group[i], group[j]))
                group = [kept if number == joined else number for number in group]
    return [
        Nodule(
            tuple(drawn[i][0] for i, number in enumerate(group) if number == first),
            tuple(drawn[i][1] for i, number in enumerate(group) if number == first),
        )
        for first in sorted(set(group))
    ]


def consensus(nodule: Nodule, level: float, readers: int) -> dict[str, Pixels]:
    """SOP UID → pixels (y, x) that at least ``level`` × ``readers`` readers hold to be of the nodule.

    A reader who made two marks of it has one vote: the two together.
    """
    agreed = {}
    for uid in dict.fromkeys(uid for slices in nodule.pixels for uid in slices):
        votes = [
            np.unique(np.concatenate(own))
            for reader in nodule.readers
            if (
                own := [
                    _keys(slices[uid])
                    for mark, slices in zip(nodule.marks, nodule.pixels, strict=True)
                    if mark.reader == reader and uid in slices
                ]
            )
        ]
        keys, count = np.unique(np.concatenate(votes), return_counts=True)
        keys = keys[count >= level * readers - 1e-9]
        if len(keys):
            agreed[uid] = _pixels(keys)
    return agreed


def filled(
    parts: Iterable[Mapping[str, Pixels]], sop_uids: Sequence[str], shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """A mask (z, y, x) of all pixels on the slices ``sop_uids``; those on other slices are left out."""
    mask = np.zeros(shape, dtype=np.uint8)
    for pixels in parts:
        for z, uid in enumerate(sop_uids):
            if uid in pixels:
                mask[z][tuple(pixels[uid].T)] = 1
    return mask


def malignancy(nodule: Nodule) -> tuple[float, ...]:
    """Each reader's rating from 1 to 5, in the readers' order; the mean of a reader's own who made several marks."""
    given: dict[int, list[int]] = {}
    for mark in nodule.marks:
        if "malignancy" in mark.ratings:
            given.setdefault(mark.reader, []).append(mark.ratings["malignancy"])
    return tuple(float(mean(given[reader])) for reader in sorted(given))


def label_of(ratings: Sequence[float]) -> Literal["benign", "malignant", "indeterminate"]:
    """By the median: up to 2 benign, from 4 malignant; between them, or without a rating, indeterminate."""
    middle = median(ratings) if ratings else 3.0
    return "benign" if middle <= 2 else "malignant" if middle >= 4 else "indeterminate"


def _line(points: NDArray[np.int64], steps: NDArray[np.int64]) -> Pixels:
    """The pixels (y, x) of the closed line from point to point."""
    lengths = np.maximum(np.abs(steps).max(axis=1), 1)
    edge, k = _counted(lengths)
    drawn = points[edge] + np.rint(k[:, None] * steps[edge] / lengths[edge, None]).astype(np.int64)
    return np.unique(drawn[:, ::-1], axis=0)


def _counted(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(0, 0), (0, 1), … (1, 0), …: each index as often as ``lengths`` says, beside the number of the time."""
    index = np.repeat(np.arange(len(lengths)), lengths)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _overlap(one: Mapping[str, NDArray[np.int64]], other: Mapping[str, NDArray[np.int64]]) -> bool:
    return any(np.isin(one[uid], other[uid]).any() for uid in one.keys() & other.keys())


def _keys(pixels: Pixels) -> NDArray[np.int64]:
    return (pixels[:, 0] + _MARGIN) * _ROW + pixels[:, 1] + _MARGIN


def _pixels(keys: NDArray[np.int64]) -> Pixels:
    return np.stack(np.divmod(keys, _ROW), axis=1) - _MARGIN
