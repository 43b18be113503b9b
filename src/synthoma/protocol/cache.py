"""A folder of scans between two steps, so that a repeated preparation goes on where its settings begin to differ.

An entry is a folder under the hash of everything that it depends on: the source files (path, size, time of change), the
settings of the data, the steps before, and the versions of the packages. It holds plain ``.npy`` arrays and a JSON file
with their checksums; it appears complete or not at all. An entry that is damaged counts as absent. The folder can be
deleted at any time.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from synthoma.errors import InputError
from synthoma.records import Scan
from synthoma.scans import Case
from synthoma.storage import file_sha256, read_json, text_sha256, writable, write_json

__all__ = ["case_key", "files_of", "keep", "kept", "scan_from", "scan_parts", "step_key"]

CONTENT = "content.json"
PACKAGES = ("synthoma", "numpy", "scipy", "scikit-image", "SimpleITK", "nibabel", "pydicom", "highdicom")
"""Their versions are part of every key."""
ARRAYS = ("channels", "masks")
"""Fields of :class:`Scan` that are stored as arrays; the others as JSON."""

Arrays = Mapping[str, NDArray[Any]]


def case_key(case: Case, settings: Mapping[str, Any]) -> str:
    """The key of a case as it is read; ``settings`` are those of the data.

    Raises:
        OSError: a file of the case is not there.
    """
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files_of(case)]
    return _hashed({"versions": _versions(), "settings": settings, "case": asdict(case), "files": states})


def files_of(case: Case) -> list[Path]:
    """The files on disk that a case is read from, archives for their members."""
    in_series = (instance.file.path for series in case.series.values() for instance in series.instances)
    return sorted({*case.files.values(), *in_series})


def step_key(before: str, step: Mapping[str, Any], channels: tuple[str, ...]) -> str:
    """The key after one more step, whose settings are ``step``, of a scan that is to keep ``channels``."""
    return _hashed({"before": before, "step": step, "channels": channels})


def keep(folder: Path, key: str, arrays: Arrays, content: Any) -> None:
    """Store an entry; a damaged one of the same key is replaced. Several processes may do so at once.

    Raises:
        OutputError: the disk is full or closed.
    """
    entry = _entry(folder, key)
    with writable(entry):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{key}.", suffix=".partial", dir=entry.parent) as name:
            scratch = Path(name) / key
            scratch.mkdir()
            sha256 = {}
            for number, (array_name, array) in enumerate(arrays.items()):
                np.save(scratch / f"{number}.npy", array, allow_pickle=False)
                sha256[array_name] = file_sha256(scratch / f"{number}.npy")
            text = json.dumps(content, allow_nan=False)
            write_json(scratch / CONTENT, {"content": text, "sha256": text_sha256(text), "arrays": sha256})
            with suppress(FileNotFoundError):
                entry.rename(scratch.with_name("before"))  # in one piece, as it comes: nobody sees half an entry
            try:
                scratch.rename(entry)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # then another process stored the same just now
                    raise


def kept(folder: Path, key: str) -> tuple[dict[str, NDArray[Any]], Any] | None:
    """What :func:`keep` stored, or ``None`` where there is nothing, or nothing whole."""
    entry = _entry(folder, key)
    if not entry.is_dir():
        return None
    try:
        index = read_json(entry / CONTENT)
        files = {name: (entry / f"{number}.npy", sha) for number, (name, sha) in enumerate(index["arrays"].items())}
        if text_sha256(index["content"]) != index["sha256"]:
            return None
        if any(file_sha256(path) != sha for path, sha in files.values()):
            return None
        return {name: np.load(path, allow_pickle=False) for name, (path, _) in files.items()}, json.loads(
            index["content"]
        )
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return None


def scan_parts(scan: Scan) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """A scan as arrays and content for JSON; numbers come back exactly."""
    arrays = {f"{kind}/{name}": array for kind in ARRAYS for name, array in getattr(scan, kind).items()}
    hints = get_type_hints(Scan)
    rest = (field.name for field in fields(Scan) if field.name not in ARRAYS)
    return arrays, {name: TypeAdapter(hints[name]).dump_python(getattr(scan, name), mode="json") for name in rest}


def scan_from(arrays: Arrays, content: Mapping[str, Any]) -> Scan:
    """Back from :func:`scan_parts`."""
    hints = get_type_hints(Scan)
    by_kind = {
        kind: {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}
        for kind in ARRAYS
    }
    rest = {name: TypeAdapter(hints[name]).validate_python(value) for name, value in content.items()}
    return Scan(channels=by_kind["channels"], masks=by_kind["masks"], **rest)


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""  # an extra that is not installed
    return found


def _entry(folder: Path, key: str) -> Path:
    return folder / key[:2] / key


def _hashed(content: Any) -> str:
    return text_sha256(json.dumps(content, sort_keys=True, default=str))
