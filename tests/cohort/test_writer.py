"""Writing: complete or not at all, with memory that does not grow."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthoma.cohort import PatientSummary, create_cohort, open_cohort
from synthoma.errors import CohortError, LeakError, OutputError
from synthoma.records import Lineage, Samples

Make = Callable[..., Samples]
Settings = Callable[..., dict[str, Any]]

SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
from synthoma.cohort import create_cohort
from synthoma.records import Samples

path, patients, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
rng = np.random.default_rng(0)
with create_cohort(path, channels=("t1",), mask_names=("body",), shape=(128, 128)) as writer:
    for i in range(patients):
        images = rng.uniform(-1, 1, (16, 1, 128, 128)).astype(np.float32)
        masks = (images > 0).astype(np.uint8)
        slices, labels = tuple(range(16)), ("",) * 16
        writer.add(Samples(images, masks, ("t1",), ("body",), slices, labels, f"p{i}", "", None, {}, "HU", "CT"))
        if pause:
            print(i, flush=True)
            time.sleep(pause)
status = Path("/proc/self/status")  # ru_maxrss would count the process that this one was forked from
print(status.read_text().split("VmHWM:")[1].split()[0] if status.exists() else -1)
"""


def run_script(path: Path, patients: int) -> int:
    command = [sys.executable, "-c", SCRIPT, str(path), str(patients), "0"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_patients(tmp_path: Path) -> None:
    few, many = run_script(tmp_path / "few.cohort", 8), run_script(tmp_path / "many.cohort", 80)
    size = (tmp_path / "many.cohort" / "images.npy").stat().st_size / 1024
    assert size > 0.4 * few  # kilobytes: kept in memory it would show
    assert many < 1.2 * few


def test_killed_while_writing_leaves_nothing_to_read(tmp_path: Path) -> None:
    path = tmp_path / "x.cohort"
    command = [sys.executable, "-c", SCRIPT, str(path), "1000", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    left = list(tmp_path.iterdir())
    assert [folder.name.startswith(".x.cohort.") and folder.suffix == ".partial" for folder in left] == [True]
    with pytest.raises(CohortError):
        open_cohort(path)
    with pytest.raises(CohortError):
        open_cohort(left[0])
    run_script(path, 1)  # what was left is not in the way
    assert len(open_cohort(path, verify=True)) == 16


def test_an_error_inside_leaves_nothing(tmp_path: Path, samples: Make, settings: Settings) -> None:
    def write() -> None:
        with create_cohort(tmp_path / "x.cohort", **settings()) as writer:
            writer.add(samples("a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_existing_output(tmp_path: Path, samples: Make, settings: Settings) -> None:
    path = tmp_path / "x.cohort"
    for patient, overwrite in (("a", False), ("b", True)):
        with create_cohort(path, overwrite=overwrite, **settings()) as writer:
            writer.add(samples(patient))
    with pytest.raises(OutputError, match="--overwrite"), create_cohort(path, **settings()) as writer:
        writer.add(samples("c"))
    assert open_cohort(path, verify=True).patients == ("b",)
    assert list(tmp_path.iterdir()) == [path]


def test_empty_cohort(tmp_path: Path, settings: Settings) -> None:
    with (
        pytest.raises(CohortError, match=r"x\.cohort: expected at least one sample, found none"),
        create_cohort(tmp_path / "x.cohort", **settings()),
    ):
        pass


def blown(images: np.ndarray[Any, Any], value: float) -> np.ndarray[Any, Any]:
    images = images.copy()
    images[0, 0, 0, 0] = value
    return images


IMAGES = np.zeros((3, 2, 12, 12), np.float32)
MASKS = np.zeros((3, 2, 12, 12), np.uint8)
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "channels": ({"channels": ("t1", "t2")}, r"patient a, channels: expected \('t1', 'flair'\), found \('t1', 't2'\)"),
    "masks": ({"mask_names": ("body", "tumour")}, "patient a, masks"),
    "unit": ({"unit": "mSv"}, "patient a, unit: expected one of HU, arbitrary, found 'mSv'"),
    "modality": ({"modality": "CT+MR"}, r"patient a, modality: expected one of MR, CT, OT, found 'CT\+MR'"),
    "image shape": ({"images": IMAGES[..., :11]}, "patient a, shape of images"),
    "mask shape": ({"masks": MASKS[:2]}, "patient a, shape of masks"),
    "NaN": ({"images": blown(IMAGES, np.nan)}, r"expected finite values in \[-1, 1\], found nan"),
    "infinite": ({"images": blown(IMAGES, np.inf)}, r"expected finite values in \[-1, 1\], found 0 to inf"),
    "too large": ({"images": blown(IMAGES, 1.00001)}, "found 0 to 1.00001"),
    "too small": ({"images": blown(IMAGES, -2)}, "found -2 to 0"),
    "mask of 2": ({"masks": MASKS + np.uint8(2)}, "expected uint8 of 0 and 1, found uint8 up to 2"),
    "mask of floats": ({"masks": MASKS.astype(np.float32)}, "found float32"),
    "labels": ({"labels": ("tumour",)}, "patient a, label: expected 3 values, found 1"),
    "one slice twice": ({"slices": (1, 1, 2)}, "sample a/0001: expected an id of its own"),
    "no patient": ({"patient": ""}, "patient: expected a name"),
    "semicolon": ({"patient": "a;b"}, "an id without ';'"),
    "line break": ({"site": "a\nb"}, "site: expected printable characters"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_unfit_samples(tmp_path: Path, samples: Make, settings: Settings, kind: str) -> None:
    changes, message = UNFIT[kind]
    patient = changes.get("patient", "a")
    unfit = samples(patient, **{k: v for k, v in changes.items() if k != "patient"})
    with create_cohort(tmp_path / "x.cohort", **settings()) as writer:
        writer.add(samples("z"))
        with pytest.raises(CohortError, match=message) as caught:
            writer.add(unfit)
        assert len(str(caught.value).splitlines()) <= 2
    assert open_cohort(tmp_path / "x.cohort", verify=True).patients == ("z",)  # refused as a whole


def test_rounding_beyond_the_range_is_cut(tmp_path: Path, samples: Make, settings: Settings) -> None:
    with create_cohort(tmp_path / "x.cohort", **settings()) as writer:
        writer.add(samples("a", images=blown(IMAGES, 1 + 5e-7)))
    assert open_cohort(tmp_path / "x.cohort").images.max() == 1


def test_an_id_is_used_once(tmp_path: Path, samples: Make, settings: Settings) -> None:
    with create_cohort(tmp_path / "x.cohort", **settings()) as writer:
        writer.add(samples("a"))
        with pytest.raises(CohortError, match="sample a/0010: expected an id of its own"):
            writer.add(samples("a", seed=1))
        with pytest.raises(CohortError, match="an id 'b/…' with no other '/'"):
            writer.add(samples("b"), ids=("b/1", "b/2", "b/3/4"))
        with pytest.raises(CohortError, match="id: expected 3 values, found 1"):
            writer.add(samples("b"), ids=("b/1",))
        writer.add(samples("a", seed=1), ids=("a/x", "a/y", "a/z"))
    assert open_cohort(tmp_path / "x.cohort").table["id"][3:].tolist() == ["a/x", "a/y", "a/z"]


def test_half_precision(tmp_path: Path, samples: Make, settings: Settings) -> None:
    with create_cohort(tmp_path / "x.cohort", dtype="float16", **settings()) as writer:
        writer.add(samples("a"))
    cohort = open_cohort(tmp_path / "x.cohort", verify=True)
    assert cohort.images.dtype == np.float16
    assert np.abs(cohort.images.astype(np.float32) - samples("a").images).max() <= 2**-12


def test_patients_splits_and_lineages(tmp_path: Path, samples: Make, settings: Settings) -> None:
    train = Lineage.of("train", parents=(), recipe={}, seed=0, patients_seen=("a",))
    made = Lineage.of("generate", parents=(train.id,), recipe={}, seed=0, patients_seen=("a",))
    with create_cohort(tmp_path / "x.cohort", lineages=(train,), conditions=("t1", "mask"), **settings()) as writer:
        writer.add(samples("a", labels=("tumour", "tumour-free", "tumour")))
        writer.add(
            samples("b", site="south"),
            origin="synthetic",
            reference=("a/0010", "a/0011", ""),
            made_from=("a/0010", "a/0010;a/0011", ""),
            lineage=train.id,
        )
        assert writer.patients == {
            "a": PatientSummary("north", {"tumour": 2, "tumour-free": 1}, "MR"),
            "b": PatientSummary("south", {"tumour": 3}, "MR"),
        }
        with pytest.raises(CohortError, match="one for each patient, found none for b"):
            writer.set_splits({"a": ("train", 0)})
        writer.set_splits({"a": ("train", 0), "b": ("test", 1)})
        writer.set_lineage(made)
        writer.note("a word")
    cohort = open_cohort(tmp_path / "x.cohort", verify=True)
    assert cohort.table["split"].tolist() == ["train"] * 3 + ["test"] * 3
    assert cohort.table["fold"].tolist() == [0, 0, 0, 1, 1, 1]
    assert cohort.table["lineage"].tolist() == [made.id] * 3 + [train.id] * 3
    assert cohort.table["made_from"].tolist() == ["", "", "", "a/0010", "a/0010;a/0011", ""]
    assert cohort.lineages == {train.id: train, made.id: made}
    assert (cohort.conditions, cohort.notes) == (("t1", "mask"), ("a word",))


def test_modality_and_unit_are_of_each_sample(tmp_path: Path, samples: Make, settings: Settings) -> None:
    with create_cohort(tmp_path / "x.cohort", **settings()) as writer:
        writer.add(samples("a"))
        writer.add(samples("b", n=2, modality="CT", unit="HU"))
        writer.add(samples("a", n=1, seed=1, modality="OT"), scan="other", ids=("a/other",))
        assert {name: one.modality for name, one in writer.patients.items()} == {"a": "MR+OT", "b": "CT"}
    cohort = open_cohort(tmp_path / "x.cohort", verify=True)
    assert cohort.table["modality"].tolist() == ["MR"] * 3 + ["CT"] * 2 + ["OT"]
    assert cohort.table["unit"].tolist() == ["arbitrary"] * 3 + ["HU"] * 2 + ["arbitrary"]
    assert (cohort.modality, cohort.unit) == ("CT+MR+OT", "HU+arbitrary")
    only = cohort.select(cohort.rows(modality="CT"))
    assert (only.modality, only.unit, len(only)) == ("CT", "HU", 2)
    assert only.select(np.array([], dtype=np.intp)).modality == "CT"


def test_unknown_lineage(tmp_path: Path, samples: Make, settings: Settings) -> None:
    with (
        pytest.raises(CohortError, match="lineages that were given to the writer, found 'nobody'"),
        create_cohort(tmp_path / "x.cohort", **settings()) as writer,
    ):
        writer.add(samples("a"), lineage="nobody")


def test_a_leak_is_not_written(tmp_path: Path, samples: Make, settings: Settings) -> None:
    def write() -> None:
        with create_cohort(tmp_path / "x.cohort", **settings()) as writer:
            writer.add(samples("a"), split="train")
            writer.add(samples("a", seed=1), split="test", ids=("a/1", "a/2", "a/3"))

    with pytest.raises(LeakError, match="on two: a"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_writing_twice_gives_the_same_bytes(tmp_path: Path, samples: Make, settings: Settings, dtype: Any) -> None:
    for name in ("x", "y"):
        with create_cohort(tmp_path / name, dtype=dtype, **settings()) as writer:
            writer.add(samples("a"))
        time.sleep(0.01)  # no time stamp may enter
    for file in (tmp_path / "x").iterdir():
        assert file.read_bytes() == (tmp_path / "y" / file.name).read_bytes()
