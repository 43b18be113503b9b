"""The application itself: help, exit codes, the last words of an error."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import synthoma
from synthoma.commands import app as application_module
from synthoma.commands import info as info_module
from synthoma.errors import Interrupted, LeakError, MissingPartError, SettingError

HEAVY = (
    "numpy",
    "torch",
    "pydantic",
    "scipy",
    "nibabel",
    "skimage",
    "sklearn",
    "matplotlib",
    "rich",
    "SimpleITK",
    "yaml",
)
VERBS = (
    "demo", "prepare", "info", "train", "generate", "evaluate", "export", "run", "report", "doctor", "recipes",
    "weights", "study",
)  # fmt: skip


def loaded(code: str) -> set[str]:
    """The heavy packages that are there after ``code`` in a fresh interpreter."""
    ask = f"import sys, atexit\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{code}"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.split()} & set(HEAVY)


@pytest.mark.parametrize("words", [["--help"], [], ["--version"]])
def test_nothing_heavy_is_imported_before_it_is_needed(words):
    assert loaded(f"from synthoma.commands import main\nmain({words!r})") == set()


def test_help_of_a_verb_imports_nothing_of_the_rooms():
    assert loaded("from synthoma.commands import main\nmain(['train', '--help'])") <= {"pydantic"}  # by typer


def test_importing_the_package_imports_nothing_heavy():
    assert loaded("import synthoma, synthoma.errors, synthoma.verbs") == set()


@pytest.mark.parametrize(
    "line",
    [
        "prepare brats {scans} --out {out} --workers 1 --set split.folds=0 --set preprocessing.steps.resize.size=32",
        "info {study}/real.cohort",
        "info {study}/gan",
        "export {study}/real.cohort --as png --out {out}",
        "recipes list",
        "recipes show brats",
    ],
)
def test_what_computes_with_no_network_loads_no_torch(some_scans, study, tmp_path, line):
    words = [word.format(scans=some_scans, study=study, out=tmp_path / "out") for word in line.split()]
    assert "torch" not in loaded(f"from synthoma.commands import main\nmain({words!r})")


def test_help_names_every_verb(typed):
    said = typed("--help")
    assert said.code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in said.out
        assert typed(verb, "--help").code == 0
    assert "..." not in said.out.partition("Commands:")[2]  # no description is cut short
    assert typed().out == said.out


def test_version(typed):
    assert typed("--version").out == f"synthoma {synthoma.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trian",), "error: No such command 'trian'. Did you mean 'train'?\nSee synthoma --help.\n"),
        (("train",), "error: Missing argument 'COHORT'.\nSee synthoma train --help.\n"),
        (("run", "demo"), "error: Missing option '--out'.\nSee synthoma run --help.\n"),
        (("weights",), "error: Missing command.\nSee synthoma weights --help.\n"),
    ],
)
def test_a_wrong_command_is_said_in_two_lines(typed, words, message):
    said = typed(*words)
    assert (said.code, said.out, said.err.lower()) == (2, "", message.lower())


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SettingError("a: expected b, found c."), 2, "error: a: expected b, found c.\n"),
        (MissingPartError("x"), 3, "error: x\n"),
        (LeakError("x"), 4, "error: x\n"),
        (Interrupted("Stopped after 3."), 130, "Stopped after 3.\n"),
        (KeyboardInterrupt(), 130, "Stopped. Nothing half-written was left; the same command begins again.\n"),
        (
            RuntimeError("one\ntwo"),
            1,
            "internal error (RuntimeError: one); run again with --debug to see where.\n",
        ),
    ],
)
def test_errors_become_a_message_and_an_exit_code(typed, monkeypatch, error, code, message):
    def fail(_path: Path) -> None:
        raise error

    monkeypatch.setattr(info_module, "_look", fail)
    said = typed("info", "x")
    assert (said.code, said.out, said.err.lstrip("\n")) == (code, "", message)


@pytest.mark.parametrize("words", [("--debug", "info", "nowhere"), ("info", "nowhere", "--debug")])
def test_debug_shows_where_an_error_came_from(shell, words):
    done = shell(*words)
    assert "Traceback" in done.stderr
    assert "synthoma.errors.InputError" in done.stderr


def test_debug_by_the_environment(shell):
    assert "Traceback" in shell("info", "nowhere", SYNTHOMA_DEBUG="1").stderr
    done = shell("info", "nowhere", SYNTHOMA_DEBUG="0")
    assert (done.returncode, "Traceback" in done.stderr, len(done.stderr.splitlines())) == (2, False, 1)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    code = f"{sys.executable} -m synthoma recipes schema | head -1; test ${{PIPESTATUS[0]}} -ne 130"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_the_entry_point_is_the_one_that_is_installed():
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="console_scripts", name="synthoma")
    assert entry.load() is application_module.main


def test_a_full_disk_is_said(typed, monkeypatch, tmp_path, real):
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    said = typed("train", real, "--out", tmp_path / "gan", "--set", "training.epochs=1")
    assert said.code == 2
    assert "expected to write here, found a full disk.\nFree some space or choose another place with --out." in said.err
