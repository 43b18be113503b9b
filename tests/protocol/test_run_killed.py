"""A protocol that is killed, or stopped, at any moment and continued ends in the tables of an uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from synthoma.protocol.run import run
from synthoma.recipes import Recipe
from synthoma.recipes.recipe import to_yaml

pytestmark = pytest.mark.slow

KILLS = 10


@pytest.fixture(scope="module")
def whole(discs: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted protocol."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(discs, out, say=lambda _: None)
    return out


def begin(recipe: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "synthoma", "run", recipe, "--out", out, *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([str(word) for word in command], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)  # fmt: skip


def same_tables(out: Path, whole: Path) -> None:
    tables = sorted(whole.rglob("evidence.csv"))
    assert len(tables) == 7
    for table in tables:
        assert (out / table.relative_to(whole)).read_bytes() == table.read_bytes(), table
    assert (out / "evidence" / "protocol.json").read_bytes() == (whole / "evidence" / "protocol.json").read_bytes()
    assert (out / "report.html").is_file()
    assert not [path for path in (out / "folds").rglob("*") if path.name.endswith((".partial", ".old"))]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_at_ten_random_moments(discs: Recipe, whole: Path, tmp_path: Path, workers: str) -> None:
    """Each kill comes a random while after the first sign of progress; a study that ends before it is followed by
    another, so that the speed of the machine decides nothing."""
    recipe, outs = tmp_path / "discs.yaml", [tmp_path / "out-0"]
    recipe.write_text(to_yaml(discs))
    random = np.random.default_rng(int(workers))
    killed = 0
    while killed < KILLS:
        study = begin(recipe, outs[-1], "--workers", workers)
        assert study.stdout is not None
        while not (line := study.stdout.readline()).rstrip().endswith("…") and line:
            pass
        time.sleep(random.uniform(0, 2.5))
        if study.poll() is None:
            study.send_signal(signal.SIGKILL)
        ended = study.wait()
        assert ended in (0, -signal.SIGKILL), study.stdout.read()
        study.stdout.close()
        if ended == 0:
            outs.append(tmp_path / f"out-{len(outs)}")
        else:
            killed += 1
    study = begin(recipe, outs[-1], "--workers", workers)
    said, _ = study.communicate()
    assert study.returncode == 0, said
    assert "The report:" in said
    for out in outs:
        same_tables(out, whole)


@pytest.mark.timeout(900)
def test_ctrl_c_saves_and_the_same_command_goes_on(discs: Recipe, whole: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "discs.yaml", tmp_path / "out"
    recipe.write_text(to_yaml(discs))
    study = begin(recipe, out, "--workers", "2")
    assert study.stdout is not None
    while not (line := study.stdout.readline()).rstrip().endswith("train …"):
        assert line
    time.sleep(0.5)
    study.send_signal(signal.SIGINT)
    said, _ = study.communicate(timeout=300)
    assert study.returncode == 130, said
    assert "stages done; trainings saved their state.\nGo on with the same command." in said
    study = begin(recipe, out, "--workers", "2")
    said, _ = study.communicate()
    assert study.returncode == 0, said
    assert "done before" in said
    same_tables(out, whole)
