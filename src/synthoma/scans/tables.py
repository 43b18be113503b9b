"""The tables of the source ``images``: rows, their columns, and the cases that they make."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from synthoma.errors import ScanError, describe, did_you_mean
from synthoma.records import BODY
from synthoma.scans.case import Case, LeftOut, shown, tcga_barcode, unreadable
from synthoma.scans.pictures import SUFFIXES
from synthoma.scans.stacks import read_stack, stack_names

__all__ = ["Column", "Row", "array_rows", "cases_of", "picture_rows", "read_csv"]

Column = Literal["path", "patient_id", "scan", "slice", "channel", "label", "mask", "site"]
_Table = dict[str, list[str]]
_LONGEST_VALUE = 1000


@dataclass(frozen=True)
class Row:
    """One picture, or one row of stacked arrays."""

    number: int
    """Line of the CSV, or row of the arrays."""
    patient: str
    scan: str
    slice: float | None
    channel: str
    label: str
    site: str
    file: Path
    masks: Mapping[str, Path] = field(default_factory=dict)
    """Mask → its file."""


def read_csv(file: Path) -> _Table:
    """Column → values, as text. Commas, semicolons or tabs; UTF-8.

    Raises:
        ScanError: not there, not text, or a line with too many or too few values.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, "a CSV in UTF-8", error) from error
    first = text.partition("\n")[0]
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count)))
    except csv.Error as error:
        raise unreadable(file, "a CSV in UTF-8", error) from error
    if not lines:
        raise ScanError(describe(file, "a line of column names", "an empty file"))
    header, *rows = ([value.strip() for value in line] for line in lines)
    for number, row in enumerate(rows, start=2):
        if row and len(row) != len(header):
            raise ScanError(describe(file, f"{len(header)} values in line {number}", len(row)))
    return {name: [row[i] for row in rows if row] for i, name in enumerate(header)}


def picture_rows(
    file: Path, table: _Table, columns: Mapping[Column, str], root: Path, channel: str, masks: str | Mapping[str, str]
) -> list[Row]:
    """Rows of a CSV of picture files, whose paths start from ``root``.

    ``masks`` is what the mask of the column ``mask`` is called, or mask → its column, which must be there.
    """
    get = _values(file, table, columns, required=("path", "patient_id"), ignored=())
    if any(name == "mask" or name.startswith("mask/") for name in (channel, *get["channel"])):
        raise ScanError(describe(file, "channels", "one named mask", "Masks have a column of their own: mask."))
    if isinstance(masks, str):
        drawn = {masks: get["mask"]}
    else:
        drawn = {name: _column(file, table, column, f"data.masks.{name}") for name, column in masks.items()}
    get |= {f"mask {name}": values for name, values in drawn.items()}
    masks_of = (
        {name: root / values[i] for name, values in drawn.items() if values[i]} for i in range(len(get["path"]))
    )
    return [
        _row(file, get, i, i + 2, root / path, channel=channel, masks=files)
        for i, (path, files) in enumerate(zip(get["path"], masks_of, strict=True))
    ]


def array_rows(
    file: Path,
    csv_file: Path | None,
    columns: Mapping[Column, str],
    arrays: Mapping[str, str],
    masks: Mapping[str, str],
) -> list[Row]:
    """Rows of the stacked arrays in ``file``; the columns are those of ``csv_file``, or arrays of ``file`` itself.

    Raises:
        ScanError: arrays that are not (n, y, x), or columns of another length.
    """
    n = _length(file, [*arrays.values(), *masks.values()])
    names = stack_names(file)
    if csv_file is not None:
        table = read_csv(csv_file)
    else:
        wanted = {columns.get(column, column) for column in get_args(Column)} - {*arrays.values(), *masks.values()}
        loaded = {name: read_stack(file, name) for name in names if name in wanted}
        table = {name: [str(value) for value in array.tolist()] for name, array in loaded.items() if array.ndim == 1}
    for name, values in table.items():
        if len(values) != n:
            raise ScanError(
                describe(csv_file or file, f"{n} rows, one an image of {file.name}", f"{len(values)} ({shown(name)})")
            )
    get = _values(csv_file or file, table, columns, required=("patient_id",), ignored=("path", "mask", "channel"))
    return [_row(csv_file or file, get, i, i, file) for i in range(n)]


def cases_of(
    rows: Iterable[Row], stacked: tuple[str, ...] = (), within: Path | None = None
) -> tuple[tuple[Case, ...], tuple[LeftOut, ...], tuple[str, ...]]:
    """Cases, what is left out, and all channels.

    Args:
        stacked: names the channels when the rows are those of arrays.
        within: the folder that pictures must lie in; ``None``: anywhere.
    """
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.patient, row.scan, row.site, row.label), []).append(row)
    channels = stacked or tuple(dict.fromkeys(row.channel for group in groups.values() for row in group))
    several: dict[tuple[str, str], int] = {}
    for patient, scan, _, _ in groups:
        several[patient, scan] = several.get((patient, scan), 0) + 1
    cases: list[Case] = []
    left_out: list[LeftOut] = []
    for (patient, scan, site, label), group in sorted(groups.items()):
        parts = (patient, scan, *((site, label) if several[patient, scan] > 1 else ()))
        name = "/".join(part for part in parts if part)
        case = _stack_case(name, group) if stacked else _picture_case(name, group, channels, within)
        if isinstance(case, Case):
            cases.append(case)
        else:
            left_out.append(case)
    return tuple(cases), tuple(left_out), channels


def _values(
    file: Path, table: _Table, columns: Mapping[Column, str], required: Sequence[Column], ignored: Sequence[Column]
) -> dict[str, list[str]]:
    """Values of every known column, empty where it is optional and not there."""
    n = max((len(values) for values in table.values()), default=0)
    values = {}
    for column in get_args(Column):
        name = columns.get(column, column)
        if column in ignored:
            continue
        if name in table:
            values[column] = table[name]
        elif column in required or column in columns:
            values[column] = _column(file, table, name, f"data.columns.{column}")
        else:
            values[column] = [""] * n
    return values


def _column(file: Path, table: _Table, name: str, setting: str) -> list[str]:
    if name not in table:
        found = shown(", ".join(table), 200) or "no columns"
        remedy = f"{shown(did_you_mean(name, table), 200)} Set {setting} to its name." if table else ""
        raise ScanError(describe(file, f"a column {name}", found, remedy))
    return table[name]


def _row(
    file: Path,
    get: Mapping[str, list[str]],
    i: int,
    number: int,
    path: Path,
    channel: str = "",
    masks: Mapping[str, Path] | None = None,
) -> Row:
    patient = get["patient_id"][i]
    if not patient:
        raise ScanError(describe(file, f"a patient_id in row {number}", "nothing"))
    for column, values in get.items():
        if not values[i].isprintable() or len(values[i]) > _LONGEST_VALUE:
            expected = f"at most {_LONGEST_VALUE} printable letters as {column} in row {number}"
            raise ScanError(describe(file, expected, repr(values[i][:40])))
    barcode = tcga_barcode(patient)
    text = get["slice"][i]
    try:
        position = float(text) if text else None
    except ValueError:
        position = math.nan
    if position is not None and not math.isfinite(position):
        raise ScanError(describe(file, f"a number as slice in row {number}", repr(text)))
    return Row(
        number=number,
        patient=barcode[0] if barcode else patient,
        scan=get["scan"][i],
        slice=position,
        channel=(get["channel"][i] if "channel" in get else "") or channel,
        label=get["label"][i],
        site=get["site"][i] or (barcode[1] if barcode else ""),
        file=path,
        masks=masks or {},
    )


def _stack_case(name: str, rows: list[Row]) -> Case | LeftOut:
    ordered = _in_order(rows)
    if ordered is None:
        return LeftOut(name, "some images have the same slice: name the column that tells them apart (columns.scan)")
    row = rows[0]
    files = {"arrays": row.file}
    return Case(name, row.patient, row.site, row.label, files, rows=tuple(row.number for row in ordered))


def _picture_case(name: str, rows: list[Row], channels: tuple[str, ...], within: Path | None) -> Case | LeftOut:
    by_channel = {channel: [row for row in rows if row.channel == channel] for channel in channels}
    present = {channel: _in_order(group) for channel, group in by_channel.items() if group}
    lines = ", ".join(str(row.number) for row in rows[:5])
    if any(ordered is None for ordered in present.values()):
        return LeftOut(name, f"the same slice twice in one channel (lines {lines}): tell them apart with a column scan")
    stacks = {channel: ordered for channel, ordered in present.items() if ordered is not None}
    places = {channel: [row.slice for row in ordered] for channel, ordered in stacks.items()}
    if len({tuple(place) for place in places.values()}) > 1:
        counts = ", ".join(f"{channel} {len(place)}" for channel, place in places.items())
        return LeftOut(name, f"its channels have different slices ({counts})")
    files: dict[str, Path] = {}
    for channel, ordered in stacks.items():
        files |= {f"{channel}/{k}": row.file for k, row in enumerate(ordered)}
    n = len(next(iter(stacks.values())))
    drawn: dict[str, int] = {}
    for k in range(n):
        for mask in dict.fromkeys(mask for ordered in stacks.values() for mask in ordered[k].masks):
            paths = {ordered[k].masks[mask] for ordered in stacks.values() if mask in ordered[k].masks}
            if len(paths) > 1:
                return LeftOut(name, f"two masks for one image: {', '.join(sorted(map(str, paths)))}")
            files[f"mask/{mask}/{k}"] = paths.pop()
            drawn[mask] = drawn.get(mask, 0) + 1
    if 0 < drawn.get(BODY, 0) < n:
        return LeftOut(
            name, f"{n - drawn[BODY]} of {n} images have no mask {BODY}", "Give it to all of them or to none."
        )
    absent = [file for file in files.values() if not _is_file(file)]
    if absent:
        return LeftOut(name, f"{len(absent)} of {len(files)} files are not there: {absent[0].name}")
    root = within and within.resolve()
    outside = [file for file in files.values() if root and not file.resolve().is_relative_to(root)]
    if outside:
        reason = f"{len(outside)} of {len(files)} files lie outside the folder: {outside[0].name}"
        return LeftOut(name, reason, "Move them into it or, if you trust the table, set data.outside=allow.")
    wrong = [file for file in files.values() if file.suffix.lower() not in SUFFIXES]
    if wrong:
        return LeftOut(name, f"{wrong[0].name} is none of {', '.join(SUFFIXES)}")
    lacking = {f" {mask}" if len(drawn) > 1 else "": n - count for mask, count in drawn.items() if count < n}
    return Case(
        name=name,
        patient=rows[0].patient,
        site=rows[0].site,
        label=rows[0].label,
        files=files,
        missing=tuple(channel for channel in channels if channel not in stacks),
        notes=tuple(f"{count} of {n} images have no mask{of}: taken as no lesion" for of, count in lacking.items()),
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _in_order(rows: list[Row]) -> list[Row] | None:
    """Sorted by slice where every row has one, else in the order of the table; None if a slice comes twice."""
    given = [row.slice for row in rows if row.slice is not None]
    if len(given) < len(rows):
        return rows if not given else None
    return sorted(rows, key=lambda row: row.slice or 0.0) if len(set(given)) == len(given) else None


def _length(file: Path, arrays: Sequence[str]) -> int:
    shapes = {name: read_stack(file, name).shape for name in arrays}
    for name, shape in shapes.items():
        if len(shape) != 3:
            raise ScanError(describe(file, f"{name} as (n, y, x)", f"the shape {shape}"))
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ScanError(describe(file, "arrays of one shape (n, y, x)", found))
    return int(next(iter(shapes.values()))[0])
