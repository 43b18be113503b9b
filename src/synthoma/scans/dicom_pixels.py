"""From the pixel data of a DICOM file to numbers in real units, with guards against what a header may claim."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import MissingPartError, ScanError, describe
from synthoma.scans.dicom_parse import number, uid_name, words
from synthoma.scans.terminal import silenced

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "MOST_DECODED_BYTES",
    "OUTSIDE_HU",
    "Values",
    "check_frames",
    "codestream_size",
    "decode",
    "outside_circle",
    "values_of",
]

MOST_DECODED_BYTES = 2**32
"""Pixels of one file, and voxels of one series, take no more (4 GiB)."""
OUTSIDE_HU = -1024.0
"""What CT voxels outside the scan circle are set to: the lowest of a 12-bit scanner, a little below air (−1000)."""
_NO_TISSUE_HU = -1500.0
"""Below is no measured density, but padding if it touches the border; streaks of metal inside a body do not."""
_TISSUE_HU = (-1000.0, 10_000.0)
"""A PixelPaddingValue between would be tissue, bone or metal; it is not believed."""


@dataclass(frozen=True)
class Values:
    """How stored values become real ones, and which of them stand for no measurement."""

    slope: float
    intercept: float
    hounsfield: bool
    inverted: int | None
    """What a stored value is subtracted from where white is low (MONOCHROME1); ``None`` where it is not."""
    padding: tuple[int, int] | None
    """Lowest and highest stored value that the header declares to be padding."""

    def real(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """``slope · stored + intercept``, float32."""
        values = stored if self.inverted is None else self.inverted - stored.astype(np.int64)
        if self.slope == 1:
            plain = values.astype(np.float32)
            plain += np.float32(self.intercept)
            return plain
        return (values * np.float64(self.slope) + self.intercept).astype(np.float32)


def decode(dataset: Dataset, where: Path) -> NDArray[Any]:
    """The stored values of all frames (frames, rows, columns), integers.

    Sizes are checked before anything is decoded: against the length of uncompressed data, and in compressed data
    against each frame's own header and :data:`MOST_DECODED_BYTES`.

    Raises:
        ScanError: truncated or damaged pixels, float pixels, sizes that contradict each other.
        MissingPartError: the decoder of this compression is not installed.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import JPEGExtended12Bit, RLELossless

    rows, columns, frames = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames") or 1)
    bits = int(dataset.BitsAllocated)
    if "PixelData" not in dataset or bits not in (8, 16, 32):
        kind = f"{bits} bits" if "PixelData" in dataset else "floating point numbers"
        raise ScanError(describe(where, "pixels of 8, 16 or 32 bits", kind))
    needed = rows * columns * frames * bits // 8
    if needed > MOST_DECODED_BYTES:
        raise ScanError(describe(where, f"at most {MOST_DECODED_BYTES:,} bytes of pixels", f"a claim of {needed:,}"))
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        if len(dataset.PixelData) < needed:
            found = f"{len(dataset.PixelData):,}: the file is truncated"
            raise ScanError(describe(where, f"{needed:,} bytes of pixels", found))
    else:
        check_frames(dataset, where, rows, columns, frames)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ScanError(describe(where, "a compression that can be decoded", uid_name(syntax))) from error
    if not decoder.is_available:
        raise MissingPartError(
            describe(where, f"a decoder for {syntax.name}", "none", "Install it with: pip install 'synthoma[dicom]'")
        )
    # pylibjpeg's decoder of RLE is faster, and ends the process where the data are damaged
    plugin = "pydicom" if syntax == RLELossless else ""
    try:
        with silenced():
            array, _ = decoder.as_array(dataset, raw=True, decoding_plugin=plugin)
    except RuntimeError as error:
        if syntax == JPEGExtended12Bit and "pylibjpeg" not in decoder.available_plugins:  # others read 8 bits only
            remedy = "Install it with: pip install pylibjpeg-libjpeg (mind its licence, the GPL)"
            raise MissingPartError(describe(where, f"a decoder for {syntax.name}", "none", remedy)) from error
        raise ScanError(describe(where, f"{syntax.name} pixels", "damaged ones that no decoder reads")) from error
    stored: NDArray[Any] = array.reshape(frames, rows, columns)
    return stored


def values_of(dataset: Dataset, group: Dataset, where: Path) -> tuple[Values, tuple[str, ...]]:
    """How the stored values of a slice (or of a frame, whose functional ``group`` counts first) are to be understood.

    MONOCHROME1 says that low values are *shown* white (PS3.3 C.7.6.3.1.2): Hounsfield numbers stay what they are, and
    other images are turned over within the range of their stored bits, so that high is bright.

    Raises:
        ScanError: a lookup table in place of the rescale, a slope of zero.
    """
    if "ModalityLUTSequence" in dataset:
        raise ScanError(describe(where, "a rescale slope and intercept", "a lookup table (Modality LUT Sequence)"))
    slope, intercept = (
        number(group, name) if name in group else number(dataset, name) for name in ("RescaleSlope", "RescaleIntercept")
    )
    if slope == 0:
        raise ScanError(describe(where, "a rescale slope", "0"))
    notes = []
    ct = "".join(words(dataset, "Modality")).upper() == "CT"
    kind = "".join(words(group, "RescaleType") or words(dataset, "RescaleType"))
    hounsfield = ct and kind in ("", "HU") and intercept is not None
    if ct and not hounsfield:
        notes.append("no rescale in the header" if intercept is None else f"rescaled to {kind}, not to Hounsfield")
    signed = int(dataset.get("PixelRepresentation") or 0) == 1
    stored = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    inverted = None
    if "".join(words(dataset, "PhotometricInterpretation")) == "MONOCHROME1":
        if not hounsfield:
            inverted = -1 if signed else 2**stored - 1
        notes.append("MONOCHROME1: " + ("Hounsfield numbers kept" if hounsfield else "turned over, high is bright"))
    values = Values(1.0 if slope is None else slope, intercept or 0.0, hounsfield, inverted, _padding(dataset, signed))
    if hounsfield and values.padding is not None:
        bounds = [values.slope * bound + values.intercept for bound in values.padding]
        if max(bounds) > _TISSUE_HU[0] and min(bounds) < _TISSUE_HU[1]:
            notes.append(f"the declared padding value would be tissue ({max(bounds):g} HU): not believed")
            values = Values(values.slope, values.intercept, True, inverted, None)
    return values, tuple(notes)


def outside_circle(stored: NDArray[Any], real: NDArray[np.float32], values: Values) -> NDArray[np.bool_]:
    """Where a slice (y, x) was not measured: its declared padding and, in CT, what is far below air at its border.

    The declared value is often wrong (LIDC-IDRI) or absent: a region below −1500 HU that touches the border is padding.
    """
    outside = np.zeros(stored.shape, dtype=np.bool_)
    if values.padding is not None:
        outside |= (stored >= values.padding[0]) & (stored <= values.padding[1])
    if values.hounsfield:
        low = real < _NO_TISSUE_HU
        if low.any():
            outside |= _at_the_border(low, real)
    return outside


def _at_the_border(low: NDArray[np.bool_], real: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The regions of ``low`` that touch the border."""
    from scipy.ndimage import label

    edges = np.zeros_like(low)
    edges[[0, -1]] = edges[:, [0, -1]] = True
    values = real[low]
    if values.min() == values.max() and (low & edges).any():  # one value: the padding of a lossless file
        return low
    regions, count = label(low)
    touching = np.zeros(count + 1, dtype=np.bool_)
    touching[regions[edges]] = True
    touching[0] = False  # what is not low
    found: NDArray[np.bool_] = touching[regions]
    return found


def _padding(dataset: Dataset, signed: bool) -> tuple[int, int] | None:
    """The declared range of padding as stored values; a value of the wrong sign (63536 for −2000) is wrapped."""
    first = number(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = number(dataset, "PixelPaddingRangeLimit")
    size = 2 ** int(dataset.BitsAllocated)
    low = -size // 2 if signed else 0
    wrapped = [(int(value) - low) % size + low for value in (first, first if last is None else last)]
    return min(wrapped), max(wrapped)


def check_frames(dataset: Dataset, where: Path, rows: int, columns: int, frames: int) -> None:
    """The size that each compressed frame states must be that of the image: a decoder believes it and allocates.

    Raises:
        ScanError: another size, several samples a pixel, no size where the compression has one, too few frames.
    """
    from pydicom.encaps import generate_frames
    from pydicom.uid import RLELossless

    count = 0
    for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
        count += 1
        stated = _stated(frame)
        if stated is None and dataset.file_meta.TransferSyntaxUID != RLELossless:  # whose segments state no size
            raise ScanError(describe(where, "compressed frames that state their size", f"none in frame {count}"))
        if stated is not None and stated != (rows, columns, 1):
            samples = "" if stated[2] == 1 else f" × {stated[2]} samples"
            found = f"a compressed frame of {stated[0]} × {stated[1]}{samples}"
            raise ScanError(describe(where, f"{rows} × {columns} pixels", found))
    if count < frames:
        raise ScanError(describe(where, f"{frames} compressed frames", f"{count}: the file is truncated"))


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 frame states; ``None`` where its head is none of theirs."""
    stated = _stated(frame)
    return None if stated is None else stated[:2]


def _stated(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and samples a pixel.

    Markers: start of frame in ISO 10918-1 B.2.2 and ISO 14495-1 C.2.2, image size (SIZ) in ISO 15444-1 A.5.1.
    """
    jpeg_2000 = frame.find(b"\xff\x4f\xff\x51", 0, 512)  # behind the boxes of a JP2 file, which should not be there
    if jpeg_2000 >= 0 and len(frame) >= jpeg_2000 + 42:
        width, height, left, top = struct.unpack(">4I", frame[jpeg_2000 + 8 : jpeg_2000 + 24])
        return height - top, width - left, int.from_bytes(frame[jpeg_2000 + 40 : jpeg_2000 + 42], "big")
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF and frame[at + 1] != 0xDA:
        marker = frame[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width, samples = struct.unpack(">2HB", frame[at + 5 : at + 10])
            return height, width, samples
        at += 1 if marker == 0xFF else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")  # fill byte, or a segment
    return None
