"""The code blocks of the pages are run as they stand, in order, a folder a page.

What cannot be run everywhere (a GPU, SLURM, a container, a package index) begins with ``# not run``; of those blocks
the options and settings are checked. ``data.md`` and the README have tests of their own.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from synthoma.commands.app import app
from synthoma.recipes import load_recipe, read_blocks

DOCS = Path(__file__).resolve().parents[2] / "docs"
RUN = ("own-scans", "machines", "offline", "install", "settings", "exit-codes", "python")
PAGES = sorted(page.stem for page in DOCS.glob("*.md"))
NOT_RUN = re.compile(r"^# not run", re.MULTILINE)
BLOCKS_OF = {"prepare": ("data", "preprocessing", "split"), "train": ("gan", "training"), "generate": ("generation",)}

Blocks = Callable[[str], list[tuple[str, str]]]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page_run(page: str, blocks: Blocks, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    ran = 0
    for language, text in blocks(page):
        name = re.match(r"# ([\w-]+\.yaml)", text)
        if language == "yaml" and name:
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
        if language not in ("bash", "python") or NOT_RUN.search(text):
            continue
        shell = ["bash", "-euo", "pipefail", "-c"] if language == "bash" else [sys.executable, "-c"]
        done = subprocess.run(
            [*shell, text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert "Traceback" not in done.stderr, done.stderr[-4000:]
        ran += 1
    assert ran


@pytest.mark.slow
def test_the_blocks_of_the_tutorial_run_on_a_small_demo(blocks: Blocks, tmp_path: Path) -> None:
    """With the demo cut short; all that reads its folder afterwards is run as it stands."""
    small = (
        "synthoma demo --out demo --set data.patients=10 --set data.spacing_mm=4 --set training.epochs=1"
        " --set preprocessing.steps.resize.size=64 --set 'protocol.variants={}' --set gan.width=4"
        " --set 'evaluation.families=[similarity]' --set split.folds=0"
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    first, *others = [(language, text) for language, text in blocks("tutorial") if language in ("bash", "python")]
    assert first == ("bash", "synthoma demo --out demo\n")
    for language, text in [("bash", small), *others]:
        shell = ["bash", "-euo", "pipefail", "-c"] if language == "bash" else [sys.executable, "-c"]
        done = subprocess.run(
            [*shell, text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("page", PAGES)
def test_shell_is_well_formed(page: str, blocks: Blocks) -> None:
    for language, text in blocks(page):
        if language == "bash":
            done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_behind_launchers_are_those_of_the_command_line(page: str, blocks: Blocks) -> None:
    """``srun``, ``torchrun``, ``docker run``, …: what follows them is parsed, settings and recipe too."""
    for words in (words for _, text in blocks(page) for words in launched(text)):
        given = parse(words)
        settings = given.get("settings") or ()
        if words[0] == "run":
            load_recipe(given["recipe"], settings)
        elif words[0] in BLOCKS_OF:
            read_blocks(BLOCKS_OF[words[0]], given.get("recipe"), settings)


def test_what_stands_behind_launchers_is_found() -> None:
    text = (DOCS / "machines.md").read_text(encoding="utf-8")
    assert [words[0] for words in launched(text)].count("train") == 4
    assert [*launched("docker run --rm synthoma demo --out demo")] == [["demo", "--out", "demo"]]
    assert [*launched("synthoma demo --out demo")] == []


def test_a_wrong_option_behind_a_launcher_is_noticed() -> None:
    with pytest.raises(Exception, match="resum"):
        parse(["train", "real.cohort", "--out", "gan", "--resum"])


def test_torchrun_knows_its_options(blocks: Blocks) -> None:
    from torch.distributed.run import get_args_parser

    found = 0
    for _, text in blocks("machines"):
        for line in lines(text):
            if "torchrun" in line:
                options = shlex.split(line.partition("torchrun")[2].partition(" -m ")[0])
                get_args_parser().parse_args([*options, "-m", "synthoma"])
                found += 1
    assert found >= 3


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_says_why(page: str, blocks: Blocks) -> None:
    """Only what needs something that is not everywhere may be left out."""
    for language, text in blocks(page):
        if language == "bash" and NOT_RUN.search(text):
            wants = re.search(
                r"gpu|cuda|brats-cgan|slurm|ray|docker|apptainer|index|wheelhouse|file|network", text, re.I
            )
            assert wants, text


def lines(text: str) -> list[str]:
    """The lines of a block, those that go on joined."""
    return text.replace("\\\n", " ").splitlines()


def launched(text: str) -> list[list[str]]:
    """The words behind ``… synthoma``, or an image of that name, where another program comes first."""
    found = []
    for line in lines(text):
        words = (
            shlex.split(line, comments=True)
            if re.match(r"(srun|torchrun|docker run|apptainer run|unshare)\b", line)
            else []
        )
        places = [i for i, word in enumerate(words) if word in ("synthoma", "synthoma.sif")]
        if places:
            found.append(words[places[-1] + 1 :])
    return found


def parse(words: list[str]) -> dict[str, Any]:
    """The parameters of a command, parsed by the application but not run."""
    command: Any = typer.main.get_command(app)
    name, *rest = words
    inner = command.get_command(None, name)
    assert inner is not None, name
    return dict(inner.make_context(name, rest).params)
