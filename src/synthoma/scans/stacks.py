"""Stacked arrays in an ``.npz``, one row an image."""

from __future__ import annotations

import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe, did_you_mean
from synthoma.scans.case import unreadable
from synthoma.scans.pictures import BROKEN_ARRAY, check_claim
from synthoma.scans.tree import check_entries
from synthoma.storage import file_sha256

__all__ = ["read_stack", "stack_names", "stack_sha256"]

# zipfile raises NotImplementedError for a packing that it does not know, RuntimeError for a password.
_BROKEN = (*BROKEN_ARRAY, zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError)
_EXPECTED = "a complete .npz file of plain arrays"


def stack_names(file: Path) -> tuple[str, ...]:
    """The arrays' names."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise ScanError(describe(file, _EXPECTED, "a single array"))
            check_entries(archive.zip, file, file.stat().st_size)
            return tuple(archive.files)
    except _BROKEN as error:
        raise unreadable(file, _EXPECTED, error) from error


def read_stack(file: Path, name: str) -> NDArray[Any]:
    """One array of the archive. The last few stay in memory, since every case of one file asks for the same ones.

    Raises:
        ScanError: no such array, or one that is damaged or needs code to be loaded.
    """
    return _read(file, name, *_state(file))


def stack_sha256(file: Path) -> str:
    """SHA-256 of the file, computed once for all its cases."""
    return _sha256(file, *_state(file))


def _state(file: Path) -> tuple[int, int]:
    """Size and time of the file: what is kept is never that of an older file of the same name."""
    try:
        state = file.stat()
    except OSError as error:
        raise unreadable(file, _EXPECTED, error) from error
    return state.st_size, state.st_mtime_ns


@lru_cache(maxsize=16)
def _sha256(file: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 (part of the key)
    return file_sha256(file)


@lru_cache(maxsize=16)
def _read(file: Path, name: str, size: int, mtime_ns: int) -> NDArray[Any]:  # noqa: ARG001 (part of the key)
    names = stack_names(file)
    if name not in names:
        raise ScanError(describe(file, f"an array named {name}", ", ".join(names), did_you_mean(name, names)))
    try:
        with np.load(file, allow_pickle=False) as archive:
            entry = archive.zip.getinfo(name if name in archive.zip.NameToInfo else f"{name}.npy")
            with archive.zip.open(entry) as stream:
                check_claim(stream, entry.file_size)
            array = archive[name]
    except _BROKEN as error:
        raise unreadable(file, f"a readable array {name}", error) from error
    if not isinstance(array, np.ndarray):
        raise ScanError(describe(file, f"a readable array {name}", "another kind of file"))
    array.setflags(write=False)
    return array
