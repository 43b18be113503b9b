"""Writing to disk so that nothing half-written is ever read, and nothing is overwritten unasked."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthoma.errors import InputError, OutputError, describe

__all__ = [
    "check_new",
    "file_sha256",
    "new_folder",
    "read_json",
    "text_sha256",
    "writable",
    "write_bytes",
    "write_json",
]

_FULL = {
    errno.ENOSPC: "a full disk",
    errno.EDQUOT: "a used-up disk quota",
    errno.EFBIG: "a limit on the size of files",
}
_CLOSED = {
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
    errno.EROFS: "a read-only disk",
}
_BLOCKED = {
    errno.ENOTDIR: "a file where a folder should be",
    errno.EEXIST: "a file where a folder should be",
    errno.EISDIR: "a folder where a file should be",
}


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write below ``path`` into an :class:`OutputError`."""
    try:
        yield
    except OSError as error:
        found = (_FULL | _CLOSED | _BLOCKED).get(error.errno or 0)
        if found is None:
            raise
        remedy = (
            "Free some space or choose another place with --out."
            if error.errno in _FULL
            else ("Choose another place with --out.")
        )
        raise OutputError(describe(path, "to write here", found, remedy)) from error


def check_new(path: Path, *, overwrite: bool = False) -> None:
    """Refuse an output that exists already, unless it may be overwritten.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false.
    """
    if Path(path).exists() and not overwrite:
        remedy = "Add --overwrite, or choose another --out."
        raise OutputError(describe(path, "a new name", "one that exists", remedy))


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a temporary folder beside ``path``; it takes the name ``path`` only when the block ends without an error.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false, or the disk is full or closed.
    """
    path = Path(path)
    check_new(path, overwrite=overwrite)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        scratch.chmod(0o777 & ~_umask())
        try:
            yield scratch
            if path.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
                path.rename(old / path.name)
                scratch.rename(path)
                shutil.rmtree(old)
            else:
                scratch.rename(path)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one piece: a reader sees the old content or the new, never half of it."""
    path = Path(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON in one piece. NaN and infinity are refused: JSON has none."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, kind: type[InputError] = InputError) -> Any:
    """Read a JSON file; raises ``kind`` with the file's name when it is absent or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise kind(describe(path, "a JSON file", "nothing")) from None
    except (OSError, ValueError) as error:
        raise kind(describe(path, "readable JSON", error)) from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
