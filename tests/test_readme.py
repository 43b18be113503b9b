"""Every code block of the README runs as it stands, in order, in a folder with ``scans``: a BraTS tree of phantoms.

``make`` and ``git clone`` are not run: this is a test that ``make test`` runs itself. What ``make`` is asked for must
be a target of the Makefile. A block of another language than ``bash`` or ``python`` is not run, so there may be none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"(make|git clone|cd)\b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the blocks run, one after another."""
    folder = tmp_path_factory.mktemp("readme")
    write_brain_phantom(folder / "scans", BrainPhantomOptions(patients=8, spacing_mm=4.0))
    return folder


def test_there_are_blocks_and_all_are_run():
    languages = [language for language, _ in BLOCKS]
    assert set(languages) == {"bash", "python"}
    assert README.count("```") == 2 * len(BLOCKS)


def test_what_make_is_asked_for_is_a_target():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {
        word for _, text in BLOCKS for line in re.findall(r"^make (.*)$", text, re.MULTILINE) for word in line.split()
    }
    assert {"demo", "test"} <= asked <= targets


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", README)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[f"{i}-{name}" for i, (name, _) in enumerate(BLOCKS)])
def test_a_block_runs(folder, language, text):
    if language == "bash":
        lines = [line for line in text.splitlines() if not NOT_RUN.match(line)]
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(lines)]
    else:
        command = [sys.executable, "-c", text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}  # many small processes: threads would only wait
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert "Traceback" not in done.stderr
