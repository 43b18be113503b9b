"""The cohort folder: its format, and opening one. :mod:`synthoma.cohort.writer` makes one.

::

    x.cohort/
    ├── cohort.json   what it is: names, ranges, lineages, SHA-256 of the other three
    ├── samples.csv   a row a sample (``records.COLUMNS`` and ``low_``/``high_`` of each channel)
    ├── images.npy    (n, channel, [z,] y, x) float32 or float16 in [−1, 1]
    └── masks.npy     (n, mask, [z,] y, x) uint8 of 0 and 1
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from synthoma.errors import CohortError, describe, did_you_mean
from synthoma.options import Options
from synthoma.records import COLUMNS, SCHEMA_VERSION, Cohort, Grid, Lineage
from synthoma.storage import file_sha256, read_json, text_sha256

__all__ = ["CohortHeader", "columns_of", "describe_cohort", "open_cohort", "to_scanner_unit"]

HEADER, TABLE, IMAGES, MASKS = "cohort.json", "samples.csv", "images.npy", "masks.npy"
WAY_BACK = "low_<channel> + (image + 1) / 2 * (high_<channel> - low_<channel>)"
REMEDY = "Make it again with synthoma prepare or synthoma generate."


class CohortHeader(Options):
    """The content of ``cohort.json``."""

    schema_version: int
    """The version of the folder's format."""
    version: str
    """The version of synthoma that wrote it."""
    n: int
    """Number of samples."""
    shape: tuple[int, ...]
    """Of one channel of one sample, ([z,] y, x)."""
    dtype: Literal["float32", "float16"]
    """Of ``images.npy``."""
    channels: tuple[str, ...]
    """Axis 1 of ``images.npy``."""
    mask_names: tuple[str, ...]
    """Axis 1 of ``masks.npy``."""
    intensity_range: tuple[float, float] = (-1.0, 1.0)
    """The range of every channel of every image."""
    scanner_value: str = WAY_BACK
    """How a value of an image becomes one in the scanner's unit; the names are columns of ``samples.csv``."""
    unit: str
    """The scanner's unit, HU or arbitrary; joined by "+" where samples differ."""
    modality: str
    """MR, CT or OT; joined by "+" where samples differ."""
    conditions: tuple[str, ...] = ()
    """Synthetic only: what the images were made from."""
    lineages: tuple[Mapping[str, Any], ...] = ()
    """Each :class:`Lineage` that a sample descends from."""
    grids: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """Scan → its :class:`Grid` ``as_read`` and ``prepared``."""
    notes: tuple[str, ...] = ()
    """What preparation had to say."""
    sha256: Mapping[str, str]
    """File name → SHA-256."""


def columns_of(channels: Iterable[str]) -> dict[str, type]:
    """Every column of ``samples.csv`` for these channels, and its type."""
    return dict(COLUMNS) | {f"{end}_{name}": float for name in channels for end in ("low", "high")}


def open_cohort(path: Path | str, *, verify: bool = False) -> Cohort:
    """Open a cohort folder; the arrays are memory-mapped, so that this is quick at any size.

    Args:
        path: the folder.
        verify: also compare the SHA-256 of each file, and of each lineage, with what was written.

    Raises:
        CohortError: the folder is no cohort, is incomplete, or was altered.
    """
    path = Path(path)
    header = _read_header(path)
    shape = tuple(header.shape)
    images = _map_array(path / IMAGES, (header.n, len(header.channels), *shape), header.dtype)
    masks = _map_array(path / MASKS, (header.n, len(header.mask_names), *shape), "uint8")
    if verify:
        _verify(path, header)
    table = _read_table(path / TABLE, header)
    lineages = _read_lineages(path / HEADER, header.lineages, verify=verify)
    unknown = sorted(set(table["lineage"].tolist()) - {""} - set(lineages))
    if unknown:
        raise CohortError(describe(path / TABLE, f"lineages that {HEADER} lists", f"{unknown[0]!r}", REMEDY))
    return Cohort(
        path=path,
        table=table,
        images=images,
        masks=masks,
        channels=header.channels,
        mask_names=header.mask_names,
        unit=header.unit,
        modality=header.modality,
        conditions=header.conditions,
        lineages=lineages,
        grids=_read_grids(path / HEADER, header.grids),
        notes=header.notes,
    )


def to_scanner_unit(cohort: Cohort, row: int, channel: str, image: NDArray[Any]) -> NDArray[np.float32]:
    """``image`` of [−1, 1] in the scanner's unit, by the range stored for this sample and channel.

    Raises:
        CohortError: the cohort has no such channel, or no range is stored (an image made from noise has none).
    """
    if channel not in cohort.channels:
        remedy = did_you_mean(channel, cohort.channels)
        raise CohortError(describe("channel", "one of the cohort", f"'{channel}'", remedy))
    low, high = (float(cohort.table[f"{end}_{channel}"][row]) for end in ("low", "high"))
    if not (math.isfinite(low) and math.isfinite(high)):
        name = cohort.table["id"][row]
        raise CohortError(describe(f"sample {name}, channel {channel}", "its range in the scanner's unit", "none"))
    return np.asarray(low + (np.asarray(image, np.float64) + 1) / 2 * (high - low), np.float32)


def describe_cohort(cohort: Cohort) -> dict[str, Any]:
    """What ``synthoma info`` prints, as JSON can hold it."""
    table = cohort.table

    def count(column: str) -> dict[str, dict[str, int]]:
        samples = Counter(table[column].tolist())
        pairs = Counter(name for name, _ in set(zip(table[column].tolist(), table["patient"].tolist(), strict=True)))
        return {str(name): {"samples": samples[name], "patients": pairs[name]} for name in sorted(samples)}

    return {
        "path": str(cohort.path) if cohort.path else "",
        "samples": len(cohort),
        "patients": len(cohort.patients),
        "shape": list(cohort.images.shape[2:]),
        "dtype": str(cohort.images.dtype),
        "channels": list(cohort.channels),
        "masks": list(cohort.mask_names),
        "conditions": list(cohort.conditions),
        "unit": cohort.unit,
        "modality": cohort.modality,
        **{column: count(column) for column in ("split", "fold", "site", "label", "origin")},
        "lineages": [lineage.to_json() for lineage in cohort.lineages.values()],
        "notes": list(cohort.notes),
    }


def _read_header(path: Path) -> CohortHeader:
    if not (path / HEADER).is_file():
        found = "nothing" if not path.exists() else "a file" if path.is_file() else f"a folder without {HEADER}"
        inside = next(iter(sorted(place.parent for place in path.glob(f"*/{HEADER}"))), None)
        remedy = f"There is one in it: {inside}." if inside else "Make one with synthoma prepare."
        raise CohortError(describe(path, "a cohort folder", found, remedy))
    content = read_json(path / HEADER, CohortError)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        found = f"{version!r}" if version is not None else "no version"
        remedy = REMEDY
        if isinstance(version, int):
            older = "An earlier synthoma wrote it: prepare it again, and generate again what was made from it."
            remedy = older if version < SCHEMA_VERSION else "A later synthoma wrote it: update synthoma."
        raise CohortError(describe(path / HEADER, f"a cohort of schema version {SCHEMA_VERSION}", found, remedy))
    try:
        return CohortHeader.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CohortError(describe(path / HEADER, f"a valid field {field}", first["msg"], REMEDY)) from None


def _read_grids(path: Path, grids: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Grid]]:
    try:
        return {scan: {name: Grid.from_json(content) for name, content in both.items()} for scan, both in grids.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise CohortError(describe(path, "a valid field grids", error, REMEDY)) from error


def _map_array(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    expected = f"{dtype} of shape {shape}"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CohortError(describe(path, expected, "nothing", REMEDY)) from None
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        found = f"a truncated or damaged file ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        raise CohortError(describe(path, expected, found, REMEDY)) from error
    if not isinstance(array, np.memmap):
        array.close()  # an archive of arrays, the one other thing that NumPy opens
        raise CohortError(describe(path, expected, "another kind of file", REMEDY))
    if array.shape != shape or array.dtype != np.dtype(dtype).newbyteorder("<") or not array.flags.c_contiguous:
        raise CohortError(describe(path, expected, f"{array.dtype} of shape {array.shape}", REMEDY))
    surplus = path.stat().st_size - array.offset - array.nbytes
    if surplus:
        raise CohortError(describe(path, expected, f"{surplus} bytes more", REMEDY))
    return array


def _read_table(path: Path, header: CohortHeader) -> dict[str, NDArray[Any]]:
    columns = columns_of(header.channels)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            names, *rows = csv.reader(file, strict=True)
    except FileNotFoundError:
        raise CohortError(describe(path, "a table of samples", "nothing", REMEDY)) from None
    except (OSError, ValueError, csv.Error) as error:
        raise CohortError(describe(path, "a table of samples", error, REMEDY)) from error
    if names != list(columns):
        differ = sorted(set(columns) ^ set(names)) or ["another order"]
        raise CohortError(describe(path, f"the {len(columns)} columns of a cohort", ", ".join(differ[:5]), REMEDY))
    if len(rows) != header.n:
        raise CohortError(describe(path, f"{header.n} samples", len(rows), REMEDY))
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if ragged is not None:
        raise CohortError(describe(f"{path}, sample {ragged + 1}", f"{len(names)} fields", len(rows[ragged]), REMEDY))
    return {name: _column(path, name, [row[i] for row in rows], columns[name]) for i, name in enumerate(names)}


def _column(path: Path, name: str, texts: Sequence[str], kind: type) -> NDArray[Any]:
    """One column as an array; an empty number is NaN."""
    try:
        if kind is int:
            return np.array([int(text) for text in texts], dtype=np.int64)
        if kind is float:
            return np.array([float(text) if text else math.nan for text in texts], dtype=np.float64)
    except ValueError as error:
        raise CohortError(describe(f"{path}, column {name}", "numbers", error, REMEDY)) from error
    return np.array(texts, dtype=np.str_)


def _read_lineages(path: Path, entries: Sequence[Mapping[str, Any]], *, verify: bool) -> dict[str, Lineage]:
    lineages = {}
    for entry in entries:
        try:
            lineage = Lineage.from_json(dict(entry))
        except TypeError as error:
            raise CohortError(describe(path, "the fields of a lineage", error, REMEDY)) from error
        if verify and lineage.id != _lineage_id(lineage):
            found = "one that was altered"
            raise CohortError(describe(f"{path}, lineage {lineage.id}", "the lineage that was written", found, REMEDY))
        lineages[lineage.id] = lineage
    return lineages


def _lineage_id(lineage: Lineage) -> str:
    """The hash that :meth:`Lineage.of` gives to these fields."""
    fields = {name: value for name, value in lineage.to_json().items() if name != "id"}
    return text_sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False))[:16]


def _verify(path: Path, header: CohortHeader) -> None:
    for name in (IMAGES, MASKS, TABLE):
        if not (path / name).is_file() or file_sha256(path / name) != header.sha256.get(name):
            raise CohortError(describe(path / name, "the content that was written (SHA-256)", "another", REMEDY))
