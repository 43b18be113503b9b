"""DICOM in any folder tree or zip archive: a scan a series or a study, with masks from segmentation objects (SEG).

And what other sources read DICOM with.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from synthoma.options import Options
from synthoma.records import Scan
from synthoma.scans.align import Align, align
from synthoma.scans.case import Case, Found, LeftOut, folder_of, nothing_found, tcga_barcode
from synthoma.scans.dicom_geometry import GeometryRule
from synthoma.scans.dicom_header import Instance
from synthoma.scans.dicom_mask_options import Expression, MaskOptions
from synthoma.scans.dicom_masks import masks_of, read_drawn, segmentations, with_masks
from synthoma.scans.dicom_series import Series, find_series
from synthoma.scans.dicom_volume import DicomVolume, read_series
from synthoma.scans.volumes import Volume
from synthoma.scans.voxels import as_channel

__all__ = [
    "DicomData",
    "DicomVolume",
    "GeometryRule",
    "Instance",
    "Series",
    "SeriesChoice",
    "contents",
    "find",
    "find_series",
    "pseudonym",
    "read",
    "read_series",
]


class SeriesChoice(Options):
    """Which series of a study a channel is."""

    modality: str = ""
    """Modality as the header has it, such as ``CT`` or ``MR``; any where it is empty."""
    description: Expression = ""
    """Regular expression that is searched for in the series description, whatever the case of its letters."""

    def fits(self, series: Series) -> bool:
        """Whether ``series`` is chosen."""
        if self.modality and self.modality.upper() != series.modality:
            return False
        return re.search(self.description, series.description, re.IGNORECASE) is not None


class DicomData(MaskOptions):
    """A folder tree (or a zip archive) of DICOM files, in any order and with anything else among them."""

    source: Literal["dicom"] = "dicom"
    path: Path
    """The folder of the files, at any depth, zip archives included; or one zip archive."""
    channels: dict[str, SeriesChoice] = Field(default_factory=dict)
    """Channel → the series of a study that it is; a study is one scan then. Without it every series is a scan of its
    own, with one channel named by its modality: ``ct``, ``mr``."""
    modality: str = ""
    """Only series of this modality, such as ``CT`` or ``MR``."""
    geometry: GeometryRule = GeometryRule()
    """What becomes of tilted, uneven, incomplete, duplicated and mixed series."""
    align: Align = "refuse"
    """Channels on different grids: ``refuse`` them, ``resample`` by their headers onto the first one's grid, or
    ``register`` them to it (rigid, mutual information)."""
    min_slices: int = Field(1, ge=1)
    """Series of fewer slices are left out: localizers, single test images."""
    patient: Literal["pseudonym", "folder", "patient-id"] = "pseudonym"
    """What a patient is called: a ``pseudonym`` made of the patient's ID (of the study's UID where the ID is empty),
    the outermost ``folder`` of the files, or the ``patient-id`` as it stands in the header, which may be a hospital
    number. A TCGA barcode is public, and is kept."""
    salt: str = ""
    """Secret that the pseudonyms depend on. Without one, whoever can guess an ID can check the guess; with the same
    one, a patient has the same pseudonym in every cohort."""
    site: str = ""
    """The site of all these patients, where their IDs hold no TCGA barcode."""


def pseudonym(series: Series, salt: str) -> str:
    """``p-`` and 16 digits: BLAKE2b (RFC 7693), keyed with ``salt``, of the patient's ID, or of the study's UID where
    there is none."""
    return "p-" + _digest(series.patient_id or series.study_uid, salt, 8)


def find(options: DicomData) -> Found:
    """The scans by the headers of the files. No pixel is read.

    Raises:
        ScanError: no such folder, or no scan in it.
    """
    root = options.path
    if not (root.is_file() and root.suffix.lower() == ".zip"):
        root = folder_of(root)
    series, left_out = find_series(root)
    usable: list[Series] = []
    images = [one for one in series if not one.segmentation]
    for one in images:
        if options.modality and options.modality.upper() != one.modality:
            continue
        reason = _why_left_out(one, options)
        if reason:
            left_out.append(LeftOut(_first(one, root), *reason))
        else:
            usable.append(one)
    cases = _by_study(usable, options, left_out) if options.channels else _one_each(usable, options)
    found = segmentations(series, root, left_out)
    remedy = "Let its series be one of data.channels; preprocessing.channels says which of them a cohort has."
    cases = with_masks(cases, found, images, options, root, left_out, remedy if options.channels else "")
    left = tuple(sorted(left_out, key=lambda out: out.name))
    if not cases:
        raise nothing_found(root, "dicom", "DICOM series of scans", left)
    return Found(tuple(sorted(cases, key=lambda case: case.name)), left)


def read(case: Case, options: DicomData) -> Scan:
    """All channels of a case in the scanner's unit, and the masks that were drawn on them.

    Raises:
        ScanError: what :func:`~synthoma.scans.dicom_volume.read_series` and
            :func:`~synthoma.scans.dicom_seg.read_segments` raise; channels on different grids.
        MissingPartError: the decoder of a compression is not installed.
    """
    read_ = {
        name: read_series(series, options.geometry, options.path)
        for name, series in case.series.items()
        if not series.segmentation
    }
    several = len(read_) > 1
    drawn, seg_files, said = read_drawn(case, read_, options, options.path)
    roles = [f"{one.segment.name} of {one.file}" for one in drawn]
    volumes, done = align(
        case.name,
        {name: Volume(volume.array, volume.grid, "") for name, volume in read_.items()}
        | {role: Volume(one.segment.mask, read_[one.channel].grid, "") for role, one in zip(roles, drawn, strict=True)},
        roles,
        options.align,
    )
    grid = next(iter(volumes.values())).grid
    placed = [
        replace(one, segment=replace(one.segment, mask=volumes[role].array))
        for role, one in zip(roles, drawn, strict=True)
    ]
    masks, organs, made = (
        masks_of(placed, [file.path for file in seg_files], grid.shape, options) if seg_files else ({}, (), ())
    )
    modalities = {volume.modality for volume in read_.values()}
    modality = modalities.pop() if len(modalities) == 1 else ""
    return Scan(
        channels={name: as_channel(volumes[name].array, str(case.series[name].what)) for name in read_},
        masks=masks,
        grid=grid,
        patient=case.patient,
        modality="CT" if modality == "CT" else "MR" if modality == "MR" else "OT",
        unit="HU" if {volume.unit for volume in read_.values()} == {"HU"} else "arbitrary",
        site=case.site,
        label=case.label,
        organs=organs,
        missing=case.missing,
        source=(*(file for volume in read_.values() for file in volume.sources), *seg_files),
        notes=(
            *case.notes,
            *(f"{name}: {note}" if several else note for name, volume in read_.items() for note in volume.notes),
            *said,
            *done,
            *made,
        ),
    )


def contents(options: DicomData, cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The channels of the settings or, without them, those of the series; the lesions that segmentations announce."""
    series = (pair for case in cases for pair in case.series.items())
    channels = tuple(options.channels) or tuple(dict.fromkeys(name for name, one in series if not one.segmentation))
    return channels, tuple(dict.fromkeys(name for case in cases for name in case.lesions))


def _why_left_out(series: Series, options: DicomData) -> tuple[str, str] | None:
    if series.mixed and options.geometry.mixed == "refuse":
        remedy = "Take the series apart with data.geometry.mixed=split."
        return f"a series of several sizes or orientations: {series.mixed}", remedy
    if options.patient == "patient-id" and not series.patient_id:
        return "no patient ID", "Set data.patient=pseudonym or folder."
    if series.slices < options.min_slices:
        return f"{series.slices} slices, fewer than data.min_slices={options.min_slices}", ""
    return None


def _one_each(series: list[Series], options: DicomData) -> list[Case]:
    """Every series a case, named by the patient and a digest of the series' UID (with a number where it was split)."""
    cases: dict[str, Case] = {}
    for one in series:
        name = f"{_patient(one, options)[0]}-{_digest(one.uid, options.salt, 4)}"
        while name in cases:
            name = f"{name}-{sum(other.startswith(name) for other in cases) + 1}"
        cases[name] = _case(name, {one.modality.lower() or "ot": one}, options)
    return list(cases.values())


def _by_study(series: list[Series], options: DicomData, left_out: list[LeftOut]) -> list[Case]:
    studies: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        studies.setdefault((one.patient_id, one.study_uid), []).append(one)
    cases = []
    for study in studies.values():
        fitting = {name: [one for one in study if choice.fits(one)] for name, choice in options.channels.items()}
        chosen = {name: fits[0] for name, fits in fitting.items() if fits}
        twice = next((name for name, fits in fitting.items() if len(fits) > 1), None)
        first = _first(study[0], options.path)
        if twice is not None:
            files = ", ".join(_first(one, options.path) for one in fitting[twice][:3])
            reason = f"{len(fitting[twice])} series fit channel {twice}: those of {files}"
            left_out.append(LeftOut(first, reason, f"Narrow data.channels.{twice}.description."))
        elif not chosen:
            left_out.append(LeftOut(first, f"no series of its study fits a channel ({', '.join(fitting)})"))
        else:
            name = f"{_patient(study[0], options)[0]}-{_digest(study[0].study_uid, options.salt, 4)}"
            cases.append(_case(name, chosen, options))
    return cases


def _case(name: str, series: dict[str, Series], options: DicomData) -> Case:
    patient, site = _patient(next(iter(series.values())), options)
    return Case(
        name=name,
        patient=patient,
        site=site,
        label="",
        files={
            f"{channel}/{index}": instance.file.path
            for channel, one in series.items()
            for index, instance in enumerate(one.instances)
        },
        missing=tuple(channel for channel in options.channels if channel not in series),
        notes=("no masks",),
        series=series,
    )


def _patient(series: Series, options: DicomData) -> tuple[str, str]:
    """The patient's name for synthoma, and the site."""
    barcode = tcga_barcode(series.patient_id)
    if barcode is not None:
        return barcode
    if options.patient == "pseudonym":
        return pseudonym(series, options.salt), options.site
    if options.patient == "folder":
        folder, _, rest = _first(series, options.path).partition("/")
        name = folder if rest else options.path.resolve().name
        return re.sub(r"\.zip$", "", name, flags=re.IGNORECASE), options.site
    return series.patient_id, options.site


def _first(series: Series, root: Path) -> str:
    return series.instances[0].file.name(root)


def _digest(text: str, salt: str, size: int) -> str:
    key = hashlib.blake2b(salt.encode()).digest() if salt else b""
    return hashlib.blake2b(text.encode(), digest_size=size, key=key).hexdigest()
