"""``synthoma train`` by several processes, as a user types it: what is said, by whom, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthoma.gans.checkpoints import load_checkpoint
from synthoma.records import Cohort
from synthoma.training import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SMALL = (
    "gan.width=4",
    "gan.discriminator_width=4",
    "gan.norm=instance",
    "training.batch_size=4",
    "training.precision=float32",
    "training.device=cpu",
    "training.variety=false",
)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def words(cohort: Cohort, out: Path, *more: str, epochs: int = 1) -> list[str]:
    sets = [word for setting in (*SMALL, f"training.epochs={epochs}") for word in ("--set", setting)]
    return ["-m", "synthoma", "train", str(cohort.path), "--out", str(out), *sets, *more]


def typed(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], env=ENVIRONMENT, capture_output=True, text=True, timeout=400)


def children(parent: int) -> list[int]:
    """Its child processes, in the order in which they were started."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return sorted(int(child) for child in found)


@pytest.fixture
def begun(ellipse_cohort: Cohort, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Two processes in the midst of a long training, started by a third."""
    command = [sys.executable, *words(ellipse_cohort, tmp_path / "run", "--devices", "2", epochs=4000)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 400
    while not (tmp_path / "run" / "log.jsonl").is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


def test_two_devices_train_and_one_speaks(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    done = typed(*words(ellipse_cohort, tmp_path / "run", "--devices", "2"))
    assert (done.returncode, done.stdout) == (0, f"Trained: {tmp_path / 'run'}\n"), done.stderr
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["3/3"]
    assert RunFolder(tmp_path / "run").finished
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["train", "validation"]

    again = typed(*words(ellipse_cohort, tmp_path / "run", "--devices", "2"))
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == (
        f"error: {tmp_path / 'run'}: expected a new folder, found one that exists.\n"
        "Go on with --resume, or start anew with --overwrite.\n"
    )


def test_torchrun_by_hand(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = typed(*torchrun, *words(ellipse_cohort, tmp_path / "run"))
    assert (done.returncode, done.stdout) == (0, f"Trained: {tmp_path / 'run'}\n"), done.stderr
    before = (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes()
    other = words(ellipse_cohort, tmp_path / "run", "--set", "training.batch_size=3", "--overwrite")
    refused = typed(*torchrun, *other)
    assert refused.returncode == 1  # torchrun's own, as is the table that follows
    assert refused.stderr.startswith("error: training.batch_size: expected a multiple of 2, the number of processes")
    assert refused.stderr.count("error: training.batch_size") == 1
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_of_all(
    number: signal.Signals, begun: subprocess.Popen[str], ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    begun.send_signal(number)
    out, err = begun.communicate(timeout=400)
    assert (begun.returncode, out) == (130, ""), err
    said = err.splitlines()
    assert "the state is saved in" in said[-2]
    assert said[-1].startswith("Go on with --resume")
    assert err.count("Stopped after") == 1
    assert "Traceback" not in err
    step = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors").step
    assert f"Stopped after {step} of 12000 steps" in said[-2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc for the children")
def test_a_process_that_is_killed_is_named(begun: subprocess.Popen[str]) -> None:
    os.kill(children(begun.pid)[1], signal.SIGKILL)
    _, err = begun.communicate(timeout=400)
    assert begun.returncode == 1
    assert err.splitlines()[-2:] == [
        "error: process 1: expected the end of the training, found that SIGKILL killed it.",
        "Too little memory? Go on with --resume on fewer --devices, or anew with a smaller batch_size.",
    ], err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc for the children")
def test_the_processes_stop_when_the_one_that_started_them_is_killed(
    begun: subprocess.Popen[str], tmp_path: Path
) -> None:
    workers = children(begun.pid)
    begun.kill()
    begun.wait()
    deadline = time.monotonic() + 400
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors").step < 12000
