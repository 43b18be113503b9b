"""One bad patient among twenty never stops the others: each ends in ``rejected.csv`` with its reason and a remedy."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from synthoma.cohort import open_cohort
from synthoma.errors import MissingPartError, describe
from synthoma.protocol import prepare_cases

SETTINGS = (
    "--set", "data.channels={t1: '{patient}/t1.nii.gz'}", "--set", "data.masks={lesion: '{patient}/seg.nii.gz'}",
    "--set", "preprocessing.steps=[{step: reorient}, {step: normalise, keep_outside: true}, {step: resize, size: 16}]",
    "--set", "preprocessing.require_lesion_mask=true",
)  # fmt: skip


def write(folder: Path, key: int, name: str = "t1", array: np.ndarray | None = None) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(key)
    voxels = rng.integers(50, 900, (14, 12, 6)).astype(np.int16)
    if name == "seg":
        voxels = np.zeros(voxels.shape, np.uint8)
        voxels[4:9, 4:8, 2:4] = 1
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(voxels if array is None else array, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


@pytest.fixture
def twenty(tmp_path: Path) -> Path:
    """Twenty patients, seven of them bad in different ways, and a folder that is none."""
    root = tmp_path / "scans"
    for number in range(20):
        write(root / f"P{number:02d}", number)
        write(root / f"P{number:02d}", number, "seg")
    truncated = root / "P01" / "t1.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:900])
    (root / "P04" / "t1.nii.gz").write_bytes(gzip.compress(b"no NIfTI at all" * 100))
    write(root / "P07", 7, array=np.full((14, 12, 6), np.nan, np.float32))
    write(root / "P09", 9, array=np.full((14, 12, 6), 5, np.int16))
    write(root / "P12", 12, "seg", np.zeros((13, 12, 6), np.uint8))
    (root / "P15" / "seg.nii.gz").unlink()
    (root / "P19" / "t1.nii.gz").write_bytes(b"")
    write(root / "other", 99, "unknown")
    return root


BAD = {"P01", "P04", "P07", "P09", "P12", "P15", "P19", "other"}


def table(cohort: Path) -> dict[str, dict[str, str]]:
    with (cohort / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_bad_patients_do_not_stop_the_others(typed, twenty, tmp_path, workers):
    out = tmp_path / "x.cohort"
    said = typed("prepare", "nifti", twenty, "--out", out, *SETTINGS, "--workers", workers)
    assert said.code == 0, said.err
    assert said.err == ""
    assert f"Look at {out / 'qc.html'}\n8 left out, with what to do: {out / 'rejected.csv'}" in said.out
    cohort = open_cohort(out, verify=True)
    assert set(cohort.patients) == {f"P{number:02d}" for number in range(20)} - BAD
    rejected = table(out)
    assert set(rejected) == BAD
    for name, file, reason in (
        ("P01", "P01/t1.nii.gz", "cannot be read"),
        ("P04", "P04/t1.nii.gz", "other or truncated content"),
        ("P07", "P07/t1.nii.gz", "NaN"),
        ("P09", "P09/t1.nii.gz", "the constant 5"),
        ("P12", "P12/seg.nii.gz", "expected P12/seg.nii.gz of the shape of P12/t1.nii.gz"),
        ("P15", "", "expected a lesion mask, found none"),
        ("P19", "P19/t1.nii.gz", "an empty file"),
        ("other", "other", "no file fits a pattern"),
    ):
        assert reason in rejected[name]["reason"], rejected[name]
        assert rejected[name]["file"] == file
        assert rejected[name]["remedy"]
    assert rejected["P15"]["remedy"] == "Set require_lesion_mask to false to keep such patients."
    page = (out / "qc.html").read_text(encoding="utf-8")
    assert "13 of 21 cases found were prepared" in page
    assert all(f">{name}</th>" in page for name in BAD)
    for text in ((out / "rejected.csv").read_text(), page, (out / "cohort.json").read_text()):
        assert str(tmp_path) not in text, "no path of this machine"


def test_strict_stops_at_the_first(typed, twenty, tmp_path):
    said = typed("prepare", "nifti", twenty / "..", "--out", tmp_path / "x.cohort", "--strict", *SETTINGS)
    assert said.code == 2
    for name in BAD - {"other", "P15"}:
        (twenty / name / "seg.nii.gz").unlink()
        (twenty / name / "t1.nii.gz").unlink()
    (twenty / "other" / "unknown.nii.gz").unlink()
    said = typed("prepare", "nifti", twenty, "--out", tmp_path / "x.cohort", "--strict", *SETTINGS)
    assert said.code == 2
    assert said.err == (
        "error: P15: expected a lesion mask, found none.\nSet require_lesion_mask to false to keep such patients.\n"
    )
    assert not (tmp_path / "x.cohort").exists()


def test_an_unforeseen_exception_costs_its_own_case_only(typed, twenty, tmp_path, monkeypatch):
    read, said_by_a_library = prepare_cases.read, "cannot use 'DOE^JANE' here\nsecond line"

    def failing(case, data):
        if case.name == "P05":
            raise RuntimeError(said_by_a_library)
        if case.name == "P06":
            raise MissingPartError(describe("P06", "a plugin", "none", "pip install it."))
        return read(case, data)

    monkeypatch.setattr(prepare_cases, "read", failing)
    words = ("prepare", "nifti", twenty, "--out", tmp_path / "x.cohort", *SETTINGS, "--workers", 1)
    said = typed(*words)
    assert said.code == 0
    assert said.err == ""
    rejected = table(tmp_path / "x.cohort")
    assert rejected["P05"]["reason"] == "RuntimeError: cannot use '…' here"
    assert "report it, with what --debug shows" in rejected["P05"]["remedy"]
    assert (rejected["P06"]["reason"], rejected["P06"]["remedy"]) == (
        "expected a plugin, found none.", "pip install it."
    )  # fmt: skip
    said = typed(*words, "--overwrite", "--debug")
    assert said.code == 0
    assert "P05:\n" in said.err
    assert "in failing" in said.err
    assert "DOE" not in said.err + said.out
    said = typed(*words, "--overwrite", "--strict", "--set", "data.masks={lesion: '{patient}/s*.nii.gz'}")
    assert said.code == 2


@pytest.mark.parametrize(("kind", "code"), [(MissingPartError, 3), (KeyError, 2)])
def test_where_no_case_can_be_used_the_reason_is_said(typed, twenty, tmp_path, monkeypatch, kind, code):
    def failing(case, data):
        raise kind(describe(case.name, "a plugin", "none", "pip install it."))

    monkeypatch.setattr(prepare_cases, "read", failing)
    said = typed("prepare", "nifti", twenty, "--out", tmp_path / "x.cohort", *SETTINGS)
    assert said.code == code
    assert "expected at least one case that can be used, found none (P00: " in said.err
    assert len(said.err.splitlines()) == 2
    assert ("pip install it." if code == 3 else "report it") in said.err
    assert not (tmp_path / "x.cohort").exists()


def test_a_cohort_without_bad_patients_says_so(typed, tmp_path):
    for number in range(3):
        write(tmp_path / "scans" / f"P{number}", number)
        write(tmp_path / "scans" / f"P{number}", number, "seg")
    said = typed("prepare", "nifti", tmp_path / "scans", "--out", tmp_path / "x.cohort", *SETTINGS)
    assert said.code == 0
    assert "left out" not in said.out
    assert (tmp_path / "x.cohort" / "rejected.csv").read_text() == "name,file,reason,remedy\n"
    assert "All 3 cases found were prepared" in (tmp_path / "x.cohort" / "qc.html").read_text(encoding="utf-8")


def test_the_cache_is_a_folder_of_the_users(typed, twenty, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_cases, "KEEP_AFTER_S", -1.0)
    words = ("prepare", "nifti", twenty, *SETTINGS, "--workers", 1)
    assert typed(*words, "--out", tmp_path / "a" / "x.cohort", "--cache", tmp_path / "cache").code == 0
    assert any((tmp_path / "cache").iterdir())
    assert typed(*words, "--out", tmp_path / "b" / "x.cohort", "--cache", tmp_path / "cache").code == 0
    for name in ("images.npy", "masks.npy", "samples.csv", "cohort.json", "qc.html", "rejected.csv", "cases.csv"):
        a, b = ((tmp_path / folder / "x.cohort" / name).read_bytes() for folder in "ab")
        assert a == b, name
    (tmp_path / "file").write_text("precious")
    said = typed(*words, "--out", tmp_path / "c.cohort", "--cache", tmp_path / "file")
    assert said.code == 2
    assert "expected to write here, found a file where a folder should be." in said.err
    assert not (tmp_path / "c.cohort").exists()
