"""A reading as the masks of one series, and what is said of the marks that have none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.scans.dicom_pixels import MOST_DECODED_BYTES
from synthoma.scans.lidc_consensus import Nodule, Pixels, cluster, consensus, filled, label_of, malignancy
from synthoma.scans.lidc_xml import SESSIONS, Outline, Reading

if TYPE_CHECKING:
    from synthoma.scans.lidc import LidcData

__all__ = ["EXCLUDED", "check_inside", "masks_of"]

EXCLUDED = "excluded"
"""The mask of what is neither a finding nor healthy: all that any reader outlined of nodules that are dropped, and of
the others on slices where too few readers agree on any voxel. It counts as a lesion (:attr:`Scan.lesions`)."""
_Z_TOLERANCE_MM = 0.01
_MOST_HEIGHTS = 40


def check_inside(reading: Reading, shape: tuple[int, int, int], what: str) -> None:
    """An outline runs outside its nodule, so at most one pixel beside the image.

    Raises:
        ScanError: points farther out, on slices that are not here too.
    """
    _, rows, columns = shape
    for mark in reading.marks:
        for outline in mark.outlines:
            (left, top), (right, bottom) = outline.points.min(axis=0), outline.points.max(axis=0)
            if min(left, top) < -1 or right > columns or bottom > rows:
                where = f"{what}, reader {mark.reader}, mark '{mark.name[:64]}', z {outline.z_mm:g} mm"
                found = f"x {left} to {right}, y {top} to {bottom}"
                raise ScanError(describe(where, f"points in an image of {columns} x {rows} pixels", found))


def masks_of(
    reading: Reading, slices: Mapping[str, float], order: Sequence[str], shape: tuple[int, int, int], options: LidcData
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, str], tuple[str, ...]]:
    """The masks of the nodules, the label of each, and notes.

    Args:
        reading: the readers' marks.
        slices: SOP UID → z in mm (NaN where unknown) of the slices that are here.
        order: the SOP UID of each slice of the array.
        shape: (z, y, x) of the array.
        options: the level of consensus and what is left out.

    Returns:
        ``nodule-<k>`` and, where needed, :data:`EXCLUDED`; numbers are those of the nodules in the file, so one without
        a mask leaves a gap.

    Raises:
        ScanError: more nodules than there is memory for their masks.
    """
    masks: dict[str, NDArray[np.uint8]] = {}
    labels, notes, excluded = dict[str, str](), list[str](), list[dict[str, Pixels]]()
    nodules = cluster([mark for mark in reading.marks if mark.kind == "nodule"])
    if len(nodules) * math.prod(shape) > MOST_DECODED_BYTES:
        found = f"{len(nodules)} nodules in {' × '.join(map(str, shape))}"
        what = f"{options.path}, readers' XML of series …{reading.series_uid[-12:]}"
        raise ScanError(describe(what, f"masks of at most {MOST_DECODED_BYTES:,} voxels in all", found))
    for number, nodule in enumerate(nodules, 1):
        name, label = f"nodule-{number}", label_of(malignancy(nodule))
        voters = len(nodule.readers) if options.consensus_of == "marking" else reading.sessions
        agreed = _here(consensus(nodule, options.consensus, voters), slices)
        outlined = _here(consensus(nodule, 1, 1), slices)  # by any reader
        note = f"{name}: {label}, {_ratings(nodule)} ({_count(len(nodule.readers), 'reader')} of {reading.sessions})"
        drawn = {outline.sop_uid for mark in nodule.marks for outline in mark.outlines}
        here = len(drawn & slices.keys())
        if here < len(drawn):
            note += f"; outlined on {_count(len(drawn), 'slice')}, {here or 'none'} of them here"
        if not outlined:
            note += ": no mask"
        elif reason := _why_dropped(nodule, label, bool(agreed), options):
            note += f"; {reason}: in the mask '{EXCLUDED}'"
            excluded.append(outlined)
        else:
            masks[name], labels[name] = filled([agreed], order, shape), label
            disputed = {uid: pixels for uid, pixels in outlined.items() if uid not in agreed}
            if disputed:
                note += f"; too few readers agree on {_count(len(disputed), 'slice')}: in the mask '{EXCLUDED}'"
                excluded.append(disputed)
        notes.append(note)
    if excluded:
        masks[EXCLUDED] = filled(excluded, order, shape)
    return masks, labels, (*notes, *_marks_without(reading, nodules), *_slices_without(reading, slices))


def _here(pixels: Mapping[str, Pixels], slices: Mapping[str, float]) -> dict[str, Pixels]:
    return {uid: inside for uid, inside in pixels.items() if uid in slices}


def _why_dropped(nodule: Nodule, label: str, agreed: bool, options: LidcData) -> str:
    """Why a nodule has no mask of its own; an empty text where it has one."""
    if len(nodule.readers) < options.min_readers:
        return f"fewer than {options.min_readers} readers"
    if label == "indeterminate" and options.indeterminate == "drop":
        return "dropped"
    return "" if agreed else "no voxel here that enough readers agree on"


def _ratings(nodule: Nodule) -> str:
    ratings = malignancy(nodule)
    said = "malignancy " + ", ".join(f"{rating:g}" for rating in ratings) if ratings else "malignancy not rated"
    twice = len(nodule.marks) - len(nodule.readers)
    return f"{said}, {len(nodule.marks)} marks" if twice else said


def _marks_without(reading: Reading, nodules: Sequence[Nodule]) -> tuple[str, ...]:
    """What was marked and is no nodule from 3 mm with an inside."""
    kinds = [mark.kind for mark in reading.marks]
    notes = []
    if reading.sessions != SESSIONS:
        notes.append(f"the XML has {_count(reading.sessions, 'reading session')} instead of {SESSIONS}")
    if not nodules:
        notes.append("no reader outlined a nodule from 3 mm: no mask")
    empty = kinds.count("nodule") - sum(len(nodule.marks) for nodule in nodules)
    if empty:
        notes.append(f"{_count(empty, 'mark')} of nodules from 3 mm enclose no pixel: no mask")
    small, other = kinds.count("small-nodule"), kinds.count("non-nodule")
    if small or other:
        notes.append(f"marked by a point only, without a mask: {small} nodules below 3 mm, {other} non-nodules")
    return tuple(notes)


def _slices_without(reading: Reading, slices: Mapping[str, float]) -> tuple[str, ...]:
    """Marks on slices that are not here, and marks that say another height than their slice."""
    notes = []
    outlines = [outline for mark in reading.marks if mark.kind == "nodule" for outline in mark.outlines]
    points = [outline for mark in reading.marks if mark.kind != "nodule" for outline in mark.outlines]
    absent = [[outline for outline in group if outline.sop_uid not in slices] for group in (outlines, points)]
    heights = _heights(absent[0] + absent[1])
    if heights:
        notes.append(
            f"{len(absent[0])} of {len(outlines)} outlines and {len(absent[1])} of {len(points)} points lie on "
            f"{_count(len(heights), 'slice')} not here: z {_listed(heights.values())} mm"
        )
    wrong = [
        f"{outline.z_mm:g} instead of {slices[outline.sop_uid]:g} mm"
        for outline in outlines + points
        if outline.sop_uid in slices and abs(outline.z_mm - slices[outline.sop_uid]) > _Z_TOLERANCE_MM
    ]
    if wrong:
        notes.append(f"{_count(len(wrong), 'mark')} at another z than the slice that it names: {wrong[0]}, …")
    return tuple(notes)


def _heights(outlines: Iterable[Outline]) -> dict[str, float]:
    return {outline.sop_uid: outline.z_mm for outline in outlines}


def _listed(heights: Iterable[float]) -> str:
    ordered = sorted(heights)
    return ", ".join(f"{z:g}" for z in ordered[:_MOST_HEIGHTS]) + (", …" if len(ordered) > _MOST_HEIGHTS else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
