"""The cache of preparation: what precedes a changed step is not done again, and what comes out is the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from synthoma.errors import ScanError
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom
from synthoma.preprocessing import N4, Normalise, PreprocessingOptions, Reorient, Resize, SkullStrip
from synthoma.protocol import cache, prepare_cases
from synthoma.protocol.prepare import prepare
from synthoma.records import Grid, Scan, SourceFile
from synthoma.scans import BratsData, Case, find
from synthoma.scans.folders import FOLDER_SOURCES

FILES = ("images.npy", "masks.npy", "samples.csv", "cohort.json", "qc.html", "rejected.csv", "cases.csv")
STEPS = (Reorient(), SkullStrip(), N4(iterations=2), Normalise(), Resize(size=32))


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small phantoms; not to be changed."""
    folder = tmp_path_factory.mktemp("phantom") / "scans"
    return write_brain_phantom(folder, BrainPhantomOptions(patients=4, spacing_mm=4.0))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often a case was read and each step was run, here in this process."""
    counts = {"read": 0}
    read = prepare_cases.read

    def reading(case: Case, data: object) -> Scan:
        counts["read"] += 1
        return read(case, data)

    monkeypatch.setattr(prepare_cases, "read", reading)
    for step in {type(step) for step in STEPS}:

        def running(self: Callable[[Scan], Scan], scan: Scan, run: Callable = step.__call__) -> Scan:
            counts[self.step] = counts.get(self.step, 0) + 1
            return run(self, scan)

        monkeypatch.setattr(step, "__call__", running)
    monkeypatch.setattr(prepare_cases, "KEEP_AFTER_S", -1.0)  # whatever a step took
    return counts


@pytest.mark.slow
def test_only_what_follows_a_changed_step_is_done_again(phantom: Path, tmp_path: Path, counted: dict[str, int]) -> None:
    data = BratsData(path=phantom)

    def made(name: str, *, kept: bool = True, **changes: object) -> dict[str, int]:
        options = PreprocessingOptions(channels=("t1", "flair"), steps=STEPS).model_copy(update=changes)
        counted.update(dict.fromkeys(counted, 0))
        folder = tmp_path / name
        folder.mkdir()
        prepare(data, options, None, folder / "x.cohort", cache=tmp_path / "cache" if kept else None)
        return {what: count for what, count in counted.items() if count}

    def same(one: str, other: str) -> bool:
        a, b = ((tmp_path / name / "x.cohort") for name in (one, other))
        return all((a / name).read_bytes() == (b / name).read_bytes() for name in FILES)

    first = made("first")
    assert first == dict.fromkeys(("read", "reorient", "skull_strip", "n4", "normalise", "resize"), 4)
    assert made("again") == {}
    assert same("first", "again")
    smaller = (*STEPS[:-1], Resize(size=24))
    assert made("smaller", steps=smaller) == {"resize": 4}
    assert made("plain", kept=False, steps=smaller) == first
    assert same("smaller", "plain")
    assert not same("smaller", "first")
    sampling = PreprocessingOptions().sampling.model_copy(update={"per_patient": 3})
    assert made("fewer", sampling=sampling) == {}
    strip = (STEPS[0], SkullStrip(extent="head"), *STEPS[2:])
    assert made("strip", steps=strip) == {"skull_strip": 4, "n4": 4, "normalise": 4, "resize": 4}
    assert made("channels", channels=("t1",)) == {what: 4 for what in first if what != "read"}


def test_a_changed_file_is_read_again(phantom: Path, tmp_path: Path, counted: dict[str, int]) -> None:
    import shutil

    shutil.copytree(phantom, tmp_path / "scans")
    options = PreprocessingOptions(channels=("t1", "flair"), steps=(Normalise(), Resize(size=32)))

    def made(name: str) -> int:
        counted["read"] = 0
        prepare(BratsData(path=tmp_path / "scans"), options, None, tmp_path / name, cache=tmp_path / "cache")
        return counted["read"]

    assert made("first") == 4
    path = tmp_path / "scans" / "BraTS2021_00002" / "BraTS2021_00002_t1.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj)[::-1], image.affine), path)
    assert made("changed") == 1
    prepare(BratsData(path=tmp_path / "scans"), options, None, tmp_path / "plain")
    assert (tmp_path / "changed" / "images.npy").read_bytes() == (tmp_path / "plain" / "images.npy").read_bytes()


def test_damaged_entries_are_made_anew(phantom: Path, tmp_path: Path, counted: dict[str, int]) -> None:
    options = PreprocessingOptions(channels=("t1",), steps=(Normalise(), Resize(size=32)))
    data, folder = BratsData(path=phantom), tmp_path / "cache"

    def made(name: str) -> int:
        counted["read"] = 0
        prepare(data, options, None, tmp_path / name, cache=folder)
        return counted["read"]

    assert made("first") == 4
    rng = np.random.default_rng(0)
    entries = sorted(path for path in folder.glob("*/*") if path.is_dir())
    assert len(entries) == 12
    for number, entry in enumerate(entries):
        victims = sorted(entry.iterdir())
        victim = victims[number % len(victims)]
        content = bytearray(victim.read_bytes())
        match number % 4:
            case 0:
                content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
            case 1:
                del content[len(content) // 2 :]
            case 2:
                content.clear()
            case 3:
                victim.unlink()
                continue
        victim.write_bytes(content)
    assert made("again") == 4
    assert made("whole") == 0
    for name in ("again", "whole"):
        assert (tmp_path / name / "images.npy").read_bytes() == (tmp_path / "first" / "images.npy").read_bytes()


def scan_of(**more: object) -> Scan:
    shape = (2, 3, 4)
    grid = Grid(shape, (0.1, 0.7, 1 / 3), (1 / 7, -2.5, 3e5), ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (-1.0, 0.0, 0.0)))
    rng = np.random.default_rng(0)
    return Scan(
        {"t2": rng.normal(size=shape).astype(np.float32), "a/b": np.full(shape, np.nextafter(1, 2), np.float32)},
        {"liver": np.ones(shape, np.uint8), "nodule-1": np.zeros(shape, np.uint8)},
        grid, "P", site="S", label="x", labels={"nodule-1": "benign"}, organs=("liver",), missing=("t1",),
        source=(SourceFile("a", "0" * 64),), intensity={"t2": (1 / 3, 2e9)}, notes=("ü", "b"), **more,
    )  # fmt: skip


def test_every_field_of_a_scan_comes_back(tmp_path: Path) -> None:
    scan = scan_of(modality="CT", unit="HU")
    defaults = {f.name: f.default for f in fields(Scan)}
    assert all(
        getattr(scan, name) != default for name, default in defaults.items() if name not in ("channels", "masks")
    )
    arrays, content = cache.scan_parts(scan)
    cache.keep(tmp_path, "ab12", arrays, content)
    found = cache.kept(tmp_path, "ab12")
    assert found is not None
    again = cache.scan_from(*found)
    for f in fields(Scan):
        if f.name not in ("channels", "masks"):
            assert getattr(again, f.name) == getattr(scan, f.name), f.name
    for kind in ("channels", "masks"):
        assert list(getattr(again, kind)) == list(getattr(scan, kind))
        for name, array in getattr(scan, kind).items():
            assert np.array_equal(getattr(again, kind)[name], array)
    assert cache.kept(tmp_path, "ab13") is None


def test_an_entry_with_objects_in_it_is_not_loaded(tmp_path: Path) -> None:
    cache.keep(tmp_path, "ab12", {"x": np.zeros(3)}, {})
    np.save(tmp_path / "ab" / "ab12" / "0.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert cache.kept(tmp_path, "ab12") is None


def test_two_who_store_the_same_leave_one_whole_entry(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    arrays = {"x": np.arange(20000.0)}
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(cache.keep, tmp_path, "ab12", arrays, {"a": 1}) for _ in range(40)]:
            done.result()
    found = cache.kept(tmp_path, "ab12")
    assert found is not None
    assert np.array_equal(found[0]["x"], arrays["x"])
    assert [path.name for path in (tmp_path / "ab").iterdir()] == ["ab12"]


def test_the_key_holds_all_that_a_case_depends_on(phantom: Path, tmp_path: Path) -> None:
    case = find(BratsData(path=phantom)).cases[0]
    key = cache.case_key(case, {"source": "brats"})
    assert cache.case_key(case, {"source": "brats"}) == key
    others = [
        cache.case_key(case, {"source": "nifti"}),
        cache.case_key(replace(case, label="x"), {"source": "brats"}),
        cache.case_key(replace(case, rows=(1,)), {"source": "brats"}),
        cache.step_key(key, {"step": "n4"}, ("t1",)),
        cache.step_key(key, {"step": "n4"}, ("t2",)),
    ]
    assert len({key, *others}) == 6
    with pytest.raises(FileNotFoundError):
        cache.case_key(replace(case, files={"t1": tmp_path / "gone"}), {})


@pytest.mark.parametrize(
    ("source", "folder", "settings"),
    [
        ("brats", "brats", {}),
        ("tcga-lgg", "tcga-lgg", {}),
        ("nifti", "mr-ct/abdomen-nifti", {"channels": {"ct": "{patient}_sm.nii.gz"}}),
        ("lidc-nodules", "lidc-nodules", {}),
        ("lidc", "lidc", {}),
        ("ircadb", "liver-ct", {}),
        ("dicom", "mr-ct/head-dicom", {"geometry": {"irregular": "resample"}}),
    ],
)
def test_every_file_that_a_source_reads_is_in_the_key(
    shared_data: Path, source: str, folder: str, settings: dict[str, object]
) -> None:
    """Else a changed file would not be noticed. A scan says itself which files it was read from."""
    if source not in FOLDER_SOURCES:
        pytest.skip(f"no source {source}")
    data = FOLDER_SOURCES[source].options(path=shared_data / folder, **settings)
    seen = 0
    for case in find(data).cases:
        try:
            scan = prepare_cases.read(case, data)
        except ScanError:
            continue
        seen += 1
        known = {path.name for path in cache.files_of(case)}
        for file in scan.source:
            assert any(f"/{name}" in f"/{file.path}" for name in known), file.path
        if seen == 2:
            break
    assert seen
