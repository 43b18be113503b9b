"""Lung nodules cut from LIDC-IDRI, stacked in two files: outlined slices, and cubes with their surroundings.

``segmented_slices64.npz``: slices of solid nodules by exam and nodule, 8-bit display grey, zero outside the outline,
with a class (benign, malignant). ``cubes48.npz``: one nodule a patient in Hounsfield units at 1 mm, with one reader's
outline and ratings from 1 to 5 (Armato et al., Medical Physics 38(2), 2011).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import Grid, Scan, SourceFile
from synthoma.scans.case import Case, Found, folder_of, nothing_found
from synthoma.scans.stacks import read_stack, stack_sha256
from synthoma.scans.voxels import as_channel, as_mask, as_whole_numbers, numbers

__all__ = ["CHANNELS", "MASKS", "LidcNodulesData", "contents", "find", "read"]

CHANNELS, MASKS = ("ct",), ("nodule",)
_FILES: Mapping[str, str] = {"slices": "segmented_slices64.npz", "cubes": "cubes48.npz"}
_NAMES, _LONGEST_NAME = ("exam_id", "nodule_id", "name"), 200
_CLASSES: Mapping[int, str] = {0: "benign", 1: "malignant"}
_RATINGS: Mapping[int, str] = {1: "benign", 2: "benign", 3: "indeterminate", 4: "malignant", 5: "malignant"}


class LidcNodulesData(Options):
    """The folder of the two stacks of lung nodules."""

    source: Literal["lidc-nodules"] = "lidc-nodules"
    path: Path
    """The folder of ``segmented_slices64.npz`` and ``cubes48.npz``."""
    set: Literal["slices", "cubes"] = "slices"
    """``slices``: one case a nodule, an exam being a patient; labels benign and malignant. ``cubes``: one case a
    patient in HU; the label is the reader's rating: up to 2 benign, 3 indeterminate, from 4 malignant."""


def find(options: LidcNodulesData) -> Found:
    """Cases by the arrays of names and labels; no image is read.

    Raises:
        ScanError: no such folder or file, or one that does not hold what its name says.
    """
    root = folder_of(options.path)
    file = root / _FILES[options.set]
    if not file.is_file():
        raise nothing_found(root, "lidc-nodules", file.name)
    return (_slices if options.set == "slices" else _cubes)(file)


def read(case: Case, options: LidcNodulesData) -> Scan:
    """One nodule: channel ``ct`` and mask ``nodule``. Slices have no geometry (:meth:`Grid.unknown`).

    Raises:
        ScanError: a damaged file, arrays of another shape, a nodule without a pixel.
    """
    file = case.files["arrays"]
    if options.set == "slices":
        image = _rows(file, "image", 3, case.rows)
        mask, grid = image > 0, Grid.unknown(_shape(image))
    else:  # the file's axes are y, x, z
        image, mask = (_rows(file, name, 4, case.rows)[0].transpose(2, 0, 1) for name in ("hu", "mask"))
        if mask.shape != image.shape:
            raise ScanError(describe(f"{file}, array mask", f"the shape of hu, {image.shape}", mask.shape))
        grid = _one_millimetre(_shape(image))
    if not mask.any():
        raise ScanError(describe(f"{file}, {case.name}", "a nodule", "an empty outline"))
    return Scan(
        channels={"ct": as_channel(image, f"{file}, {case.name}")},
        masks={"nodule": as_mask(mask, f"{file}, {case.name}, mask")},
        grid=grid,
        patient=case.patient,
        modality="CT",
        unit="HU" if options.set == "cubes" else "arbitrary",
        site=case.site,
        label=case.label,
        source=(SourceFile(file.name, stack_sha256(file)),),
        notes=case.notes,
    )


def contents(_options: LidcNodulesData, _cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same of both stacks."""
    return CHANNELS, MASKS


def _slices(file: Path) -> Found:
    """A case a nodule, its slices in order. ``nodule_id`` is unique within an exam only."""
    exams, nodules, order, classes = _columns(file, "exam_id", "nodule_id", "slice_index", "label")
    rows: dict[tuple[str, str], list[int]] = {}
    for row, (exam, nodule) in enumerate(zip(exams.tolist(), nodules.tolist(), strict=True)):
        rows.setdefault((exam, nodule), []).append(row)
    cases, labels = [], dict[str, set[str]]()
    for (exam, nodule), members in rows.items():
        found = set(classes[members].tolist())
        if len(found) > 1:
            raise ScanError(describe(f"{file}, exam {exam}, nodule {nodule}", "one label", numbers(found)))
        label = _known(_CLASSES, found.pop(), f"{file}, array label")
        labels.setdefault(exam, set()).add(label)
        members.sort(key=lambda row: int(order[row]))
        cases.append(_case(f"{exam}-{nodule}", exam, label, file, members))
    both = sum(len(found) > 1 for found in labels.values())
    notes = (f"{both} exams hold benign and malignant nodules: the exam is the patient, which no split divides",)
    return Found(_sorted(file, cases), notes=notes if both else ())


def _cubes(file: Path) -> Found:
    """A case a cube; each is of another patient."""
    names, patients, ratings = _columns(file, "name", "patient_index", "malignancy")
    cases = [
        _case(str(name), f"patient-{patient:04d}", _known(_RATINGS, rating, f"{file}, array malignancy"), file, [row])
        for row, (name, patient, rating) in enumerate(
            zip(names.tolist(), patients.tolist(), ratings.tolist(), strict=True)
        )
    ]
    return Found(_sorted(file, cases))


def _case(name: str, patient: str, label: str, file: Path, rows: list[int]) -> Case:
    return Case(name=name, patient=patient, site="", label=label, files={"arrays": file}, rows=tuple(rows))


def _sorted(file: Path, cases: list[Case]) -> tuple[Case, ...]:
    ordered = sorted(cases, key=lambda case: case.name)
    for one, other in pairwise(ordered):
        if one.name == other.name:
            raise ScanError(describe(file, "names that differ", f"'{one.name}' twice"))
    if not ordered:
        raise ScanError(describe(file, "at least one nodule", "none"))
    return tuple(ordered)


def _known(meanings: Mapping[int, str], value: Any, what: str) -> str:
    if value not in meanings:
        raise ScanError(describe(what, f"one of {numbers(meanings)}", repr(value)))
    return meanings[value]


def _columns(file: Path, *names: str) -> list[NDArray[Any]]:
    """Arrays of one value a row, all of one length."""
    columns = [read_stack(file, name) for name in names]
    shapes = {column.shape for column in columns}
    if len(shapes) > 1 or columns[0].ndim != 1:
        found = ", ".join(f"{name} {column.shape}" for name, column in zip(names, columns, strict=True))
        raise ScanError(describe(file, "arrays of one value a nodule, equally long", found))
    return [
        _words(column, f"{file}, array {name}") if name in _NAMES else as_whole_numbers(column, f"{file}, array {name}")
        for name, column in zip(names, columns, strict=True)
    ]


def _words(column: NDArray[Any], what: str) -> NDArray[np.str_]:
    proper = column.dtype.kind == "U" and all(
        name.isprintable() and len(name) <= _LONGEST_NAME for name in column.tolist()
    )
    if len(column) and not proper:
        raise ScanError(describe(what, f"names of at most {_LONGEST_NAME} printable letters", f"type {column.dtype}"))
    return column


def _rows(file: Path, name: str, ndim: int, rows: tuple[int, ...]) -> NDArray[Any]:
    array = read_stack(file, name)
    if array.ndim != ndim or len(array) <= max(rows):
        expected = f"{ndim} axes and more than {max(rows)} rows"
        raise ScanError(describe(f"{file}, array {name}", expected, f"the shape {array.shape}"))
    return np.asarray(array[list(rows)])


def _shape(array: NDArray[Any]) -> tuple[int, int, int]:
    z, y, x = array.shape
    return z, y, x


def _one_millimetre(shape: tuple[int, int, int]) -> Grid:
    """z towards the feet, y to the back, x to the left, as in the DICOM files; where in the patient the cube lay is not
    stored, so its middle stands at 0."""
    z, y, x = ((length - 1) / 2 for length in shape)
    return Grid(shape, (1.0, 1.0, 1.0), (x, y, z), ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)))
