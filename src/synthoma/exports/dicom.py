"""A cohort as DICOM series, and its masks as segmentations."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthoma.errors import CohortError, describe
from synthoma.exports.dicom_headers import decimal, image_header, position
from synthoma.exports.dicom_masks import segmentation_bytes
from synthoma.exports.dicom_study import Study, study_of, uid
from synthoma.exports.options import DicomExport
from synthoma.exports.volumes import (
    ABOUT,
    NORMALISED,
    TABLE,
    Volume,
    about,
    channel_values,
    csv_bytes,
    file_name,
    knows_its_lesion,
    mask_of,
    sample_row,
    to_int16,
    volumes_of,
)
from synthoma.records import BODY, Cohort
from synthoma.storage import new_folder, write_bytes, write_json

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["export_dicom"]

SEGMENTATION = "seg"


def export_dicom(
    cohort: Cohort, out: Path, *, overwrite: bool = False, options: DicomExport | None = None, risk: str = ""
) -> Path:
    """Write ``<volume>/<channel>/0001.dcm``, …, ``<volume>/seg.dcm``, and a table beside them.

    A volume is a study, a channel a series of CT or MR images, a slice a file of int16; slope 1 and intercept 0 in HU,
    else the pair that spreads the channel's values over 16 bits. Orientation and position are those of the scan's
    prepared grid, turned from RAS to LPS; where no place is known, it is the origin, and the image comments say so. The
    segmentation holds body and lesion as segments, whole where they overlap, and names the slices of the first channel.

    Every instance of a synthetic cohort says Synthetic Data (0008,001C) = YES. Every instance is DERIVED, and tells
    what made it in Derivation Description and Contributing Equipment Sequence. PatientID is the cohort's name of the
    patient; identifiers follow from the content, so that equal cohorts are equal files. There is no date.

    Args:
        cohort: real or synthetic, of CT or MR.
        out: the folder to write.
        overwrite: replace a folder of this name.
        options: settings of the format.
        risk: the reason for which a privacy risk was accepted; every instance repeats it.

    Raises:
        CohortError: neither CT nor MR, a grid that is not that of the images or that DICOM cannot tell, channels whose
            files would have one name.
        SettingError: a ``risk`` of more letters than a description may have.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    options = options or DicomExport()
    names = {file_name(name).lower() for name in cohort.channels}
    if len(names) < len(cohort.channels):
        raise CohortError(describe("channels", "names that differ as folders", ", ".join(cohort.channels)))
    rows: dict[int, dict[str, Any]] = {}
    with new_folder(Path(out), overwrite=overwrite) as folder:
        for volume in volumes_of(cohort, options.slices):
            study = study_of(cohort, volume, options.model_dump_json(), risk)
            first: list[Dataset] = []
            for number, name in enumerate(cohort.channels, start=1):
                series = _series(cohort, name, number, volume, study)
                _write(series, folder / volume.name / file_name(name))
                first = first or series
            lesions = cohort.lesion_names if knows_its_lesion(cohort, volume.rows) else ()
            masks = {name: mask_of(cohort, name, volume) for name in (BODY, *lesions)}
            data = segmentation_bytes(first, masks, study)
            (folder / volume.name / f"{SEGMENTATION}.dcm").write_bytes(data)
            for row, place in zip(volume.rows, volume.places or (None,), strict=True):
                where = {"slice": "" if place is None else place, "files": _files(cohort, volume, place)}
                rows[row] = sample_row(cohort, row) | where
        write_bytes(folder / TABLE, csv_bytes(rows))
        channels = {name: file_name(name) for name in cohort.channels}
        write_json(folder / ABOUT, about(cohort, risk, channels=channels, masks=list(cohort.mask_names)))
    return Path(out)


def _series(cohort: Cohort, name: str, number: int, volume: Volume, study: Study) -> list[Dataset]:
    """The slices of one channel, in the order of z."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    stored, slope, intercept = to_int16(channel_values(cohort, name, volume), study.unit, decimal)
    header = image_header(study, volume, name, number, (slope, intercept))
    window = _window(cohort, name, volume, study)
    series = []
    for z, plane in enumerate(stored):
        one = Dataset()  # shares the elements of the header, to which it only adds
        one.update(header)
        one.file_meta = FileMetaDataset()
        one.file_meta.update(header.file_meta)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = UID(uid(study, "instance", name, str(z)))
        one.InstanceNumber = z + 1
        one.ImagePositionPatient = position(volume.grid, z)
        one.WindowCenter, one.WindowWidth = window
        if float(window[1]) < 1:  # a linear window is one unit wide at least (PS3.3 C.11.2.1.2)
            one.VOILUTFunction = "LINEAR_EXACT"
        one.PixelData = plane.astype("<i2").tobytes()
        series.append(one)
    return series


def _window(cohort: Cohort, name: str, volume: Volume, study: Study) -> tuple[str, str]:
    """Centre and width that a viewer opens with: what became −1 and +1."""
    low, high = -1.0, 1.0
    if study.unit != NORMALISED:
        low, high = (float(cohort.table[f"{end}_{name}"][volume.rows[0]]) for end in ("low", "high"))
    return decimal((low + high) / 2), decimal(max(high - low, 1e-6))


def _write(series: list[Dataset], folder: Path) -> None:
    folder.mkdir(parents=True)
    for one in series:
        buffer = io.BytesIO()
        one.save_as(buffer, enforce_file_format=True)
        (folder / _file(int(one.InstanceNumber))).write_bytes(buffer.getvalue())


def _file(number: int) -> str:
    return f"{number:04d}.dcm"


def _files(cohort: Cohort, volume: Volume, place: int | None) -> str:
    """The file of a slice in each channel, or the folder of each; and the segmentation."""
    end = "" if place is None else f"/{_file(place + 1)}"
    images = [f"{volume.name}/{file_name(name)}{end}" for name in cohort.channels]
    return ";".join([*images, f"{volume.name}/{SEGMENTATION}.dcm"])
