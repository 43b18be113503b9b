"""The page on exports keeps its word: its commands run in its order, and its table of settings is complete."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synthoma.commands.app import app
from synthoma.exports import EXPORT_OPTIONS, EXPORTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exports.md"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run_python(code: str, folder: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True)


def test_every_setting_of_every_format_is_named() -> None:
    assert set(EXPORT_OPTIONS) == set(EXPORTS)
    text = PAGE.read_text(encoding="utf-8")
    for kind, options in EXPORT_OPTIONS.items():
        assert f"## {kind}\n" in text
        named = ", ".join(f"`{name}`" for name in options.model_fields) or "none"
        assert f"| `{kind}` | {named} |" in text


@pytest.mark.slow
def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawing, last = blocks("python")
    run_python(drawing, tmp_path)
    for block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)[1:]
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, f"{line}\n{done.output[-2000:]}\n{done.exception!r}"
            folder = Path(words[words.index("--out") + 1])
            rejected = folder / "rejected.csv"
            assert not rejected.is_file() or len(rejected.read_text().splitlines()) == 1
    run_python(last, tmp_path)
    assert (tmp_path / "files" / "about.json").is_file()
