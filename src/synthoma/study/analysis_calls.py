"""The call, real or synthetic: how often it is right, whether that is chance, and what time has to do with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthoma.records import Measurement
from synthoma.seeding import generator
from synthoma.study.agreement import Estimate, accuracy, equivalence_to_chance, spearman
from synthoma.study.answered import Answered, between, resampled

__all__ = ["ALL", "calls", "times"]

Float = NDArray[np.float64]
ALL = "all readers"
CHANCE = "chance"
SHORTEST_S = 0.1
"""Shorter times are taken for this one: their logarithm is needed."""


def calls(answers: Answered, margin: float, draws: int, seed: int) -> list[Measurement]:
    """Accuracy, sensitivity (synthetic called so) and specificity (real called so) of each reader and over all, and the
    p value of equivalence to chance within ``margin``; first showings only."""
    first = answers.where(~answers.repeat)
    found = []
    for who in first.readers:
        own = first.where(first.reader == who)
        for name, part in _parts(own).items():
            estimate = accuracy(int(part.correct.sum()), len(part))
            found.append(_measured(name, estimate, part, f"reader {who}", "interval of Clopper & Pearson"))
        p = equivalence_to_chance(int(own.correct.sum()), len(own), margin).p
        how = f"two one-sided exact binomial tests of the accuracy against 0.5 ± {margin:g}; below 0.05 it is shown"
        found.append(_measured("reader-equivalence-p", Estimate(p), own, f"reader {who}", how))

    def statistic(weights: Float) -> list[float]:
        right, made = weights * first.correct, first.synthetic
        return [
            float(right.sum() / weights.sum()),
            float(right[made].sum() / weights[made].sum()),
            float(right[~made].sum() / weights[~made].sum()),
        ]

    with np.errstate(invalid="ignore"):
        values = statistic(np.ones(len(first)))
    boots = resampled(first, statistic, draws, generator(seed, "analysis", "calls"))
    how = f"readers and patients resampled ({draws} draws), percentiles"
    for at, (name, part) in enumerate(_parts(first).items()):
        value = None if math.isnan(values[at]) else values[at]
        found.append(_measured(name, Estimate(value, *between(boots[:, at])), part, ALL, how))
    overall = boots[:, 0][np.isfinite(boots[:, 0])]
    outside = max(int((overall <= 0.5 - margin).sum()), int((overall >= 0.5 + margin).sum()))
    how = f"two one-sided tests by the share of resamples beyond 0.5 ± {margin:g}; readers and patients resampled"
    p = (outside + 1) / (len(overall) + 1)
    found.append(_measured("reader-equivalence-p", Estimate(p), first, ALL, how))
    return found


def _parts(answers: Answered) -> dict[str, Answered]:
    return {
        "reader-accuracy": answers,
        "reader-sensitivity": answers.where(answers.synthetic),
        "reader-specificity": answers.where(~answers.synthetic),
    }


def times(answers: Answered, arm: str, draws: int, seed: int) -> list[Measurement]:
    """Seconds an image by origin and their ratio; accuracy in the slower half of each reader's images minus that in the
    faster; and whether readers speed up along their order."""
    first = answers.where(~answers.repeat)
    log_s = np.log(np.maximum(first.seconds, SHORTEST_S))
    slow = np.zeros(len(first), bool)
    own_log = log_s.copy()
    for who in first.readers:
        mine = first.reader == who
        slow[mine] = log_s[mine] > np.median(log_s[mine])
        own_log[mine] -= log_s[mine].mean()
    made, right = first.synthetic, first.correct.astype(float)

    def statistic(weights: Float) -> list[float]:
        def mean(values: Float, chosen: NDArray[np.bool_]) -> float:
            return float(weights[chosen] @ values[chosen] / weights[chosen].sum())

        real, synthetic = mean(log_s, ~made), mean(log_s, made)
        ratio = mean(own_log, made) - mean(own_log, ~made)  # within readers: they differ in pace
        return [math.exp(real), math.exp(synthetic), math.exp(ratio), mean(right, slow) - mean(right, ~slow)]

    with np.errstate(invalid="ignore", divide="ignore"):
        values = statistic(np.ones(len(first)))
    boots = resampled(first, statistic, draws, generator(seed, "analysis", "times"))
    how = f"readers and patients resampled ({draws} draws), percentiles"
    rows: Sequence[tuple[str, str, str, str, Answered, str]] = (
        ("reader-seconds", "real", "", "s", first.where(~made), f"geometric mean; {how}"),
        ("reader-seconds", arm, "", "s", first.where(made), f"geometric mean; {how}"),
        ("reader-seconds-ratio", arm, "real", "", first, f"ratio of geometric means within readers; {how}"),
        ("reader-accuracy-difference", "slower half of the images", "faster half", "", first, how),
    )
    found = []
    for at, (name, measured, compared, unit, part, method) in enumerate(rows):
        if math.isfinite(values[at]):
            images, patients = part.count()
            low, high = between(boots[:, at])
            found.append(
                Measurement(name, values[at], low, high, images, patients, measured, "", unit, "", method, compared)
            )
    images, patients = first.count()
    trend = spearman(first.place, own_log)
    method = "Spearman of the place in the order and the time within readers; interval of Bonett & Wright 2000"
    found.append(
        Measurement(
            "reader-pace-spearman", trend.value, trend.low, trend.high, images, patients, ALL, "", "", "", method,
            "the place in the order",
        )
    )  # fmt: skip
    return found


def _measured(name: str, e: Estimate, part: Answered, arm: str, method: str) -> Measurement:
    images, patients = part.count()
    return Measurement(name, e.value, e.low, e.high, images, patients, arm, "", "", "", method, CHANCE)
