"""A series → its volume in real units, with its grid and what is not measured in it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.records import Grid, SourceFile
from synthoma.scans import dicom_geometry as geometry
from synthoma.scans.dicom_geometry import GeometryRule, Plane
from synthoma.scans.dicom_groups import group_of, plane_of
from synthoma.scans.dicom_header import Instance
from synthoma.scans.dicom_parse import guarded, parse_whole, words
from synthoma.scans.dicom_pixels import MOST_DECODED_BYTES, OUTSIDE_HU, Values, decode, outside_circle, values_of
from synthoma.scans.dicom_resample import Resampling, plan, resample
from synthoma.scans.dicom_series import Series

__all__ = ["DicomVolume", "read_series"]

_LOSSY = {f"1.2.840.10008.1.2.4.{end}" for end in ("50", "51", "53", "55", "81")}
"""Transfer syntaxes that cannot be lossless; JPEG 2000 (.91) and HTJ2K (.203) may be and say so in the header."""


_TRACE = 1e-6
"""Share of padding in an interpolated voxel from which on it is no measurement."""


@dataclass(frozen=True)
class DicomVolume:
    """The content of one series."""

    array: NDArray[np.float32]
    """(z, y, x) in ``unit``; z along increasing position on the normal (rows × columns)."""
    grid: Grid
    sop_uids: tuple[str, ...]
    """Of the file of each slice; empty where the slice was interpolated."""
    frames: tuple[int, ...]
    """Number of each slice in its file, from 1; 0 where the slice was interpolated."""
    positions: tuple[tuple[float, float, float], ...]
    """Of the centre of each slice's first voxel, LPS mm."""
    outside: NDArray[np.bool_]
    """(z, y, x) where nothing was measured: padding outside the scan circle, and what resampling found no slice for.
    In CT those voxels are :data:`~synthoma.scans.dicom_pixels.OUTSIDE_HU`."""
    unit: Literal["HU", "arbitrary"]
    modality: str
    sources: tuple[SourceFile, ...]
    notes: tuple[str, ...] = ()
    resampling: Resampling | None = None
    """How the slices became the grid, to do the same to their masks; ``None`` where they lie on it."""
    source_uids: tuple[tuple[str, int], ...] = field(default=())
    """SOP UID and frame number of each slice before resampling, in order; what ``resampling`` applies to."""


@dataclass(frozen=True)
class _Content:
    """One file."""

    planes: list[Plane]
    values: list[Values]
    stored: NDArray[Any]
    """(frames, rows, columns)"""
    source: SourceFile
    notes: tuple[str, ...]
    ratio: float | None
    """Of a lossy compression, where the header tells it."""


@dataclass(frozen=True)
class _Stack:
    """All slices in one order."""

    planes: list[Plane]
    array: NDArray[np.float32]
    outside: NDArray[np.bool_]

    def chosen(self, order: list[int]) -> _Stack:
        if order == list(range(len(self.planes))):
            return self
        return _Stack([self.planes[i] for i in order], self.array[order], self.outside[order])


def read_series(series: Series, rule: GeometryRule, root: Path | None = None) -> DicomVolume:
    """The volume of a series; each file is read once.

    Args:
        root: the folder that ``sources`` are named from; without it their whole paths stand there.

    Raises:
        ScanError: a damaged file; segmentation instead of images; slices that make up no even grid and the rule is
            ``refuse``, with the figures; several sizes or orientations.
        MissingPartError: the decoder of this compression is not installed.
    """
    what = series.what
    if series.segmentation:
        raise ScanError(describe(what, "images", "a segmentation"))
    if series.mixed and rule.mixed == "refuse":
        remedy = "Take the series apart with data.geometry.mixed=split."
        raise ScanError(describe(what, "slices of one size and orientation", series.mixed, remedy))
    contents: list[_Content] = []
    stack = _stack(series, contents, root)
    hounsfield = all(values.hounsfield for content in contents for values in content.values)
    geometry.check_directions(stack.planes, what)
    order, notes = geometry.in_order(stack.planes, what)
    stack = stack.chosen(order)
    places, dropped = geometry.without_duplicates(
        stack.planes, lambda i, j: np.array_equal(stack.array[i], stack.array[j]), rule, what
    )
    stack = stack.chosen(places)
    planes = stack.planes
    return _placed(
        DicomVolume(
            array=stack.array,
            grid=geometry.lps_grid(stack.array.shape, planes[0], _stated_step(planes), known=False),
            sop_uids=tuple(plane.sop_uid for plane in planes),
            frames=tuple(plane.frame for plane in planes),
            positions=tuple(plane.position for plane in planes if plane.position is not None),
            outside=stack.outside,
            unit="HU" if hounsfield else "arbitrary",
            modality=series.modality,
            sources=tuple(content.source for content in contents),
            notes=(*series.notes, *_said(contents), *notes, *dropped, *_outside_note(stack.outside, hounsfield)),
            source_uids=tuple((plane.sop_uid, plane.frame) for plane in planes),
        ),
        planes,
        rule,
        what,
    )


def _stack(series: Series, contents: list[_Content], root: Path | None) -> _Stack:
    """All slices as they are read; ``contents`` receives what else the files hold, without their pixels.

    The arrays are allocated when the first file has shown that its pixels are there.
    """
    first = series.instances[0]
    shape = (series.slices, first.rows, first.columns)
    if 4 * shape[0] * shape[1] * shape[2] > MOST_DECODED_BYTES:
        found = " × ".join(map(str, shape))
        raise ScanError(describe(series.what, f"at most {MOST_DECODED_BYTES:,} bytes of voxels", found))
    array, outside = np.empty((0, 0, 0), np.float32), np.empty((0, 0, 0), np.bool_)
    at = 0
    for instance in _by_position(series):
        content = _content(instance, root)
        if content.stored.shape != (instance.frames, *shape[1:]):
            found = " × ".join(map(str, content.stored.shape))
            raise ScanError(describe(instance.file.where, f"{instance.frames} × {shape[1]} × {shape[2]}", found))
        if not contents:
            array, outside = np.empty(shape, np.float32), np.empty(shape, np.bool_)
        for stored, values in zip(content.stored, content.values, strict=True):
            array[at] = values.real(stored)
            outside[at] = outside_circle(stored, array[at], values)
            if values.hounsfield:
                array[at][outside[at]] = OUTSIDE_HU
            at += 1
        contents.append(replace(content, stored=np.empty(0)))
    return _Stack([plane for content in contents for plane in content.planes], array, outside)


def _by_position(series: Series) -> list[Instance]:
    """The files in the order that their slices will lie in, as a rule, so that nothing need be moved afterwards."""
    first = series.instances[0].orientation
    if first is None or any(instance.position is None for instance in series.instances):
        return list(series.instances)
    normal = geometry.axes(first)[0]
    return sorted(series.instances, key=lambda instance: float(normal @ np.asarray(instance.position)))


def _content(instance: Instance, root: Path | None) -> _Content:
    where = instance.file.where
    data = instance.file.read()
    name = where.as_posix() if root is None else instance.file.name(root)
    source = SourceFile(name, hashlib.sha256(data).hexdigest())
    with guarded(where):
        dataset = parse_whole(data, where)
        stored = decode(dataset, where)
        groups = [group_of(dataset, frame) for frame in range(len(stored))]
        found = [values_of(dataset, group, where) for group in groups]
        planes = [plane_of(dataset, group, instance, frame) for frame, group in enumerate(groups, start=1)]
        lossy = "".join(words(dataset, "LossyImageCompression")) == "01" or instance.transfer_syntax in _LOSSY
        ratios = words(dataset, "LossyImageCompressionRatio")
        ratio = float(ratios[-1]) if lossy and ratios and ratios[-1] else None
        notes = {note: None for _, notes in found for note in notes}
    return _Content(
        planes=planes,
        values=[values for values, _ in found],
        stored=stored,
        source=source,
        notes=(*notes, *(("lossy compression",) if lossy else ())),
        ratio=ratio,
    )


def _placed(volume: DicomVolume, planes: list[Plane], rule: GeometryRule, what: Path) -> DicomVolume:
    """``volume`` on the grid that its slices make up, or resampled onto an even one."""
    placed = geometry.positions(planes)
    if placed is None:
        return volume
    if len(planes) == 1:
        note = f"a single slice: its thickness of {_stated_step(planes):g} mm is what the header says"
        grid = geometry.lps_grid(volume.array.shape, planes[0], _stated_step(planes))
        return replace(volume, grid=grid, notes=(*volume.notes, note))
    fault = geometry.irregularity(placed, rule.tolerance_mm)
    if not fault:
        step = float(placed[-1, 0] - placed[0, 0]) / (len(planes) - 1)
        return replace(volume, grid=geometry.lps_grid(volume.array.shape, planes[0], step))
    if rule.irregular == "refuse":
        remedy = (
            "Make it an even grid with data.geometry.irregular=resample, or take the slices as they are with "
            "data.geometry.irregular=keep."
        )
        raise ScanError(describe(what, "evenly spaced slices at right angles", fault, remedy))
    if rule.irregular == "keep":
        step = float(np.median(np.diff(placed[:, 0])))
        note = f"slices kept as they are, as if they lay {step:.2f} mm apart: {fault}"
        grid = geometry.lps_grid(volume.array.shape, planes[0], step)
        return replace(volume, grid=grid, notes=(*volume.notes, note))
    return _resampled(volume, planes, placed, fault, rule, what)


def _resampled(
    volume: DicomVolume, planes: list[Plane], placed: geometry.Array, fault: str, rule: GeometryRule, what: Path
) -> DicomVolume:
    spacing = planes[0].spacing_mm or (1.0, 1.0)
    how = plan(placed, spacing, volume.array.shape[1:], rule, what)
    fill = OUTSIDE_HU if volume.unit == "HU" else float(volume.array.min())
    array = resample(volume.array, how, fill)
    outside = resample(volume.outside.astype(np.float32), how, 1.0) > _TRACE
    array[outside] = fill
    directions = geometry.axes(planes[0].orientation or ())
    step = float(how.targets_mm[1] - how.targets_mm[0]) if len(how.targets_mm) > 1 else _stated_step(planes)
    corner = np.asarray(planes[0].position) + np.asarray(how.corner) * spacing @ directions[1:]
    starts = corner + how.targets_mm[:, None] * directions[0]
    kept = [how.kept(index) for index in range(len(how.targets_mm))]
    note = f"resampled onto {len(array)} slices {step:.2f} mm apart: {fault}"
    lost = how.along_mm[-1] - (how.targets_mm[-1] - how.targets_mm[0])
    return replace(
        volume,
        array=array,
        outside=outside,
        grid=geometry.lps_grid(array.shape, planes[0], step, starts[0]),
        sop_uids=tuple("" if i is None else planes[i].sop_uid for i in kept),
        frames=tuple(0 if i is None else planes[i].frame for i in kept),
        positions=tuple((float(x), float(y), float(z)) for x, y, z in starts),
        notes=(*volume.notes, note + (f"; {lost:.2f} mm at the ends are not covered" if lost > 0.01 else "")),
        resampling=how,
    )


def _stated_step(planes: list[Plane]) -> float:
    return next((plane.thickness_mm for plane in planes if plane.thickness_mm), 1.0)


def _outside_note(outside: NDArray[np.bool_], hounsfield: bool) -> list[str]:
    share = float(outside.mean())
    done = f", set to {OUTSIDE_HU:g} HU" if hounsfield else ""
    return [f"{share:.1%} of the voxels lie outside the scan circle{done}"] if share else []


def _said(contents: list[_Content]) -> list[str]:
    """The notes of the files, each once, with the number of files where it is not of all."""
    counts = Counter(note for content in contents for note in content.notes)
    ratios = sorted(content.ratio for content in contents if content.ratio is not None)
    said = []
    for note, count in counts.items():
        if note == "lossy compression" and ratios:
            note += f" (ratio {ratios[0]:.3g}" + (f" to {ratios[-1]:.3g})" if ratios[-1] > ratios[0] else ")")
        said.append(note + ("" if count == len(contents) else f" in {count} of {len(contents)} files"))
    return said
