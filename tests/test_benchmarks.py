"""The benchmarks run, and say what they measured. How fast anything is decides no test."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
# one that stands in for the peer: the interface that the benchmark asks for, and nothing else
PEER = """
class Pix2PixModel:
    def __init__(self, opt):
        assert (opt.netG, opt.norm, opt.gan_mode, opt.lambda_L1) == ("unet_128", "batch", "vanilla", 100.0)
        print("networks made")

    def set_input(self, images):
        assert images["A"].shape == images["B"].shape == (2, 1, 128, 128)

    def optimize_parameters(self):
        pass
"""


@pytest.fixture
def train_step(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module ``benchmarks/train_step.py``."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("train_step")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of ``benchmarks`` by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def run(script: str, out: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run a script; the JSON that it wrote."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--json", str(out), "--threads", "1", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    results: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
    return results


def test_ratios_are_those_of_pairs(train_step: Any) -> None:
    """A machine that becomes slower in the middle changes no ratio."""

    def turn(seconds: float) -> dict[str, Any]:
        work = {"operations": 8e9, "peak_bytes": 2**31, "start_bytes": 2**29, "device": "AVX2"}
        return {"seconds": seconds, "processor_seconds": 1.0} | work

    ours, peer = [turn(1.0), turn(1.0), turn(50.0)], [turn(2.0), turn(2.2), turn(150.0)]
    what, products = {"batch": 4, "device": "cpu", "precision": "float32"}, [turn(9.0) | {"processor_seconds": 0.5}]
    result = train_step._result("peer", what, peer, ours, products)
    assert result["ratio"] == pytest.approx({"median": 2.2, "least": 2.0, "most": 3.0})
    assert result["processor_ratio"]["median"] == 1
    assert result["images_per_second"] == pytest.approx(4 / 2.2)
    assert result["share_of_peak"] == pytest.approx(0.5)  # by processor time
    assert (result["peak_gib"], result["start_gib"]) == (2, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cycle", "wasserstein"])
def test_a_step_of_each_method(method: str, tmp_path: Path) -> None:
    before = f"before={ROOT}"  # another checkout of ours, here the same
    arguments = ("--method", method, "--size", "32", "--width", "4", "--batch", "2", "--rounds", "1", "--peer", before)
    results = run("train_step.py", tmp_path / "step.json", *arguments)
    assert [result["name"] for result in results] == ["synthoma", "before"]
    for result in results:
        assert result["gflop_a_step"] == results[0]["gflop_a_step"] > 0
        assert 0 < result["start_gib"] < result["peak_gib"]
        assert result["images_per_second"] == pytest.approx(2 / result["seconds_a_step"])


@pytest.mark.slow
def test_a_step_beside_one_with_a_setting_changed(tmp_path: Path) -> None:
    arguments = ("--method", "wasserstein", "--size", "32", "--width", "4", "--batch", "4", "--rounds", "1")
    results = run("train_step.py", tmp_path / "step.json", *arguments, "--changed", "penalty_every=4")
    assert [result["name"] for result in results] == ["synthoma", "penalty_every=4"]
    assert results[1]["gflop_a_step"] < 0.8 * results[0]["gflop_a_step"]


@pytest.mark.slow
def test_a_step_beside_a_peer(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pix2pix_model.py").write_text(PEER, encoding="utf-8")
    arguments = ("--method", "conditional", "--size", "128", "--width", "2", "--batch", "2", "--rounds", "2")
    results = run("train_step.py", tmp_path / "step.json", *arguments, "--peer", f"pix2pix={tmp_path}")
    ours, peer = results
    assert (ours["name"], peer["name"]) == ("synthoma", "pix2pix")
    assert peer["gflop_a_step"] == 0
    assert peer["ratio"]["most"] < 1  # it does nothing, so it is faster


@pytest.mark.slow
def test_memory_of_training_and_drawing(tmp_path: Path) -> None:
    arguments = ("--method", "conditional", "--size", "32", "--width", "2", "--batch", "2", "--steps", "1")
    results = run("memory.py", tmp_path / "memory.json", *arguments)
    assert [(result["do"], result["recompute"]) for result in results] == [
        ("train", False),
        ("train", True),
        ("draw", False),
    ]
    assert all(0 < result["start_gib"] < result["peak_gib"] for result in results)


@pytest.mark.slow
def test_the_data_path(tmp_path: Path) -> None:
    arguments = ("--size", "32", "--width", "2", "--samples", "10", "--batch", "4", "--epochs", "1")
    results = run("data_path.py", tmp_path / "data.json", *arguments)
    assert [(result["where"], result["augmented"]) for result in results] == [
        ("in memory", False),
        ("in memory", True),
        ("memory-mapped", False),
        ("memory-mapped", True),
    ]
    assert all(result["samples_per_second"] > 0 < result["step_images_per_second"] for result in results)


def test_steps_are_compared_pair_by_pair(load: Any) -> None:
    prepare = load("prepare")

    def turn(seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "processor_seconds": 0.5}

    ours, peer = [turn(1.0), turn(1.0), turn(40.0)], [turn(2.0), turn(3.0), turn(100.0)]
    result = prepare.timing(peer, ours)
    assert result["ratio"] == pytest.approx({"median": 2.5, "least": 2.0, "most": 3.0})
    assert result["processor_ratio"]["median"] == 1
    assert result["scans_per_second"] == pytest.approx(1 / 3)
    image = np.arange(11, dtype=np.float32)
    assert prepare.difference(image, image + np.float32(0.5)) == pytest.approx(0.05)
    assert prepare.difference(image, image[:-1]) is None


def test_memory_and_time_are_those_of_all_processes_of_a_session(load: Any) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("Linux tells it")
    workers = load("prepare_workers")
    work = "held = b'1' * 2**26; import time\nwhile time.process_time() < 0.3: pass\ntime.sleep(0.4)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"
    process = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    seen = workers.Seen(leader=process.pid)
    workers._watch(process, seen)
    assert 2**26 < seen.peak_own_bytes <= seen.peak_bytes < 2**28
    assert len(seen.busy_seconds) == 2
    assert 0.25 < sum(seen.busy_seconds.values()) - seen.busy_seconds[process.pid] < 1
    assert seen.path_seconds == sum(seen.busy_seconds.values())
    seen.busy_seconds = {process.pid: 1.0, 7: 5.0, 8: 6.0}
    assert seen.path_seconds == 7


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ct", "mr"])
def test_steps_of_preparation(kind: str, tmp_path: Path) -> None:
    size = ("8", "32", "32")
    arguments = ("--part", "steps", "--kind", kind, "--shape", *size, "--rounds", "1", "--at-least-s", "0")
    results = run("prepare.py", tmp_path / "prepare.json", *arguments)
    ours = {result["step"]: result for result in results if result["name"] == "synthoma"}
    assert {"resample linear", "median 3x3", "equalise", "crop", "reorient", "read .nii.gz"} < set(ours)
    assert {"body mask", "read DICOM"} < set(ours) if kind == "ct" else {"brain extraction", "n4"} < set(ours)
    assert {result["name"] for result in results} == ({"synthoma"} if kind == "ct" else {"synthoma", "SimpleITK"})
    for result in results:
        assert result["shape"] == [8, 32, 32]
        assert result["scans_per_second"] == pytest.approx(1 / result["seconds_a_scan"])
        assert min(result["ratio"]["least"], result["processor_ratio"]["least"]) > 0
    assert all(result["difference"] == 0 and result["ratio"]["median"] == 1 for result in ours.values())
    assert ours["resize antialiased"]["result_shape"] == [8, 16, 16]


@pytest.mark.slow
def test_workers_of_preparation(tmp_path: Path) -> None:
    arguments = ("--part", "workers", "--patients", "2", "--workers-shape", "8", "64", "64", "--rounds", "1")
    one, two = run("prepare.py", tmp_path / "prepare.json", *arguments)
    assert (one["workers"], two["workers"]) == (1, 2)
    assert one["ratio"]["median"] == one["path_ratio"]["median"] == 1
    assert two["ratio"]["median"] == pytest.approx(one["seconds"] / two["seconds"])
    assert two["path_ratio"]["median"] == pytest.approx(one["path_seconds"] / two["path_seconds"])
    assert one["path_seconds"] == one["busy_seconds"]
    assert two["path_seconds"] < two["busy_seconds"]
    assert one["scans_per_second"] == pytest.approx(2 / one["seconds"])
    assert one["busy_seconds"] > 0.5  # Python and its libraries begin


@pytest.mark.slow
def test_who_is_known_by_heart_is_told_beside_the_errors(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    load("by_heart").main(["--patients", "12", "--train", "4", "--slices", "2", "--epochs", "1"])
    said = capsys.readouterr().out
    assert "conditional, 4 patients, 2 slices, 1 epochs" in said
    assert "cleared" in said  # nobody can be known after one step
