"""What a DICOM file is, from its first bytes: an image of a scan, or the reason why it is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synthoma.errors import ScanError, describe
from synthoma.scans.dicom_parse import guarded, number, numbers, parse, uid_name, words
from synthoma.scans.tree import File

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["SEGMENTATIONS", "Instance", "plane", "read_instance"]

Vector = tuple[float, float, float]

_STORAGE = "1.2.840.10008.5.1.4.1.1."
IMAGES = {
    _STORAGE + end
    for end in (
        *("2", "2.1", "2.2"),  # CT: plain, enhanced, legacy converted
        *("4", "4.1", "4.4"),  # MR: likewise
        *("128", "130", "128.1"),  # PET: likewise
        *("1", "1.1", "1.1.1", "1.2", "1.2.1"),  # radiographs: CR, digital and mammograms
    )
}
"""SOP classes (PS3.4 B.5) of grey images whose numbers a scanner measured."""
SEGMENTATIONS = {_STORAGE + "66.4", _STORAGE + "66.7"}
"""SOP classes of segmentations: of bits or fractions, and label maps."""
_DIRECTORY = "1.2.840.10008.1.3.10"
_DERIVED = {"PERFUSION": "a perfusion map"}
_NO_SLICES = {"LOCALIZER": "a localizer", "REF_SURVIEW": "a localizer", "SCREEN SAVE": "a screen capture"}

_CODE = 16
"""Letters of a code string (PS3.5 6.2)."""
_START = 2**16
"""Bytes that hold the header of nearly every image; of files with a longer one more is read."""
_LONGEST_START = 2**26
"""Bytes that hold any."""
_SKEW = 0.01
"""Largest error of length or right angle in an orientation that rounding explains."""


@dataclass(frozen=True)
class Instance:
    """One file of a series: a slice, or several frames. Nothing of its pixels is known yet."""

    file: File
    sop_uid: str
    sop_class: str
    series_uid: str
    study_uid: str
    patient_id: str = field(repr=False)
    modality: str
    instance_number: int | None
    position: Vector | None
    """Of the first pixel, LPS mm; ``None`` where the frames of a multi-frame file have their own."""
    orientation: tuple[float, ...] | None
    """Unit vectors along a row and along a column, six numbers (LPS)."""
    rows: int
    columns: int
    spacing_mm: tuple[float, float] | None
    """Distance of rows and of columns."""
    frames: int
    transfer_syntax: str
    description: str = field(repr=False)
    """Of the series."""


def read_instance(file: File) -> Instance | str | None:
    """What a file is: an image or segmentation, the reason why it is no scan, or ``None`` for no DICOM at all.

    A DICOMDIR is nothing but a table of contents and counts as no DICOM. Only the start of the file is read.

    Raises:
        ScanError: it claims to be DICOM, and its header cannot be read.
    """
    start = file.start(_START)
    if not _is_dicom(start):
        return "named .dcm, but no DICOM" if file.where.suffix.lower() == ".dcm" else None
    with guarded(file.where):
        dataset, reached = _header(file, start)
        meta = dataset.file_meta
        sop_class = str(dataset.get("SOPClassUID", "") or "")
        if _DIRECTORY in (sop_class, str(meta.get("MediaStorageSOPClassUID", ""))):
            return None
        if not sop_class:
            if start[128:132] != b"DICM":
                return None
            raise ScanError(describe(file.where, "a SOP class", "none: the file is truncated or damaged"))
        reason = _why_no_scan(dataset, sop_class, reached)
        if reason:
            return reason
        return _instance(file, dataset, sop_class)


def _header(file: File, start: bytes) -> tuple[Dataset, bool]:
    """The header out of ``start`` and, where that is not all of it, out of more of the file."""
    if len(start) < _START:
        return parse(start, file.where)
    try:
        dataset, reached = parse(start, file.where)
    except Exception:  # a sequence that goes on behind the start; a damaged one fails again below
        reached = False
    return (dataset, True) if reached else parse(file.start(_LONGEST_START), file.where)


def plane(dataset: Dataset) -> tuple[Vector | None, tuple[float, ...] | None, tuple[float, float] | None]:
    """Position, orientation and pixel spacing that a data set (of a slice, or of a frame's functional group) states.

    Raises:
        ValueError: numbers that make no sense.
    """
    position = numbers(dataset, "ImagePositionPatient", 3)
    spacing = numbers(dataset, "PixelSpacing", 2) or numbers(dataset, "ImagerPixelSpacing", 2)
    orientation = numbers(dataset, "ImageOrientationPatient", 6)
    if spacing is not None and min(spacing) <= 0:
        raise ValueError(f"PixelSpacing should be positive, not {spacing[0]:g}/{spacing[1]:g}")
    if orientation is not None:
        orientation = _unit_vectors(orientation)
    return (
        None if position is None else (position[0], position[1], position[2]),
        orientation,
        None if spacing is None else (spacing[0], spacing[1]),
    )


def _unit_vectors(orientation: tuple[float, ...]) -> tuple[float, ...]:
    """Rows and columns at right angles and of length one, as they are but for rounding."""
    row, column = orientation[:3], orientation[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    product = sum(a * b for a, b in zip(row, column, strict=True))
    if max(abs(length - 1) for length in lengths) > _SKEW or abs(product) > _SKEW:
        shown = "/".join(f"{value:g}" for value in orientation)
        raise ValueError(f"ImageOrientationPatient should be two unit vectors at right angles, not {shown}")
    row = tuple(value / lengths[0] for value in row)
    product = sum(a * b for a, b in zip(row, column, strict=True))
    column = tuple(b - product * a for a, b in zip(row, column, strict=True))
    return row + tuple(value / math.hypot(*column) for value in column)


def _is_dicom(start: bytes) -> bool:
    """The prefix of PS3.10, or, in a file without one, a first element of group 2 or 8 as old writers left it."""
    return start[128:132] == b"DICM" or (start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\x00")


def _why_no_scan(dataset: Dataset, sop_class: str, reached: bool) -> str:
    if sop_class in SEGMENTATIONS:
        return "" if reached else "a segmentation without pixel data"
    if sop_class not in IMAGES:
        kind = uid_name(sop_class).removesuffix(" Storage")
        return f"no scan: {kind}" + ("" if reached else " (an object without pixels)")
    photometric = "".join(words(dataset, "PhotometricInterpretation"))
    if not reached:
        return "an image without pixel data"
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME"):
        return f"a colour image ({photometric[:_CODE] or 'several samples a pixel'})"
    image_type = [word.upper() for word in words(dataset, "ImageType")]
    kinds: Mapping[str, str] = _NO_SLICES | (_DERIVED if image_type[:1] == ["DERIVED"] else {})
    return next((f"no slice of a scan: {kinds[word]} (ImageType {word})" for word in image_type if word in kinds), "")


def _instance(file: File, dataset: Dataset, sop_class: str) -> Instance:
    position, orientation, spacing = plane(dataset)
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if min(rows, columns, frames) < 1:
        raise ScanError(describe(file.where, "rows, columns and frames", f"{rows} × {columns} × {frames}"))
    instance_number = number(dataset, "InstanceNumber")
    return Instance(
        file=file,
        sop_uid="".join(words(dataset, "SOPInstanceUID")),
        sop_class=sop_class,
        series_uid="".join(words(dataset, "SeriesInstanceUID")),
        study_uid="".join(words(dataset, "StudyInstanceUID")),
        patient_id="".join(words(dataset, "PatientID")),
        modality="".join(words(dataset, "Modality"))[:_CODE].upper(),
        instance_number=None if instance_number is None else int(instance_number),
        position=position,
        orientation=orientation,
        rows=rows,
        columns=columns,
        spacing_mm=spacing,
        frames=frames,
        transfer_syntax=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        description=" ".join(words(dataset, "SeriesDescription")),
    )
