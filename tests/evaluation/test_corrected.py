"""The corrected resampled t-test: published values, and what it does over folds that really overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from synthoma.evaluation.corrected import corrected_resampled_t
from synthoma.evaluation.tests_of_difference import power_of_t

FIVE = np.array([0.02, 0.04, -0.01, 0.03, 0.05])


def test_goldens():
    found = corrected_resampled_t(FIVE[:, None], 1, 4)
    assert (found.mean, found.degrees, found.folds, found.runs) == (pytest.approx(0.026), 4, 5, 1)
    assert found.t == pytest.approx(1.683562161419258, abs=1e-12)
    assert found.p == pytest.approx(0.16755322147892307, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((-0.016877877864805338, 0.06887787786480534), abs=1e-12)
    assert found.naive_t == pytest.approx(2.5253432421288866, abs=1e-12)
    assert found.naive_p == pytest.approx(0.06498591034212063, abs=1e-12)
    assert "1 / 4 patients" in found.method


def test_the_example_of_scikit_learn():
    """Its page on comparing models: 10 x 10 folds there are 100 columns of no common fold, so J = 100, n_test / n_train
    = 1 / 9, corrected t 0.750, one-sided p 0.227, uncorrected 2.611. Any differences with that uncorrected t do."""
    values = np.random.default_rng(0).normal(size=100)
    values = (values - values.mean()) / values.std(ddof=1) + 2.611 / 10
    found = corrected_resampled_t(values[:, None], 1, 9)
    assert found.naive_t == pytest.approx(2.611)
    assert found.t == pytest.approx(0.750, abs=5e-4)
    assert found.p / 2 == pytest.approx(0.227, abs=5e-4)


def test_copies_of_a_run_are_no_evidence():
    once, copied = corrected_resampled_t(FIVE[:, None], 1, 4), corrected_resampled_t(np.tile(FIVE[:, None], 3), 1, 4)
    assert (copied.p, copied.low) == pytest.approx((once.p, once.low))
    assert copied.naive_p == pytest.approx(0.00033, abs=5e-6)  # the trap: fifteen values of five folds


def test_without_spread_there_is_no_test():
    one, equal = corrected_resampled_t(FIVE[None, :], 1, 4), corrected_resampled_t(np.full((5, 2), 0.1 + 0.2), 1, 4)
    for found, why in ((one, "one fold"), (equal, "all folds are equal")):
        assert (found.t, found.p, found.low, found.effect(), found.equivalence(0.1)) == (None,) * 5
        assert why in found.method
    assert equal.mean == pytest.approx(0.3)
    opposite = np.array([[1.0, -1.0], [-2.0, 2.0], [3.0, -3.0]])  # the runs cancel within each fold
    assert corrected_resampled_t(opposite, 1, 2).p is None


@pytest.mark.parametrize(
    ("differences", "n_test", "n_train", "text"),
    [
        (FIVE, 1, 4, r"shape \(5,\)"),
        (np.empty((0, 3)), 1, 4, r"shape \(0, 3\)"),
        (np.array([[0.1], [np.nan]]), 1, 4, "finite"),
        (FIVE[:, None], 0, 4, "found 0 and 4"),
        (FIVE[:, None], 1, float("nan"), "found 1 and nan"),
    ],
)
def test_bad_input(differences, n_test, n_train, text):
    with pytest.raises(ValueError, match=text):
        corrected_resampled_t(differences, n_test, n_train)


def test_effect_and_equivalence_know_of_the_overlap():
    found = corrected_resampled_t(FIVE[:, None], 1, 4)
    effect = found.effect()
    assert (effect.d_z, effect.hedges_g) == pytest.approx((1.1293678312, 0.9034942650), abs=1e-9)
    assert effect.low < 0 < effect.high  # as the corrected test, whose p is 0.17, says
    alone = corrected_resampled_t(FIVE[:, None], 1e-9, 4).effect()  # no overlap to speak of: the plain interval
    assert alone.low > effect.low
    assert alone.d_z == pytest.approx(effect.d_z)
    same = found.equivalence(0.1)
    p = max(stats.t.sf((0.026 + 0.1) / found.standard_error, 4), stats.t.cdf((0.026 - 0.1) / found.standard_error, 4))
    assert (same.p, same.shown) == (pytest.approx(p), True)
    assert not found.equivalence(0.03).shown


def equicorrelated(random, sims, folds, mean, ratio):
    """Fold differences as the correction supposes them: correlation n_test / (n_test + n_train), SD 1."""
    rho = ratio / (1 + ratio)
    return (
        mean + math.sqrt(rho) * random.normal(size=(sims, 1)) + math.sqrt(1 - rho) * random.normal(size=(sims, folds))
    )


@pytest.mark.slow
@pytest.mark.parametrize("noncentrality", [0.0, 2.0, 4.0])
def test_level_coverage_and_power_where_its_assumption_holds(noncentrality):
    """2,000 protocols of five folds: p < 5 % as often as the noncentral t says; intervals hold the truth in 95 %."""
    sims, folds, ratio = 2000, 5, 0.25
    rho = ratio / (1 + ratio)
    mean = noncentrality * math.sqrt((1 + (folds - 1) * rho) / folds)
    draws = equicorrelated(np.random.default_rng(5), sims, folds, mean, ratio)
    found = [corrected_resampled_t(row[:, None], 1, 4) for row in draws]
    rejected = np.mean([one.p < 0.05 for one in found])
    expected = power_of_t(noncentrality, folds - 1)
    assert rejected == pytest.approx(expected, abs=0.015 if noncentrality == 0 else 0.03)
    assert np.mean([one.low < mean < one.high for one in found]) == pytest.approx(0.95, abs=0.02)
    if noncentrality == 0:
        assert expected == pytest.approx(0.05)


PATIENTS, FOLDS, RUNS = 60, 5, 3


def cross_validated(sims, seed, features=40, kept=0.8, penalty=10.0, block=100):
    """Accuracy of one ridge classifier minus that of another, (sims, fold, run).

    Each is shown as many features of its own, equally informative, so that neither is better; five folds of sixty
    patients, three runs, each run on its own random four fifths of the fold's training patients.
    """
    random = np.random.default_rng(seed)
    fold_of = np.arange(PATIENTS) % FOLDS
    differences = np.empty((sims, FOLDS, RUNS))
    for start in range(0, sims, block):
        x = random.normal(size=(block, 2, PATIENTS, features))
        w = random.normal(size=(block, 1, 1, features)) / math.sqrt(features)
        y = np.sign((x * w).sum(axis=(1, 3)) + 0.5 * random.normal(size=(block, PATIENTS)))
        for fold in range(FOLDS):
            train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            for run in range(RUNS):
                rows = random.permuted(np.tile(train, (block, 1)), axis=1)[:, : int(kept * len(train))]
                xs = np.take_along_axis(x, rows[:, None, :, None], axis=2)
                ys = np.take_along_axis(y, rows, axis=1)[:, None, :, None]
                gram = np.swapaxes(xs, 2, 3) @ xs + penalty * np.eye(features)
                called = np.sign(x[:, :, test] @ np.linalg.solve(gram, np.swapaxes(xs, 2, 3) @ ys))[..., 0]
                right = (called == y[:, None, test]).mean(axis=2)
                differences[start : start + block, fold, run] = right[:, 0] - right[:, 1]
    return differences


@pytest.mark.slow
def test_under_no_effect_over_real_folds_the_corrected_test_keeps_its_level_and_the_naive_one_does_not():
    """2,000 cross-validations, three runs of five folds: 5 % ± 1.5 against about a third."""
    found = [corrected_resampled_t(table, PATIENTS // FOLDS, PATIENTS - PATIENTS // FOLDS)
             for table in cross_validated(2000, seed=1)]  # fmt: skip
    corrected = np.mean([one.p is not None and one.p < 0.05 for one in found])
    naive = np.mean([one.naive_p is not None and one.naive_p < 0.05 for one in found])
    covered = np.mean([one.low is None or one.low < 0 < one.high for one in found])
    assert corrected == pytest.approx(0.05, abs=0.015)
    assert naive > 0.25
    assert covered == pytest.approx(0.95, abs=0.02)
