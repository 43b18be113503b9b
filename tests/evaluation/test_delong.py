"""DeLong's variance of areas under ROC curves against its definition, O(n²), and Obuchowski's of clustered images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from synthoma.evaluation.delong import delong, delong_interval

POSITIVE = np.repeat([True, False], 6)
SCORES = np.array([
    [0.9, 0.8, 0.7, 0.6, 0.55, 0.4, 0.65, 0.5, 0.45, 0.3, 0.2, 0.1],
    [0.7, 0.85, 0.5, 0.35, 0.6, 0.4, 0.55, 0.52, 0.3, 0.45, 0.25, 0.1],
])  # fmt: skip


def test_goldens():
    areas, covariance = delong(POSITIVE, SCORES, np.arange(12))
    assert areas == pytest.approx([31 / 36, 7 / 9])
    assert np.diag(covariance) == pytest.approx([0.0126543210, 0.0209876543], abs=1e-9)
    assert covariance[0, 1] == covariance[1, 0] == pytest.approx(0.009876543209876543, abs=1e-12)
    z = (areas[0] - areas[1]) / math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert z == pytest.approx(0.7071067811865478, abs=1e-12)
    assert 2 * stats.norm.sf(z) == pytest.approx(0.47950012218695326, abs=1e-12)


def direct(positive, scores, patients):
    """The definition pair by pair: every positive image against every other one."""
    above, below = scores[positive], scores[~positive]
    wins = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in below] for a in above])
    area = wins.mean()
    v10 = dict.fromkeys(patients.tolist(), 0.0)
    v01 = dict(v10)
    for i, patient in enumerate(patients[positive].tolist()):
        v10[patient] += wins[i].mean() - area
    for j, patient in enumerate(patients[~positive].tolist()):
        v01[patient] += wins[:, j].mean() - area
    m, n, every = len(above), len(below), len(v10)
    i10, i01 = len(set(patients[positive].tolist())), len(set(patients[~positive].tolist()))
    s10 = i10 / ((i10 - 1) * m) * sum(v * v for v in v10.values())
    s01 = i01 / ((i01 - 1) * n) * sum(v * v for v in v01.values())
    s11 = every / (every - 1) * sum(v10[p] * v01[p] for p in v10)
    return area, s10 / m + s01 / n + 2 * s11 / (m * n)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_equals_the_definition_with_ties_and_clusters(seed, people):
    random = np.random.default_rng(seed)
    positive = np.r_[True, True, False, False, random.random(26) < 0.5]
    patients = np.r_[0, 1, 0, 1, random.integers(0, people, 26)]
    scores = np.round(random.random(30), 1)
    areas, covariance = delong(positive, scores, patients)
    area, variance = direct(positive, scores, patients)
    assert areas[0] == pytest.approx(area, abs=1e-12)
    assert covariance[0, 0] == pytest.approx(variance, abs=1e-12)


def test_slices_of_a_patient_are_no_more_patients():
    """Every image ten times over: DeLong's variance falls to a tenth; with the patients known it stays."""
    once = delong(POSITIVE, SCORES, np.arange(12))[1][0, 0]
    repeated, scores = np.tile(POSITIVE, 10), np.tile(SCORES, 10)
    assert delong(repeated, scores, np.arange(120))[1][0, 0] < 0.12 * once
    assert delong(repeated, scores, np.tile(np.arange(12), 10))[1][0, 0] == pytest.approx(once)


def test_where_there_is_no_variance():
    areas, covariance = delong(np.ones(4, bool), np.arange(4.0), np.arange(4))
    assert np.isnan(areas[0])
    areas, covariance = delong(POSITIVE, SCORES, np.r_[np.zeros(6), np.arange(6)])  # all positive images of one patient
    assert areas[0] == pytest.approx(31 / 36)
    assert np.isnan(covariance).all()
    assert delong_interval(31 / 36, float("nan")) is None
    assert delong_interval(1.0, 0.0) is None


def test_interval_stays_within_0_and_1():
    low, high = delong_interval(31 / 36, 0.0126543210)
    assert 0 < low < 31 / 36 < high < 1
    logit = math.log(31 / 5)
    assert math.log(high / (1 - high)) - logit == pytest.approx(logit - math.log(low / (1 - low)))


@pytest.mark.slow
def test_intervals_cover_the_area_of_clustered_images():
    """800 studies of 25 + 25 patients with 4 correlated images each; true area Φ(1/√2 / √2 …) of normal scores."""
    random = np.random.default_rng(0)
    patients = np.repeat(np.arange(50), 4)
    positive = patients < 25
    truth = stats.norm.cdf(1 / math.sqrt(2 * (0.6 + 0.4)))
    inside = ignored = 0
    for _ in range(800):
        own = math.sqrt(0.6) * random.normal(size=50)
        scores = positive + own[patients] + math.sqrt(0.4) * random.normal(size=200)
        for naive in (False, True):
            areas, covariance = delong(positive, scores, np.arange(200) if naive else patients)
            low, high = delong_interval(float(areas[0]), float(covariance[0, 0]))
            inside += (low < truth < high) * (not naive)
            ignored += (low < truth < high) * naive
    assert inside / 800 == pytest.approx(0.95, abs=0.02)
    assert ignored / 800 < 0.85
