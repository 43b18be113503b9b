"""LIDC-IDRI as The Cancer Imaging Archive distributes it: chest CT series beside the XML of four readers.

Folders may be patient/study/series or any other; a file belongs to a series by its header, an XML by the series that it
names. Armato et al., Medical Physics 38(2), 2011.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import Scan, SourceFile
from synthoma.scans.case import Case, Found, LeftOut, folder_of, nothing_found
from synthoma.scans.dicom import GeometryRule, Series, find_series, read_series
from synthoma.scans.dicom_resample import resample
from synthoma.scans.lidc_masks import check_inside, masks_of
from synthoma.scans.lidc_xml import SESSIONS, parse_reading, series_of
from synthoma.scans.tree import File, list_tree
from synthoma.scans.voxels import as_channel

if TYPE_CHECKING:
    from synthoma.scans.dicom_resample import Resampling

__all__ = ["CHANNELS", "MASKS", "LidcData", "contents", "find", "read"]

CHANNELS, MASKS = ("ct",), ("nodule",)
_EXPECTED = "CT series and the readers' XML that names them (LIDC-IDRI-0001/…/069.xml)"
_START_BYTES = 2**16  # the series is named in the first 2 KiB
_PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class LidcData(Options):
    """The folder of LIDC-IDRI, or of some of its patients."""

    source: Literal["lidc"] = "lidc"
    path: Path
    """The folder of the patients, with DICOM files and XML at any depth, zipped or not."""
    consensus: float = Field(default=0.5, gt=0, le=1)
    """A voxel is of a nodule if at least this share of the readers outlined it; 0.5 as pylidc and most studies do."""
    consensus_of: Literal["marking", "all"] = "marking"
    """Of which readers: those who marked this nodule (as pylidc does), or all four."""
    min_readers: int = Field(default=1, ge=1, le=SESSIONS)
    """Nodules marked by fewer readers are dropped; LUNA16 takes those of 3."""
    indeterminate: Literal["keep", "drop"] = "keep"
    """What to do with nodules whose median malignancy lies between 2 and 4. Those dropped, here or by ``min_readers``,
    have no mask of their own; the mask ``excluded`` says where they lie, so that nothing takes them for healthy."""
    geometry: GeometryRule = GeometryRule()
    """What to do with missing, unevenly spaced or tilted slices."""


def find(options: LidcData) -> Found:
    """A case a CT series that an XML speaks of, by the headers of the files and the first lines of the XML.

    Raises:
        ScanError: no such folder, or no such series in it.
    """
    root = folder_of(options.path)
    series, left_out = find_series(root)
    readings, unread = _readings(root)
    left_out = [*left_out, *unread]
    named: dict[str, list[tuple[Series, File]]] = {}
    for one in series:
        file = _reading_of(one, readings.get(one.uid, []), root, options.geometry)
        if isinstance(file, LeftOut):
            left_out.append(file)
        else:
            named.setdefault(one.patient_id, []).append((one, file))
    uids = {one.uid for one in series}
    for uid, files in readings.items():
        if uid not in uids:
            reason = "readers' XML of a series that is not here"
            left_out += [LeftOut(file.name(root), reason, "Download the CT series that it names.") for file in files]
    cases = [case for patient, pairs in named.items() for case in _cases(patient, pairs)]
    if not cases:
        raise nothing_found(root, "lidc", _EXPECTED, tuple(left_out))
    return Found(
        tuple(sorted(cases, key=lambda case: case.name)),
        tuple(sorted(left_out, key=lambda out: (out.name, out.reason))),
    )


def read(case: Case, options: LidcData) -> Scan:
    """Channel ``ct`` in HU, a mask ``nodule-<k>`` for each nodule from 3 mm, with its label in :attr:`Scan.labels`.

    Nodules are numbered in the order of the file, also those that get no mask: outlined on no slice that is here, or
    without a voxel that enough readers agree on. ``notes`` name them, and what else was marked.

    Raises:
        ScanError: a damaged file, a series that is no volume, an XML that speaks of another series, outlines that leave
            the image.
    """
    series, file = case.series["ct"], _xml_of(case)
    content = file.read()
    reading = parse_reading(content, str(file.where))
    if reading.series_uid != series.uid:
        raise ScanError(describe(file.where, "the readers' XML of this CT series", "that of another"))
    first = series.instances[0]
    volume = read_series(series, options.geometry, options.path)
    drawn_on = tuple(uid for uid, _ in volume.source_uids) if volume.resampling else volume.sop_uids
    if len(set(drawn_on)) < len(drawn_on):
        raise ScanError(describe(first.file.where, "one slice a file, as the outlines name files", "several frames"))
    shape = (len(drawn_on), first.rows, first.columns)
    check_inside(reading, shape, str(file.where))
    known = {one.sop_uid: one.position[2] for one in series.instances if one.position}
    heights = {uid: known.get(uid, math.nan) for uid in drawn_on}
    masks, labels, notes = masks_of(reading, heights, drawn_on, shape, options)
    if volume.resampling:
        masks, lost = _resampled(masks, volume.resampling)
        labels = {name: label for name, label in labels.items() if name in masks}
        notes += tuple(f"{name}: no voxel is left on the even grid: no mask" for name in lost)
    source = SourceFile(file.name(options.path), hashlib.sha256(content).hexdigest())
    return Scan(
        channels={"ct": as_channel(volume.array, f"{case.name}, ct")},
        masks=masks,
        grid=volume.grid,
        patient=case.patient,
        modality="CT",
        unit="HU",
        site=case.site,
        label=case.label,
        labels=labels,
        source=(source, *volume.sources),
        notes=(*case.notes, *volume.notes, *notes),
    )


def contents(_options: LidcData, _cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of every case; a patient without a nodule has no mask of it."""
    return CHANNELS, MASKS


def _resampled(
    masks: dict[str, NDArray[np.uint8]], resampling: Resampling
) -> tuple[dict[str, NDArray[np.uint8]], list[str]]:
    """The masks on the grid of the image, and those that have no voxel there."""
    moved = {
        name: (resample(mask.astype(np.float32), resampling, 0) >= 0.5).astype(np.uint8) for name, mask in masks.items()
    }
    return {name: mask for name, mask in moved.items() if mask.any()}, [
        n for n, mask in moved.items() if not mask.any()
    ]


def _readings(root: Path) -> tuple[dict[str, list[File]], list[LeftOut]]:
    """SeriesInstanceUID → the XML that names it; other XML is left out with the reason."""
    found: dict[str, list[File]] = {}
    left_out = []
    for file in list_tree(root, []):  # what is wrong with archives is said once, by find_series
        name = file.name(root)
        if not name.lower().endswith(".xml"):
            continue
        try:
            found.setdefault(series_of(file.start(_START_BYTES), name), []).append(file)
        except ScanError as error:
            reason, *remedy = str(error).splitlines()
            left_out.append(LeftOut(name, reason.removeprefix(f"{name}: "), " ".join(remedy)))
    return found, left_out


def _reading_of(series: Series, files: Sequence[File], root: Path, rule: GeometryRule) -> File | LeftOut:
    """The one XML of a CT series."""
    name = _folder(series, root)
    if series.modality != "CT":
        return LeftOut(name, f"modality {series.modality or 'unknown'}, not CT")
    if not files:
        return LeftOut(name, "a CT series without readers' XML", "Download the XML of the series into the folder.")
    if series.mixed and rule.mixed == "refuse":
        remedy = "Take the series apart with data.geometry.mixed=split."
        return LeftOut(name, f"slices of several sizes or orientations: {series.mixed}", remedy)
    if not _PSEUDONYM.fullmatch(series.patient_id):  # which is not printed
        remedy = "Pseudonymise the files: LIDC-IDRI-0001, of letters, digits, '.', '_' and '-'."
        return LeftOut(name, "a PatientID that is no pseudonym" if series.patient_id else "no PatientID", remedy)
    if len(files) > 1 and len({file.read() for file in files}) > 1:
        others = ", ".join(file.name(root) for file in files)
        return LeftOut(name, f"{len(files)} XML of this series that differ: {others}", "Remove all but the right one.")
    return files[0]


def _cases(patient: str, pairs: Sequence[tuple[Series, File]]) -> list[Case]:
    """Named as the patient, numbered where there are several series."""
    ordered = sorted(pairs, key=lambda pair: (pair[0].uid, str(pair[0].instances[0].file.where)))
    return [
        Case(
            name=patient if len(ordered) == 1 else f"{patient}-{number}",
            patient=patient,
            site="",
            label="",
            files={"xml" if not file.member else f"xml/{file.member}": file.path},
            series={"ct": series},
        )
        for number, (series, file) in enumerate(ordered, 1)
    ]


def _xml_of(case: Case) -> File:
    ((role, path),) = case.files.items()
    return File(path, role.partition("/")[2])


def _folder(series: Series, root: Path) -> str:
    """The folder of a series; its name says no more of the patient than the user's own folders do."""
    name = series.instances[0].file.name(root)
    return name.rpartition("/")[0] or name
