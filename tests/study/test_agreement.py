"""Agreement and association against published examples and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthoma.study.agreement import accuracy, equivalence_to_chance, icc, pearson, spearman, weighted_kappa

SHROUT_FLEISS = ((9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7))
"""Shrout & Fleiss 1979, Table 2: six targets by four judges."""


def test_the_six_forms_of_shrout_and_fleiss():
    found = icc(SHROUT_FLEISS)
    printed = {"1,1": 0.17, "2,1": 0.29, "3,1": 0.71, "1,k": 0.44, "2,k": 0.62, "3,k": 0.91}
    assert {form: round(estimate.value or 0, 2) for form, estimate in found.items()} == printed
    assert found["2,1"].value == pytest.approx(0.2897637795275592, abs=1e-12)
    assert (found["2,1"].low, found["2,1"].high) == pytest.approx((0.018786513374712027, 0.761084369648953), abs=1e-9)


def test_intervals_of_all_forms():
    """As R's ``psych::ICC`` and pingouin print them for the same table."""
    found = icc(SHROUT_FLEISS)
    printed = {"1,1": (-0.13, 0.72), "2,1": (0.02, 0.76), "3,1": (0.34, 0.95),
               "1,k": (-0.88, 0.91), "2,k": (0.07, 0.93), "3,k": (0.68, 0.99)}  # fmt: skip
    for form, (low, high) in printed.items():
        assert found[form].low == pytest.approx(low, abs=0.0051)
        assert found[form].high == pytest.approx(high, abs=0.0051)


def test_perfect_agreement_has_no_interval_and_one_rating_no_value():
    perfect = icc([[1, 1], [3, 3], [5, 5]])
    assert all(e.value == pytest.approx(1) and e.low is None for e in perfect.values())
    assert all(e.value is None for e in icc([[4, 4], [4, 4]]).values())


def test_readers_who_differ_by_a_constant_are_consistent_but_do_not_agree():
    x = np.random.default_rng(1).normal(size=(40, 1)) + 0.1 * np.random.default_rng(2).normal(size=(40, 3))
    shifted = icc(x + np.array([0, 2, 4]))
    assert shifted["3,1"].value == pytest.approx(icc(x)["3,1"].value)
    assert shifted["2,1"].value < 0.4 < 0.9 < shifted["3,1"].value


@pytest.mark.parametrize("ratings", [[[1, 2]], [[1], [2]], [[1, 2], [3, math.nan]], [1, 2, 3]])
def test_what_no_icc_is_made_of(ratings):
    with pytest.raises(ValueError, match="at least 2 items by 2 readers"):
        icc(ratings)


@pytest.mark.slow
def test_the_interval_of_icc_2_1_covers():
    rng, hits, runs = np.random.default_rng(5), 0, 400
    for _ in range(runs):
        x = rng.normal(size=(40, 1)) + 0.3 * rng.normal(size=(1, 6)) + rng.normal(size=(40, 6))
        found = icc(x)["2,1"]
        hits += found.low <= 1 / (1 + 0.09 + 1) <= found.high
    assert 0.90 <= hits / runs <= 0.99


TABLE = ((20, 5, 1, 0), (4, 15, 6, 1), (1, 5, 18, 4), (0, 1, 3, 16))


def _pairs(table):
    a, b = [], []
    for i, row in enumerate(table, start=1):
        for j, count in enumerate(row, start=1):
            a += [i] * count
            b += [j] * count
    return a, b


def test_weighted_kappa_equals_the_golden_values():
    a, b = _pairs(TABLE)
    assert weighted_kappa(a, b, 4, "linear").value == pytest.approx(0.7096881220968811, abs=1e-12)
    quadratic = weighted_kappa(a, b, 4)
    assert quadratic.value == pytest.approx(0.8156089193825042, abs=1e-12)
    assert (round(quadratic.low, 4), round(quadratic.high, 4)) == (0.7364, 0.8948)  # statsmodels' cohens_kappa


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=60))
def test_weighted_kappa_equals_scikit_learn(pairs):
    from sklearn.metrics import cohen_kappa_score

    a, b = zip(*pairs, strict=True)
    for weights in ("linear", "quadratic"):
        mine = weighted_kappa(a, b, weights=weights)
        if len({*a, *b}) == 1:
            assert mine.value is None
        else:
            assert mine.value == pytest.approx(cohen_kappa_score(a, b, labels=range(1, 6), weights=weights), abs=1e-9)
        if mine.low is not None:
            assert -1 <= mine.low <= mine.value <= mine.high <= 1


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([], []), ([0, 1], [1, 1]), ([1, 6], [1, 1])])
def test_what_no_kappa_is_made_of(a, b):
    with pytest.raises(ValueError, match="ratings from 1 to 5"):
        weighted_kappa(a, b)


def _with_r(r: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of exactly this correlation."""
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=(2, n))
    x -= x.mean()
    noise -= noise.mean()
    noise -= x * (x @ noise) / (x @ x)
    return x, r * x / np.linalg.norm(x) + math.sqrt(1 - r * r) * noise / np.linalg.norm(noise)


@pytest.mark.parametrize(
    ("n", "low", "high"),
    [(10, 0.4465, 0.9612), (30, 0.6879, 0.9214), (100, 0.7707, 0.8896), (300, 0.8032, 0.8704)],
)
def test_fishers_interval_of_r_084(n, low, high):
    found = pearson(*_with_r(0.84, n))
    assert found.value == pytest.approx(0.84, abs=1e-12)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_pearson_equals_scipy():
    x, y = range(10), [1, 3, 2, 5, 4, 6, 8, 7, 10, 9]
    found = pearson(x, y)
    assert (found.value, found.low, found.high) == pytest.approx((0.9515151515, 0.8029134941, 0.9887702305), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), min_size=5, max_size=40))
def test_spearman_equals_scipy_and_its_interval_is_wider_than_fishers(pairs):
    from scipy.stats import spearmanr

    x, y = zip(*pairs, strict=True)
    found = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found.value is None
        return
    assert found.value == pytest.approx(spearmanr(x, y).statistic, abs=1e-9)
    if found.low is not None:
        half = 1.959963984540054 * math.sqrt((1 + found.value**2 / 2) / (len(x) - 3))
        assert found.high == pytest.approx(math.tanh(math.atanh(found.value) + half))


def test_correlations_that_have_no_value_or_no_interval():
    assert pearson([1, 1, 1, 1], [1, 2, 3, 4]).value is None
    assert pearson([1, 2, 3], [1, 3, 2]).low is None
    assert pearson([1, 2, 3, 4], [2, 4, 6, 8]).low is None
    with pytest.raises(ValueError, match="one length"):
        spearman([1, 2], [1])


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(7, 20, 0.1539, 0.5922), (8, 10, 0.4439, 0.9748), (0, 20, 0, 0.1684), (100, 100, 0.9638, 1),
     (50, 100, 0.3983, 0.6017), (433, 500, 0.8330, 0.8946)],
)  # fmt: skip
def test_clopper_pearson(right, n, low, high):
    found = accuracy(right, n)
    assert found.value == right / n
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(("right", "n", "p"), [(50, 100, 0.0271), (105, 200, 0.0188)])
def test_two_one_sided_tests(right, n, p):
    assert round(equivalence_to_chance(right, n, 0.1).p, 4) == p


def test_few_answers_show_no_equivalence_and_neither_does_a_reader_who_can_tell():
    assert not equivalence_to_chance(5, 10, 0.1).shown
    assert equivalence_to_chance(500, 1000, 0.1).shown
    assert not equivalence_to_chance(700, 1000, 0.1).shown
    assert not equivalence_to_chance(300, 1000, 0.1).shown  # telling them apart, but the wrong way round


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.data())
def test_equivalence_does_not_know_which_way_is_right(n, data):
    right = data.draw(st.integers(0, n))
    one, other = equivalence_to_chance(right, n, 0.1), equivalence_to_chance(n - right, n, 0.1)
    assert one.p == pytest.approx(other.p, abs=1e-12)


@pytest.mark.parametrize(("right", "n", "margin"), [(0, 0, 0.1), (3, 2, 0.1), (1, 2, 0), (1, 2, 0.5)])
def test_what_is_not_tested(right, n, margin):
    with pytest.raises(ValueError, match="expected"):
        equivalence_to_chance(right, n, margin)
    with pytest.raises(ValueError, match="accuracy"):
        accuracy(3, 2)
