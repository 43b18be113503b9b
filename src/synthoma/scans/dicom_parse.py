"""From bytes to the elements of a DICOM data set that are asked for, and numbers out of them.

Tags are read by the names below and no others; the patient's name is not among them.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthoma.errors import ScanError, SynthomaError, describe
from synthoma.scans.case import unreadable

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["guarded", "number", "numbers", "parse", "parse_whole", "uid_name", "words"]

_KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Modality"),
    *("SeriesDescription", "ImageType", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "NumberOfFrames"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("LossyImageCompression", "LossyImageCompressionRatio"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
)
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_MOST_INFLATED = 2**30
"""A deflated data set is no larger when inflated (PS3.5 A.5)."""
_SMALL_INFLATED = 2**27
_MOST_GROWTH = 500
"""Beyond ``_SMALL_INFLATED`` a deflated data set grows by no larger factor."""
_MOST_SEQUENCE_BYTES, _MOST_ITEMS = 2**25, 2**18
"""Of one sequence: PyDicom needs 15 µs for each item. The frames of a segmentation of 100 organs take 25 MB."""
_FEW_BYTES, _MOST_READS = 2**20, 2**21
"""From one file: two for each element, with those in sequences of undefined length."""
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_PIECE = 2**24
_SHORT, _UNDEFINED = 2**16, 2**32 - 1  # bytes that are not worth a look; the length that stands for none
_FARTHEST_MM = 1e6
_QUOTED = re.compile(r"b?['\"].*['\"]", re.DOTALL)
_DEFLATED = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.1.99"
_PLAIN = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.1\0\0\0"
_EXPECTED = "a complete DICOM file"


def parse(data: bytes, where: Path) -> tuple[Dataset, bool]:
    """The data set of a file's bytes, and whether its pixel data were reached; the pixels themselves are not read.

    Raises:
        ScanError: a deflated data set that is damaged or grows without bound.
    """
    return _parsed(data, where, whole=False)


def parse_whole(data: bytes, where: Path) -> Dataset:
    """The data set of a file's bytes with its pixel data, still encoded.

    Raises:
        ScanError: as :func:`parse`; a file that ends before its pixel data.
    """
    dataset, _ = _parsed(data, where, whole=True)
    if not any(tag in dataset for tag in _PIXELS):
        raise ScanError(describe(where, "pixel data", "none: the file is truncated"))
    return dataset


def _parsed(data: bytes, where: Path, *, whole: bool) -> tuple[Dataset, bool]:
    from pydicom.filereader import read_partial

    reached = False
    content = _inflated(data, where, whole=whole)
    stream = _Counted(content) if len(content) > _FEW_BYTES else io.BytesIO(content)

    def stop(tag: Any, vr: str | None, length: int) -> bool:
        nonlocal reached
        if _SHORT < length < _UNDEFINED and "SQ" in (vr, _vr_of(tag)):
            _check_sequence(content, stream.tell(), length)
        reached = reached or tag in _PIXELS
        return (tag in _PIXELS and not whole) or tag > 0x7FE00010

    return read_partial(stream, stop, force=True, specific_tags=_tags()), reached


@cache
def _tags() -> list[Any]:
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    return [Tag(tag) for tag in map(tag_for_keyword, _KEYWORDS) if tag is not None]


class _Counted(io.BytesIO):
    """Bytes that are not read in more than so many pieces: a file of nothing but elements keeps a parser for hours."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MOST_READS:
            raise ValueError(f"more than {_MOST_READS // 2:,} elements")
        return super().read(size)


def _vr_of(tag: Any) -> str:
    """What the dictionary says, since implicit encodings say nothing."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def _check_sequence(content: bytes, at: int, length: int) -> None:
    """A sequence of known length is parsed when it is asked for, however many items it has."""
    if length > _MOST_SEQUENCE_BYTES:
        raise ValueError(f"a sequence of {length:,} bytes, more than {_MOST_SEQUENCE_BYTES:,}")
    items = max(content.count(item, at, at + length) for item in _ITEMS)
    if items > _MOST_ITEMS:
        raise ValueError(f"a sequence of {items:,} items, more than {_MOST_ITEMS:,}")


def _inflated(data: bytes, where: Path, *, whole: bool) -> bytes:
    """The bytes of a deflated file as those of an uncompressed one; any other file as it is."""
    at = data.find(_DEFLATED, 132, 2048)
    if at < 0 or data[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        return data
    end = 144 + int.from_bytes(data[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces, size, rest = [], 0, data[end:]
    while rest and not inflater.eof:
        pieces.append(inflater.decompress(rest, _PIECE))
        size, rest = size + len(pieces[-1]), inflater.unconsumed_tail
        if size > _MOST_INFLATED:
            raise ScanError(describe(where, f"at most {_MOST_INFLATED:,} bytes when inflated", "more"))
        if size > _SMALL_INFLATED and size > _MOST_GROWTH * len(data):
            raise ScanError(describe(where, f"a deflated data set that grows at most {_MOST_GROWTH}-fold", "more"))
    content = b"".join(pieces)
    if whole and not inflater.eof:
        raise ScanError(describe(where, "a complete deflated data set", "one that ends too early"))
    return data[:at] + _PLAIN + data[at + len(_PLAIN) : end] + content


@contextmanager
def guarded(where: Path) -> Iterator[None]:
    """Whatever pydicom runs into within becomes a :class:`ScanError` that names the file; its warnings are not shown.

    They would repeat values of the file on the terminal.
    """
    from pydicom.config import disable_value_validation

    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    except SynthomaError:
        raise
    except Exception as error:  # pydicom has no exception of its own: a damaged file ends in whatever its parsers meet
        reason = _QUOTED.sub("…", str(error)) or type(error).__name__  # a shifted byte, and it quotes the patient's ID
        raise unreadable(where, _EXPECTED, ValueError(reason)) from error
    finally:
        logger.setLevel(level)


def words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of an element as printable text without blanks around; empty where it is absent."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return tuple("".join(letter for letter in str(part) if letter.isprintable()).strip() for part in parts)


def uid_name(uid: object) -> str:
    """What a UID stands for, in words that a terminal may show, whatever a damaged file has in its place."""
    from pydicom.uid import UID

    one = UID(str(uid))
    return str(one.name) if one.is_valid else "no valid UID"


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """``count`` numbers of an element; ``None`` where it is absent or empty.

    Raises:
        ValueError: another count, or numbers that are not finite or absurdly large.
    """
    found = words(dataset, keyword)
    if not any(found):
        return None
    values = tuple(float(value) for value in found)
    if len(values) != count or not all(math.isfinite(value) and abs(value) < _FARTHEST_MM for value in values):
        raise ValueError(f"{keyword} should be {count} finite numbers, not {'/'.join(found)[:60]}")
    return values


def number(dataset: Dataset, keyword: str) -> float | None:
    """The number of an element, or ``None``."""
    values = numbers(dataset, keyword, 1)
    return None if values is None else values[0]
