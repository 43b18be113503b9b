"""Whom a privacy audit compares: the patients that a generator learned from, and as many others like them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.near_duplicates import TRIED, Neighbours, nearest
from synthoma.evaluation.registration import Prepared, coarse_correlations, mean_of, prepare
from synthoma.evaluation.statistics import spread_over_patients
from synthoma.records import Cohort
from synthoma.seeding import generator

__all__ = ["Audited", "EqualSets", "Sides", "drawn_by", "equal_sets", "images_of", "learned_from", "sides"]

WEIGHTS_SHA256 = 64
"""Letters of the SHA-256 that a generated cohort names among its parents; ids of lineages are shorter."""
Rows = NDArray[np.intp]
Coarse = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Sides:
    """Rows of the real cohort by what the generator of a synthetic one knew of them."""

    members: Rows
    """Of training patients that it learned from."""
    held_out: Rows
    """Of test and validation patients. Validation images may have chosen a checkpoint; no weight was fitted to them."""
    sources: Rows
    """What the synthetic samples were made from or stand for, of any split."""

    @property
    def made_of_held_out(self) -> bool:
        """Whether a synthetic sample was made from an image of a patient that the generator did not learn from."""
        return bool(np.isin(self.sources, self.members, invert=True).any())


@dataclass(frozen=True)
class EqualSets:
    """Training and held-out patients in pairs: of one site, with as many images each."""

    members: Rows
    held_out: Rows
    member_pair: NDArray[np.intp]
    """(n,) the pair that each row of ``members`` belongs to."""
    held_out_pair: NDArray[np.intp]

    @property
    def pairs(self) -> int:
        """How many pairs of patients."""
        return int(self.member_pair.max()) + 1 if len(self.member_pair) else 0


@dataclass(frozen=True)
class Audited:
    """A synthetic cohort and the real images beside it, all pairs compared coarsely."""

    name: str
    cohort: Cohort
    real: Cohort
    sides: Sides
    made: Prepared
    rows: Rows
    """The real rows that ``shown`` holds, sorted: members, held-out, sources."""
    shown: Prepared
    mean: Prepared
    """The mean of the members and the held-out images: of training ones alone it would set these apart."""
    coarse: Coarse
    """Synthetic images against all of ``rows``."""
    coarse_held_out: Coarse
    """Held-out images against the members."""

    @classmethod
    def of(cls, name: str, cohort: Cohort, real: Cohort, both: Sides, known: dict[Any, Coarse] | None = None) -> Self:
        """Prepare all images and compare them; ``known`` keeps what several arms share."""
        known = {} if known is None else known
        rows = np.unique(np.concatenate([both.members, both.held_out, both.sources]))
        shown = prepare(images_of(real, rows, cohort.channels))
        members, held_out = (np.searchsorted(rows, side) for side in (both.members, both.held_out))
        mean = mean_of(shown.take(np.union1d(members, held_out)))
        made = prepare(images_of(cohort, np.arange(len(cohort)), cohort.channels))
        key = (cohort.channels, both.members.tobytes(), both.held_out.tobytes())
        if key not in known:
            known[key] = coarse_correlations(shown.take(held_out), shown.take(members), mean)
        coarse = coarse_correlations(made, shown, mean)
        return cls(name, cohort, real, both, made, rows, shown, mean, coarse, known[key])

    def against(self, made: Rows, rows: Rows, tried: tuple[int, int] = TRIED) -> Neighbours:
        """The nearest of the real ``rows`` of each synthetic sample ``made``; ``Neighbours.real`` are real rows."""
        at = np.searchsorted(self.rows, rows)
        coarse = (self.coarse[0][np.ix_(made, at)], self.coarse[1][np.ix_(made, at)])
        return self._nearest(self.made.take(made), rows, coarse, tried)

    def held_out_against(self, held_out: Rows, members: Rows, tried: tuple[int, int] = TRIED) -> Neighbours:
        """The same of held-out real images among training images."""
        at = np.ix_(np.searchsorted(self.sides.held_out, held_out), np.searchsorted(self.sides.members, members))
        coarse = (self.coarse_held_out[0][at], self.coarse_held_out[1][at])
        return self._nearest(self.shown.take(np.searchsorted(self.rows, held_out)), members, coarse, tried)

    def _nearest(self, images: Prepared, rows: Rows, coarse: Coarse, tried: tuple[int, int]) -> Neighbours:
        real = self.shown.take(np.searchsorted(self.rows, rows))
        found = nearest(images, real, self.mean, self.real.table["patient"][rows], coarse, tried)
        return replace(found, real=rows[found.real])


def images_of(cohort: Cohort, rows: Rows, channels: tuple[str, ...]) -> NDArray[Any]:
    """Images of ``channels`` of the samples ``rows``, (n, channel, [z,] y, x)."""
    return np.asarray(cohort.images[rows])[:, [cohort.channels.index(name) for name in channels]]


def learned_from(synthetic: Cohort) -> set[str]:
    """The patients that the generator of a cohort was trained with, by its lineages."""
    return {p for lineage in synthetic.lineages.values() if lineage.step == "train" for p in lineage.patients_seen}


def drawn_by(synthetic: Cohort) -> frozenset[str]:
    """What drew a cohort: the lineage of the training, and the SHA-256 of the weights where the cohort says it."""
    own = [synthetic.lineages[name] for name in set(synthetic.table["lineage"].tolist()) & set(synthetic.lineages)]
    trained = {lineage.id for lineage in synthetic.lineages.values() if lineage.step == "train"}
    made = {parent for lineage in own for parent in (lineage.id, *lineage.parents)}
    return frozenset(name for name in made if name in trained or len(name) == WEIGHTS_SHA256)


def sides(real: Cohort, synthetic: Cohort, most: int, seed: int) -> Sides:
    """Sort the real samples of the synthetic cohort's modalities; at most ``most`` held-out images, of all patients."""
    split, patients = real.table["split"], real.table["patient"]
    alike = np.isin(real.table["modality"], np.unique(synthetic.table["modality"]))
    trained = np.isin(patients, sorted(learned_from(synthetic))) & (split == "train")
    texts = set(synthetic.table["made_from"].tolist()) | set(synthetic.table["reference"].tolist())
    sources = sorted({sample for text in texts for sample in text.split(";") if sample})
    held_out = np.flatnonzero(alike & np.isin(split, ("test", "validation")))
    held_out = held_out[spread_over_patients(patients[held_out], most, seed, "held out")]
    return Sides(np.flatnonzero(alike & trained), held_out, np.flatnonzero(np.isin(real.table["id"], sources)))


def equal_sets(real: Cohort, both: Sides, seed: int) -> EqualSets:
    """Pair training with held-out patients of the same site, and draw as many images of either.

    Where a site has more patients on one side, a random choice of them; within a site the patients with most images
    are paired with each other, and the one with more gives a random choice. Nearest neighbours in sets of unequal size
    would favour the larger one: with 400 training and 100 held-out images 0.75 of independent ones are nearer to it.
    """
    random = generator(seed, "equal sets")
    patients, sites = real.table["patient"], real.table["site"]
    rows: tuple[list[Rows], list[Rows]] = ([], [])
    pair: list[int] = []
    for site in np.unique(sites[both.members]).tolist():
        chosen = []
        for side in (both.members, both.held_out):
            own = side[sites[side] == site]
            chosen.append([own[patients[own] == name] for name in random.permutation(np.unique(patients[own]))])
        count = min(len(side) for side in chosen)
        ordered = [sorted(side[:count], key=len, reverse=True) for side in chosen]
        for couple in zip(*ordered, strict=True):
            size = min(len(own) for own in couple)
            for at, own in enumerate(couple):
                rows[at].append(np.sort(random.choice(own, size, replace=False)))
            pair += [len(pair)]
    index = [np.repeat(pair, [len(own) for own in side]).astype(np.intp) for side in rows]
    joined = [np.concatenate(side) if side else np.array([], dtype=np.intp) for side in rows]
    return EqualSets(joined[0], joined[1], index[0], index[1])
