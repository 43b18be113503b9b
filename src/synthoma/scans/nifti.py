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
from synthoma.records import Scan, SourceFile
from synthoma.scans.case import Case, Found, LeftOut, folder_of, list_files, nothing_found, relative_name, tcga_barcode
from synthoma.scans.volumes import SUFFIXES, check_same_grid, orientation_note, read_volume
from synthoma.scans.voxels import as_channel, as_whole_numbers, numbers

__all__ = ["MaskFile", "NiftiData", "find", "read"]

Pattern = Annotated[str, StringConstraints(pattern=r"\{patient\}")]


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
    channels: Annotated[dict[str, Pattern], Field(min_length=1)]
    """Channel → name of its file below ``path``, such as ``{patient}/t1.nii.gz`` or ``{patient}_0000.nii.gz``;
    ``{patient}`` stands for the patient, ``*`` for any other letters. A file that fits two patterns belongs to the
    one that says more of its name."""
    masks: dict[str, Pattern | MaskFile] = Field(default_factory=dict)
    """Mask → name of its file (every voxel that is not zero), or ``{file: …, labels: [1, 3]}``."""
    modality: Literal["MR", "CT", "OT"] = "MR"
    """Magnetic resonance, computed tomography, other."""
    unit: Literal["HU", "arbitrary"] = "arbitrary"
    """What the numbers mean."""
    site: str = ""
    """The site of all these patients, where the names hold no TCGA barcode."""

    @field_validator("channels")
    @classmethod
    def _one_file_a_channel(cls, channels: dict[str, str]) -> dict[str, str]:
        if len(set(channels.values())) < len(channels):
            raise ValueError("two channels have the same file name; each needs its own")
        return channels


def find(options: NiftiData) -> Found:
    """Cases by the names of their files; orientation by their headers. No voxel is read.

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
        raise nothing_found(root, "nifti", "files named " + " or ".join(options.channels.values()), left)
    first = [next(iter(case.files.values())) for case in cases]
    return Found(tuple(cases), left, orientation_note(zip(cases, first, strict=True)))


def read(case: Case, options: NiftiData) -> Scan:
    """All channels and masks of a case, as they lie in the files.

    Raises:
        ScanError: a damaged file, different grids, NaN or constant intensities, masks that are no labels.
    """
    volumes = {path: read_volume(path) for path in dict.fromkeys(case.files.values())}
    first = next(iter(volumes))
    for path, volume in volumes.items():
        check_same_grid(case.name, first.name, volumes[first].grid, path.name, volume.grid)
    masks = {}
    notes = case.notes + tuple(note for volume in volumes.values() for note in volume.notes)
    for name, wanted in options.masks.items():
        if name in case.files:
            path = case.files[name]
            labels = as_whole_numbers(volumes[path].array, str(path))
            chosen = np.isin(labels, wanted.labels) if isinstance(wanted, MaskFile) else labels != 0
            masks[name] = chosen.astype(np.uint8)
            if isinstance(wanted, MaskFile) and not chosen.any() and labels.any():
                found = numbers(set(np.unique(labels).tolist()))
                notes += (f"{path.name}: no label {numbers(wanted.labels)} for {name}; found {found}",)
    return Scan(
        channels={
            name: as_channel(volumes[case.files[name]].array, str(case.files[name]))
            for name in options.channels
            if name in case.files
        },
        masks=masks,
        grid=volumes[first].grid,
        patient=case.patient,
        modality=options.modality,
        unit=options.unit,
        site=case.site,
        label=case.label,
        missing=case.missing,
        source=tuple(SourceFile(relative_name(path, options.path), volume.sha256) for path, volume in volumes.items()),
        notes=notes,
    )


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
    for name, pattern in options.channels.items():
        wanted.setdefault(pattern, []).append(name)
    for name, mask in options.masks.items():
        wanted.setdefault(mask.file if isinstance(mask, MaskFile) else mask, []).append(name)
    ordered = sorted(wanted, key=lambda pattern: -len(re.sub(r"\{patient\}|\*", "", pattern)))
    return [(_regex(pattern), wanted[pattern]) for pattern in ordered]


def _regex(pattern: str) -> re.Pattern[str]:
    """``{patient}`` is one part of a path (equal wherever it stands again), ``*`` any letters but ``/``."""
    head, *rest = pattern.split("{patient}")
    text = "(?P=patient)".join(re.escape(part) for part in rest)
    return re.compile((re.escape(head) + "(?P<patient>[^/]+)" + text).replace(re.escape("*"), "[^/]*"))


def _no_fit(names: list[str]) -> str:
    return "no file fits a pattern; found " + ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
