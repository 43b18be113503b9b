"""Writes what four readers marked as the XML of LIDC-IDRI, and finds the outlines that stand in it.

"LIDC XML file documentation" (The Cancer Imaging Archive, 2009); Armato et al., Medical Physics 38(2), 2011: an outline
runs along the first pixels outside the nodule, closed, the first point repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

__all__ = ["CHARACTERISTICS", "Mark", "Outline", "outline_hole", "outline_part", "reading_xml"]

Mask = npt.NDArray[np.bool_]

CHARACTERISTICS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
"""In the order of the file."""

_AROUND = ((0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1))  # (x, y), clockwise from above


@dataclass(frozen=True)
class Outline:
    """A line on one slice, or one point."""

    slice: int
    """z of the array."""
    points: tuple[tuple[int, int], ...]
    """Column and row, counted from 0; the first repeated at the end unless it is the only one."""
    inclusion: bool = True
    """False for the line round a hole."""


@dataclass(frozen=True)
class Mark:
    """One finding of one reader."""

    name: str
    outlines: tuple[Outline, ...]
    ratings: Mapping[str, int] | None = None
    """All of :data:`CHARACTERISTICS` for a nodule of 3 mm or more, none for a smaller one."""
    nodule: bool = True
    """False for what the reader saw and holds to be no nodule."""


def outline_part(mask: Mask) -> tuple[tuple[int, int], ...]:
    """The closed line along the first pixels outside a connected mask (y, x)."""
    from scipy import ndimage

    padded = np.pad(mask, 2)
    return _trace(ndimage.binary_dilation(padded), 2)


def outline_hole(hole: Mask) -> tuple[tuple[int, int], ...]:
    """The closed line along the first pixels of a hole: those are the first outside the nodule."""
    return _trace(np.pad(hole, 1), 1)


def _trace(region: Mask, margin: int) -> tuple[tuple[int, int], ...]:
    """Follow the outermost pixels of a region clockwise (Moore's neighbours), from its first pixel back to it."""
    y, x = (int(value) for value in np.argwhere(region)[0])
    points, direction = [(x, y)], 1  # we came from the left, so the pixel above right is looked at first
    first: tuple[tuple[int, int], int] | None = None
    while True:
        for turn in range(8):
            heading = (direction + turn) % 8
            x_next, y_next = x + _AROUND[heading][0], y + _AROUND[heading][1]
            if region[y_next, x_next]:
                break
        else:  # a single pixel
            break
        step = ((x, y), heading)
        if step == first:  # the first step is taken again: once round
            break
        first = first or step
        x, y = x_next, y_next
        points.append((x, y))
        direction = (heading + 6) % 8 if heading % 2 == 0 else (heading + 5) % 8
    if len(points) == 1:
        points.append(points[0])
    return tuple((x - margin, y - margin) for x, y in points)


def reading_xml(
    sessions: Sequence[Sequence[Mark]],
    *,
    study_uid: str,
    series_uid: str,
    sop_uids: Sequence[str],
    z_mm: Sequence[float],
) -> bytes:
    """The file for one series.

    Args:
        sessions: the marks of each reader.
        sop_uids, z_mm: of each slice of the array: its identifier and the third coordinate of its position.
    """
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<LidcReadMessage uid="{series_uid}.0" xmlns="http://www.nih.gov" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="http://www.nih.gov http://troll.rad.med.umich.edu/lidc/LidcReadMessage.xsd">',
        "<ResponseHeader>",
        *_elements(
            {
                "Version": "1.8.1",
                "MessageId": "1",
                "DateRequest": "2000-01-01",
                "TimeRequest": "12:00:00",
                "RequestingSite": "removed",
                "ServicingSite": "removed",
                "TaskDescription": "Second unblinded read",
                "CtImageFile": "removed",
                "SeriesInstanceUid": series_uid,
                "DateService": "2000-01-01",
                "TimeService": "12:00:00",
                "ResponseDescription": "1 - Reading complete",
                "StudyInstanceUID": study_uid,
            },
            1,
        ),
        "</ResponseHeader>",
    ]
    for reader, marks in enumerate(sessions, 1):
        lines += ["<readingSession>", *_elements({"annotationVersion": "3.12"}, 1)]
        lines += _elements({"servicingRadiologistID": f"phantom-reader-{reader}"}, 1)
        for mark in marks:
            lines += _mark(mark, sop_uids, z_mm)
        lines.append("</readingSession>")
    return ("\n".join([*lines, "</LidcReadMessage>"]) + "\n").encode()


def _mark(mark: Mark, sop_uids: Sequence[str], z_mm: Sequence[float]) -> list[str]:
    def place(outline: Outline) -> dict[str, str]:
        return {"imageZposition": f"{z_mm[outline.slice]:.6f}", "imageSOP_UID": sop_uids[outline.slice]}

    if not mark.nodule:
        (outline,) = mark.outlines
        lines = [" <nonNodule>", *_elements({"nonNoduleID": mark.name} | place(outline), 2)]
        return [*lines, *_points("locus", outline, 2), " </nonNodule>"]
    lines = [" <unblindedReadNodule>", *_elements({"noduleID": mark.name}, 2)]
    if mark.ratings is not None:
        ratings = {name: str(mark.ratings[name]) for name in CHARACTERISTICS}
        lines += ["  <characteristics>", *_elements(ratings, 3), "  </characteristics>"]
    for outline in mark.outlines:
        lines += ["  <roi>", *_elements(place(outline), 3)]
        lines += _elements({"inclusion": "TRUE" if outline.inclusion else "FALSE"}, 3)
        lines += [*_points("edgeMap", outline, 3), "  </roi>"]
    return [*lines, " </unblindedReadNodule>"]


def _points(element: str, outline: Outline, depth: int) -> list[str]:
    lines = []
    for x, y in outline.points:
        point = _elements({"xCoord": str(x), "yCoord": str(y)}, depth + 1)
        lines += [" " * depth + f"<{element}>", *point, " " * depth + f"</{element}>"]
    return lines


def _elements(content: Mapping[str, str], depth: int) -> list[str]:
    return [" " * depth + f"<{name}>{escape(text)}</{name}>" for name, text in content.items()]
