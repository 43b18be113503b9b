"""The readers' XML of LIDC-IDRI: four sessions of marks on one CT series.

Format: "LIDC XML file documentation" (The Cancer Imaging Archive, 2006–2009) and Armato et al., Medical Physics 38(2),
2011. A file is refused when it declares a document type or an entity, so nothing in it can expand.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["RATINGS", "SESSIONS", "Kind", "Mark", "Outline", "Reading", "parse_reading", "series_of"]

Kind = Literal["nodule", "small-nodule", "non-nodule"]

SESSIONS = 4
"""Readers of every scan."""
RATINGS: Mapping[str, int] = {
    "subtlety": 5,
    "internalStructure": 4,
    "calcification": 6,
    "sphericity": 5,
    "margin": 5,
    "lobulation": 5,
    "spiculation": 5,
    "texture": 5,
    "malignancy": 5,
}
"""Characteristic → its highest rating; the lowest is 1."""
_NAMESPACE = "http://www.nih.gov"
_ROOT = f"{{{_NAMESPACE}}}LidcReadMessage"
_EXPECTED = "the readers' XML of LIDC-IDRI"
_UID = re.compile(r"[0-9.]{1,64}")
_LARGEST_BYTES = 64 * 2**20  # the archive's largest has a few MiB
_MOST_MARKS = 2000  # of all readers together; the archive has a few dozen
_FARTHEST_PIXEL = 65535  # rows and columns of DICOM are 16-bit numbers


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed line round one part of a nodule on one slice, or the single point of a smaller finding."""

    sop_uid: str
    z_mm: float
    """The slice's ``imageZposition``, the third coordinate of its ImagePositionPatient."""
    points: NDArray[np.int64]
    """(n, 2): column x and row y of pixels, counted from 0, in the order drawn."""
    inclusion: bool = True
    """False for the line round a hole."""


@dataclass(frozen=True, eq=False)
class Mark:
    """One finding of one reader."""

    reader: int
    """From 1, in the order of the file; the same number in two files is not the same person."""
    name: str
    """Free text; equal names of two readers mean nothing."""
    kind: Kind
    """``nodule`` (from 3 mm) has outlines; ``small-nodule`` and ``non-nodule`` have a point."""
    outlines: tuple[Outline, ...]
    ratings: Mapping[str, int]
    """Characteristic → rating, of those given; empty but for nodules from 3 mm."""


@dataclass(frozen=True)
class Reading:
    """All that the readers said of one series."""

    series_uid: str
    sessions: int
    marks: tuple[Mark, ...]
    """By reader, in the order of the file."""


def series_of(start: bytes, what: str) -> str:
    """The SeriesInstanceUID that a file speaks of, from its first bytes; ``what`` names it in the error.

    Raises:
        ScanError: no readers' XML, or none that names its series.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, iterparse

    first, uid = True, ""
    try:
        for event, element in iterparse(io.BytesIO(start), events=("start", "end"), forbid_dtd=True):
            if first:
                _check_root(element.tag, what)
                first = False
            if event == "end" and element.tag == _tag("SeriesInstanceUid"):
                uid = (element.text or "").strip()
                break
    except DefusedXmlException as error:
        raise _expands(what, error) from error
    except (ParseError, ValueError, LookupError) as error:
        if first:
            raise _broken(what, error) from error
        # otherwise the start ends, as it must, in the midst of something
    return _series(uid, what)


def parse_reading(content: bytes, what: str) -> Reading:
    """Every mark of a file; ``what`` names it in the error.

    Raises:
        ScanError: truncated or no XML, one that declares a document type or entities, another kind of document, no
            series or session, an outline without slice or points, numbers that are none, ratings out of their range.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    if len(content) > _LARGEST_BYTES:
        found = f"{len(content) / 2**20:.0f} MiB"
        raise ScanError(describe(what, f"{_EXPECTED} of at most {_LARGEST_BYTES // 2**20} MiB", found))
    try:
        root = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise _expands(what, error) from error
    except (ParseError, ValueError, LookupError) as error:
        raise _broken(what, error) from error
    _check_root(root.tag, what)
    uid = next((element.text or "" for element in root.iter(_tag("SeriesInstanceUid"))), "").strip()
    sessions = root.findall(_tag("readingSession"))
    if not sessions:
        raise ScanError(describe(what, f"{SESSIONS} reading sessions", "none"))
    count = sum(element.tag in _MARKS for session in sessions for element in session)
    if count > _MOST_MARKS:
        raise ScanError(describe(what, f"at most {_MOST_MARKS} marks", count))
    marks = [mark for reader, session in enumerate(sessions, 1) for mark in _marks(session, reader, what)]
    return Reading(_series(uid, what), len(sessions), tuple(marks))


_MARKS = tuple(f"{{{_NAMESPACE}}}{name}" for name in ("unblindedReadNodule", "nonNodule"))


def _marks(session: Element, reader: int, what: str) -> Iterator[Mark]:
    for element in session:
        if element.tag == _MARKS[0]:
            name, drawn, points = _text(element, "noduleID"), element.findall(_tag("roi")), "edgeMap"
        elif element.tag == _MARKS[1]:
            name, drawn, points = _text(element, "nonNoduleID"), [element], "locus"
        else:
            continue
        where = f"{what}, reader {reader}, mark '{name[:64]}'"
        if not drawn:
            raise ScanError(describe(where, "an outline or a point", "none"))
        outlines = tuple(_outline(part, points, where) for part in drawn)
        ratings = _ratings(element, where)
        kind: Kind = "non-nodule" if points == "locus" else "nodule"
        # A nodule below 3 mm is one point without ratings; some have ratings that are all 0 or blank.
        if kind == "nodule" and not ratings and all(len(outline.points) == 1 for outline in outlines):
            kind = "small-nodule"
        yield Mark(reader, name, kind, outlines, ratings)


def _outline(element: Element, points: str, where: str) -> Outline:
    sop_uid = _text(element, "imageSOP_UID")
    if not _UID.fullmatch(sop_uid):
        found = f"'{sop_uid[:64]}'" if sop_uid else "none"
        raise ScanError(describe(where, "a slice (imageSOP_UID) for each outline", found))
    inclusion = _text(element, "inclusion").upper() or "TRUE"
    if inclusion not in ("TRUE", "FALSE"):
        raise ScanError(describe(f"{where}, inclusion", "TRUE or FALSE", f"'{inclusion[:64]}'"))
    drawn = [
        [_coordinate(point, name, where) for name in ("xCoord", "yCoord")] for point in element.findall(_tag(points))
    ]
    if not drawn:
        raise ScanError(describe(where, "points in each outline", "none"))
    return Outline(sop_uid, _height(element, where), np.array(drawn, dtype=np.int64), inclusion == "TRUE")


def _coordinate(point: Element, name: str, where: str) -> int:
    text = _text(point, name)
    try:
        value = int(text)
    except ValueError as error:
        raise ScanError(describe(f"{where}, {name}", "a pixel's number", f"'{text[:64]}'")) from error
    if abs(value) > _FARTHEST_PIXEL:
        raise ScanError(describe(f"{where}, {name}", f"at most {_FARTHEST_PIXEL}", text[:64]))
    return value


def _height(element: Element, where: str) -> float:
    text = _text(element, "imageZposition")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ScanError(describe(f"{where}, imageZposition", "a position in mm", f"'{text[:64]}'"))
    return value


def _ratings(nodule: Element, where: str) -> dict[str, int]:
    """Those given: 0 and a blank stand for none."""
    ratings = {}
    characteristics = nodule.find(_tag("characteristics"))
    for name, highest in RATINGS.items() if characteristics is not None else ():
        text = _text(characteristics, name)
        if text in ("", "0"):
            continue
        if text not in {str(rating) for rating in range(1, highest + 1)}:
            raise ScanError(describe(f"{where}, {name}", f"a rating from 1 to {highest}", f"'{text[:64]}'"))
        ratings[name] = int(text)
    return ratings


def _tag(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"


def _text(element: Element | None, name: str) -> str:
    """In one printable line, since errors quote it."""
    words = (element.findtext(_tag(name)) or "").split() if element is not None else []
    return "".join(letter for letter in " ".join(words) if letter.isprintable())


def _check_root(tag: str, what: str) -> None:
    if tag == _ROOT:
        return
    namespace, _, name = tag.rpartition("}")
    found = f"the root element {name[:64]}"
    if name == "IdriReadMessage":
        found += ", the reading of a chest film"
    elif name == "LidcReadMessage":
        found += f" in the namespace '{namespace[1:65]}'" if namespace else " without a namespace"
    raise ScanError(describe(what, f"{_EXPECTED} (LidcReadMessage of {_NAMESPACE})", found))


def _series(uid: str, what: str) -> str:
    if not _UID.fullmatch(uid):
        raise ScanError(describe(what, "the SeriesInstanceUid of a CT series", f"'{uid[:64]}'" if uid else "none"))
    return uid


def _expands(what: str, error: Exception) -> ScanError:
    kind = type(error).__name__.removesuffix("Forbidden")
    found = {"DTD": "a document type (DOCTYPE)", "Entities": "an entity"}.get(kind, "a reference to another file")
    return ScanError(
        describe(what, f"{_EXPECTED}, which declares nothing", found, "Get the file from the archive again.")
    )


def _broken(what: str, error: Exception) -> ScanError:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return ScanError(describe(what, f"{_EXPECTED}, complete", f"no well-formed XML ({line[:200]})"))
