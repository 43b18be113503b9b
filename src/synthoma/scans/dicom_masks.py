"""Masks of a scan out of the segmentation objects (SEG) that were drawn on its series.

A segmentation belongs to the series whose images it names; one that names none, to the series at its place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, SettingError, describe, did_you_mean
from synthoma.records import BODY, SourceFile, part_of
from synthoma.scans.anatomy import plain_name
from synthoma.scans.case import Case, LeftOut, shown
from synthoma.scans.dicom_mask_options import MaskOptions, fits, healthy
from synthoma.scans.dicom_seg import Segment, read_segments
from synthoma.scans.dicom_seg_header import SegHeader, drawn_on, numbered, read_header
from synthoma.scans.dicom_series import Series
from synthoma.scans.dicom_volume import DicomVolume

__all__ = ["Drawn", "Segmentation", "masks_of", "read_drawn", "segmentations", "with_masks"]

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Segmentation:
    """One segmentation object that was found."""

    name: str
    """Of its file below the folder."""
    series: Series
    """Its own series, with this object alone."""
    header: SegHeader


def segmentations(series: Sequence[Series], root: Path, left_out: list[LeftOut]) -> list[Segmentation]:
    """All segmentation objects among ``series``, by their headers; what cannot be read goes to ``left_out``."""
    found = []
    for one in series:
        for instance in one.instances if one.segmentation else ():
            name = instance.file.name(root)
            try:
                header = read_header(instance.file)
            except ScanError as error:
                left_out.append(LeftOut(name, str(error).splitlines()[0].removeprefix(f"{instance.file.where}: ")))
                continue
            found.append(Segmentation(name, replace(one, instances=(instance,)), header))
    return found


def with_masks(
    cases: Sequence[Case],
    found: Sequence[Segmentation],
    images: Sequence[Series],
    options: MaskOptions,
    root: Path,
    left_out: list[LeftOut],
    remedy: str = "",
) -> list[Case]:
    """``cases`` with the segmentations that were drawn on their series; the others go to ``left_out``.

    Args:
        images: every series of images, those that are in no case too.
        remedy: what to do about a segmentation of one that is in no case.

    Raises:
        ScanError: a mask of the settings of which no file has a segment.
        SettingError: an organ that no mask is called.
    """
    owners = {id(series): number for number, case in enumerate(cases) for series in case.series.values()}
    drawn: dict[int, list[Segmentation]] = {}
    for one in found:
        if not options.segmentations.read:
            left_out.append(LeftOut(one.name, "a segmentation, which data.segmentations.read=false passes by"))
            continue
        if not re.search(options.segmentations.description, one.series.description, re.IGNORECASE):
            left_out.append(LeftOut(one.name, "a segmentation that data.segmentations.description does not fit"))
            continue
        fitting = drawn_on(one.header, one.series.study_uid, images)
        holders = {owners[id(series)] for series in fitting if id(series) in owners}
        if len(holders) == 1:
            drawn.setdefault(holders.pop(), []).append(one)
        else:
            left_out.append(LeftOut(one.name, *_why_not(one, fitting, len(holders), root, remedy)))
    _check_names(drawn, options, root)
    kept = []
    for number, case in enumerate(cases):
        own = sorted(drawn.get(number, ()), key=lambda one: one.name)
        if len(own) > 1 and options.segmentations.several == "refuse":
            names = ", ".join(one.name for one in own[:3]) + (", …" if len(own) > 3 else "")
            remedy = "Choose one by data.segmentations.description, or set data.segmentations.several=join."
            left_out.append(LeftOut(own[0].name, f"{len(own)} segmentations of one scan: {names}", remedy))
        else:
            kept.append(_drawn_case(case, own, options) if own else case)
    return kept


def _why_not(one: Segmentation, fitting: Sequence[Series], holders: int, root: Path, remedy: str) -> tuple[str, str]:
    if holders:
        reason = f"a segmentation that names no image and lies on {holders} series of its study"
        return reason, "Make them the channels of one scan: data.channels."
    if fitting:
        first = fitting[0].instances[0].file.name(root)
        return f"a segmentation of the series of {first}, which is in no scan", remedy
    if one.header.images:
        which = f" (…{one.header.series[0][-12:]})" if one.header.series else ""
        return f"a segmentation of a series that is not here{which}", "Put the series that it names into the folder."
    return "a segmentation that names no image and lies on no series of its study", ""


def _check_names(drawn: Mapping[int, Sequence[Segmentation]], options: MaskOptions, root: Path) -> None:
    """Refuse masks and organs that no segmentation can give: slips of the pen would make patients tumour-free."""
    described = [segment for own in drawn.values() for one in own for segment in one.header.segments]
    labels = dict.fromkeys(segment.label for segment in described)
    for name, wanted in options.masks.items():
        if drawn and not any(fits(segment, wanted) for segment in described):
            expected = f"a segment {' or '.join(map(str, wanted))} for data.masks.{name}"
            words = next((word for word in wanted if isinstance(word, str)), "")
            raise ScanError(
                describe(
                    root, expected, shown(", ".join(labels) or "none", 200), did_you_mean(plain_name(words), labels)
                )
            )
    names = tuple(options.masks) or tuple({part_of(label): None for label in labels} | labels)
    for name in options.organs or ():
        if drawn and name not in names:
            raise SettingError(describe("data.organs", "names of masks", f"'{name}'", did_you_mean(name, names)))


def _drawn_case(case: Case, own: Sequence[Segmentation], options: MaskOptions) -> Case:
    roles = {f"seg {number}": one.series for number, one in enumerate(own, start=1)}
    if options.masks:
        lesions = [name for name in options.masks if not healthy(name, None, options)]
    else:
        segments = [segment for one in own for segment in one.header.segments]
        names = numbered([segment.label for segment in segments])
        pairs = zip(names, segments, strict=True)
        lesions = [part_of(name) for name, segment in pairs if not healthy(name, segment, options)]
    return replace(
        case,
        files={**case.files, **{role: one.instances[0].file.path for role, one in roles.items()}},
        series={**case.series, **roles},
        notes=(),
        lesions=tuple(dict.fromkeys(lesions)),
    )


@dataclass(frozen=True)
class Drawn:
    """A segment that was read: of which file, on the grid of which channel."""

    file: str
    channel: str
    segment: Segment


def read_drawn(
    case: Case, volumes: Mapping[str, DicomVolume], options: MaskOptions, root: Path
) -> tuple[list[Drawn], tuple[SourceFile, ...], tuple[str, ...]]:
    """The segments of a case that are wanted, each on the grid of the channel that it was drawn on; files and notes.

    Args:
        volumes: channel → its series as read.

    Raises:
        ScanError: what :func:`~synthoma.scans.dicom_seg.read_segments` raises.
        MissingPartError: likewise.
    """
    drawn: list[Drawn] = []
    sources, notes = [], []
    candidates = [case.series[name] for name in volumes]
    for series in (series for series in case.series.values() if series.segmentation):
        file = series.instances[0].file
        name = file.name(root)
        fitting: Sequence[Series] = candidates
        if len(candidates) > 1:
            fitting = drawn_on(read_header(file), series.study_uid, candidates) or candidates
        channel = next(channel for channel in volumes if case.series[channel] is fitting[0])
        segments, said = read_segments(file, volumes[channel], case.series[channel].uid)
        sources.append(SourceFile(name, hashlib.sha256(file.read()).hexdigest()))
        notes += [f"{name}: {note}" for note in said]
        passed = []
        for one in segments:
            if options.masks and not any(fits(one, wanted) for wanted in options.masks.values()):
                passed.append(one.name)
            else:
                drawn.append(Drawn(name, channel, one))
        if passed:
            notes.append(f"{name}: segments that are not read: {', '.join(passed)}")
    return drawn, tuple(sources), tuple(notes)


def masks_of(
    drawn: Sequence[Drawn], files: Sequence[str], shape: tuple[int, int, int], options: MaskOptions
) -> tuple[dict[str, Mask], tuple[str, ...], tuple[str, ...]]:
    """Mask → (z, y, x) of 0 and 1, the names of those that are organs, and notes.

    Segments that overlap are each whole. A lesion of the settings that no segment is of is empty: it was looked for.

    Args:
        drawn: the segments, all on one grid.
        files: the segmentations that they are from, for the notes.
        shape: of that grid.
    """
    notes = []
    of = ", ".join(files)
    masks: dict[str, Mask] = {}
    organs: list[str] = []
    if options.masks:
        for name, wanted in options.masks.items():
            parts = [one.segment.mask for one in drawn if fits(one.segment, wanted)]
            if healthy(name, None, options):
                organs.append(name)
            if parts:
                masks[name] = np.bitwise_or.reduce(parts)
                continue
            lesion = name not in organs
            if lesion:
                masks[name] = np.zeros(shape, np.uint8)
            end = "is empty" if lesion else "is not there"
            notes.append(f"{of}: no segment {' or '.join(map(str, wanted))}: mask {name} {end}")
    else:
        for name, one in zip(numbered([one.segment.label for one in drawn]), drawn, strict=True):
            masks[name] = one.segment.mask
            if healthy(name, one.segment, options):
                organs.append(name)
    lesions = [name for name in masks if name not in organs]
    if not lesions:
        found = ", ".join(masks) or "none at all"
        notes.append(f"{of}: no segment of a lesion by codes and labels ({found}); data.masks says it otherwise")
    notes += _overlaps(of, {name: masks[name] for name in lesions})
    return masks, tuple(name for name in organs if name in masks and name != BODY), tuple(notes)


def _overlaps(of: str, lesions: Mapping[str, Mask]) -> Iterator[str]:
    holders = np.zeros(next(iter(lesions.values()), np.zeros(0)).shape, np.uint8)
    for mask in lesions.values():
        holders[mask > 0] += holders[mask > 0] < 2
    several = holders > 1
    if several.any():
        names = ", ".join(name for name, mask in lesions.items() if mask[several].any())
        yield f"{of}: {int(several.sum())} voxels are of several lesions, of each of them: {names}"
