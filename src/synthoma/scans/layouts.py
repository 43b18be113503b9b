"""NIfTI files in the layouts of LiTS, of the Medical Segmentation Decathlon and of nnU-Net.

Each is the source ``nifti`` with its patterns filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from synthoma.errors import ScanError, SettingError, describe, did_you_mean
from synthoma.options import Options
from synthoma.records import Scan
from synthoma.scans import nifti
from synthoma.scans.align import Align
from synthoma.scans.anatomy import is_organ
from synthoma.scans.case import Case, Found, folder_of, list_files, nothing_found
from synthoma.scans.dataset_json import Dataset, read_dataset
from synthoma.scans.nifti import ChannelFile, MaskFile, NiftiData
from synthoma.scans.volumes import SUFFIXES, count_volumes

__all__ = [
    "DecathlonData",
    "LitsData",
    "NnunetData",
    "contents_of_dataset",
    "contents_of_lits",
    "find_dataset",
    "find_lits",
    "read_dataset_case",
    "read_lits",
]

_LITS_ORGANS, _LITS_LESIONS = ("liver",), ("tumour",)
_CHANNEL_FILE = re.compile(r"(^|/)imagesTr/[^/]+_\d{4}\.nii(\.gz)?$")
_CT, _MR = re.compile(r"ct\b"), re.compile(r"(mri?|t1|t2|flair|adc|dwi|swi|pd)")


class LitsData(Options):
    """Liver Tumor Segmentation challenge (Bilic et al., Medical Image Analysis 84:102680, 2023): ``volume-17.nii`` and
    ``segmentation-17.nii``, in one folder or several."""

    source: Literal["lits"] = "lits"
    path: Path
    """The folder of the volumes and segmentations, at any depth."""


class _DatasetOptions(Options):
    """What the layouts with a ``dataset.json`` share."""

    path: Path
    """The folder of ``dataset.json``, ``imagesTr`` and ``labelsTr``."""
    organs: tuple[str, ...] | None = None
    """Labels of healthy anatomy, every other being a lesion; by default those whose names say so."""
    modality: Literal["MR", "CT", "OT"] | None = None
    """Magnetic resonance, computed tomography (in HU), other; by default as the names of the channels say."""
    align: Align = "refuse"
    """Files of one patient on different grids: ``refuse`` them, ``resample`` by their headers onto the first channel's
    grid (linear; masks nearest), or ``register`` them to it (rigid, mutual information)."""


class DecathlonData(_DatasetOptions):
    """A task of the Medical Segmentation Decathlon: all channels of a patient in one file of four axes."""

    source: Literal["decathlon"] = "decathlon"


class NnunetData(_DatasetOptions):
    """A raw dataset of nnU-Net, version 2 or 1: a file a channel, ``imagesTr/case_0000.nii.gz``."""

    source: Literal["nnunet"] = "nnunet"


def find_lits(options: LitsData) -> Found:
    """Cases by the numbers in the names.

    Raises:
        ScanError: no such folder, no volume, one number twice.
    """
    found = nifti.find(_lits(options), "lits")
    cases = tuple(replace(case, name=f"volume-{case.name}", patient=f"volume-{case.name}") for case in found.cases)
    return replace(found, cases=cases)


def read_lits(case: Case, options: LitsData) -> Scan:
    """Channel ``ct`` in HU; masks ``liver`` (an organ: labels 1 and 2, tumours being part of the liver) and ``tumour``.

    Raises:
        ScanError: as :func:`nifti.read`.
    """
    return _with_organs(nifti.read(case, _lits(options)), _LITS_ORGANS)


def contents_of_lits(_options: LitsData, cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tumour wherever a case has a segmentation."""
    return ("ct",), _LITS_LESIONS if any("tumour" in case.files for case in cases) else ()


def find_dataset(options: DecathlonData | NnunetData) -> Found:
    """Training cases by the names of their files.

    Raises:
        ScanError: no such folder, no ``dataset.json`` that makes sense, no case.
    """
    root = folder_of(options.path)
    expected = f"dataset.json beside {_image(options.source, 0, SUFFIXES[1])}"
    files = list_files(root)
    channel_files = any(_CHANNEL_FILE.search(name) for name in files)
    if "dataset.json" not in files or (channel_files and options.source == "decathlon"):
        raise nothing_found(root, options.source, expected)
    dataset = _dataset(options)
    found = nifti.find(_as_nifti(options, dataset), options.source)
    notes = list(found.notes)
    if dataset.count is not None and dataset.count != len(found.cases):
        notes.append(f"dataset.json speaks of {dataset.count} training cases; {len(found.cases)} are here")
    if dataset.ignored:
        notes.append("voxels with the label 'ignore' are of no mask")
    test = sum(name.startswith("imagesTs/") for name in files)
    if test:
        notes.append(f"{test} files in imagesTs, which have no labels, are not read")
    return replace(found, notes=tuple(notes))


def read_dataset_case(case: Case, options: DecathlonData | NnunetData) -> Scan:
    """Channels and masks named as ``dataset.json`` has them, in small letters: ``t1``, ``enhancing-tumour``.

    Raises:
        ScanError: as :func:`nifti.read`; a file of more or fewer volumes than the channels named.
    """
    dataset = _dataset(options)
    if options.source == "decathlon":
        path = case.files[dataset.channels[0]]
        count = count_volumes(path)
        if count != len(dataset.channels):
            expected = f"{len(dataset.channels)} volumes along the fourth axis ({', '.join(dataset.channels)})"
            raise ScanError(describe(path, expected, count, "Look at the modality of dataset.json."))
    return _with_organs(nifti.read(case, _as_nifti(options, dataset)), _organs(options, dataset))


def contents_of_dataset(
    options: DecathlonData | NnunetData, cases: tuple[Case, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The channels of ``dataset.json`` and, wherever a case has labels, those that are lesions."""
    dataset = _dataset(options)
    there = {role for case in cases for role in case.files}
    organs = _organs(options, dataset)
    return dataset.channels, tuple(name for name in dataset.labels if name in there and name not in organs)


def _dataset(options: DecathlonData | NnunetData) -> Dataset:
    return read_dataset(options.path / "dataset.json")


def _lits(options: LitsData) -> NiftiData:
    segmentation = "**/segmentation-{patient}.nii*"
    return NiftiData(
        path=options.path,
        channels={"ct": "**/volume-{patient}.nii*"},
        masks={
            "liver": MaskFile(file=segmentation, labels=(1, 2)),
            "tumour": MaskFile(file=segmentation, labels=(2,)),
        },
        modality="CT",
        unit="HU",
    )


def _as_nifti(options: DecathlonData | NnunetData, dataset: Dataset) -> NiftiData:
    ending = dataset.ending or ".nii*"
    if ending not in (*SUFFIXES, ".nii*"):
        where = options.path / "dataset.json"
        raise ScanError(describe(where, "file_ending .nii.gz or .nii", repr(ending), "Convert the images to NIfTI."))
    modality = options.modality or _modality(dataset.channels)
    return NiftiData(
        path=options.path,
        channels={
            name: ChannelFile(file=_image(options.source, 0, ending), volume=number)
            if options.source == "decathlon"
            else _image(options.source, number, ending)
            for number, name in enumerate(dataset.channels)
        },
        masks={
            name: MaskFile(file=f"labelsTr/{{patient}}{ending}", labels=labels)
            for name, labels in dataset.labels.items()
        },
        modality=modality,
        unit="HU" if modality == "CT" else "arbitrary",
        align=options.align,
    )


def _image(source: str, number: int, ending: str) -> str:
    return f"imagesTr/{{patient}}{'' if source == 'decathlon' else f'_{number:04d}'}{ending}"


def _modality(channels: tuple[str, ...]) -> Literal["MR", "CT", "OT"]:
    if all(_CT.match(name) for name in channels):
        return "CT"
    return "MR" if all(_MR.match(name) for name in channels) else "OT"


def _organs(options: DecathlonData | NnunetData, dataset: Dataset) -> tuple[str, ...]:
    if options.organs is None:
        return tuple(name for name in dataset.labels if is_organ(name))
    for name in options.organs:
        if name not in dataset.labels:
            known: Mapping[str, object] = dataset.labels
            raise SettingError(
                describe("data.organs", "labels of dataset.json", f"'{name}'", did_you_mean(name, known))
            )
    return options.organs


def _with_organs(scan: Scan, organs: tuple[str, ...]) -> Scan:
    return scan.with_(organs=tuple(name for name in scan.masks if name in organs))
