"""Any folder of NIfTI files whose names hold the patient: the names are given as patterns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, StringConstraints, field_validator

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import BODY, Scan, SourceFile
from synthoma.scans.align import Align, align
from synthoma.scans.case import Case, Found, LeftOut, folder_of, list_files, nothing_found, relative_name, tcga_barcode
from synthoma.scans.volumes import SUFFIXES, Volume, orientation_note, read_volumes
from synthoma.scans.voxels import as_channel, as_whole_numbers, numbers

__all__ = ["ChannelFile", "MaskFile", "NiftiData", "contents", "find", "read"]

Pattern = Annotated[str, StringConstraints(pattern=r"\{patient\}")]


class ChannelFile(Options):
    """A channel that is one of the volumes of a file of four axes."""

    file: Pattern
    """Name of the file, as for a channel."""
    volume: Annotated[int, Field(ge=0)]
    """Which along the fourth axis, from 0."""


class MaskFile(Options):
    """A mask that is some of the labels of a file."""

    file: Pattern
    """Name of the file, as for a channel."""
    labels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    """The labels that make up the mask."""


class NiftiData(Options):
    """A folder of NIfTI files: a sub-folder a patient, or all files side by side."""

    source: Literal["nifti"] = "nifti"
    path: Path
    """The folder that the patterns start from."""
    channels: Annotated[dict[str, Pattern | ChannelFile], Field(min_length=1)]
    """Channel → name of its file below ``path``, such as ``{patient}/t1.nii.gz`` or ``{patient}_0000.nii.gz``;
    ``{patient}`` stands for the patient, ``*`` for any other letters, ``**/`` for any folders or none. A file that fits
    two patterns belongs to the one that says more of its name. Of a file of four axes: ``{file: …, volume: 0}``."""
    masks: dict[str, Pattern | MaskFile] = Field(default_factory=dict)
    """Mask → name of its file (every voxel that is not zero), or ``{file: …, labels: [1, 3]}``."""
    modality: Literal["MR", "CT", "OT"] = "MR"
    """Magnetic resonance, computed tomography, other."""
    unit: Literal["HU", "arbitrary"] = "arbitrary"
    """What the numbers mean."""
    site: str = ""
    """The site of all these patients, where the names hold no TCGA barcode."""
    align: Align = "refuse"
    """Files of one patient on different grids: ``refuse`` them, ``resample`` by their headers onto the first channel's
    grid (linear; masks nearest), or ``register`` them to it (rigid, mutual information)."""

    @field_validator("channels")
    @classmethod
    def _one_file_a_channel(cls, channels: dict[str, str | ChannelFile]) -> dict[str, str | ChannelFile]:
        if len({(_file(wanted), _volume(wanted)) for wanted in channels.values()}) < len(channels):
            raise ValueError("two channels have the same file name; each needs its own")
        return channels


def find(options: NiftiData, source: str = "nifti") -> Found:
    """Cases by the names of their files; orientation by their headers. No voxel is read.

    ``source`` is the name of the one that is built on this, for the message.

    Raises:
        ScanError: no such folder, no case in it, or two files for one channel.
    """
    root = folder_of(options.path)
    patterns = _patterns(options)
    roles: dict[str, dict[str, str]] = {}  # patient → role → file
    unused: dict[str, list[str]] = {}
    used = set()
    for name in (name for name in list_files(root) if name.endswith(SUFFIXES)):
        folder = str(PurePosixPath(name).parent)
        fits = ((match["patient"], names) for regex, names in patterns if (match := regex.fullmatch(name)))
        patient, fitting = next(fits, ("", ()))
        if not fitting:
            unused.setdefault(folder, []).append(PurePosixPath(name).name)
            continue
        used.add(folder)
        for role in fitting:
            other = roles.setdefault(patient, {}).setdefault(role, name)
            if other != name:
                raise ScanError(describe(root, f"one file for {role} of {patient}", f"{other} and {name}"))
    left_out = [
        LeftOut(root.name if folder == "." else folder, _no_fit(names))
        for folder, names in unused.items()
        if folder not in used
    ]
    cases = []
    for patient in sorted(roles):
        if set(roles[patient]) & set(options.channels):
            cases.append(_case(root, patient, roles[patient], options))
        else:
            left_out.append(LeftOut(patient, "masks only, no channel"))
    left = tuple(sorted(left_out, key=lambda out: out.name))
    if not cases:
        raise nothing_found(
            root,
            source,
            "files named " + " or ".join(dict.fromkeys(_file(wanted) for wanted in options.channels.values())),
            left,
        )
    first = [next(iter(case.files.values())) for case in cases]
    return Found(tuple(cases), left, orientation_note(zip(cases, first, strict=True)))


def read(case: Case, options: NiftiData) -> Scan:
    """All channels and masks of a case, as they lie in the files.

    Raises:
        ScanError: a damaged file, different grids, NaN or constant intensities, masks that are no labels.
    """
    files = {path: read_volumes(path) for path in dict.fromkeys(case.files.values())}
    roles: dict[str, Volume] = {}
    keys: dict[str, str] = {}  # channel or mask → its role; masks of one file share one
    for name, wanted in {**options.channels, **options.masks}.items():
        if name in case.files:
            path = case.files[name]
            volume = _volume(wanted)
            key = relative_name(path, options.path)
            keys[name] = key if volume is None else f"{key}, volume {volume}"
            roles[keys[name]] = _chosen(path, files[path], volume)
    masked = {keys[name] for name in options.masks if name in keys}
    roles, done = align(case.name, roles, masked, options.align)
    masks = {}
    notes = case.notes + tuple(note for volumes in files.values() for note in volumes[0].notes) + done
    for name, mask in options.masks.items():
        if name in keys:
            labels = as_whole_numbers(roles[keys[name]].array, str(case.files[name]))
            chosen = np.isin(labels, mask.labels) if isinstance(mask, MaskFile) else labels != 0
            masks[name] = chosen.astype(np.uint8)
            if isinstance(mask, MaskFile) and not chosen.any() and labels.any():
                found = numbers(set(np.unique(labels).tolist()))
                notes += (f"{case.files[name].name}: no label {numbers(mask.labels)} for {name}; found {found}",)
    return Scan(
        channels={
            name: as_channel(roles[keys[name]].array, str(case.files[name]))
            for name in options.channels
            if name in keys
        },
        masks=masks,
        grid=next(iter(roles.values())).grid,
        patient=case.patient,
        modality=options.modality,
        unit=options.unit,
        site=case.site,
        label=case.label,
        missing=case.missing,
        source=tuple(
            SourceFile(relative_name(path, options.path), volumes[0].sha256) for path, volumes in files.items()
        ),
        notes=notes,
    )


def contents(options: NiftiData, cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The channels of the settings, and the masks that any case has a file of."""
    there = {role for case in cases for role in case.files}
    return tuple(options.channels), tuple(name for name in options.masks if name in there and name != BODY)


def _case(root: Path, name: str, files: Mapping[str, str], options: NiftiData) -> Case:
    patient, site = tcga_barcode(name) or (name, options.site)
    return Case(
        name=name,
        patient=patient,
        site=site,
        label="",
        files={role: root / files[role] for role in (*options.channels, *options.masks) if role in files},
        missing=tuple(channel for channel in options.channels if channel not in files),
        notes=tuple(f"no mask {mask}" for mask in options.masks if mask not in files),
    )


def _patterns(options: NiftiData) -> list[tuple[re.Pattern[str], list[str]]]:
    """Each pattern and the channels and masks that it is for, the one that says most of a name first."""
    wanted: dict[str, list[str]] = {}
    for name, file in {**options.channels, **options.masks}.items():
        wanted.setdefault(_file(file), []).append(name)
    ordered = sorted(wanted, key=lambda pattern: -len(re.sub(r"\{patient\}|\*", "", pattern)))
    return [(_regex(pattern), wanted[pattern]) for pattern in ordered]


def _file(wanted: str | ChannelFile | MaskFile) -> str:
    return wanted if isinstance(wanted, str) else wanted.file


def _volume(wanted: str | ChannelFile | MaskFile) -> int | None:
    return wanted.volume if isinstance(wanted, ChannelFile) else None


def _chosen(path: Path, volumes: tuple[Volume, ...], index: int | None) -> Volume:
    if index is None and len(volumes) > 1:
        remedy = "Name the one that is meant: {file: …, volume: 0}."
        raise ScanError(describe(path, "a volume of three axes", f"{len(volumes)} volumes along a fourth", remedy))
    if index is not None and index >= len(volumes):
        raise ScanError(describe(path, f"a volume {index}, counted from 0", f"{len(volumes)} along the fourth axis"))
    return volumes[index or 0]


def _regex(pattern: str) -> re.Pattern[str]:
    """``{patient}`` is one part of a path (equal wherever it stands again), ``*`` any letters but ``/``, ``**/`` any
    folders."""
    head, *rest = pattern.split("{patient}")
    text = re.escape(head) + "(?P<patient>[^/]+)" + "(?P=patient)".join(re.escape(part) for part in rest)
    anything = {re.escape("**/"): "(?:.*/)?", re.escape("*"): "[^/]*"}
    return re.compile(re.sub("|".join(map(re.escape, anything)), lambda found: anything[found[0]], text))


def _no_fit(names: list[str]) -> str:
    return "no file fits a pattern; found " + ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
