"""A cohort as a raw dataset of nnU-Net, version 2 (Isensee et al., Nature Methods 18, 2021)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthoma import __version__
from synthoma.errors import CohortError, SettingError, describe, did_you_mean
from synthoma.exports.nifti import channel_file, labels_file
from synthoma.exports.options import NnunetExport
from synthoma.exports.volumes import (
    ABOUT,
    TABLE,
    Volume,
    about,
    csv_bytes,
    file_name,
    knows_its_lesion,
    labels_of,
    sample_row,
    volumes_of,
)
from synthoma.records import Cohort
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = ["export_nnunet"]

ENDING = ".nii.gz"
COLUMNS = ("id", "patient", "label", "origin", "unit", "case", "part", "slice", "split", "fold")
_MOST_MASKS = 254


@dataclass(frozen=True)
class _Case:
    """A volume, its name, and where it belongs."""

    name: str
    volume: Volume
    part: str
    """``Tr`` or ``Ts``."""
    split: str
    fold: int


def export_nnunet(
    cohort: Cohort, out: Path, *, overwrite: bool = False, options: NnunetExport | None = None, risk: str = ""
) -> Path:
    """Write ``imagesTr/<case>_0000.nii.gz``, ``labelsTr/<case>.nii.gz``, ``dataset.json``, ``splits_final.json``.

    A case is a volume as :func:`~synthoma.exports.nifti.export_nifti` makes it, named by its patient, numbered from the
    second on. The labels are 1 … k in the order of ``options.masks``, where the later has a voxel that two masks hold;
    ``about.json`` counts those. A channel in HU that is called ``ct`` is named ``CT``, which nnU-Net normalises by a
    window and all others by mean and deviation. Cases whose lesion nobody knows are left out, and named in
    ``about.json``.

    ``splits_final.json`` keeps the patients apart, all cases of one on one side. nnU-Net looks for it in the folder of
    the preprocessed dataset, where it has to be copied; nothing in the layout stands for it in the raw one.

    Args:
        cohort: real or synthetic, with lesion masks.
        out: the folder to write; nnU-Net wants it to be called ``Dataset101_Name``.
        overwrite: replace a folder of this name.
        options: settings of the format.
        risk: the reason for which a privacy risk was accepted; ``about.json`` and ``dataset.json`` repeat it.

    Raises:
        CohortError: no case with labels to train on, or a grid that is not that of the images.
        SettingError: a mask that the cohort has not, or a division that it has not.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    options = options or NnunetExport()
    masks = _masks(cohort, options)
    volumes = list(volumes_of(cohort, options.slices))
    labelled = [volume for volume in volumes if knows_its_lesion(cohort, volume.rows)]
    division = _division(cohort, labelled, options)
    cases = _cases(cohort, labelled, division)
    training = [case for case in cases if case.part == "Tr"]
    if not training:
        raise CohortError(describe(cohort.path or "cohort", "a training case with labels", f"none of {len(volumes)}"))
    rows: dict[int, dict[str, Any]] = {}
    shared_voxels = 0
    with new_folder(Path(out), overwrite=overwrite) as folder:
        for case in cases:
            for number, name in enumerate(cohort.channels):
                data = channel_file(cohort, name, case.volume, options)
                _put(folder / f"images{case.part}" / f"{case.name}_{number:04d}{ENDING}", data)
            labels, shared = labels_of(cohort, case.volume, masks)
            shared_voxels += shared
            _put(folder / f"labels{case.part}" / f"{case.name}{ENDING}", labels_file(labels, case.volume))
            for row, place in zip(case.volume.rows, case.volume.places or ("",), strict=True):
                own = {"case": case.name, "part": case.part, "slice": place, "split": case.split, "fold": case.fold}
                rows[row] = sample_row(cohort, row) | own
        write_json(folder / "dataset.json", _dataset(cohort, masks, len(training), risk))
        splits = _splits(training, division)
        if splits:
            write_json(folder / "splits_final.json", splits)
        write_bytes(folder / TABLE, csv_bytes(rows, COLUMNS))
        more = {
            "labels": {str(label): name for label, name in enumerate(masks, start=1)},
            "voxels_in_several_masks": shared_voxels,
            "division": division,
            "left_out": [volume.name for volume in volumes if volume not in labelled],
        }
        write_json(folder / ABOUT, about(cohort, risk, **more))
    return Path(out)


def _masks(cohort: Cohort, options: NnunetExport) -> tuple[str, ...]:
    masks = options.masks or cohort.lesion_names
    for name in masks:
        if name not in cohort.mask_names:
            remedy = did_you_mean(name, cohort.mask_names)
            raise SettingError(describe("masks", "masks of the cohort", f"'{name}'", remedy))
    if not masks or len(masks) > _MOST_MASKS or len(set(masks)) < len(masks):
        found = ", ".join(masks) or "none"
        raise CohortError(describe("masks", f"1 to {_MOST_MASKS} that differ, to become labels", found))
    return masks


def _division(cohort: Cohort, volumes: Sequence[Volume], options: NnunetExport) -> str:
    """``split``, ``folds`` or ``none``, as asked for or as the cohort has it."""
    rows = [row for volume in volumes for row in volume.rows]
    there = {
        "split": any(cohort.table["split"][row] in ("train", "validation") for row in rows),
        "folds": len({int(cohort.table["fold"][row]) for row in rows} - {-1}) > 1,
        "none": True,
    }
    if options.splits == "auto":
        return next(name for name, filled in there.items() if filled)
    if not there[options.splits]:
        remedy = "Prepare it with a split, or choose another value of splits."
        raise SettingError(describe("splits", f"a cohort with {options.splits}", "one without", remedy))
    return options.splits


def _cases(cohort: Cohort, volumes: Sequence[Volume], division: str) -> list[_Case]:
    """The cases in the order of the cohort, named by their patients."""
    count: Counter[str] = Counter()
    taken: set[str] = set()
    cases = []
    for volume in volumes:
        first = volume.rows[0]
        base = file_name(cohort.table["patient"][first])
        name = base
        while not count[base] or name.lower() in taken:
            count[base] += 1
            name = base if count[base] == 1 else f"{base}-{count[base]}"
        taken.add(name.lower())
        split = str(cohort.table["split"][first])
        part = "Ts" if division == "split" and split == "test" else "Tr"
        cases.append(_Case(name, volume, part, split, int(cohort.table["fold"][first])))
    return cases


def _splits(training: Sequence[_Case], division: str) -> list[dict[str, list[str]]]:
    """The content of ``splits_final.json``: for each fold the cases that it trains on and validates."""

    def against(held_out: Sequence[_Case]) -> dict[str, list[str]]:
        names = {case.name for case in held_out}
        return {"train": sorted({case.name for case in training} - names), "val": sorted(names)}

    if division == "none":
        return []
    validation = [case for case in training if case.split == "validation"]
    if division == "split" and validation:
        return [against(validation)]
    folds = sorted({case.fold for case in training} - {-1})
    return [against([case for case in training if case.fold == fold]) for fold in folds] if len(folds) > 1 else []


def _dataset(cohort: Cohort, masks: Sequence[str], count: int, risk: str) -> Mapping[str, Any]:
    """``dataset.json``."""
    ct = cohort.unit == "HU"
    said = f" Released with an accepted privacy risk: {risk}" if risk else ""
    return {
        "channel_names": {
            str(number): "CT" if ct and name == "ct" else name for number, name in enumerate(cohort.channels)
        },
        "labels": {"background": 0} | {name: label for label, name in enumerate(masks, start=1)},
        "numTraining": count,
        "file_ending": ENDING,
        "description": f"Written by synthoma {__version__}: {ABOUT} says from what.{said}",
    }


def _put(file: Path, data: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
