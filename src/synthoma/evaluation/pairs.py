"""Which synthetic sample stands against which real one, and whether two cohorts can be compared at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import CohortError, InputError, describe, did_you_mean
from synthoma.records import BODY, Cohort

__all__ = ["HEADLINE", "Pairs", "arm_name", "check_fit", "headline_name", "is_paired", "pair", "paired_arms", "target"]

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


def is_paired(cohort: Cohort) -> bool:
    """Whether any sample has a reference: the real sample that it should equal."""
    return bool(np.any(cohort.table["reference"] != ""))


def headline_name(synthetic: Mapping[str, Cohort]) -> str | None:
    """The paired cohort that is compared with the baselines: ``reconstruct``, else the first paired one."""
    paired = [name for name, cohort in synthetic.items() if is_paired(cohort)]
    return HEADLINE if HEADLINE in paired else next(iter(paired), None)


def pair(real: Cohort, synthetic: Cohort, name: str = "synthetic cohort", split: str = "test") -> Pairs:
    """Match synthetic samples to their references in ``split``; of several for one reference, the first counts.

    Raises:
        InputError: no sample has a reference: there is nothing that SSIM, PSNR or MAE could be measured against.
        CohortError: a reference that the real cohort does not hold.
    """
    references = synthetic.table["reference"]
    if not is_paired(synthetic):
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


def paired_arms(real: Cohort, synthetic: Mapping[str, Cohort]) -> tuple[dict[str, Pairs], list[str]]:
    """Pairs of every paired cohort, by its name, on the test samples that all of them hold; and warnings."""
    pairs, warnings = {}, []
    for name, cohort in synthetic.items():
        if not is_paired(cohort):
            continue
        found = pair(real, cohort, name)
        if len(found.real):
            pairs[name] = found
        else:
            warnings.append(f"{name}: no reference lies in the test split, so it was not compared with real images.")
    if not pairs:
        return {}, warnings
    common = set.intersection(*(set(p.real.tolist()) for p in pairs.values()))
    most = max(len(p.real) for p in pairs.values())
    if len(common) < most:
        warnings.append(f"Paired arms are compared on the {len(common)} test samples that all hold; one holds {most}.")
    if not common:
        return {}, warnings
    keep = {name: np.isin(p.real, sorted(common)) for name, p in pairs.items()}
    return {name: Pairs(p.real[keep[name]], p.synthetic[keep[name]]) for name, p in pairs.items()}, warnings


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
    if len(real) == 0 or not np.any(real.table["split"] == "test"):
        raise CohortError(
            describe(f"{label}, column split", "test samples", "none", "Split the cohort by patient before evaluating.")
        )
    first = next(iter(synthetic.values())).channels
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
        if cohort.channels != first:
            raise CohortError(describe(f"{where}, channels", ", ".join(first), ", ".join(cohort.channels)))
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
