"""Why several processes came to an end, from what they left."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from synthoma.errors import ProcessError, SettingError
from synthoma.training.launch import _reason


def leave(logs: Path, rank: int, kind: str, message: str, after: int = 0) -> None:
    """The words of a process that raised something, as the launcher's log folder holds them."""
    words = {"kind": kind, "message": message, "time_ns": after, "rank": rank, "traceback": f"Traceback of {rank}"}
    (logs / str(rank)).mkdir(parents=True)
    (logs / str(rank) / "error.json").write_text(json.dumps(words))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize("exit_codes", [{1: -1}, {0: 1, 1: -1}, {1: -1, 0: 1}], ids=str)
def test_a_process_that_was_killed_is_named(number: signal.Signals, exit_codes: dict[int, int], tmp_path: Path) -> None:
    """Whoever the launcher found first: the others only lost their connection to it."""
    if 0 in exit_codes:
        leave(tmp_path, 0, "RuntimeError", "Connection closed by peer")
    error = _reason(tmp_path, {rank: code * number if code < 0 else code for rank, code in exit_codes.items()})
    assert isinstance(error, ProcessError)
    assert error.exit_code == 1
    assert str(error) == (
        f"process 1: expected the end of the training, found that {number.name} killed it.\n"
        "Too little memory? Go on with --resume on fewer --devices, or anew with a smaller batch_size."
    )
    assert getattr(error, "__notes__", []) == (["In process 0:\nTraceback of 0"] if 0 in exit_codes else [])


def test_what_was_raised_on_purpose_comes_first(tmp_path: Path) -> None:
    leave(tmp_path, 0, "RuntimeError", "Connection closed by peer", after=1)
    leave(tmp_path, 1, "SettingError", "gan.width: expected …", after=2)
    error = _reason(tmp_path, {0: 1, 1: 2})
    assert (type(error), str(error)) == (SettingError, "gan.width: expected …")


def test_anything_else_is_a_bug(tmp_path: Path) -> None:
    leave(tmp_path, 1, "KeyError", "'x'")
    error = _reason(tmp_path, {1: 1})
    assert (type(error), str(error)) == (RuntimeError, "process 1: KeyError: 'x'")
    assert str(_reason(tmp_path / "empty", {0: 3})) == "exit codes {0: 3}"
    assert isinstance(_reason(tmp_path / "empty", {}), KeyboardInterrupt)
