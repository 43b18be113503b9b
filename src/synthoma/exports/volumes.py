"""What every format needs of a cohort: its volumes, their place in the patient, and values in the scanner's unit."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.cohort import to_scanner_unit
from synthoma.errors import CohortError, describe
from synthoma.records import BODY, UNLABELLED, Cohort, Grid

__all__ = [
    "ABOUT",
    "NORMALISED",
    "TABLE",
    "Slices",
    "Volume",
    "about",
    "body_of",
    "channel_values",
    "csv_bytes",
    "file_name",
    "has_range",
    "is_synthetic",
    "knows_its_lesion",
    "labels_of",
    "mask_of",
    "sample_row",
    "to_int16",
    "unit_of",
    "volumes_of",
]

TABLE, ABOUT = "samples.csv", "about.json"
COLUMNS = ("id", "patient", "label", "origin", "unit", "slice", "files")
NORMALISED = "[-1, 1]"
"""The unit of a sample whose range in the scanner's unit is not known."""

Slices = Literal["stack", "single"]
"""What becomes of a cohort of slices: each at its place in a volume of its scan, or a volume of one slice each."""


@dataclass(frozen=True)
class Volume:
    """What becomes one image of three axes: a sample, or slices of one scan."""

    name: str
    """Its file name, which differs from all others of the cohort in more than case."""
    rows: tuple[int, ...]
    places: tuple[int, ...]
    """Where each row lies along the volume's z axis; empty when the one row is the whole volume."""
    grid: Grid
    """``known`` is false where the position in the patient is not."""


def volumes_of(cohort: Cohort, slices: Slices = "stack") -> Iterator[Volume]:
    """The volumes to write. Slices of a scan without a known grid are volumes of one slice in any case.

    Raises:
        CohortError: a grid that is not that of the images.
    """
    taken: set[str] = set()

    def named(text: str) -> str:
        name, number = file_name(text), 1
        while name.lower() in taken:
            number += 1
            name = f"{file_name(text)}-{number}"
        taken.add(name.lower())
        return name

    shape = tuple(int(length) for length in cohort.images.shape[2:])
    piled: dict[tuple[str, int], list[int]] = {}  # scan and how many samples its slice had before → rows
    seen: dict[tuple[str, int], int] = {}
    for row in range(len(cohort)):
        scan, place = str(cohort.table["scan"][row]), int(cohort.table["slice"][row])
        grid = cohort.grids.get(scan, {}).get("prepared")
        if grid is None or not grid.known:
            yield Volume(named(cohort.table["id"][row]), (row,), (0,) if len(shape) == 2 else (), _loose(cohort, row))
            continue
        _check_grid(scan, grid.shape[-len(shape) :], shape)
        if len(shape) == 3:
            yield Volume(named(cohort.table["id"][row]), (row,), (), grid)
            continue
        if not 0 <= place < grid.shape[0]:
            raise CohortError(describe(f"scan {scan}", f"slices 0 to {grid.shape[0] - 1}", place))
        if slices == "single":
            yield Volume(named(cohort.table["id"][row]), (row,), (0,), _slice_of(grid, place))
            continue
        pile = seen[scan, place] = seen.get((scan, place), -1) + 1
        piled.setdefault((scan, pile), []).append(row)
    for (scan, _), rows in piled.items():
        places = tuple(int(cohort.table["slice"][row]) for row in rows)
        yield Volume(named(scan), tuple(rows), places, cohort.grids[scan]["prepared"])


def _check_grid(scan: str, grid: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if grid != shape:
        raise CohortError(describe(f"scan {scan}", f"a grid of the images' shape {shape}", grid))


def _slice_of(grid: Grid, place: int) -> Grid:
    """The grid of one slice alone."""
    step = np.asarray(grid.direction[0]) * grid.spacing_mm[0]
    x, y, z = np.asarray(grid.origin_mm) + place * step
    return replace(grid, shape=(1, *grid.shape[1:]), origin_mm=(float(x), float(y), float(z)))


def _loose(cohort: Cohort, row: int) -> Grid:
    """A grid of the sample's own spacing at no known place; a single slice is as thick as nobody knows: 1 mm."""
    shape = (1, *(int(length) for length in cohort.images.shape[2:]))[-3:]
    spacing = tuple(float(part) for part in str(cohort.table["spacing_mm"][row]).split())
    z, y, x = (1.0,) * (3 - len(spacing)) + spacing
    return replace(Grid.unknown((shape[0], shape[1], shape[2])), spacing_mm=(z, y, x))


def channel_values(cohort: Cohort, name: str, volume: Volume) -> NDArray[np.float32]:
    """One channel of a volume in the scanner's unit, (z, y, x); slices that are not there hold what −1 stands for."""
    images = [np.asarray(cohort.channel(name)[row], dtype=np.float32) for row in volume.rows]
    first = volume.rows[0]
    background = -1.0
    if has_range(cohort, first):
        images = [to_scanner_unit(cohort, row, name, image) for row, image in zip(volume.rows, images, strict=True)]
        background = float(cohort.table[f"low_{name}"][first])
    return _assembled(volume, images, background, np.float32)


def body_of(cohort: Cohort, volume: Volume) -> NDArray[np.uint8]:
    """The body mask of a volume, (z, y, x) of 0 and 1."""
    return mask_of(cohort, BODY, volume)


def mask_of(cohort: Cohort, name: str, volume: Volume) -> NDArray[np.uint8]:
    """One mask of a volume, (z, y, x) of 0 and 1."""
    index = cohort.mask_names.index(name)
    return _assembled(volume, [cohort.masks[row, index] > 0 for row in volume.rows], 0, np.uint8)


def labels_of(cohort: Cohort, volume: Volume, names: Sequence[str]) -> tuple[NDArray[np.uint8], int]:
    """Masks as labels 1 … k in the order of ``names``, (z, y, x); the later has a voxel that several hold.

    Also the number of those voxels.
    """
    labels = np.zeros(volume.grid.shape, dtype=np.uint8)
    holders = np.zeros(volume.grid.shape, dtype=np.uint8)
    for label, name in enumerate(names, start=1):
        mask = mask_of(cohort, name, volume)
        labels[mask > 0] = label
        holders += mask
    return labels, int((holders > 1).sum())


def _assembled(volume: Volume, images: Sequence[NDArray[Any]], background: float, dtype: Any) -> NDArray[Any]:
    """The images at their places along z, (z, y, x); ``background`` where there is none."""
    if not volume.places:
        return np.asarray(images[0], dtype=dtype)
    array = np.full(volume.grid.shape, background, dtype=dtype)
    for place, image in zip(volume.places, images, strict=True):
        array[place] = image
    return array


def knows_its_lesion(cohort: Cohort, rows: Sequence[int]) -> bool:
    """Whether the lesion masks say something: nobody knows where the lesion of an image from noise is, or that of a
    patient without a segmentation."""
    if not cohort.lesion_names:
        return False
    unknown = [
        (cohort.table["origin"][row] == "synthetic" and not cohort.table["made_from"][row])
        or cohort.table["label"][row] == UNLABELLED
        for row in rows
    ]
    return not any(unknown)


def is_synthetic(cohort: Cohort, rows: Sequence[int]) -> bool:
    """Whether any of these samples was made by a generator."""
    return any(cohort.table["origin"][row] == "synthetic" for row in rows)


def has_range(cohort: Cohort, row: int) -> bool:
    """Whether the way back to the scanner's unit is stored for all channels of a sample."""
    return all(math.isfinite(cohort.table[f"{end}_{name}"][row]) for name in cohort.channels for end in ("low", "high"))


def unit_of(cohort: Cohort, row: int) -> str:
    """``HU``, ``arbitrary``, or :data:`NORMALISED` for a sample that cannot go back."""
    return str(cohort.table["unit"][row]) if has_range(cohort, row) else NORMALISED


def to_int16(values: NDArray[np.float32], unit: str, written: Any = float) -> tuple[NDArray[np.int16], float, float]:
    """Whole numbers, and the slope and intercept by which they become the values again, to half a slope.

    Slope 1 and intercept 0 in HU and for whole numbers, wherever int16 holds them.

    Args:
        values: in the scanner's unit.
        unit: ``HU``, ``arbitrary`` or :data:`NORMALISED`.
        written: rounds a float to what the file can hold of it.
    """
    limits = np.iinfo(np.int16)
    exact = np.asarray(values, np.float64)
    low, high = float(exact.min()), float(exact.max())
    fits = limits.min <= round(low) and round(high) <= limits.max
    if fits and (unit == "HU" or bool((exact == np.rint(exact)).all())):
        slope, intercept = 1.0, 0.0
    elif low == high:
        slope, intercept = 1.0, float(written(low))
    else:
        slope, intercept = float(written((high - low) / 65534)), float(written((high + low) / 2))
    stored = np.clip(np.rint((exact - intercept) / slope), limits.min, limits.max).astype(np.int16)
    return stored, slope, intercept


def sample_row(cohort: Cohort, row: int) -> dict[str, Any]:
    """What ``samples.csv`` says of a sample in every format."""
    texts = {name: str(cohort.table[name][row]) for name in ("id", "patient", "label", "origin")}
    return texts | {"unit": unit_of(cohort, row)}


def about(cohort: Cohort, risk: str, **more: Any) -> dict[str, Any]:
    """What ``about.json`` says in every format, and ``more``; the accepted risk of a release where there is one."""
    said = {"accepted_privacy_risk": risk} if risk else {}
    return {
        "version": __version__,
        "samples": len(cohort),
        "modality": cohort.modality,
        **more,
        "conditions": list(cohort.conditions),
        "lineages": [lineage.to_json() for lineage in cohort.lineages.values()],
        **said,
    }


def csv_bytes(rows: Mapping[int, Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> bytes:
    """A table in the order of the cohort's rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[row] for row in sorted(rows))
    return text.getvalue().encode()


def file_name(text: str) -> str:
    """``text`` as the name of one file or folder anywhere: no separators, not hidden."""
    return re.sub(r"[^\w.-]", "_", str(text)).lstrip(".") or "_"
