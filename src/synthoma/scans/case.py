"""What a source finds before it reads: cases, and what it left out, with the reason."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import Grid, Scan

if TYPE_CHECKING:
    from synthoma.scans.dicom_series import Series

__all__ = [
    "Case",
    "FolderSource",
    "Found",
    "LeftOut",
    "Source",
    "folder_of",
    "list_files",
    "nothing_found",
    "relative_name",
    "shown",
    "tcga_barcode",
    "unreadable",
]


@dataclass(frozen=True)
class Case:
    """One scan that can be read; nothing of its voxels is known yet."""

    name: str
    """Unique among the cases found; a patient with two time points is two cases."""
    patient: str
    site: str
    label: str
    files: Mapping[str, Path]
    """Role (a channel, ``seg``, ``image/3``, …) → file."""
    missing: tuple[str, ...] = ()
    """Channels whose file is not there. Reading may find more (a channel that is a copy of another)."""
    notes: tuple[str, ...] = ()
    """Passed on to the scan."""
    convention: str = ""
    """Which convention of names, and so of labels, the files follow, where a source knows several."""
    rows: tuple[int, ...] = ()
    """Rows of stacked arrays that belong to this case, in the order of z."""
    part: str = ""
    """Which of several joined sources it is of."""
    grid: Grid | None = None
    """Where its voxels lie as the other cases have it, for a header that contradicts them."""
    series: Mapping[str, Series] = field(default_factory=dict)
    """Role (``ct``, ``seg``, ``tumour-1``, …) → DICOM series, beside ``files``."""
    lesions: tuple[str, ...] = ()
    """Lesion masks (parts, not single findings) that the headers of its segmentations announce."""


@dataclass(frozen=True)
class LeftOut:
    """A folder or case that is not read, and why."""

    name: str
    reason: str
    remedy: str = ""
    """What the user can do about it, where there is something."""


@dataclass(frozen=True)
class Found:
    """What a folder holds, sorted by name."""

    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    """What concerns all cases together, such as different orientations."""


@dataclass(frozen=True)
class Source:
    """One kind of input: its settings, how to find its cases, how to read one."""

    options: type[Options]
    find: Callable[[Any], Found] = field(repr=False)
    read: Callable[[Case, Any], Scan] = field(repr=False)


@dataclass(frozen=True)
class FolderSource(Source):
    """A source that reads one folder, so that it can be one of several."""

    contents: Callable[[Any, tuple[Case, ...]], tuple[tuple[str, ...], tuple[str, ...]]] = field(repr=False)
    """Of settings and cases: the channels and the lesion masks (parts, not single findings) that a scan may have, as
    far as names and headers tell."""


_MOST_FILES_LOOKED_AT = 2000
_LONGEST_REASON = 300

# What a folder looks like, the most particular first: for the hint in the error only.
_LOOKS: Mapping[str, re.Pattern[str]] = {
    "tcga-lgg": re.compile(r"(^|/)TCGA_\w{2}_\w{4}_\d{8}_\d+(_mask)?\.tif$"),
    "brats": re.compile(r"(_(t1|t1ce|t2|flair)|-(t1n|t1c|t2w|t2f))\.nii(\.gz)?$"),
    "lits": re.compile(r"(^|/)volume-\d+\.nii(\.gz)?$"),
    "nnunet": re.compile(r"(^|/)imagesTr/[^/]+_\d{4}\.nii(\.gz)?$"),
    "decathlon": re.compile(r"(^|/)imagesTr/[^/]+\.nii(\.gz)?$"),
    "nifti": re.compile(r"\.nii(\.gz)?$"),
    "lidc-nodules": re.compile(r"(^|/)(segmented_slices64|cubes48)\.npz$"),
    "images": re.compile(r"\.(csv|npz)$"),
    "ircadb": re.compile(r"(^|/)(PATIENT|MASKS)_DICOM(\.zip$|/)|(^|/)3Dircadb\d", re.IGNORECASE),
    "tcia-liver": re.compile(r"(^|/)HCC_\d+/.+\.dcm$"),
    "lidc": re.compile(r"(^|/)(LIDC-IDRI-\d{4}/(.+/)?[^/]+\.(dcm|xml)|\d{1,3}\.xml)$"),
    "dicom": re.compile(r"\.dcm$", re.IGNORECASE),
}
_BARCODE = re.compile(r"(?<![A-Za-z0-9])TCGA[-_]([A-Z0-9]{2})[-_]([A-Z0-9]{4})(?![A-Za-z0-9])")


def tcga_barcode(name: str) -> tuple[str, str] | None:
    """Patient (``TCGA-FG-6692``) and site (``FG``, the tissue source site) of a name with a TCGA barcode, or None.

    Every source uses this one form, so that a patient of two collections stays on one side of a split.
    """
    match = _BARCODE.search(name)
    return (f"TCGA-{match[1]}-{match[2]}", match[1]) if match else None


def folder_of(path: Path) -> Path:
    """``path`` if it is a folder that can be listed; otherwise a :class:`ScanError` that says what it is."""
    if not path.exists():
        raise ScanError(describe(path, "a folder", "nothing there", "Check data.path."))
    if not path.is_dir():
        raise ScanError(describe(path, "a folder", "a file", "Set data.path to the folder of the scans."))
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        raise unreadable(path, "a folder that can be listed", error) from error
    return path


def list_files(root: Path, most: int | None = None) -> list[str]:
    """All files below ``root`` as sorted relative names with ``/``; links are followed. Hidden files are not listed,
    neither are pipes and devices, from which one would read for ever."""
    names: list[str] = []
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up the tree
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "__MACOSX")))
        prefix = Path(folder).relative_to(root)
        names += [
            (prefix / name).as_posix()
            for name in files
            if not name.startswith(".") and _may_be_read(os.path.join(folder, name))  # noqa: PTH118 (many files)
        ]
        if most is not None and len(names) >= most:
            break
    return sorted(names)


def _may_be_read(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return True  # a link to nowhere: said when it is read


def nothing_found(path: Path, source: str, expected: str, left_out: tuple[LeftOut, ...] = ()) -> ScanError:
    """The error for a folder in which ``source`` finds no case: what was expected, what is there instead."""
    files = list_files(path, _MOST_FILES_LOOKED_AT)
    if left_out:
        found = "none; left out " + "; ".join(f"{out.name} ({out.reason})" for out in left_out[:5])
    elif files:
        entries = sorted({name.split("/")[0] for name in files})
        more = ", …" if len(entries) > 5 else ""
        found = ", ".join(map(shown, entries[:5])) + more
    else:
        found = "an empty folder"
    for other, pattern in _LOOKS.items():
        if any(pattern.search(name) for name in files):
            hint = f"It looks like the source '{other}': set data.source={other}." if other != source else ""
            return ScanError(describe(path, expected, found, hint or "Check data.path."))
    return ScanError(describe(path, expected, found, "Check data.path and data.source."))


def relative_name(path: Path, root: Path) -> str:
    """``path`` below ``root``, with ``/``: the same on every machine; the whole path where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def unreadable(path: Path, expected: str, error: BaseException) -> ScanError:
    """A library's complaint about a file, in one line."""
    lines = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip().splitlines()
    line = shown(lines[0], _LONGEST_REASON).rstrip(".")
    return ScanError(describe(path, expected, f"one that cannot be read ({line})"))


def shown(text: str, most: int = 60) -> str:
    """Text out of a file as a message may have it: so many letters, none that moves the cursor or changes colours."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[:most])
    return plain if len(text) <= most else f"{plain}…"
