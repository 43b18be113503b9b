"""Single pictures: PNG, JPEG, TIFF, NumPy; 8 or 16 bits, signed, or floating point, never converted on the way."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import struct
import tokenize
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.scans.case import unreadable
from synthoma.scans.terminal import silenced

__all__ = ["BROKEN_ARRAY", "SUFFIXES", "Picture", "check_claim", "read_picture"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_MODES = {"L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L", "1"}
_FROM_PILLOW = ("uint8", "uint16", "int16", "float32")  # what Pillow decodes from TIFF with its values unchanged

BROKEN_ARRAY = (OSError, ValueError, EOFError, TypeError, SyntaxError, tokenize.TokenError, OverflowError, MemoryError)
"""What NumPy raises for damaged files: its headers are Python literals."""
_MOST_BYTES = 2**29
"""Of one picture's pixels: 11,585 × 11,585 of 32 bits."""
_FORMATS = ("PNG", "JPEG", "TIFF")  # by content: Pillow knows some that start other programs


@dataclass(frozen=True)
class Picture:
    """The content of one file."""

    array: NDArray[Any]
    """(y, x) or (y, x, channel), of the file's own type."""
    sha256: str


def read_picture(path: Path) -> Picture:
    """Read one picture by its suffix.

    Raises:
        ScanError: not there, truncated, corrupt, or of a kind that is not read.
    """
    expected = f"a complete {path.suffix[1:].upper()} file"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, expected, error) from error
    decode = _DECODERS.get(path.suffix.lower())
    if decode is None:
        raise ScanError(describe(path, f"one of {', '.join(SUFFIXES)}", path.suffix or "no suffix"))
    array = decode(path, data, expected)
    return Picture(array, hashlib.sha256(data).hexdigest())


def _tiff(path: Path, data: bytes, expected: str) -> NDArray[Any]:
    import tifffile

    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True  # it prints what is raised here anyway
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            if len(file.pages) != 1:
                raise ScanError(describe(path, "one picture", f"{len(file.pages)} pages", "Save one file a slice."))
            page = file.pages[0]
            if int(page.compression) not in _UNPACKED_BY_TIFFFILE and str(page.dtype) in _FROM_PILLOW:
                return _pillow(path, data, expected)  # LZW, JPEG: tifffile needs another package for these
            claimed = math.prod(page.shape) * np.dtype(page.dtype).itemsize
            if claimed > (len(data) if int(page.compression) == 1 else _MOST_BYTES):
                raise ValueError(f"a claim of {claimed:,} bytes of pixels in a file of {len(data):,}")
            return np.asarray(page.asarray())
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        raise unreadable(path, expected, error) from error
    except (struct.error, zlib.error, EOFError, OverflowError, MemoryError, ZeroDivisionError) as error:
        raise unreadable(path, expected, error) from error
    finally:
        logger.disabled = before


_UNPACKED_BY_TIFFFILE = (1, 8, 32773, 32946)  # none, deflate, PackBits, deflate by its old number


def _pillow(path: Path, data: bytes, expected: str) -> NDArray[Any]:
    from PIL import Image

    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:26] in (b"\x10\x02", b"\x10\x06"):
        # Pillow would cut 16-bit colours to 8 bits without a word.
        raise ScanError(
            describe(path, "grey values, or colours of 8 bits", "colours of 16 bits", "Save it as grey values.")
        )
    try:
        with silenced(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _opened(path, data)
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, EOFError) as error:
        raise unreadable(path, expected, error) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise unreadable(path, expected, error) from error


def _opened(path: Path, data: bytes) -> NDArray[Any]:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        frames = getattr(image, "n_frames", 1)
        if frames != 1:
            raise ScanError(describe(path, "one picture", f"{frames} frames"))
        if image.mode == "P":  # a palette
            return np.array(image.convert("RGB"))
        if image.mode not in _MODES:
            raise ScanError(describe(path, "grey values or RGB", f"the mode {image.mode}"))
        return np.array(image)


def _numpy(path: Path, data: bytes, expected: str) -> NDArray[Any]:
    try:
        check_claim(io.BytesIO(data), len(data))
        array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except BROKEN_ARRAY as error:
        raise unreadable(path, expected, error) from error
    if not isinstance(array, np.ndarray):
        raise ScanError(describe(path, "one array", "an archive of arrays"))
    return array


def check_claim(stream: IO[bytes], size: int) -> None:
    """The header of an array in NumPy's format, of ``size`` bytes, must claim no more: what it claims is allocated.

    Raises:
        ValueError: it claims more, or has a version that plain arrays do not need.
    """
    from numpy.lib import format as npy

    start = stream.read(npy.MAGIC_LEN)
    if not start.startswith(npy.MAGIC_PREFIX):
        return  # an archive, or nothing that is read
    version = npy.read_magic(io.BytesIO(start))
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"arrays of the format version {version[0]}.{version[1]} are not read")
    shape, _, dtype = readers[version](stream)
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > size:
        raise ValueError(f"a claim of {claimed:,} bytes of numbers in {size:,}")


_DECODERS = {
    ".png": _pillow,
    ".jpg": _pillow,
    ".jpeg": _pillow,
    ".tif": _tiff,
    ".tiff": _tiff,
    ".npy": _numpy,
}
