"""Which synthetic sample stands against which real one, and whether two cohorts can be compared at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import CohortError, InputError, describe, did_you_mean
from synthoma.records import BODY, Cohort

__all__ = [
    "HEADLINE",
    "Pairs",
    "arm_name",
    "check_fit",
    "has_test_patients",
    "headline_name",
    "on_channels",
    "pair",
    "paired_arms",
    "source_rows",
    "target",
    "the_one",
]

HEADLINE = "reconstruct"
"""The synthetic cohort whose samples stand for real ones; its arm is called ``synthetic``."""


@dataclass(frozen=True)
class Pairs:
    """Row ``real[i]`` of the real cohort is what row ``synthetic[i]`` of the synthetic one should be."""

    real: NDArray[np.intp]
    synthetic: NDArray[np.intp]


def arm_name(name: str) -> str:
    """Arm of the synthetic cohort ``name``: ``synthetic`` for the headline, else its own name."""
    return "synthetic" if name == HEADLINE else name


def source_rows(real: Cohort, synthetic: Cohort) -> NDArray[np.intp] | None:
    """Row of ``real`` that each synthetic sample was made from; ``None`` where not every one has exactly one."""
    where = {identity: row for row, identity in enumerate(real.table["id"].tolist())}
    rows = [where.get(identity, -1) for identity in synthetic.table["made_from"].tolist()]
    return np.array(rows, dtype=np.intp) if rows and min(rows) >= 0 else None


def the_one(values: NDArray[Any]) -> str | None:
    """The value that all of ``values`` are; ``None`` where they differ."""
    found = set(values.tolist())
    return str(found.pop()) if len(found) == 1 else None


def on_channels(cohorts: Mapping[str, Cohort], channels: tuple[str, ...]) -> str:
    """``; flair`` where cohorts of other channels stand beside, else nothing: what names of comparisons end with."""
    return f"; {', '.join(channels)}" if len({cohort.channels for cohort in cohorts.values()}) > 1 else ""


def has_test_patients(real: Cohort) -> bool:
    """Whether any patient was held out to judge by."""
    return bool(np.any(real.table["split"] == "test"))


def headline_name(synthetic: Mapping[str, Cohort]) -> str | None:
    """The paired cohort that is compared with the baselines: ``reconstruct``, else the first paired one."""
    paired = [name for name, cohort in synthetic.items() if cohort.is_paired]
    return HEADLINE if HEADLINE in paired else next(iter(paired), None)


def pair(real: Cohort, synthetic: Cohort, name: str = "synthetic cohort", split: str = "test") -> Pairs:
    """Match synthetic samples to their references in ``split``; of several for one reference, the first counts.

    Raises:
        InputError: no sample has a reference: there is nothing that SSIM, PSNR or MAE could be measured against.
        CohortError: a reference that the real cohort does not hold.
    """
    references = synthetic.table["reference"]
    if not synthetic.is_paired:
        raise InputError(
            describe(name, "samples with a reference to the real sample they should equal", "none",
                     "No reference, no SSIM: measure this cohort with the distribution family.")
        )  # fmt: skip
    where = {identity: row for row, identity in enumerate(real.table["id"].tolist())}
    unknown = sorted({r for r in references.tolist() if r and r not in where})
    if unknown:
        raise CohortError(
            describe(f"{name}, column reference", "ids of the real cohort",
                     f"{len(unknown)} unknown, such as {unknown[0]}",
                     "Evaluate against the real cohort that it was generated from.")
        )  # fmt: skip
    chosen: dict[int, int] = {}
    for row, reference in enumerate(references.tolist()):
        if reference and real.table["split"][where[reference]] == split:
            chosen.setdefault(where[reference], row)
    order = sorted(chosen)
    return Pairs(np.array(order, dtype=np.intp), np.array([chosen[row] for row in order], dtype=np.intp))


def paired_arms(real: Cohort, synthetic: Mapping[str, Cohort]) -> tuple[list[dict[str, Pairs]], list[str]]:
    """Pairs of the paired cohorts by name, in groups that can be compared with each other; and warnings.

    A group holds the cohorts of one set of channels, on the test samples that all of them hold. A round trip is a
    group of its own: it was given the very image that it should equal.
    """
    groups: dict[tuple[str, ...], dict[str, Pairs]] = {}
    warnings: list[str] = []
    for name, cohort in synthetic.items():
        if not cohort.is_paired:
            continue
        found = pair(real, cohort, name)
        if len(found.real):
            key = (name, "round trip") if cohort.is_round_trip else cohort.channels
            groups.setdefault(key, {})[name] = found
        else:
            warnings.append(f"{name}: no reference lies in the test split, so it was not compared with real images.")
    common = [_on_common_samples(pairs, warnings) for pairs in groups.values()]
    return [pairs for pairs in common if pairs], warnings


def _on_common_samples(pairs: dict[str, Pairs], warnings: list[str]) -> dict[str, Pairs]:
    common = set.intersection(*(set(p.real.tolist()) for p in pairs.values()))
    most = max(len(p.real) for p in pairs.values())
    if len(common) < most:
        warnings.append(f"Paired arms are compared on the {len(common)} test samples that all hold; one holds {most}.")
    if not common:
        return {}
    keep = {name: np.isin(p.real, sorted(common)) for name, p in pairs.items()}
    return {name: Pairs(p.real[keep[name]], p.synthetic[keep[name]]) for name, p in pairs.items()}


def target(cohort: Cohort, row: int, channels: tuple[str, ...]) -> NDArray[np.float64]:
    """Image of ``channels`` of one sample, (channel, [z,] y, x), float64, as stored (not clipped)."""
    image = np.asarray(cohort.images[row])
    return np.stack([image[cohort.channels.index(name)] for name in channels]).astype(np.float64)


def check_fit(real: Cohort, synthetic: Mapping[str, Cohort]) -> None:
    """Refuse cohorts that cannot be compared.

    Raises:
        InputError: no synthetic cohort at all.
        CohortError: a missing split, another image size, a channel that the real cohort lacks, a value not finite.
    """
    if not synthetic:
        raise InputError(describe("evaluate", "one or more synthetic cohorts", "none", "Generate one first."))
    label = _label(real, "real cohort")
    if len(real) == 0 or not np.any(real.table["split"] != ""):
        raise CohortError(
            describe(f"{label}, column split", "a split", "none", "Split the cohort by patient before evaluating.")
        )
    for name, cohort in synthetic.items():
        where = _label(cohort, f"synthetic cohort '{name}'")
        if len(cohort) == 0:
            raise CohortError(describe(where, "one or more samples", "none"))
        for channel in cohort.channels:
            if channel not in real.channels:
                raise CohortError(
                    describe(f"{where}, channels", f"channels of the real cohort ({', '.join(real.channels)})",
                             f"'{channel}'", did_you_mean(channel, real.channels))
                )  # fmt: skip
        if cohort.images.shape[2:] != real.images.shape[2:]:
            raise CohortError(
                describe(f"{where}, image size", f"{_size(real)} as in {label}", _size(cohort),
                         "Prepare and generate at one size.")
            )  # fmt: skip
        if not _finite(cohort.images):
            raise CohortError(describe(f"{where}, images", "finite values", "NaN or infinity", "Generate it again."))
    if BODY not in real.mask_names:
        raise CohortError(describe(f"{label}, masks", f"a mask '{BODY}'", ", ".join(real.mask_names) or "none"))


def _finite(images: NDArray[Any]) -> bool:
    return all(np.isfinite(images[start : start + 64]).all() for start in range(0, len(images), 64))


def _label(cohort: Cohort, name: str) -> str:
    return str(cohort.path) if cohort.path else name


def _size(cohort: Cohort) -> str:
    return "×".join(str(n) for n in cohort.images.shape[2:])
