"""McNemar, Holm, effect sizes, equivalence and power: published values, statsmodels, and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from synthoma.evaluation.tests_of_difference import (
    effect_size,
    equivalence,
    holm,
    mcnemar_exact,
    paired_effect_size,
    patients_right,
    power_of_t,
    units_needed,
)
from synthoma.evaluation.utility_tests import exchange_test, shares_of_patients


def discordant(b, c, both=7):
    """Two sets of calls: ``b`` right in the first alone, ``c`` in the second alone."""
    first = np.r_[np.ones(b), np.zeros(c), np.ones(both), np.zeros(3)].astype(bool)
    second = np.r_[np.zeros(b), np.ones(c), np.ones(both), np.zeros(3)].astype(bool)
    return first, second


@pytest.mark.parametrize(
    ("b", "c", "p"), [(8, 2, 0.109375), (15, 5, 0.04138946533203125), (10, 0, 0.001953125), (0, 0, 1), (3, 3, 1)]
)
def test_mcnemar_goldens(b, c, p):
    found, mirrored = mcnemar_exact(*discordant(b, c)), mcnemar_exact(*discordant(c, b))
    assert (found.only_first, found.only_second) == (b, c)
    assert found.p == pytest.approx(p, abs=1e-12)
    assert mirrored.p == pytest.approx(p, abs=1e-12)


def test_mcnemar_equals_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    for b, c in [(0, 1), (1, 1), (2, 9), (5, 4), (30, 11), (0, 20)]:
        expected = tables.mcnemar([[7, b], [c, 3]], exact=True).pvalue
        assert mcnemar_exact(*discordant(b, c)).p == pytest.approx(min(1.0, expected), abs=1e-12)


def test_a_patient_is_right_by_the_majority_of_his_images():
    patients = np.array(["b", "a", "b", "a", "b", "c"])
    right = np.array([True, True, False, False, True, False])
    names, found = patients_right(right, patients)
    assert names == ["a", "b", "c"]
    assert found.tolist() == [False, True, False]  # half of a's: not enough


def test_holm_golden():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.slow  # to import statsmodels
def test_holm_equals_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for size in range(1, 13):
        values = np.random.default_rng(size).random(size).round(1).tolist()  # with ties
        expected = multitest.multipletests(values, method="holm")[1]
        assert holm(values) == pytest.approx(expected.tolist(), abs=1e-12)


def test_effect_size_golden():
    found = paired_effect_size(np.array([0.02, 0.04, -0.01, 0.03, 0.05]))
    assert (found.d_z, found.hedges_g) == pytest.approx((1.1293678312, 0.9034942650), abs=1e-9)
    assert paired_effect_size(np.full(4, 0.3)) is None
    assert paired_effect_size(np.array([0.3])) is None


def noncentral_t(t, degrees, centre):
    """P(T ≤ t) from the definition: a normal value of mean ``centre`` over an independent root mean square."""

    def density(s):
        return stats.norm.cdf(t * s - centre) * stats.chi.pdf(s * math.sqrt(degrees), degrees) * math.sqrt(degrees)

    return sum(integrate.quad(density, *ends, epsabs=1e-10, limit=200)[0] for ends in ((0, 1), (1, 12)))


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.floats(-12, 12), st.integers(2, 200))
def test_the_ends_of_an_effect_size_are_where_its_t_becomes_unlikely(t, degrees):
    found = effect_size(t, degrees, degrees + 1)
    root = math.sqrt(degrees + 1)
    assert found.low < found.high
    assert noncentral_t(t, degrees, found.low * root) == pytest.approx(0.975, abs=1e-8)
    assert noncentral_t(t, degrees, found.high * root) == pytest.approx(0.025, abs=1e-8)


@pytest.mark.slow
def test_effect_sizes_are_covered():
    """600 samples of 12 patients with a true d of 0.7."""
    draws = np.random.default_rng(2).normal(0.7, 1, (600, 12))
    found = [paired_effect_size(row) for row in draws]
    assert np.mean([one.low < 0.7 < one.high for one in found]) == pytest.approx(0.95, abs=0.02)
    assert np.mean([one.hedges_g for one in found]) == pytest.approx(0.7, abs=0.03)
    assert np.mean([one.d_z for one in found]) > 0.73  # which is why Hedges' is given


def test_equivalence_goldens():
    """Lakens 2017's example of two means, and ten pairs of ratings."""
    v1, v2, n1, n2 = 0.95**2, 0.83**2, 95, 89
    error = math.sqrt(v1 / n1 + v2 / n2)
    degrees = error**4 / ((v1 / n1) ** 2 / (n1 - 1) + (v2 / n2) ** 2 / (n2 - 1))
    found = equivalence(5.25 - 5.22, error, degrees, 0.43 * math.sqrt((v1 + v2) / 2))
    assert found.p == pytest.approx(0.00388, abs=2e-4)
    d = np.array([4, 5, 4, 3, 5, 4, 4, 5, 3, 4]) - np.array([4, 4, 4, 4, 5, 4, 5, 4, 3, 4])
    found = equivalence(d.mean(), d.std(ddof=1) / math.sqrt(10), 9, 0.5)
    assert found.p == pytest.approx(0.020895900388556515, abs=1e-12)
    assert found.shown
    assert not equivalence(d.mean(), d.std(ddof=1) / math.sqrt(10), 9, 0.3).shown
    with pytest.raises(ValueError, match="above 0"):
        equivalence(0.0, 1.0, 9, 0.0)


@given(st.floats(-1, 1), st.floats(0.01, 1), st.integers(1, 100), st.floats(0.01, 2))
def test_equal_is_shown_exactly_where_the_90_percent_interval_lies_within_the_margin(mean, error, degrees, margin):
    found = equivalence(mean, error, degrees, margin)
    within = -margin < found.low and found.high < margin
    assert found.shown == within or min(abs(found.low + margin), abs(found.high - margin)) < 1e-9


@pytest.mark.parametrize(("d", "n"), [(0.2, 30), (0.5, 12), (1.0, 6), (2.0, 4)])
def test_power_equals_statsmodels_and_simulation(d, n):
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    found = power_of_t(d * math.sqrt(n), n - 1)
    assert found == pytest.approx(power.power(d, n, 0.05), abs=1e-8)
    assert power_of_t(-d * math.sqrt(n), n - 1) == found
    draws = np.random.default_rng(1).normal(d, 1, (20_000, n))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(found, abs=0.012)


def test_units_needed():
    solve = pytest.importorskip("statsmodels.stats.power").TTestPower().solve_power
    for d, n in ((0.1, 40), (0.5, 12), (1.2, 8)):
        expected = math.ceil(solve(effect_size=d, alpha=0.05, power=0.8))
        assert units_needed(d * 0.03, 0.03 / math.sqrt(n), n) == expected
    assert units_needed(-0.5, 1 / math.sqrt(10), 10) == units_needed(0.5, 1 / math.sqrt(10), 10)
    assert units_needed(0.0, 0.1, 10) is None
    assert units_needed(0.1, 0.0, 10) is None
    assert units_needed(1e-9, 1.0, 10) is None  # more than anyone will ever have
    folds = units_needed(0.02, 0.02, 100, degrees=4)  # the number of folds stays: the last test has four degrees too
    assert power_of_t(math.sqrt(folds / 100), 4) >= 0.8 > power_of_t(math.sqrt((folds - 1) / 100), 4)


def test_shares_of_patients_add_up_to_the_difference_in_balanced_accuracy():
    from sklearn.metrics import balanced_accuracy_score

    random = np.random.default_rng(0)
    positive, patients = random.random(60) < 0.3, random.integers(0, 9, 60)
    first, second = random.random(60) < 0.8, random.random(60) < 0.6
    scores = [balanced_accuracy_score(positive, positive == right) for right in (first, second)]
    shares = shares_of_patients(first, second, positive, patients)
    assert shares.shape == (9,)
    assert shares.mean() == pytest.approx(scores[0] - scores[1])


def test_exchanges_are_counted_exactly_for_few_patients():
    shares = np.array([0.3, 0.1, 0.0, 0.2, -0.1, 0.4])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T  # of all six, the one that never differs included
    sums = signs @ shares
    p, how = exchange_test(shares, 0)
    assert p == pytest.approx((np.abs(sums) >= abs(shares.sum()) - 1e-12).mean())
    assert how == "all 32 exchanges"
    assert exchange_test(np.zeros(5), 0) == (1.0, "the arms never differ")
    assert exchange_test(np.array([0.0, 0.9, 0.0]), 0) == (1.0, "the arms differ in one patient")
    assert exchange_test(np.full(5, 0.2), 0)[0] == pytest.approx(2 / 32)  # five patients can never reach 5 %
    many, how = exchange_test(np.random.default_rng(0).normal(0.2, 1, 40), 0)
    assert how == "9999 random exchanges"
    assert 0.05 < many < 1


@pytest.mark.slow
def test_exchanges_keep_their_level_where_slices_of_a_patient_go_together():
    """300 pairs of equally good classifiers, 12 patients of 10 slices right or wrong together: few false findings."""
    random = np.random.default_rng(4)
    found = []
    for _ in range(300):
        patients = np.repeat(np.arange(12), 10)
        positive = np.tile(np.arange(10) % 2 == 0, 12)
        chance = np.clip(random.normal(0.7, 0.25, (2, 12, 1)), 0, 1)
        right = (random.random((2, 12, 10)) < chance).reshape(2, -1)
        found.append(exchange_test(shares_of_patients(*right, positive, patients), 0)[0] < 0.05)
    assert np.mean(found) < 0.085
