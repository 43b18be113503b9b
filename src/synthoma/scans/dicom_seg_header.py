"""What the header of a DICOM segmentation object (SEG) tells: its segments, and which images it was drawn on."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synthoma.scans.anatomy import is_organ, names_lesion, plain_name
from synthoma.scans.dicom_header import Vector, plane
from synthoma.scans.dicom_parse import guarded, parse
from synthoma.scans.dicom_seg_places import group_of
from synthoma.scans.dicom_series import Series
from synthoma.scans.tree import File

__all__ = ["Described", "SegHeader", "described_in", "drawn_on", "frames_in", "images_of", "read_header", "series_of"]

_ABNORMAL = {"49755003", "M-01000"}
"""Morphologically abnormal structure, in SNOMED CT and in the older SRT: the category of lesions (PS3.16 CID 7150)."""
_SAME_DIRECTION, _SAME_PLACE_MM = 1e-3, 0.1  # positions are rounded


@dataclass(frozen=True)
class Described:
    """One segment as the header describes it."""

    number: int
    label: str
    """:func:`~synthoma.scans.anatomy.plain_name` of its label, of its coded type where there is none."""
    name: str
    """The label; equal ones of a file are numbered from 1."""
    meaning: str
    """Of its coded type (``Mass``, ``Liver``), as a plain name."""
    lesion: bool
    """By the coded category, or, where that does not say so, by its names."""


@dataclass(frozen=True)
class SegHeader:
    """One segmentation without its pixels."""

    series: tuple[str, ...]
    """UIDs of the series that it says it was drawn on."""
    images: frozenset[str]
    """UIDs of the images that it names."""
    segments: tuple[Described, ...]
    """In the order of the file; the background of a label map is none."""
    places: tuple[Vector, ...]
    """Of the frames' first pixels, LPS mm; looked for only where it names no image."""
    orientation: tuple[float, ...] | None
    """Of the first frame; likewise."""


def read_header(file: File) -> SegHeader:
    """The header of a segmentation.

    Raises:
        ScanError: a file that cannot be read.
    """
    from pydicom import dcmread

    data = file.read()
    with guarded(file.where):
        parse(data, file.where)  # refuses what grows without bound when inflated
        dataset = dcmread(io.BytesIO(data), stop_before_pixels=True)
        images = frozenset(images_of(dataset))
        described = 0 if images else len(dataset.get("PerFrameFunctionalGroupsSequence") or ())
        frames = [_place(dataset, frame) for frame in range(described)]
        return SegHeader(
            series=series_of(dataset),
            images=images,
            segments=described_in(dataset),
            places=tuple(position for position, _ in frames if position is not None),
            orientation=next((direction for _, direction in frames if direction is not None), None),
        )


def drawn_on(header: SegHeader, study_uid: str, candidates: Sequence[Series]) -> tuple[Series, ...]:
    """The series of ``candidates`` that a segmentation was drawn on: that of which it names most images.

    One that names no image at all lies on the series of its own study whose slices are at its places, of which there
    may be several; empty where there is none.
    """
    if header.images:
        fits = [sum(one.sop_uid in header.images for one in series.instances) for series in candidates]
    else:
        fits = [_lying_on(header, series) if series.study_uid == study_uid else 0 for series in candidates]
    best = max(fits, default=0)
    found = tuple(series for series, fit in zip(candidates, fits, strict=True) if fit == best > 0)
    return found[:1] if header.images else found


def frames_in(seg: Any) -> int:
    """The number of frames that a data set states; 1 where it states none."""
    return int(seg.get("NumberOfFrames") or 1)


def series_of(dataset: Any) -> tuple[str, ...]:
    """UIDs of the series that a segmentation says it was drawn on."""
    return tuple(str(item.SeriesInstanceUID) for item in dataset.get("ReferencedSeriesSequence") or ())


def images_of(dataset: Any) -> Iterator[str]:
    """UIDs of the images that a segmentation names, as a whole or frame by frame."""
    for item in dataset.get("ReferencedSeriesSequence") or ():
        for image in item.get("ReferencedInstanceSequence") or ():
            yield str(image.ReferencedSOPInstanceUID)
    for frame in dataset.get("PerFrameFunctionalGroupsSequence") or ():
        for derivation in frame.get("DerivationImageSequence") or ():
            for image in derivation.get("SourceImageSequence") or ():
                yield str(image.ReferencedSOPInstanceUID)


def described_in(dataset: Any) -> tuple[Described, ...]:
    """The segments of a segmentation, from 1 on: a label map may describe its background as number 0."""
    found = []
    for item in dataset.get("SegmentSequence") or ():
        number = int(item.SegmentNumber)
        if number < 1:
            continue
        types, categories = (item.get(f"SegmentedProperty{kind}CodeSequence") or () for kind in ("Type", "Category"))
        meaning = plain_name(str(types[0].get("CodeMeaning", ""))) if types else ""
        label = plain_name(str(item.get("SegmentLabel") or "")) or meaning or "segment"
        codes = {str(code.get("CodeValue", "")) for code in categories}
        lesion = bool(codes & _ABNORMAL) or names_lesion(label) or names_lesion(meaning)
        lesion = lesion or not (categories or is_organ(label) or is_organ(meaning))
        found.append(Described(number, label, label, meaning, lesion))
    names = numbered([one.label for one in found])
    return tuple(replace(one, name=name) for one, name in zip(found, names, strict=True))


def numbered(labels: Sequence[str]) -> list[str]:
    """The labels, equal ones with a number: ``mass-1``, ``mass-2``; none that another label is."""
    counts = Counter(labels)
    taken = {label for label, count in counts.items() if count == 1}
    names = []
    for label in labels:
        name, number = label, 0
        while counts[label] > 1 and (name == label or name in taken):
            number += 1
            name = f"{label}-{number}"
        taken.add(name)
        names.append(name)
    return names


def _place(dataset: Any, frame: int) -> tuple[Vector | None, tuple[float, ...] | None]:
    position, orientation = (group_of(dataset, frame, name) for name in ("PlanePosition", "PlaneOrientation"))
    return (
        None if position is None else plane(position)[0],
        None if orientation is None else plane(orientation)[1],
    )


def _lying_on(header: SegHeader, series: Series) -> int:
    """How many frames of a segmentation have the place of a slice, as far as headers tell."""
    first = series.instances[0].orientation
    slices = np.array([one.position for one in series.instances if one.position is not None]).reshape(-1, 3)
    if first is None or header.orientation is None or not len(slices):
        return 0
    if max(abs(a - b) for a, b in zip(first, header.orientation, strict=True)) > _SAME_DIRECTION:
        return 0
    return sum(float(np.abs(slices - np.array(place)).max(axis=1).min()) <= _SAME_PLACE_MM for place in header.places)
