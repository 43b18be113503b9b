"""What quality control keeps of one case: small pictures, histograms and a few numbers, before and after preparation.

Made where the scan is (in a worker), so that no volume travels; everything of a case fits in some 300 kB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from synthoma.preprocessing.background import background
from synthoma.records import BODY, Grid, Samples, Scan
from synthoma.report.qc_thumbnails import (
    AS_STORED,
    SIDE,
    Stored,
    Thumbnail,
    plane,
    thumbnail,
    upright,
    viewing_order,
)

__all__ = ["CaseQuality", "Histogram", "Look", "Rejected", "centre_mm", "compare", "look_at", "look_from", "look_parts"]

Array = NDArray[Any]

MOST_CHANNELS = 4
"""So many channels are shown, the first."""
BINS = 64
VOXELS = 150_000
"""About so many voxels of a volume make a histogram."""
ENDS = (0.5, 99.5)
"""Percentiles between which a scan's values are shown."""


@dataclass(frozen=True)
class Rejected:
    """A case that gave no sample, or a folder that is none."""

    name: str
    file: str
    """Relative to the folder of the data; empty where it is not one file."""
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Histogram:
    """Counts of values in :data:`BINS` equal bins from ``low`` to ``high``."""

    low: float
    high: float
    counts: Stored


@dataclass(frozen=True)
class Look:
    """A scan at one stage."""

    grid: Grid
    thumbnails: Mapping[str, Thumbnail]
    """By channel."""
    histograms: Mapping[str, Histogram]
    """By channel, over what is not background."""
    ranges: Mapping[str, tuple[float, float]]
    """Channel → the values at the percentiles :data:`ENDS`."""
    plane: str
    """Which plane the thumbnails show: ``slice 41 of 155``."""
    point_mm: tuple[float, float, float]
    """World position of the middle of that plane; the prepared scan is shown at the same place."""
    lesion_mm3: float
    """Volume of the lesion; in voxels as read where the geometry is not known."""
    upright: Thumbnail | None = None
    """The middle coronal plane, feet below, of the first channel; ``None`` where the geometry is not known."""


@dataclass(frozen=True)
class CaseQuality:
    """A prepared case for the page."""

    name: str
    modality: str
    before: Look
    after: Look
    cut: Mapping[str, Thumbnail]
    """By channel, the sample with the most lesion; empty where samples are whole slices or the whole scan."""
    samples: int
    labels: Mapping[str, int]
    """Class → how many of the samples."""
    numbers: Mapping[str, float]
    """What one case is compared with the others by; those that cannot be measured are absent."""
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def look_at(scan: Scan, point_mm: tuple[float, float, float] | None = None, *, axis: str = "axial") -> Look:
    """Look at a scan as it was read, or (``point_mm``) once prepared, at the place that was shown of it before.

    Shown is the plane with the most lesion, or the middle one: as read the nearest to ``axis`` (``axial``, ``coronal``,
    ``sagittal``), turned as radiologists look; prepared the plane of the first axis, as the cohort stores it.
    """
    lesion = _union(scan)
    prepared = point_mm is not None
    flipped = scan.grid.known and not prepared
    order = viewing_order(scan.grid, axis) if flipped else AS_STORED
    index, point = plane(scan.grid, order[0][0], lesion, point_mm)
    names = list(scan.channels)[:MOST_CHANNELS]
    ranges, histograms, thumbnails = {}, {}, {}
    for name, channel in scan.channels.items():
        values = _content(scan, channel, prepared=prepared)
        low, high = (-1.0, 1.0) if prepared else (float(v) for v in np.percentile(values, ENDS))
        ranges[name] = (low, high)
        histograms[name] = _histogram(values, low, high)
        if name in names:
            thumbnails[name] = thumbnail(channel, lesion, scan.grid, order, index, (low, high), SIDE)
    number, count = index + 1, scan.grid.shape[order[0][0]]
    return Look(
        grid=scan.grid,
        thumbnails=thumbnails,
        histograms=histograms,
        ranges=ranges,
        plane=f"slice {number} of {count}" if count > 1 else "",
        point_mm=point,
        lesion_mm3=float(np.count_nonzero(lesion)) * float(np.prod(scan.grid.spacing_mm)),
        upright=upright(scan.channels[names[0]], lesion, scan.grid, ranges[names[0]]) if flipped else None,
    )


def look_parts(look: Look) -> dict[str, Any]:
    """A look as content for JSON."""
    content: dict[str, Any] = TypeAdapter(Look).dump_python(look, mode="json")
    return content


def look_from(content: Any) -> Look:
    """Back from :func:`look_parts`."""
    return TypeAdapter(Look).validate_python(content)


def compare(name: str, before: Look, scan: Scan, samples: Samples) -> CaseQuality:
    """A prepared scan beside what it was as read."""
    after = look_at(scan, before.point_mm)
    numbers = {
        "intensity_range": float(np.mean([np.log10(max(high - low, 1e-6)) for low, high in before.ranges.values()])),
        "clipped_share": max(_clipped(scan, channel) for channel in scan.channels.values()),
    }
    if before.grid.known:
        numbers["voxel_mm"] = max(before.grid.spacing_mm)
        numbers["height_mm"] = float(centre_mm(before.grid)[2])
    if scan.lesions:
        numbers["lesion_ml"] = before.lesion_mm3 / 1000
    if before.lesion_mm3:
        numbers["lesion_kept"] = after.lesion_mm3 / before.lesion_mm3
    if BODY in scan.masks:
        body, lesion = scan.masks[BODY] > 0, _union(scan)
        numbers["body_share"] = float(body.mean())
        if lesion.any():
            numbers["lesion_inside"] = float(body[lesion].mean())
    return CaseQuality(
        name=name,
        modality=scan.modality,
        before=before,
        after=after,
        cut=_cut(scan, samples),
        samples=len(samples.slices),
        labels={label: samples.labels.count(label) for label in dict.fromkeys(samples.labels)},
        numbers=numbers,
        notes=(*scan.notes, *samples.notes),
        missing=scan.missing,
    )


def _cut(scan: Scan, samples: Samples) -> dict[str, Thumbnail]:
    shape = samples.images.shape[2:]
    if shape[-2:] == scan.grid.shape[1:] or not samples.images.size:
        return {}
    lesion = np.asarray(samples.masks[:, 1:].any(axis=1))
    at = int(np.count_nonzero(lesion.reshape(len(lesion), -1), axis=1).argmax())
    image, mask = samples.images[at], lesion[at]
    if len(shape) == 2:
        image, mask = image[:, None], mask[None]
    row_mm, column_mm = (samples.spacing_mm or (1.0, 1.0))[-2:]
    grid = replace(Grid.unknown(mask.shape), spacing_mm=(1.0, row_mm, column_mm))
    index, _ = plane(grid, 0, mask, None)
    pairs = list(zip(samples.channels, image, strict=True))[:MOST_CHANNELS]
    return {name: thumbnail(channel, mask, grid, AS_STORED, index, (-1, 1), SIDE) for name, channel in pairs}


def _union(scan: Scan) -> NDArray[np.bool_]:
    found = np.zeros(scan.grid.shape, dtype=bool)
    for name in scan.lesions:
        np.logical_or(found, scan.masks[name], out=found)
    return found


def centre_mm(grid: Grid) -> NDArray[np.float64]:
    """World position (x, y, z) of the middle of a scan."""
    return np.asarray((grid.affine @ [*((n - 1) / 2 for n in reversed(grid.shape)), 1])[:3])


def _content(scan: Scan, channel: Array, *, prepared: bool) -> NDArray[np.float32]:
    """Some of the voxels that are not background: inside the body once prepared, unlike the rim of the picture before.

    One voxel in a number that shares no factor with the lengths of the axes, so that no column is favoured.
    """
    step = max(1, channel.size // VOXELS)
    while any(np.gcd(step, n) > 1 for n in channel.shape) and step > 1:
        step += 1
    flat = channel.reshape(-1)[::step]
    if prepared and BODY in scan.masks:
        inside = scan.masks[BODY].reshape(-1)[::step] > 0
    else:
        inside = flat != np.float32(background(channel)[0])
    return flat[inside] if inside.any() else flat


def _histogram(values: Array, low: float, high: float) -> Histogram:
    if not high > low:
        low, high = low - 0.5, low + 0.5
    counts, _ = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    return Histogram(low, high, (counts / max(counts.sum(), 1)).astype(np.float32))


def _clipped(scan: Scan, channel: Array) -> float:
    """Share of the body, or of a scan without a body mask, whose value lies at either end of the window."""
    values = channel[scan.masks[BODY] > 0] if BODY in scan.masks else channel
    return float(np.count_nonzero(np.abs(values) >= 1)) / max(values.size, 1)
