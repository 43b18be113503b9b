"""Folds: which patients are tested, which choose, which are trained on; each fold a complete cohort of its own.

The arrays of a fold's cohort are hard links to those of the prepared one, so that it takes no room; its table says
which side a patient is on in this fold, and its lineage how that was drawn.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from synthoma.cohort import PatientSummary, SplitOptions, assign_splits, check_splits, open_cohort
from synthoma.cohort.store import HEADER, IMAGES, MASKS, TABLE, CohortHeader
from synthoma.errors import CohortError, describe
from synthoma.records import Cohort, Lineage, summary_of
from synthoma.seeding import child_seed
from synthoma.storage import file_sha256, new_folder, read_json, write_bytes, write_json

__all__ = ["Fold", "folds_of", "in_fold", "patients_of", "seed_of", "sides_of", "write_fold"]


@dataclass(frozen=True)
class Fold:
    """One division of the patients."""

    design: str
    run: int
    fold: int = -1
    """Of ``kfold``: the number of the fold that is tested."""
    site: str = ""
    """Of ``leave-one-site-out``: the site that is tested."""
    slug: str = ""
    """The site as a part of a folder's name."""

    @property
    def name(self) -> str:
        """``run 0 fold 3``."""
        return f"run {self.run}{f' fold {self.fold}' if self.fold >= 0 else f' site {self.site}' if self.site else ''}"

    @property
    def folder(self) -> str:
        """``run-0-fold-3``."""
        return f"run-{self.run}{f'-fold-{self.fold}' if self.fold >= 0 else f'-site-{self.slug}' if self.slug else ''}"

    @property
    def tested(self) -> str:
        """What is tested, the same in every run; of ``holdout`` each run tests others."""
        return f"fold {self.fold}" if self.fold >= 0 else f"site {self.site}" if self.site else f"repeat {self.run}"


def folds_of(design: str, runs: int, folds: int, sites: Sequence[str] = ()) -> tuple[Fold, ...]:
    """All folds of a design, run after run; ``sites`` are those of the cohort, for ``leave-one-site-out``.

    Raises:
        CohortError: ``leave-one-site-out`` of patients of one site.
    """
    if design == "holdout":
        return tuple(Fold(design, run) for run in range(runs))
    if design == "kfold":
        return tuple(Fold(design, run, fold) for run in range(runs) for fold in range(folds))
    if len(sites) < 2:
        found = f"one ('{sites[0]}')" if sites else "none"
        remedy = "Choose another protocol.design, or say where the patients come from."
        raise CohortError(
            describe("protocol.design: leave-one-site-out", "patients of two sites or more", found, remedy)
        )
    slugs = [re.sub(r"[^A-Za-z0-9]+", "-", site).strip("-") for site in sites]
    if "" in slugs or len({slug.lower() for slug in slugs}) < len(slugs):
        slugs = [f"{number}-{slug}".rstrip("-") for number, slug in enumerate(slugs)]
    return tuple(
        Fold(design, run, site=s, slug=slug) for run in range(runs) for s, slug in zip(sites, slugs, strict=True)
    )


def seed_of(seed: int, fold: Fold) -> int:
    """The seed that stands for ``seed`` in a fold: another one in each fold of each run."""
    return child_seed(seed, fold.design, fold.run, fold.fold, fold.site) % 2**31


def patients_of(cohort: Cohort) -> dict[str, PatientSummary]:
    """Site, labels and modality of each patient: what :func:`assign_splits` needs."""
    columns = [cohort.table[name].tolist() for name in ("patient", "site", "label", "modality")]
    found: dict[str, tuple[str, dict[str, int], set[str]]] = {}
    for patient, site, label, modality in zip(*columns, strict=True):
        _, labels, modalities = found.setdefault(patient, (site, {}, set()))
        labels[label] = labels.get(label, 0) + 1
        modalities.add(modality)
    return {name: PatientSummary(site, labels, summary_of(seen)) for name, (site, labels, seen) in found.items()}


def sides_of(cohort: Cohort, fold: Fold, split: SplitOptions) -> dict[str, str]:
    """Patient → ``train``, ``validation`` or ``test`` in this fold.

    Of those that are not tested, validation gets its share of ``split`` (validation / (train + validation)), spread
    over the same strata. The first run of ``holdout`` is the stored split.

    Raises:
        CohortError: nobody to test, or too few to train on.
    """
    patients = patients_of(cohort)
    if fold.design == "holdout":
        seed = split.seed if fold.run == 0 else seed_of(split.seed, fold)
        drawn = assign_splits(patients, split.model_copy(update={"seed": seed, "folds": 0}))
        return {name: side for name, (side, _) in drawn.items()}
    numbers = dict(zip(cohort.table["patient"].tolist(), cohort.table["fold"].tolist(), strict=True))
    tested = {
        name for name, about in patients.items()
        if (numbers[name] == fold.fold if fold.design == "kfold" else about.site == fold.site)
    }  # fmt: skip
    if not tested:
        remedy = "Set split.folds lower, or give more patients."
        raise CohortError(describe(fold.name, "patients to test", f"none among {len(patients)}", remedy))
    rest = {name: about for name, about in patients.items() if name not in tested}
    share = split.validation / (split.train + split.validation)
    options = split.model_copy(
        update={"train": 1 - share, "validation": share, "test": 0.0, "folds": 0, "seed": seed_of(split.seed, fold)}
    )
    try:
        drawn = assign_splits(rest, options)
    except CohortError as error:
        raise CohortError(f"{fold.name}: {error}") from error
    return {name: "test" if name in tested else drawn[name][0] for name in patients}


def in_fold(cohort: Cohort, fold: Fold, split: SplitOptions) -> Cohort:
    """``cohort`` as its patients stand in this fold, in memory."""
    sides = sides_of(cohort, fold, split)
    column = np.array([sides[patient] for patient in cohort.table["patient"].tolist()], dtype=np.str_)
    return replace(cohort, path=None, table={**cohort.table, "split": column})


def write_fold(real: Path, out: Path, fold: Fold, split: SplitOptions) -> Path:
    """Write the cohort of a fold beside the prepared one: its own table and lineage, arrays by hard links.

    Raises:
        CohortError: too few patients.
        LeakError: a patient or an image is on two sides.
    """
    cohort = open_cohort(real)
    sides = sides_of(cohort, fold, split)
    lineage = Lineage.of(
        "fold",
        parents=sorted(set(cohort.table["lineage"].tolist()) - {""}),
        recipe={"fold": asdict(fold), "split": split.model_dump(mode="json"), "sides": sides},
        seed=seed_of(split.seed, fold),
        patients_seen=cohort.patients,
    )
    with new_folder(out) as folder:
        for name in (IMAGES, MASKS):
            _link(real / name, folder / name)
        write_bytes(folder / TABLE, _table(real / TABLE, sides, lineage.id))
        header = CohortHeader.model_validate(read_json(real / HEADER, CohortError))
        changed: Mapping[str, Any] = {
            "lineages": (*header.lineages, lineage.to_json()),
            "notes": (f"{fold.name} of {fold.design}", *header.notes),
            "sha256": {**header.sha256, TABLE: file_sha256(folder / TABLE)},
        }
        write_json(folder / HEADER, header.model_copy(update=changed).model_dump(mode="json"))
        check_splits(open_cohort(folder))
    return out


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def _table(path: Path, sides: Mapping[str, str], lineage: str) -> bytes:
    """The table with another split and lineage; every other field stays as it is written."""
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file, strict=True)
    patient, split, own = (names.index(name) for name in ("patient", "split", "lineage"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        row[split], row[own] = sides[row[patient]], lineage
        writer.writerow(row)
    return text.getvalue().encode()
