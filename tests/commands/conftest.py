"""A tiny study made once by the command line itself, and a way to type commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from synthoma.commands import main
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom

SMALL = (
    "preprocessing.steps.resize.size=32",
    "preprocessing.sampling.per_patient=6",
    "preprocessing.channels=[t1, flair]",
)
SMALL_GAN = ("gan.width=4", "gan.discriminator_width=4", "gan.norm=instance", "training.epochs=1", "training.threads=1")
QUICK = ("evaluation.families=[similarity]", "evaluation.bootstrap_draws=100")


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Type = Callable[..., Said]


def sets(*settings: str) -> list[str]:
    """``--set`` before each."""
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    """Run a command in this process, as quick as that; every word is an argument."""
    monkeypatch.delenv("SYNTHOMA_DEBUG", raising=False)

    def run(*words: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return Said(int(left.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def shell() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m synthoma`` in a process of its own, as a user does."""

    def run(*words: object, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "synthoma", *(str(word) for word in words)]
        env = os.environ | {"OMP_NUM_THREADS": "1"} | changes
        return subprocess.run(command, capture_output=True, text=True, env=env, check=False)

    return run


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BraTS folder of eight small phantoms; not to be changed."""
    folder = tmp_path_factory.mktemp("phantom") / "scans"
    return write_brain_phantom(folder, BrainPhantomOptions(patients=8, spacing_mm=4.0))


@pytest.fixture
def some_scans(scans: Path, tmp_path: Path) -> Path:
    """A copy of four of them, to be damaged."""
    for name in sorted(path.name for path in scans.iterdir() if path.is_dir())[:4]:
        shutil.copytree(scans / name, tmp_path / "scans" / name)
    return tmp_path / "scans"


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> Path:
    """A folder with ``real.cohort``, ``gan`` and ``reconstruct.cohort``, each by its command; not to be changed."""
    folder = tmp_path_factory.mktemp("study")
    real, gan, made = folder / "real.cohort", folder / "gan", folder / "reconstruct.cohort"
    for words in (
        ("prepare", "brats", scans, "--out", real, *sets(*SMALL, "split.test=0.2", "split.train=0.6", "split.folds=2")),
        ("train", real, "--out", gan, *sets(*SMALL_GAN)),
        ("generate", gan, real, "--out", made),
    ):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        assert left.value.code == 0
    return folder


@pytest.fixture
def real(study: Path) -> Path:
    """The real cohort of the study."""
    return study / "real.cohort"


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Settings of a small cohort."""
    return sets(*SMALL)


@pytest.fixture(scope="session")
def small_gan() -> list[str]:
    """Settings of a small GAN."""
    return sets(*SMALL_GAN)


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Settings of a quick evaluation."""
    return sets(*QUICK)
