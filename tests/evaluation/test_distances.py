"""Fréchet distance, KID, precision and recall against references."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synthoma.evaluation.distances import (
    Products,
    diversity_ratio,
    extrapolate,
    frechet,
    frechet_distance,
    half_sampling,
    kernel_distance,
    precision_recall,
)
from synthoma.evaluation.feature_sets import Sets

X = np.array([[1, 2, 0], [3, 1, 1], [0, 0, 2], [2, 4, 1], [1, 1, 5]], dtype=float)
Y = np.array([[0, 1, 1], [2, 2, 2], [4, 0, 1], [1, 5, 3]], dtype=float)
FEATURES = arrays(np.float64, st.tuples(st.integers(2, 6), st.just(4)), elements=st.floats(-10, 10))


def test_frechet_goldens(goldens):
    assert frechet_distance(np.array([[0.0], [2]]), np.array([[1.0], [5]])) == pytest.approx(goldens["fd_1d"])
    square = np.array([[0.0, 0], [0, 2], [2, 0], [2, 2]])
    oblong = np.array([[1.0, 1], [1, 3], [5, 1], [5, 3]])
    assert frechet_distance(square, oblong) == pytest.approx(goldens["fd_2d"])
    assert frechet_distance(X, Y) == pytest.approx(goldens["fd_xy"], rel=1e-12)


def test_frechet_equals_moments_and_matrix_square_root_for_n_above_d():
    from scipy.linalg import sqrtm

    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 40)) @ random.normal(size=(40, 40)), random.normal(1, 2, size=(200, 40))
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(first @ second).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


def test_frechet_equals_eigenvalue_form_for_n_below_d():
    random = np.random.default_rng(1)
    x, y = 5 + random.normal(size=(20, 60)), 5 + 1.5 * random.normal(size=(30, 60))
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shared = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * shared
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


def test_frechet_does_not_lose_digits_to_a_large_offset():
    assert frechet_distance(X + 1e6, Y + 1e6) == pytest.approx(frechet_distance(X, Y), rel=1e-6)


@settings(max_examples=60)
@given(FEATURES, FEATURES)
def test_frechet_is_symmetric_and_not_negative(x, y):
    distance = frechet_distance(x, y)
    assert distance >= 0
    assert distance == pytest.approx(frechet_distance(y, x), abs=1e-6)


@settings(max_examples=60)
@given(FEATURES)
def test_frechet_with_itself_is_0(x):
    trace = np.trace(np.atleast_2d(np.cov(x, rowvar=False)))
    assert frechet_distance(x, x) <= 1e-6 * max(trace, 1e-3)


def test_too_few_vectors_are_refused():
    with pytest.raises(ValueError, match="2 or more"):
        frechet_distance(X[:1], Y)
    with pytest.raises(ValueError, match="2 or more"):
        kernel_distance(X, Y[:1])
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(4, 2\)"):
        Products.of(X, Y[:, :2])
    with pytest.raises(ValueError, match="more than k = 5"):
        precision_recall(Products.of(X, Y))


def test_kernel_distance_goldens(goldens):
    assert kernel_distance(np.array([[0.0], [1]]), np.array([[0.0], [2]])) == pytest.approx(goldens["kid_1d"])
    assert kernel_distance(X, Y) == pytest.approx(goldens["kid_xy"], rel=1e-12)


def test_kernel_distance_equals_a_direct_double_sum():
    random = np.random.default_rng(2)
    x, y = random.normal(size=(9, 5)), random.normal(0.5, 1, size=(7, 5))

    def k(a, b):
        return (a @ b / 5 + 1) ** 3

    own = sum(k(x[i], x[j]) for i in range(9) for j in range(9) if i != j) / 72
    own += sum(k(y[i], y[j]) for i in range(7) for j in range(7) if i != j) / 42
    cross = sum(k(a, b) for a in x for b in y) / 63
    assert kernel_distance(x, y) == pytest.approx(own - 2 * cross, rel=1e-12)


def test_kernel_distance_is_unbiased():
    """Of equal distributions its mean over repeats is 0 within its error; the biased form would be far above."""
    random = np.random.default_rng(4)
    values = [kernel_distance(random.normal(size=(12, 6)), random.normal(size=(12, 6))) for _ in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)


def test_precision_recall_golden(goldens):
    real, fake = np.array([[0.0], [1], [3], [7], [8]]), np.array([[0.5], [3.2], [20], [7.6]])
    assert precision_recall(Products.of(real, fake), k=1) == pytest.approx(goldens["precision_recall_tiny"])


def test_coverage_of_one_distribution_is_what_theory_says():
    """E[coverage] = 1 − Π (N−i)/(N+M−i), i = 1 … k (Naeem 2020); N = M = 100, k = 5: 0.97107."""
    random = np.random.default_rng(5)
    values = [
        precision_recall(Products.of(random.normal(size=(100, 8)), random.normal(size=(100, 8))))["coverage"]
        for _ in range(40)
    ]
    assert np.mean(values) == pytest.approx(0.9710697, abs=0.012)


def test_diversity_ratio():
    assert diversity_ratio(Products.of(X, 3 * X)) == pytest.approx(3)
    assert diversity_ratio(Products.of(X, np.ones((4, 3)))) == pytest.approx(0, abs=1e-6)
    assert np.isnan(diversity_ratio(Products.of(np.zeros((4, 3)), X)))


def test_taking_rows_equals_starting_from_them():
    i, j = np.array([0, 2, 3]), np.array([1, 3])
    taken, direct = Products.of(X, Y).take(i, j), Products.of(X[i], Y[j])
    for name in ("xx", "yy", "xy"):
        assert np.array_equal(getattr(taken, name), getattr(direct, name))


def test_extrapolation_removes_a_bias_in_1_over_n():
    value, points = extrapolate(lambda i, j: 2 + 15 / len(i) + 15 / len(j), 100, np.random.default_rng(0))
    assert value == pytest.approx(2)
    assert points[0] == [100.0, pytest.approx(2.3)]


def test_extrapolation_shrinks_both_sets_and_finds_the_distance():
    """d = 8, means 1 apart in one direction: true distance 1; the plug-in at n = 80 is biased upward."""
    random = np.random.default_rng(6)
    plugged, extrapolated = [], []
    for _ in range(12):
        x, y = random.normal(size=(80, 8)), random.normal(size=(80, 8)) + np.eye(8)[0]
        value, points = extrapolate(lambda i, j, x=x, y=y: frechet_distance(x[i], y[j]), 80, random)
        plugged.append(points[0][1])
        extrapolated.append(value)
    assert np.mean(plugged) > 1.2
    assert abs(np.mean(extrapolated) - 1) < 0.15


@pytest.mark.parametrize(("n", "m"), [(41, 80), (300, 35), (90, 90)])
def test_frechet_folds_more_vectors_than_features_into_a_triangle(n, m):
    """Equal to the form that keeps all inner products, whatever n and m are beside d = 40."""
    random = np.random.default_rng(10)
    x, y = random.normal(3, 1, size=(n, 40)) @ random.normal(size=(40, 40)), random.normal(size=(m, 40))
    middle = np.concatenate([x, y]).mean(axis=0)
    assert frechet_distance(x, y) == pytest.approx(frechet(Products.of(x - middle, y - middle)), rel=1e-9)


def test_memory_does_not_grow_with_n_beyond_the_features():
    random = np.random.default_rng(11)
    peaks = []
    for n in (400, 3200):
        x, y = random.normal(size=(n, 64)), random.normal(size=(n, 64))
        tracemalloc.start()
        frechet_distance(x, y)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] < x.nbytes


def test_halves_of_the_patients_cover_the_distance_of_this_n():
    """d = 4, 24 patients of 3 images: the interval holds the expected distance at this n; a bootstrap's never does."""
    random = np.random.default_rng(12)
    owners = np.repeat(np.arange(24), 3)

    def draw():
        return np.repeat(random.normal(size=(24, 4)), 3, axis=0) + random.normal(size=(72, 4))

    expected = np.mean([frechet_distance(draw(), draw()) for _ in range(400)])
    inside, repeats = 0, 60
    for turn in range(repeats):
        sets = Sets.of(draw()[:, None], draw()[:, None])
        value, low, high, how = half_sampling(sets.values, owners, owners, 100, np.random.default_rng(turn))
        inside += low[0] <= expected <= high[0]
        assert value[0] == pytest.approx(sets.frechet(np.arange(72), np.arange(72)))
    assert inside / repeats > 0.85
    assert "half of the patients" in how
    few = half_sampling(sets.values, owners // 8, owners, 100, random)
    assert np.isnan(few[1]).all()
    assert "3 patients in a set" in few[3]
