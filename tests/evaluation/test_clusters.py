"""The silhouette against its direct formula, its jackknife, and maps in the plane."""

from __future__ import annotations

import numpy as np
import pytest

from synthoma.evaluation.clusters import distances, in_the_plane, one_set_jackknife, silhouette
from synthoma.evaluation.options import EmbeddingOptions


def direct(points, labels):
    """Rousseeuw 1987, point by point."""
    found = []
    for i, own in enumerate(labels):
        away = np.linalg.norm(points - points[i], axis=1)
        same = [away[j] for j in range(len(points)) if labels[j] == own and j != i]
        if not same:
            found.append(0.0)
            continue
        a = np.mean(same)
        b = min(away[labels == other].mean() for other in set(labels.tolist()) - {own})
        found.append((b - a) / max(a, b))
    return float(np.mean(found))


@pytest.mark.parametrize("kinds", [2, 3])
def test_silhouette_equals_the_direct_formula(kinds):
    random = np.random.default_rng(kinds)
    labels = np.arange(40) % kinds
    points = random.normal(size=(40, 5)) + 0.7 * labels[:, None]
    assert silhouette(distances(points), labels) == pytest.approx(direct(points, labels), rel=1e-9)


def test_silhouette_of_one_label_is_undefined():
    table = distances(np.random.default_rng(0).normal(size=(6, 2)))
    assert np.isnan(silhouette(table, np.zeros(6)))
    assert np.isnan(silhouette(table, np.arange(6)))


def test_jackknife_of_a_mean_is_the_t_interval():
    from scipy.stats import t

    values = np.random.default_rng(0).normal(size=12)
    patients = np.array([f"p{i}" for i in range(12)])
    found, low, high, how = one_set_jackknife(lambda rows: np.array([values[rows].mean()]), patients, 20, 0)
    half = t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert (found[0], low[0], high[0]) == pytest.approx((values.mean(), values.mean() - half, values.mean() + half))
    assert "delete-one-patient" in how
    assert "delete-group" in one_set_jackknife(lambda rows: np.array([values[rows].mean()]), patients, 5, 0)[3]


def test_jackknife_says_why_there_is_no_interval():
    two = np.array(["a", "a", "b"])
    _, low, _, how = one_set_jackknife(lambda _: np.zeros(1), two, 20, 0)
    assert np.isnan(low[0])
    assert "2 patients" in how
    three = np.array(["a", "b", "c"])
    labels = np.array([0, 0, 1])
    table = distances(np.arange(3.0)[:, None])
    _, low, _, how = one_set_jackknife(
        lambda rows: np.array([silhouette(table[np.ix_(rows, rows)], labels[rows])]), three, 20, 0
    )
    assert np.isnan(low[0])
    assert "one patient alone" in how


def test_a_plane_repeats_and_keeps_apart_what_is_apart():
    random = np.random.default_rng(0)
    vectors = np.concatenate([random.normal(size=(20, 60)), random.normal(size=(20, 60)) + 6])
    options = EmbeddingOptions(perplexity=8)
    first, again = in_the_plane(vectors, options, 3), in_the_plane(vectors, options, 3)
    assert np.array_equal(first.tsne, again.tsne)
    centred = vectors - vectors.mean(axis=0)
    spread = np.linalg.svd(centred, compute_uv=False) ** 2
    assert first.explained == pytest.approx(tuple(spread[:2] / spread.sum()))
    assert np.abs(first.pca[:, 0]) == pytest.approx(np.abs(centred @ np.linalg.svd(centred)[2][0]))
    labels = np.repeat([0, 1], 20)
    assert silhouette(distances(first.tsne), labels) > 0.5
    assert in_the_plane(vectors[:9], EmbeddingOptions(), 0).perplexity == 3
