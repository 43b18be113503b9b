"""Lung nodules: two stacks, an exam is one patient, a cube lies right in space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthoma.errors import ScanError
from synthoma.preprocessing import Reorient
from synthoma.records import Scan
from synthoma.scans import Case, LidcNodulesData, find, read


@pytest.fixture
def folder(writers: Any, tmp_path: Path) -> Path:
    return Path(writers.BUILDERS["lidc-nodules"](tmp_path / "data").root)


def scan_of(options: LidcNodulesData, name: str) -> tuple[Case, Scan]:
    case = next(case for case in find(options).cases if case.name == name)
    return case, read(case, options)


def test_a_case_is_a_nodule_and_a_patient_an_exam(folder: Path, writers: Any) -> None:
    options, arrays = LidcNodulesData(path=folder), writers.nodule_slices()
    found = find(options)
    labels = {case.name: (case.patient, case.label) for case in found.cases}
    assert labels == {
        "e1-10": ("e1", "malignant"),
        "e1-2": ("e1", "benign"),
        "e2-2": ("e2", "malignant"),
        "e3-Nodule 001": ("e3", "benign"),
    }
    assert found.notes == (
        "1 exams hold benign and malignant nodules: the exam is the patient, which no split divides",
    )
    _, scan = scan_of(options, "e1-2")
    assert np.array_equal(scan.channels["ct"], arrays["image"][[2, 3, 0]]), "in the order of slice_index"
    assert np.array_equal(scan.masks["nodule"], arrays["image"][[2, 3, 0]] > 0)
    assert (scan.modality, scan.unit, scan.grid.known, scan.label) == ("CT", "arbitrary", False, "benign")


def test_a_cube_lies_as_its_axes_say(folder: Path, writers: Any) -> None:
    options, arrays = LidcNodulesData(path=folder, set="cubes"), writers.nodule_cubes()
    cases = {case.name: (case.patient, case.label) for case in find(options).cases}
    assert cases == {
        "12_nod3_ann1": ("patient-0012", "indeterminate"),
        "3_nod2_ann0": ("patient-0003", "benign"),
        "9_nod1_ann0": ("patient-0009", "malignant"),
    }
    _, scan = scan_of(options, "9_nod1_ann0")
    assert (scan.modality, scan.unit, scan.grid.spacing_mm) == ("CT", "HU", (1.0, 1.0, 1.0))
    assert scan.grid.shape == (6, 4, 5)
    for y, x, z in ((0, 0, 0), (3, 1, 5), (2, 4, 3)):  # the file's order
        assert scan.channels["ct"][z, y, x] == arrays["hu"][0, y, x, z]
        assert scan.masks["nodule"][z, y, x] == arrays["mask"][0, y, x, z]
    # z grows to the feet, y to the back, x to the left
    first, down, back, left = (scan.grid.affine @ [*at, 1] for at in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)))
    assert (down - first)[:3].tolist() == [0, 0, -1]
    assert (back - first)[:3].tolist() == [0, -1, 0]
    assert (left - first)[:3].tolist() == [-1, 0, 0]
    assert (scan.grid.affine @ [2, 1.5, 2.5, 1])[:3].tolist() == [0, 0, 0], "its middle"
    turned = Reorient()(scan)
    assert np.array_equal(turned.channels["ct"], scan.channels["ct"][::-1]), "z then grows to the head"


def test_the_file_is_read_once_for_all_cases(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthoma.scans import stacks

    options = LidcNodulesData(path=folder)
    opened: list[Any] = []
    load = np.load
    monkeypatch.setattr(stacks.np, "load", lambda file, **how: opened.append(how["allow_pickle"]) or load(file, **how))
    for case in find(options).cases:
        read(case, options)
    assert not any(opened), "no pickle is opened"
    once = len(opened)
    for _ in range(5):
        for case in find(options).cases:
            read(case, options)
    assert len(opened) == once


SLICES, CUBES = "segmented_slices64.npz", "cubes48.npz"
FOREIGN: dict[str, tuple[str, dict[str, Any], str]] = {
    "no exams": (SLICES, {"exam_id": None}, "expected an array named exam_id, found image, label"),
    "short labels": (SLICES, {"label": np.zeros(3, np.uint8)}, "arrays of one value a nodule, equally long, found"),
    "a third class": (SLICES, {"label": np.full(7, 2, np.uint8)}, "array label: expected one of 0, 1, found 2"),
    "two classes": (SLICES, {"label": np.arange(7, dtype=np.uint8) % 2}, "nodule 2: expected one label, found 0, 1"),
    "flat image": (SLICES, {"image": np.zeros((7, 36), np.uint8)}, r"array image: expected 3 axes .* shape \(7, 36\)"),
    "few images": (SLICES, {"image": np.ones((1, 6, 6), np.uint8)}, "array image: expected .* more than 1 rows"),
    "black": (SLICES, {"image": np.zeros((7, 6, 6), np.uint8)}, "expected a nodule, found an empty outline"),
    "objects": (
        SLICES,
        {"exam_id": np.array([{}] * 7, dtype=object)},
        "a readable array exam_id, found one that cannot",
    ),
    "rating 0": (
        CUBES,
        {"malignancy": np.zeros(3, np.int8)},
        "array malignancy: expected one of 1, 2, 3, 4, 5, found 0",
    ),
    "one name": (CUBES, {"name": np.array(["a"] * 3)}, "expected names that differ, found 'a' twice"),
    "other mask": (
        CUBES,
        {"mask": np.ones((3, 4, 5, 7), np.uint8)},
        r"array mask: .* of hu, \(6, 4, 5\), found \(7, 4",
    ),
    "labels": (CUBES, {"mask": np.arange(360).reshape(3, 4, 5, 6)}, "mask of 0 and one other value"),
    "no outline": (CUBES, {"mask": np.zeros((3, 4, 5, 6), np.uint8)}, "expected a nodule, found an empty outline"),
    "empty": (CUBES, {"name": np.array([]), "patient_index": np.array([]), "malignancy": np.array([])}, "at least one"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_named_in_one_line(folder: Path, writers: Any, kind: str) -> None:
    name, changes, message = FOREIGN[kind]
    arrays = (writers.nodule_slices() if name == SLICES else writers.nodule_cubes()) | changes
    np.savez(folder / name, **{key: array for key, array in arrays.items() if array is not None})
    options = LidcNodulesData(path=folder, set="slices" if name == SLICES else "cubes")
    with pytest.raises(ScanError, match=message) as caught:
        read(find(options).cases[0], options)
    assert str(folder / name) in str(caught.value)
    assert len(str(caught.value).splitlines()[0]) < 400
    assert len(str(caught.value).splitlines()) <= 2


def test_the_other_file_alone_is_not_enough(folder: Path) -> None:
    (folder / CUBES).unlink()
    assert find(LidcNodulesData(path=folder)).cases
    with pytest.raises(ScanError, match=r"expected cubes48\.npz, found segmented_slices64\.npz"):
        find(LidcNodulesData(path=folder, set="cubes"))


def test_the_real_files(shared_data: Path) -> None:
    path = shared_data / "lidc-nodules"
    slices = find(LidcNodulesData(path=path))
    assert len(slices.cases) == 701
    assert len({case.patient for case in slices.cases}) == 396
    assert sum(len(case.rows) for case in slices.cases) == 3961
    cubes = find(LidcNodulesData(path=path, set="cubes"))
    assert len({case.patient for case in cubes.cases}) == len(cubes.cases) == 100
    scan = read(cubes.cases[0], LidcNodulesData(path=path, set="cubes"))
    assert scan.grid.orientation == "LPI"
    inside = scan.channels["ct"][scan.masks["nodule"] > 0]
    assert inside.mean() > scan.channels["ct"].mean(), "a nodule is denser than the lung around it"
