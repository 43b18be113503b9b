"""Out of a study: the answers with their origins, and the synthetic cohort without what readers rejected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sqlmodel import Session

from synthoma.cohort import create_cohort, open_cohort
from synthoma.errors import CohortError, InputError, describe
from synthoma.records import Cohort, Lineage, Samples
from synthoma.storage import check_new, file_sha256, text_sha256, write_bytes
from synthoma.study.database import open_database
from synthoma.study.folder import Key, Study
from synthoma.study.progress import BLIND_COLUMNS, answer_rows, as_csv

__all__ = ["COLUMNS", "Excluded", "Scale", "export_answers", "export_cohort", "mean_ratings", "read_answers"]

Scale = Literal["realism", "anatomy", "lesion"]
COLUMNS = (*BLIND_COLUMNS[:4], "origin", "label", "sample", *BLIND_COLUMNS[4:8], "correct", *BLIND_COLUMNS[8:])


@dataclass(frozen=True)
class Excluded:
    """What a filtered cohort lacks."""

    rated: int
    """Synthetic samples that were rated."""
    excluded: tuple[str, ...]
    """Ids of those whose mean is below the limit."""
    kept: int
    """Samples of the new cohort."""
    readers: tuple[int, ...]
    """Whose ratings these are."""


def read_answers(study: Study, key: Key, *, database: str = "", history: bool = False) -> list[dict[str, Any]]:
    """The answers with what each image is: the columns are :data:`COLUMNS`.

    Args:
        study: an open study.
        key: its key.
        database: URL of the database; that in the folder when empty.
        history: every change in order of time, instead of the answers that hold by reader and place.
    """
    engine = open_database(database or study.database)
    with Session(engine) as session:
        rows = answer_rows(session, study, history=history)
    engine.dispose()
    found = []
    for row in rows:
        entry = key.images[row["image"]]
        what = {"origin": entry.origin, "label": entry.label, "sample": entry.sample}
        found.append(row | what | {"correct": int(row["call"] == entry.origin)})
    return found


def export_answers(
    study: Study, key: Key, out: Path, *, database: str = "", history: bool = False, overwrite: bool = False
) -> int:
    """Write the answers as CSV; returns their number.

    Raises:
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    check_new(out, overwrite=overwrite)
    rows = read_answers(study, key, database=database, history=history)
    write_bytes(Path(out), as_csv(COLUMNS, rows).encode())
    return len(rows)


def mean_ratings(rows: Sequence[Mapping[str, Any]], scale: Scale) -> dict[str, float]:
    """Image → mean rating over readers, each reader's repeats averaged first; practice does not count."""
    by_reader: dict[str, dict[int, list[int]]] = {}
    for row in rows:
        if row["phase"] != "training" and row[scale] is not None:
            by_reader.setdefault(row["image"], {}).setdefault(row["reader"], []).append(row[scale])
    return {image: float(np.mean([np.mean(own) for own in all_.values()])) for image, all_ in by_reader.items()}


def export_cohort(
    study: Study,
    key: Key,
    out: Path,
    *,
    below: float,
    scale: Scale = "realism",
    rated_only: bool = False,
    synthetic: Path | None = None,
    database: str = "",
    overwrite: bool = False,
) -> Excluded:
    """Write the synthetic cohort without the samples whose mean rating is below a limit.

    Args:
        study: an open study.
        key: its key.
        out: the cohort folder to write.
        below: the limit; a sample rated just so stays.
        scale: the rating that counts.
        rated_only: leave out what nobody rated, too.
        synthetic: where the synthetic cohort is now, if it was moved.
        database: URL of the database; that in the folder when empty.
        overwrite: replace a folder of this name.

    Raises:
        InputError: nothing is rated yet.
        CohortError: the synthetic cohort is not the one that the study was made from, or nothing would remain.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    check_new(out, overwrite=overwrite)
    cohort = _the_cohort(Path(synthetic or key.synthetic.path), key)
    rows = read_answers(study, key, database=database)
    means = {key.images[image].row: mean for image, mean in mean_ratings(rows, scale).items()
             if key.images[image].origin == "synthetic"}  # fmt: skip
    if not means:
        raise InputError(describe(study.path, f"ratings of {scale} of synthetic images", "none yet"))
    rejected = {row for row, mean in means.items() if mean < below}
    kept = [row for row in range(len(cohort)) if row not in rejected and (row in means or not rated_only)]
    if not kept:
        raise CohortError(describe(study.path, f"samples of mean {scale} {below:g} or more", "none"))
    readers = tuple(sorted({int(row["reader"]) for row in rows if row["phase"] != "training"}))
    excluded = tuple(str(cohort.table["id"][row]) for row in sorted(rejected))
    recipe = {
        "study": study.design.study, "scale": scale, "below": below, "rated_only": rated_only, "readers": readers,
        "excluded": excluded, "answers_sha256": text_sha256(as_csv(COLUMNS, rows)),
    }  # fmt: skip
    parents = sorted(set(cohort.table["lineage"][kept].tolist()) - {""})
    lineage = Lineage.of(
        "exclude",
        parents=parents,
        recipe=recipe,
        seed=key.options.seed,
        patients_seen={patient for name in parents for patient in cohort.lineages[name].patients_seen},
    )
    who = f"Reader{'s' if len(readers) > 1 else ''} {', '.join(map(str, readers))} of study {study.design.study}"
    note = (
        f"{who} rated {len(means)} of {len(cohort)} samples; the {len(rejected)} with a mean {scale} below {below:g} "
        f"are left out{', and those that nobody rated' if rated_only else ''}."
    )
    _copy(cohort, kept, out, lineage, note, overwrite=overwrite)
    return Excluded(len(means), excluded, len(kept), readers)


def _the_cohort(path: Path, key: Key) -> Cohort:
    if (path / "cohort.json").is_file() and file_sha256(path / "cohort.json") != key.synthetic.sha256:
        expected = "the synthetic cohort that the study was made from"
        raise CohortError(describe(path, expected, "another", "Name it with --synthetic."))
    return open_cohort(path)


def _copy(cohort: Cohort, rows: Sequence[int], out: Path, lineage: Lineage, note: str, *, overwrite: bool) -> None:
    """These samples as a cohort of its own, unchanged but for their lineage."""
    table = cohort.table
    with create_cohort(
        out,
        channels=cohort.channels,
        mask_names=cohort.mask_names,
        shape=cohort.images.shape[2:],
        lineages=(lineage, *cohort.lineages.values()),
        conditions=cohort.conditions,
        notes=(*cohort.notes, note),
        dtype="float16" if cohort.images.dtype == np.float16 else "float32",
        overwrite=overwrite,
    ) as writer:
        for row in rows:
            scan = str(table["scan"][row])
            writer.add(
                _sample(cohort, row),
                split=str(table["split"][row]),
                fold=int(table["fold"][row]),
                origin="synthetic",
                scan=scan,
                grids=cohort.grids.get(scan),
                reference=[str(table["reference"][row])],
                made_from=[str(table["made_from"][row])],
                lineage=lineage.id,
                ids=[str(table["id"][row])],
            )


def _sample(cohort: Cohort, row: int) -> Samples:
    table = cohort.table
    spacing = str(table["spacing_mm"][row]).split()
    ranges = {c: (float(table[f"low_{c}"][row]), float(table[f"high_{c}"][row])) for c in cohort.channels}
    return Samples(
        images=np.asarray(cohort.images[row : row + 1]),
        masks=np.asarray(cohort.masks[row : row + 1]),
        channels=cohort.channels,
        mask_names=cohort.mask_names,
        slices=(int(table["slice"][row]),),
        labels=(str(table["label"][row]),),
        patient=str(table["patient"][row]),
        site=str(table["site"][row]),
        spacing_mm=tuple(float(part) for part in spacing) or None,
        intensity={c: pair for c, pair in ranges.items() if all(map(math.isfinite, pair))},
        unit=str(table["unit"][row]),
        modality=str(table["modality"][row]),
    )
