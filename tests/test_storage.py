"""Nothing half-written is ever read, and nothing is overwritten unasked."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from synthoma.errors import InputError, OutputError
from synthoma.storage import file_sha256, new_folder, read_json, text_sha256, writable, write_bytes, write_json


def test_a_folder_takes_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as scratch:
        (scratch / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "x").read_text() == "1"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError), new_folder(tmp_path / "a") as scratch:
        (scratch / "x").write_text(1)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_overwritten_unasked(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a") as scratch:
        (scratch / "old").write_text("1")
    with pytest.raises(OutputError, match="found one that exists"), new_folder(tmp_path / "a"):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a", overwrite=True):
        raise ZeroDivisionError
    assert (tmp_path / "a" / "old").exists(), "a failed replacement must leave the old folder"
    with new_folder(tmp_path / "a", overwrite=True) as scratch:
        (scratch / "new").write_text("2")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_killed_process_leaves_no_folder_of_the_name(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom synthoma.storage import new_folder\n"
        "with new_folder(Path(sys.argv[1])) as scratch:\n"
        "    (scratch / 'x').write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("number", "found"),
    [(errno.ENOSPC, "a full disk"), (errno.EROFS, "a read-only disk"), (errno.EACCES, "no permission to write")],
)
def test_the_systems_refusals_become_one_message(tmp_path: Path, number: int, found: str) -> None:
    with pytest.raises(OutputError, match=found) as caught, writable(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_other_errors_are_not_disguised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="bad device"), writable(tmp_path):
        raise OSError(errno.ENXIO, "bad device")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="a file where a folder should be"), new_folder(tmp_path / "file" / "a"):
        pass


def test_a_file_is_replaced_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="a full disk"):
        write_bytes(path, b"{}")
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("content", ["{", "\x00"])
def test_damaged_json_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"x\.json: expected readable JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(InputError, match="found nothing"):
        read_json(tmp_path / "y.json")


def test_hashes_agree(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("häß")
    assert file_sha256(tmp_path / "x") == text_sha256("häß")
