"""Ratings: by origin, between readers and within them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from synthoma.records import Measurement
from synthoma.seeding import generator
from synthoma.study.agreement import Estimate, accuracy, icc, weighted_kappa
from synthoma.study.answered import Answered, between, resampled
from synthoma.study.options import SCALES

__all__ = ["between_readers", "by_origin", "distribution", "odds_ratio", "within_readers"]

Float = NDArray[np.float64]
BOOTSTRAP = "readers and patients resampled ({draws} draws), percentiles"


def distribution(answers: Answered) -> dict[str, dict[str, list[int]]]:
    """Scale → origin → how often each rating from 1 to 5 was given, first showings only."""
    first = answers.where(~answers.repeat)
    return {
        scale: {
            origin: [int(np.sum(first.ratings[scale][first.synthetic == made] == rating)) for rating in range(1, 6)]
            for origin, made in (("real", False), ("synthetic", True))
        }
        for scale in SCALES
    }


def by_origin(answers: Answered, arm: str, draws: int, seed: int) -> list[Measurement]:
    """For each scale the mean rating of real and of synthetic images, their difference, and how often a synthetic image
    is rated above a real one by the same reader (ties count half)."""
    found = []
    for scale in SCALES:
        rated = answers.where(~answers.repeat & np.isfinite(answers.ratings[scale]))
        if not (rated.synthetic.any() and (~rated.synthetic).any()):
            continue
        counts, readers = _Counts(rated, scale), len(rated.readers)
        values = counts(np.ones(len(rated)))
        boots = resampled(rated, counts, draws, generator(seed, "analysis", scale))
        method = f"mean over answers of {readers} readers, first showings; {BOOTSTRAP.format(draws=draws)}"
        real, made = rated.where(~rated.synthetic).count(), rated.where(rated.synthetic).count()
        columns = (
            (f"reader-{scale}", "real", "", "", real, method),
            (f"reader-{scale}", arm, "", "", made, method),
            (f"reader-{scale}-difference", arm, "real", "higher", rated.count(), method),
            (f"reader-{scale}-superiority", arm, "real", "higher", rated.count(),
             f"P(synthetic above real) + ½ P(equal) within a reader, mean over readers; "
             f"{BOOTSTRAP.format(draws=draws)}"),
        )  # fmt: skip
        for at, (name, who, compared, better, (images, patients), how) in enumerate(columns):
            low, high = between(boots[:, at])
            found.append(
                Measurement(
                    name, values[at], low, high, images, patients, who, "", "", better,  # type: ignore[arg-type]
                    how, compared,
                )
            )  # fmt: skip
    return found


class _Counts:
    """Weighted counts of ratings by reader and origin, and what follows from them."""

    def __init__(self, rated: Answered, scale: str) -> None:
        _, reader = np.unique(rated.reader, return_inverse=True)
        self.readers = int(reader.max()) + 1
        self.cell = (reader * 2 + rated.synthetic) * 5 + rated.ratings[scale].astype(int) - 1

    def __call__(self, weights: Float) -> list[float]:
        """Mean of real, of synthetic, difference, superiority."""
        table = np.bincount(self.cell, weights, minlength=self.readers * 10).reshape(self.readers, 2, 5)
        real, made = (float(table[:, o].sum(axis=0) @ np.arange(1, 6) / table[:, o].sum()) for o in (0, 1))
        totals = table.sum(axis=2)
        both = totals.prod(axis=1) > 0
        if not both.any():
            return [real, made, made - real, math.nan]
        share = table[both] / totals[both][:, :, None]
        above = np.tril(np.ones((5, 5)), -1) + 0.5 * np.eye(5)
        superior = np.einsum("ri,ij,rj->r", share[:, 1], above, share[:, 0])
        return [real, made, made - real, float(np.average(superior, weights=totals[both].sum(axis=1)))]


def odds_ratio(answers: Answered, scale: str, arm: str) -> Measurement | str:
    """The odds of a higher rating, synthetic over real, by a cumulative link model; or why there is none.

    logit P(rating ≤ c) = θ_c − (β synthetic + reader), readers as fixed effects, standard errors clustered by patient.
    """
    try:
        from statsmodels.miscmodels.ordinal_model import OrderedModel  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return f"{scale}: no cumulative link model without statsmodels (pip install statsmodels)"
    rated = answers.where(~answers.repeat & np.isfinite(answers.ratings[scale]))
    values = rated.ratings[scale].astype(int)
    if len(set(values.tolist())) < 2 or len(set(rated.synthetic.tolist())) < 2:
        return f"{scale}: no cumulative link model, ratings or origins do not vary"
    readers = rated.readers
    columns = [rated.synthetic, *(rated.reader == reader for reader in readers[1:])]
    _, groups = np.unique(rated.patient, return_inverse=True)
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is checked below
            fit = OrderedModel(values, np.stack(columns, axis=1).astype(np.float64), distr="logit").fit(
                method="bfgs", disp=False, maxiter=200, cov_type="cluster", cov_kwds={"groups": groups}
            )
    except (np.linalg.LinAlgError, ValueError):
        return f"{scale}: the cumulative link model cannot be fitted to so few or such equal ratings"
    beta, error = float(fit.params[0]), float(fit.bse[0])
    if not fit.mle_retvals["converged"] or not (0 < error < 5) or abs(beta) > 10:
        return f"{scale}: the cumulative link model did not converge"
    images, patients = rated.count()
    half = 1.959963984540054 * error
    return Measurement(
        "reader-odds-ratio", math.exp(beta), math.exp(beta - half), math.exp(beta + half), images, patients, scale, "",
        "", "", f"odds of a higher rating, {arm} over real; cumulative link model (logit), readers as fixed effects, "
        "standard errors clustered by patient", "real, by a cumulative link model",
    )  # fmt: skip


def between_readers(answers: Answered, counted: Sequence[int]) -> list[Measurement]:
    """ICC(2,1), ICC(2,k) and the share of equal pairs over the images that all ``counted`` readers rated."""
    found = []
    for scale in SCALES:
        rated = answers.where(~answers.repeat & np.isfinite(answers.ratings[scale]))
        given = {
            reader: dict(zip(own.image.tolist(), own.ratings[scale].tolist(), strict=True))
            for reader in counted
            if (own := rated.where(rated.reader == reader)).count()[0]
        }
        common = sorted(set.intersection(*(set(images) for images in given.values()))) if given else []
        if len(given) < 2 or len(common) < 2:
            continue
        table = np.array([[given[reader][image] for reader in given] for image in common])
        patients = rated.where(np.isin(rated.image, common)).count()[1]
        forms, k = icc(table), len(given)
        equal = float(np.mean([np.mean(table[:, i] == table[:, j]) for i in range(k) for j in range(i)]))
        for name, estimate, how in (
            ("reader-icc-single", forms["2,1"], "ICC(2,1), two-way random, absolute agreement; interval by F"),
            ("reader-icc-mean", forms["2,k"], f"ICC(2,k) of the mean of {k} readers; interval by F"),
            (
                "reader-equal-ratings",
                Estimate(equal),
                "share of pairs of readers who gave the same rating; no interval",
            ),
        ):
            found.append(_measurement(name, estimate, len(common), patients, scale, how, "one another", "higher"))
    return found


def within_readers(answers: Answered, draws: int, seed: int) -> list[Measurement]:
    """Quadratic kappa between first and second showings for each reader and over all, and the share of equal calls."""
    first = answers.where(~answers.repeat)
    at = {pair: i for i, pair in enumerate(zip(first.reader.tolist(), first.image.tolist(), strict=True))}
    again = answers.where(answers.repeat)
    again = again.where(
        np.array([p in at for p in zip(again.reader.tolist(), again.image.tolist(), strict=True)], bool)
    )
    if not len(again):
        return []
    before = first.where(np.array([at[p] for p in zip(again.reader.tolist(), again.image.tolist(), strict=True)]))
    found = []
    for who in (*again.readers, 0):
        mine = (again.reader == who) if who else np.ones(len(again), bool)
        arm = f"reader {who}" if who else "all readers"
        one, two = before.where(mine), again.where(mine)
        for scale in SCALES:
            a, b = one.ratings[scale], two.ratings[scale]
            both = np.isfinite(a) & np.isfinite(b)
            if both.any():
                found.append(_kappa(one.where(both), a[both], b[both], scale, arm, draws, seed if not who else None))
        same = int(np.sum(one.correct == two.correct))
        shares = accuracy(same, len(one))
        if not who:
            low, high = between(
                resampled(one, _share(one.correct == two.correct), draws, generator(seed, "same"))[:, 0]
            )
            shares = Estimate(shares.value, low, high)
        how = "Clopper–Pearson" if who else BOOTSTRAP.format(draws=draws)
        how = f"share of repeats with the same call; {how}"
        found.append(_measurement("reader-same-call", shares, *one.count(), arm, how, "their own repeats", "higher"))
    return found


def _kappa(one: Answered, a: Float, b: Float, scale: str, arm: str, draws: int, seed: int | None) -> Measurement:
    estimate, how = weighted_kappa(a, b), "interval of Fleiss, Cohen & Everitt 1969"
    if seed is not None:

        def again(weights: Float) -> list[float]:
            often = weights.astype(int)
            if not often.any():
                return [math.nan]
            value = weighted_kappa(np.repeat(a, often), np.repeat(b, often)).value
            return [math.nan if value is None else value]

        low, high = between(resampled(one, again, min(draws, 500), generator(seed, "kappa", scale))[:, 0])
        how = BOOTSTRAP.format(draws=min(draws, 500))
        estimate = Estimate(estimate.value, low, high)
    return _measurement(
        f"reader-kappa-{scale}", estimate, *one.count(), arm, f"quadratic weights, repeats; {how}",
        "their own repeats", "higher",
    )  # fmt: skip


def _share(right: NDArray[np.bool_]) -> Callable[[Float], list[float]]:
    return lambda weights: [float(weights @ right / weights.sum())]


def _measurement(
    name: str, e: Estimate, images: int, patients: int, arm: str, method: str, compared: str, better: str
) -> Measurement:
    return Measurement(name, e.value, e.low, e.high, images, patients, arm, "", "", better, method, compared)  # type: ignore[arg-type]
