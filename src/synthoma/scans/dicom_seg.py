"""DICOM segmentation objects (SEG, PS3.3 A.51, label maps included): which voxels of a series are of which structure.

A frame belongs to the slice that it names by SOP instance UID and frame number, and must lie there (position,
orientation, pixel spacing). Frames that name no image are placed by geometry alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import MissingPartError, ScanError, describe
from synthoma.scans.dicom_header import SEGMENTATIONS
from synthoma.scans.dicom_parse import guarded, parse, uid_name
from synthoma.scans.dicom_pixels import MOST_DECODED_BYTES, codestream_size
from synthoma.scans.dicom_resample import resample
from synthoma.scans.dicom_seg_header import Described, described_in, frames_in, images_of, series_of
from synthoma.scans.dicom_seg_places import Places, group_of
from synthoma.scans.dicom_volume import DicomVolume
from synthoma.scans.terminal import silenced
from synthoma.scans.tree import File

__all__ = ["Segment", "read_seg", "read_segments"]

THRESHOLD = 0.5
"""Of a fractional segmentation: voxels of at least this share or probability are of the segment."""


@dataclass(frozen=True)
class Segment(Described):
    """One structure of a segmentation."""

    mask: NDArray[np.uint8]
    """(z, y, x) on the grid of the volume."""


def read_seg(file: File, volume: DicomVolume, series_uid: str = "") -> dict[str, NDArray[np.uint8]]:
    """Name of each segment → its mask on the grid of ``volume``; arguments and errors as :func:`read_segments`."""
    segments, _ = read_segments(file, volume, series_uid)
    return {segment.name: segment.mask for segment in segments}


def read_segments(file: File, volume: DicomVolume, series_uid: str = "") -> tuple[tuple[Segment, ...], tuple[str, ...]]:
    """The segments in the order of their numbers, overlapping ones each whole, and notes.

    Args:
        series_uid: of the series that ``volume`` was read from, for the message.

    Raises:
        ScanError: a damaged file, a segmentation of another series, frames that do not lie on the slices that they
            name, or that have no position in the patient.
        MissingPartError: the decoder of this compression is not installed.
    """
    from highdicom.seg import Segmentation

    data = file.read()
    with guarded(file.where):
        dataset = _opened(data, file)
        _check_series(dataset, file, volume, series_uid)
        place = Places(dataset, file.where, volume)
        placed = {frame: index for frame in range(frames_in(dataset)) if (index := place.of(frame)) is not None}
        if not placed:
            raise ScanError(describe(file.where, "frames on slices of the series", "none that lies on one"))
        seg = Segmentation.from_dataset(dataset, copy=False)
        stacks = _stacks(seg, file, placed, (len(volume.source_uids), int(seg.Rows), int(seg.Columns)))
        segments = tuple(_segments(seg, stacks, volume))
    absent = frames_in(seg) - len(placed)
    notes = (
        (f"{absent} of {frames_in(seg)} frames of the segmentation lie on slices that are not here",) if absent else ()
    )
    return segments, notes


def _opened(data: bytes, file: File) -> Any:
    """The data set, its pixels not yet decoded.

    A claim of more frames or pixels than there are is refused here, before anything is allocated.
    """
    from pydicom import dcmread
    from pydicom.encaps import generate_frames
    from pydicom.pixels.decoders.base import get_decoder

    parse(data, file.where)  # refuses what grows without bound when inflated
    dataset = dcmread(io.BytesIO(data))
    if str(dataset.SOPClassUID) not in SEGMENTATIONS:
        raise ScanError(describe(file.where, "a segmentation", uid_name(dataset.SOPClassUID)))
    if "PixelData" not in dataset:
        raise ScanError(describe(file.where, "pixel data", "none: the file is truncated"))
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ScanError(describe(file.where, "a compression that can be decoded", uid_name(syntax))) from error
    if not decoder.is_available:
        remedy = "Install it with: pip install 'synthoma[dicom]'"
        raise MissingPartError(describe(file.where, f"a decoder for {syntax.name}", "none", remedy))
    rows, columns, frames = int(dataset.Rows), int(dataset.Columns), frames_in(dataset)
    described = len(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    if described != frames:
        raise ScanError(describe(file.where, f"a description of each of {frames} frames", described))
    if rows * columns * frames > MOST_DECODED_BYTES:
        found = f"{frames} frames of {rows} × {columns}"
        raise ScanError(describe(file.where, f"at most {MOST_DECODED_BYTES:,} pixels", found))
    if not syntax.is_encapsulated:
        needed = (rows * columns * frames * int(dataset.BitsAllocated) + 7) // 8
        if len(dataset.PixelData) < needed:
            found = f"{len(dataset.PixelData):,}: the file is truncated"
            raise ScanError(describe(file.where, f"{needed:,} bytes of pixels", found))
    else:
        sizes = [codestream_size(frame) for frame in generate_frames(dataset.PixelData, number_of_frames=frames)]
        if len(sizes) < frames or any(size not in (None, (rows, columns)) for size in sizes):
            found = f"{len(sizes)} of sizes {sorted({size for size in sizes if size})}"
            raise ScanError(describe(file.where, f"{frames} compressed frames of {rows} × {columns}", found))
    return dataset


def _check_series(seg: Any, file: File, volume: DicomVolume, series_uid: str) -> None:
    images = set(images_of(seg))
    ours = {uid for uid, _ in volume.source_uids}
    if images and not images & ours:
        series = series_of(seg)
        if series and series_uid and series_uid not in series:
            expected, found = f"a segmentation of series {_short(series_uid)}", f"one of series {_short(series[0])}"
        else:
            expected = f"a segmentation of images such as {_short(min(ours, default=''))}"
            found = f"one of images such as {_short(min(images))}"
        raise ScanError(describe(file.where, expected, found))


def _short(uid: str) -> str:
    return uid if len(uid) <= 13 else f"…{uid[-12:]}"


def _stacks(seg: Any, file: File, placed: dict[int, int], shape: tuple[int, int, int]) -> dict[int, NDArray[np.bool_]]:
    """Number of each segment → where it is, (slice, y, x)."""
    kind = str(seg.SegmentationType)
    wanted = [int(number) for number in seg.segment_numbers if int(number) > 0]
    if len(wanted) * shape[0] * shape[1] * shape[2] > MOST_DECODED_BYTES:
        found = f"{len(wanted)} of {' × '.join(map(str, shape))}"
        raise ScanError(describe(file.where, f"segments of at most {MOST_DECODED_BYTES:,} voxels in all", found))
    stacks = {number: np.zeros(shape, dtype=np.bool_) for number in wanted}
    for frame, index in placed.items():
        try:
            with silenced():
                stored = seg.get_stored_frame(frame + 1)
        except RuntimeError as error:
            found = "damaged ones, or such that no decoder reads"
            raise ScanError(describe(file.where, f"{seg.file_meta.TransferSyntaxUID.name} pixels", found)) from error
        if kind == "LABELMAP":
            for number in np.unique(stored):
                if int(number) in stacks:
                    stacks[int(number)][index] |= stored == number
            continue
        item = group_of(seg, frame, "SegmentIdentification")
        number = 0 if item is None else int(item.ReferencedSegmentNumber)
        if number not in stacks:
            expected = f"frame {frame + 1} of a segment that is described"
            raise ScanError(describe(file.where, expected, f"number {number}"))
        inside = stored > 0 if kind == "BINARY" else stored >= THRESHOLD * int(seg.MaximumFractionalValue)
        stacks[number][index] |= inside
    return stacks


def _segments(seg: Any, stacks: dict[int, NDArray[np.bool_]], volume: DicomVolume) -> Iterator[Segment]:
    for one in described_in(seg):
        stack = stacks[one.number]
        if volume.resampling is not None:
            stack = resample(stack.astype(np.float32), volume.resampling, 0.0) >= THRESHOLD
        yield Segment(**vars(one), mask=stack.astype(np.uint8))
