"""The files of a folder tree and of the zip archives in it, archives in archives included.

Nothing is unpacked to disk. Names that leave their archive, encrypted members and archives that grow without bound are
refused.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

from synthoma.errors import ScanError, describe
from synthoma.scans.case import LeftOut, list_files, relative_name, unreadable

__all__ = ["File", "check_entries", "list_tree"]

MOST_FILE_BYTES = 2**32
"""No file that is read whole is larger, and no member of an archive when unpacked (4 GiB)."""
MOST_ARCHIVE_BYTES = 2**38
"""No archive is larger when unpacked (256 GiB)."""
MOST_GROWTH = 500
"""An archive of more than ``_SMALL_BYTES`` grows by no larger factor; masks of zeros reach about 200."""
_SMALL_BYTES = 2**30
_LONGEST_NAME = 1000
_DEEPEST = 3
"""Archives within archives, counted from the outermost. Published sets have two."""
_EXPECTED = "a complete zip archive"
_DAMAGED = (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class File:
    """A file on disk, or a member of a zip archive."""

    path: Path
    """The file, or the archive that holds it."""
    member: str = ""
    """Name inside the archive; ``inner.zip/name`` for a member of an archive within."""

    @property
    def where(self) -> Path:
        """Path for messages: the archive's path and the name inside it, in one."""
        return self.path / self.member if self.member else self.path

    def name(self, root: Path) -> str:
        """Relative to ``root``, with ``/``: ``a.zip/inner/image_1``."""
        base = self.path.name if self.path == root else relative_name(self.path, root)
        return f"{base}/{self.member}" if self.member else base

    def read(self) -> bytes:
        """The whole content; the checksum of a member is verified.

        Raises:
            ScanError: it cannot be read, or is no longer there.
        """
        return self._with(None)

    def start(self, count: int) -> bytes:
        """The first ``count`` bytes, or all if it has fewer.

        Raises:
            ScanError: it cannot be read, or is no longer there.
        """
        return self._with(count)

    def _with(self, count: int | None) -> bytes:
        try:
            state = self.path.stat()
            if not self.member:
                with self.path.open("rb") as stream:
                    return _first(stream, state.st_size, count)
            archive, name = _archive_of(self.path, self.member, state.st_mtime_ns, state.st_size)
            with archive.open(name) as stream:
                return _first(stream, archive.getinfo(name).file_size, count)
        except KeyError as error:
            raise ScanError(describe(self.where, "a member of the archive", "none of this name")) from error
        except _DAMAGED as error:
            raise unreadable(self.where, "a complete file", error) from error


def list_tree(root: Path, left_out: list[LeftOut] | None = None) -> list[File]:
    """All files below ``root``, sorted by name; hidden files and ``__MACOSX`` are left out. Archives are looked into.

    Args:
        root: a folder, or one zip archive.
        left_out: receives the archives that cannot be used; without it the first one is an error.

    Raises:
        ScanError: an archive that is damaged or encrypted, has names that leave it, or grows without bound.
    """
    files: list[File] = []
    paths = [root] if root.is_file() else [root / name for name in list_files(root)]
    for path in paths:
        if path.suffix.lower() != ".zip":
            files.append(File(path))
            continue
        try:
            files += [File(path, member) for member in _members(path)]
        except ScanError as error:
            if left_out is None:
                raise
            reason, *remedy = str(error).splitlines()
            name = File(path).name(root)
            left_out.append(LeftOut(name, reason.partition(": ")[2], " ".join(remedy)))
    return sorted(files, key=lambda file: file.name(root))


def _first(stream: IO[bytes], size: int, count: int | None = None) -> bytes:
    """The first ``count`` of ``size`` bytes, or all; a member that says less than it holds inflates no further."""
    if count is None and size > MOST_FILE_BYTES:
        raise ValueError(f"more than {MOST_FILE_BYTES:,} bytes")
    return stream.read(size if count is None else min(count, size))


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return _listed(archive, path, path.stat().st_size, 1)
    except _DAMAGED as error:
        raise unreadable(path, _EXPECTED, error) from error


def _listed(archive: zipfile.ZipFile, path: Path, size: int, depth: int) -> list[str]:
    """Names of the members of ``archive``, those of archives within it included; ``path`` names it in errors."""
    names: list[str] = []
    for entry in check_entries(archive, path, size):
        parts = PurePosixPath(entry.filename).parts
        if any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        if not entry.filename.lower().endswith(".zip"):
            names.append(entry.filename)
            continue
        within = path / entry.filename
        if depth == _DEEPEST:
            raise ScanError(describe(within, f"archives nested no deeper than {_DEEPEST}", "one more", "Unpack it."))
        try:
            with archive.open(entry) as stream:
                content = _first(stream, entry.file_size)
            with zipfile.ZipFile(io.BytesIO(content)) as inner:
                members = _listed(inner, within, len(content), depth + 1)
        except _DAMAGED as error:
            raise unreadable(within, _EXPECTED, error) from error
        names += [f"{entry.filename}/{member}" for member in members]
    return names


def check_entries(archive: zipfile.ZipFile, path: Path, size: int) -> list[zipfile.ZipInfo]:
    """The members of an archive of ``size`` bytes that are files; ``path`` names it in errors.

    Raises:
        ScanError: names that leave it or cannot be printed, passwords, ways of packing that inflate without a bound,
            archives that grow without one.
    """
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    _check_size(entries, path, size)
    for entry in entries:
        _check_entry(entry, path)
    return entries


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    name = entry.filename
    if name.startswith("/") or "\\" in name or ":" in name.split("/")[0] or ".." in name.split("/"):
        raise ScanError(describe(path, "names that stay inside the archive", repr(name[:80]), "Do not unpack it."))
    if not name or not name.isprintable() or len(name) > _LONGEST_NAME:
        expected = f"names of at most {_LONGEST_NAME} printable letters"
        raise ScanError(describe(path, expected, repr(name[:80]), "Unpack it yourself if you trust it."))
    if entry.flag_bits & 1:
        raise ScanError(describe(path, "members without a password", "encrypted ones", "Unpack it yourself first."))
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others inflate without a bound
        found = f"the method {entry.compress_type}"
        raise ScanError(describe(path, "members that are stored or deflated", found, "Unpack it yourself first."))


def _check_size(entries: list[zipfile.ZipInfo], path: Path, size: int) -> None:
    total = sum(entry.file_size for entry in entries)
    largest = max((entry.file_size for entry in entries), default=0)
    if largest > MOST_FILE_BYTES or total > MOST_ARCHIVE_BYTES:
        raise ScanError(
            describe(
                path,
                f"at most {MOST_FILE_BYTES:,} bytes a member and {MOST_ARCHIVE_BYTES:,} in all",
                f"{largest:,} and {total:,}",
                "Unpack it yourself if you trust it.",
            )
        )
    if total > _SMALL_BYTES and total > MOST_GROWTH * size:
        raise ScanError(
            describe(
                path,
                f"an archive that grows at most {MOST_GROWTH}-fold",
                f"{size:,} bytes that become {total:,}",
                "Unpack it yourself if you trust it.",
            )
        )


def _archive_of(path: Path, member: str, changed: int, size: int) -> tuple[zipfile.ZipFile, str]:
    """The open archive that holds ``member``, and its name there."""
    within, archive, name = "", _opened(path, "", changed, size, os.getpid()), member
    while name not in archive.NameToInfo:
        parts = name.split("/")
        ends = [i for i in range(1, len(parts)) if "/".join(parts[:i]) in archive.NameToInfo]
        if not ends:
            raise KeyError(member)
        step, name = "/".join(parts[: ends[-1]]), "/".join(parts[ends[-1] :])
        within = f"{within}/{step}".lstrip("/")
        archive = _opened(path, within, changed, size, os.getpid())
    return archive, name


@lru_cache(maxsize=4)
def _opened(path: Path, within: str, changed: int, size: int, _process: int) -> zipfile.ZipFile:
    """An archive kept open: the directory of one with 10,000 members is not read 10,000 times.

    ``changed`` and ``size`` tell another file of the same name, ``_process`` a fork that must not share the open file.
    """
    if not within:
        return zipfile.ZipFile(path)
    archive, name = _archive_of(path, within, changed, size)
    with archive.open(name) as stream:
        return zipfile.ZipFile(io.BytesIO(_first(stream, archive.getinfo(name).file_size)))
