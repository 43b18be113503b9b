"""Splits and folds by patient, stratified, with exact sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from synthoma.errors import CohortError, describe
from synthoma.options import Options
from synthoma.seeding import generator

__all__ = ["SPLITS", "PatientSummary", "SplitOptions", "assign_splits"]

SPLITS = ("train", "validation", "test")


class SplitOptions(Options):
    """How patients are divided."""

    train: float = Field(default=0.7, gt=0, le=1)
    """Share of the patients to train on."""
    validation: float = Field(default=0.2, ge=0, lt=1)
    """Share of the patients to choose by (best checkpoint, early stopping); 0 for nobody."""
    test: float = Field(default=0.1, ge=0, lt=1)
    """Share of the patients that are looked at last, once; 0 for nobody, and nothing is shown of new patients."""
    folds: int = Field(default=5, ge=0)
    """Number of folds over all patients, independent of the split; 0 for none."""
    seed: int = Field(default=0, ge=0)
    """The seed of the draw."""
    stratify: tuple[Literal["site", "label", "modality"], ...] = ("site", "label", "modality")
    """What is spread evenly over the sides. The label of a patient with samples of several is its most frequent one."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test must be 1, got {total:g}")
        if self.folds == 1:
            raise ValueError("folds must be 0 (none) or at least 2, got 1")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The sides that get patients, and their shares."""
        return {name: share for name in SPLITS if (share := float(getattr(self, name))) > 0}


@dataclass(frozen=True)
class PatientSummary:
    """What a split needs to know of a patient."""

    site: str
    labels: Mapping[str, int]
    """Label → number of samples."""
    modality: str = ""
    """MR, CT, OT; ``CT+MR`` of a patient with both."""

    @property
    def n(self) -> int:
        """Number of samples."""
        return sum(self.labels.values())

    @property
    def label(self) -> str:
        """The most frequent label; of equals, the first by name."""
        return min(self.labels, key=lambda name: (-self.labels[name], name), default="")


def assign_splits(patients: Mapping[str, PatientSummary], options: SplitOptions) -> dict[str, tuple[str, int]]:
    """Patient → (split, fold).

    Sizes are the shares rounded by largest remainder, each at least one patient unless its share is 0. In every stratum
    each side gets its share rounded down or up. Depends on the seed and the set of patients, not on their order.

    Raises:
        CohortError: fewer patients than sides.
    """
    shares = options.shares
    needed = max(len(shares), options.folds)
    if len(patients) < needed:
        why = f"at least {needed} patients for " + " and ".join(", ".join(shares).rsplit(", ", 1))
        why += f" and {options.folds} folds" if options.folds else ""
        fewer = options.folds > len(patients) >= len(shares)
        remedy = "Give more patients, or " + ("set split.folds lower." if fewer else "prepare them with --no-split.")
        raise CohortError(describe("split", why, len(patients), remedy))
    names = sorted(patients)
    strata = [tuple(str(getattr(patients[name], key)) for key in options.stratify) for name in names]
    sizes = _sizes(len(names), list(shares.values()))
    sides = _allocate(strata, sizes, generator(options.seed, "split"))
    folds = [-1] * len(names)
    if options.folds:
        folds = _allocate(strata, _sizes(len(names), [1.0] * options.folds), generator(options.seed, "folds"))
    side_names = list(shares)
    return {name: (side_names[side], fold) for name, side, fold in zip(names, sides, folds, strict=True)}


def _sizes(n: int, shares: Sequence[float]) -> list[int]:
    """``n`` in proportion to ``shares`` by largest remainder (of equals the first), each at least 1."""
    ideal = n * np.asarray(shares) / sum(shares)
    sizes = np.floor(ideal + 1e-9).astype(int)
    remainders = np.round(ideal - sizes, 9)
    sizes[np.argsort(-remainders, kind="stable")[: n - sizes.sum()]] += 1
    while (sizes == 0).any():
        sizes[np.argmax(sizes)] -= 1
        sizes[np.argmin(sizes)] += 1
    return [int(size) for size in sizes]


def _allocate(strata: Sequence[tuple[str, ...]], sizes: Sequence[int], rng: np.random.Generator) -> list[int]:
    """A side for each patient: sides of exactly ``sizes``, and in each stratum the share of each side ± less than 1.

    Controlled rounding of the table stratum × side (Cox 1987, J. Am. Stat. Assoc. 82:520), found as a transport
    problem, whose corners are whole numbers; random costs choose among the tables that qualify.
    """
    names = sorted(set(strata))
    counts = [strata.count(name) for name in names]
    table = _rounded_table(np.outer(counts, sizes) / len(strata), counts, sizes, rng)
    sides = np.zeros(len(strata), dtype=int)
    for name, row in zip(names, table, strict=True):
        members = np.flatnonzero([stratum == name for stratum in strata])
        sides[rng.permutation(members)] = np.repeat(np.arange(len(sizes)), row)
    return [int(side) for side in sides]


def _rounded_table(
    ideal: NDArray[np.float64], counts: Sequence[int], sizes: Sequence[int], rng: np.random.Generator
) -> NDArray[np.int_]:
    """``ideal`` rounded down or up so that its rows sum to ``counts`` and its columns to ``sizes``."""
    from scipy.optimize import linprog

    rows, columns = ideal.shape
    low, high = np.floor(ideal + 1e-9).ravel(), np.ceil(ideal - 1e-9).ravel()
    sums = np.concatenate([np.kron(np.eye(rows), np.ones(columns)), np.kron(np.ones(rows), np.eye(columns))])
    bounds: Any = list(zip(low, high, strict=True))
    found = linprog(rng.random(rows * columns), A_eq=sums, b_eq=[*counts, *sizes], bounds=bounds, method="highs-ds")
    if found.x is None:  # cannot be: the ideal table itself fulfils every condition
        raise RuntimeError(f"no split found: {found.message}")
    return np.asarray(np.rint(found.x), dtype=np.int_).reshape(rows, columns)
