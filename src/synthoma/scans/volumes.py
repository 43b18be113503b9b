"""NIfTI files: the header alone, or the whole volume, checked."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.records import Grid
from synthoma.scans.case import Case, unreadable

__all__ = ["SUFFIXES", "Volume", "check_same_grid", "orientation_note", "read_header", "read_volume"]

SUFFIXES = (".nii", ".nii.gz")
_EXPECTED = "a complete NIfTI file"
_FARTHEST_MM = 1e6
_LARGEST_HEADER = 544  # bytes that hold a NIfTI-1 (348) or NIfTI-2 (540) header and its extension flag


@dataclass(frozen=True)
class Volume:
    """The content of one NIfTI file."""

    array: NDArray[Any]
    """(z, y, x), scaled as the header says; the axes lie as in the file, nothing is reoriented."""
    grid: Grid
    sha256: str
    notes: tuple[str, ...] = ()


def read_header(path: Path) -> Grid:
    """The grid of a NIfTI file, from its first bytes.

    Raises:
        ScanError: no NIfTI header, or one that makes no sense.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            start = file.read(_LARGEST_HEADER)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, _EXPECTED, error) from error
    header, _ = _header(path, start)
    return _grid(path, header)


def read_volume(path: Path) -> Volume:
    """A whole NIfTI file, read once; the checksum inside a ``.gz`` is verified.

    Raises:
        ScanError: truncated, corrupt, not three-dimensional, or without a usable affine.
    """
    try:
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        if data[:2] == b"\x1f\x8b":  # by content: some files are packed without saying so in their name
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, _EXPECTED, error) from error
    header, kind = _header(path, data)
    grid = _grid(path, header)
    needed = math.prod(grid.shape) * int(header.get_data_dtype().itemsize)
    if len(data) < needed:
        raise ScanError(describe(path, f"{needed} bytes of voxels", f"a file of {len(data)} bytes: it is truncated"))
    try:
        array = np.asanyarray(kind.from_bytes(data).dataobj)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise unreadable(path, _EXPECTED, error) from error
    unset = int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0
    notes = (f"{path.name}: the header gives no orientation",) if unset else ()
    return Volume(np.ascontiguousarray(array.reshape(grid.shape[::-1]).T), grid, sha256, notes)


def check_same_grid(what: str, first: str, grid: Grid, name: str, other: Grid) -> None:
    """Refuse two files of one patient whose voxels do not lie at the same places.

    Raises:
        ScanError: shapes or affines differ.
    """
    if grid.shape != other.shape:
        raise ScanError(describe(what, f"{name} of the shape of {first}, {grid.shape}", other.shape))
    if not grid.close_to(other):
        where = f"spacing {_mm(other.spacing_mm)}, origin {_mm(other.origin_mm)}, {other.orientation}"
        here = f"spacing {_mm(grid.spacing_mm)}, origin {_mm(grid.origin_mm)}, {grid.orientation}"
        raise ScanError(
            describe(what, f"{name} on the grid of {first} ({here})", where, "Register or resample it first.")
        )


def orientation_note(cases: Iterable[tuple[Case, Path]]) -> tuple[str, ...]:
    """One note if the cases' arrays differ in orientation; ``cases`` come with the file whose header is read."""
    found: dict[str, list[str]] = {}
    for case, path in cases:
        try:
            found.setdefault(read_header(path).orientation, []).append(case.name)
        except ScanError:
            continue  # said when the case is read
    if len(found) < 2:
        return ()
    count = Counter({codes: len(names) for codes, names in found.items()})
    parts = [f"{codes} {n} ({', '.join(found[codes][:3])}{', …' if n > 3 else ''})" for codes, n in count.most_common()]
    return (f"The headers give different orientations, which are kept as they are: {'; '.join(parts)}.",)


def _header(path: Path, data: bytes) -> tuple[Any, Any]:
    """Header and image class of NIfTI-1 or NIfTI-2 data, told apart by the size that the header states."""
    from nibabel import Nifti1Image, Nifti2Image
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    sizes = {int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big")}
    kind = Nifti2Image if 540 in sizes else Nifti1Image
    size = 540 if 540 in sizes else 348
    if size not in sizes or len(data) < size:
        found = "an empty file" if not data else "other or truncated content"
        raise ScanError(describe(path, _EXPECTED, found))
    try:
        return kind.header_class(data[:size]), kind
    except (HeaderDataError, WrapStructError, ValueError, KeyError, struct.error) as error:
        raise unreadable(path, _EXPECTED, error) from error


def _grid(path: Path, header: Any) -> Grid:
    from nibabel.spatialimages import HeaderDataError

    try:
        shape = tuple(int(n) for n in header.get_data_shape())
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise unreadable(path, _EXPECTED, error) from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape += (1,) * (3 - len(shape))
    if len(shape) != 3 or min(shape) < 1:
        raise ScanError(describe(path, "a volume of three axes", f"shape {shape} (x, y, z, …)"))
    if not (np.abs(affine) < _FARTHEST_MM).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ScanError(describe(path, "a usable affine", "one that is singular, not finite or of huge numbers"))
    return Grid.from_affine((shape[2], shape[1], shape[0]), affine)


def _mm(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ") mm"
