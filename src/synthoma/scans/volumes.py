"""NIfTI files: the header alone, or the whole volume, checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import math
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.records import Grid
from synthoma.scans.case import Case, unreadable

__all__ = [
    "SUFFIXES",
    "Volume",
    "check_same_grid",
    "count_volumes",
    "orientation_note",
    "read_header",
    "read_volume",
    "read_volumes",
]

SUFFIXES = (".nii", ".nii.gz")
_EXPECTED = "a complete NIfTI file"
_FARTHEST_MM = 1e6
_LARGEST_HEADER = 544  # bytes that hold a NIfTI-1 (348) or NIfTI-2 (540) header and its extension flag
_MOST_UNPACKED_BYTES = 2**32
_MOST_GROWTH = 500  # of a packed file that becomes more than ``_SMALL_BYTES``; masks of zeros reach about 200
_SMALL_BYTES = 2**30
_MOST_BEHIND = 2**20  # bytes that may follow the voxels


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
    return _read_header(path, several=False)[0]


def count_volumes(path: Path) -> int:
    """How many volumes a NIfTI file holds along a fourth axis, from its first bytes.

    Raises:
        ScanError: no NIfTI header, or one that makes no sense.
    """
    return _read_header(path, several=True)[1]


def _read_header(path: Path, *, several: bool) -> tuple[Grid, int]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            start = file.read(_LARGEST_HEADER)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, _EXPECTED, error) from error
    header, _ = _header(path, start)
    return _grid(path, header, several=several)


def read_volume(path: Path) -> Volume:
    """A whole NIfTI file, read once; the checksum inside a ``.gz`` is verified.

    Raises:
        ScanError: truncated, corrupt, not three-dimensional, or without a usable affine.
    """
    return _read(path, several=False)[0]


def read_volumes(path: Path) -> tuple[Volume, ...]:
    """As :func:`read_volume`, of a file that may hold several volumes along a fourth axis: one :class:`Volume` each."""
    return _read(path, several=True)


def _read(path: Path, *, several: bool) -> tuple[Volume, ...]:
    from nibabel.spatialimages import HeaderDataError

    try:
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        packed = data[:2] == b"\x1f\x8b"  # by content: some files are packed without saying so in their name
        header, kind = _header(path, gzip.GzipFile(fileobj=io.BytesIO(data)).read(_LARGEST_HEADER) if packed else data)
        grid, count = _grid(path, header, several=several)
        needed = count * math.prod(grid.shape) * int(header.get_data_dtype().itemsize)
        if packed:
            data = _unpacked(path, data, needed + _offset(path, header))
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, _EXPECTED, error) from error
    if len(data) < needed:
        raise ScanError(describe(path, f"{needed} bytes of voxels", f"a file of {len(data)} bytes: it is truncated"))
    try:
        with _quiet():
            array = np.asanyarray(kind.from_bytes(data).dataobj)
        stack = array.reshape(*grid.shape[::-1], count).T
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError, HeaderDataError) as error:
        raise unreadable(path, _EXPECTED, error) from error
    unset = int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0
    notes = (f"{path.name}: the header gives no orientation",) if unset else ()
    return tuple(Volume(np.ascontiguousarray(volume), grid, sha256, notes) for volume in stack)


def _unpacked(path: Path, data: bytes, needed: int) -> bytes:
    """A packed file that holds ``needed`` bytes and little more by its header; its checksum is verified.

    Raises:
        ScanError: a claim of more than fits or can be true, or more content than is claimed.
    """
    if needed > _MOST_UNPACKED_BYTES or (needed > _SMALL_BYTES and needed > _MOST_GROWTH * len(data)):
        expected = f"at most {_MOST_UNPACKED_BYTES:,} bytes of voxels, {_MOST_GROWTH} times the packed ones"
        found = f"a claim of {needed:,} in {len(data):,} packed ones"
        raise ScanError(describe(path, expected, found, "Unpack it yourself if you trust it."))
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        content = file.read(needed)
        behind = file.read(_MOST_BEHIND + 1)
    if len(behind) > _MOST_BEHIND:
        raise ScanError(describe(path, f"{needed:,} bytes when unpacked, as its header says", "many more"))
    return content


def _offset(path: Path, header: Any) -> int:
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _MOST_UNPACKED_BYTES:
        raise ScanError(describe(path, "a vox_offset where its voxels begin", f"{offset:g}"))
    return int(offset) or int(header.single_vox_offset)


@contextmanager
def _quiet() -> Iterator[None]:
    """NiBabel logs what it mends in a header, and warns of odd extensions: nothing that a user could act on."""
    logger = logging.getLogger("nibabel.global")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


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
        remedy = "Register or resample it first, or set data.align."
        raise ScanError(describe(what, f"{name} on the grid of {first} ({here})", where, remedy))


def orientation_note(cases: Iterable[tuple[Case, Path]]) -> tuple[str, ...]:
    """One note if the cases' arrays differ in orientation; ``cases`` come with the file whose header is read."""
    found: dict[str, list[str]] = {}
    for case, path in cases:
        try:
            found.setdefault(_read_header(path, several=True)[0].orientation, []).append(case.name)
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
    if (data[4:7] if kind is Nifti2Image else data[344:347]) != kind.header_class.single_magic:
        found = "a header without that mark: damaged, ANALYZE, or one whose voxels are in another file"
        raise ScanError(describe(path, "a NIfTI file with the mark n+1 or n+2", found, "Convert it to .nii.gz."))
    try:
        with _quiet():
            return kind.header_class(data[:size]), kind
    except (HeaderDataError, WrapStructError, ValueError, KeyError, struct.error) as error:
        raise unreadable(path, _EXPECTED, error) from error


def _grid(path: Path, header: Any, *, several: bool) -> tuple[Grid, int]:
    """The grid, and the number of volumes (1 unless ``several``): the fourth axis, or the fifth of a vector image."""
    from nibabel.spatialimages import HeaderDataError

    try:
        shape = tuple(int(n) for n in header.get_data_shape())
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise unreadable(path, _EXPECTED, error) from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape += (1,) * (3 - len(shape))
    count = 1
    if several and len(shape) > 3 and math.prod(shape[3:-1]) == 1:
        shape, count = shape[:3], shape[-1]
    if len(shape) != 3 or min(*shape, count) < 1:
        axes = "three axes, or four," if several else "three axes"
        raise ScanError(describe(path, f"a volume of {axes}", f"shape {shape} (x, y, z, …)"))
    if not (np.abs(affine) < _FARTHEST_MM).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ScanError(describe(path, "a usable affine", "one that is singular, not finite or of huge numbers"))
    return Grid.from_affine((shape[2], shape[1], shape[0]), affine), count


def _mm(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ") mm"
