"""Intervals over patients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthoma.evaluation.statistics import (
    clopper_pearson,
    jackknife,
    patient_bootstrap,
    patient_groups,
    patient_interval,
    patient_means,
    patients_needed,
    spread_over_patients,
)


def test_clopper_pearson_goldens(goldens):
    assert clopper_pearson(8, 10) == pytest.approx(goldens["clopper_pearson_8_10"], abs=1e-6)
    assert clopper_pearson(7, 20) == pytest.approx(goldens["clopper_pearson_7_20"], abs=1e-4)
    assert clopper_pearson(433, 500) == pytest.approx(goldens["clopper_pearson_433_500"], abs=1e-6)


def test_clopper_pearson_at_none_and_all():
    assert clopper_pearson(0, 20) == (0.0, pytest.approx(0.168433, abs=1e-6))
    assert clopper_pearson(100, 100) == (pytest.approx(0.9638, abs=1e-4), 1.0)
    with pytest.raises(ValueError, match="5 of 4"):
        clopper_pearson(5, 4)
    with pytest.raises(ValueError, match="0 of 0"):
        clopper_pearson(0, 0)


def test_patients_count_once_however_many_slices():
    names, means = patient_means([1.0, 1.0, 1.0, 4.0, np.nan], np.array(["b", "b", "b", "a", "c"]))
    assert names == ["a", "b"]
    assert means.tolist() == [4.0, 1.0]


def test_bca_covers_the_mean_of_a_skewed_distribution():
    """Log-normal, 25 patients: a nominal 95 % interval must hold the true mean in most of 120 repeats."""
    random = np.random.default_rng(3)
    inside = 0
    for repeat in range(120):
        found = patient_interval(np.exp(0.5 * random.normal(size=25)), repeat, 400)
        inside += found.low < np.exp(0.125) < found.high
    assert 0.86 <= inside / 120 <= 0.99


def test_interval_says_why_there_is_none():
    assert patient_interval(np.array([]), 0, 200).value is None
    few = patient_interval(np.array([1.0, 2.0]), 0, 200)
    assert (few.value, few.low, few.high) == (1.5, None, None)
    assert "2 patients, fewer than 3" in few.method
    equal = patient_interval(np.full(4, 0.7), 0, 200)
    assert (equal.low, equal.high) == (0.7, 0.7)
    assert "equal" in equal.method


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=9), st.sampled_from([np.mean, np.median]))
def test_interval_holds_its_value_or_is_absent(values, statistic):
    found = patient_interval(np.array(values), 1, 200, statistic)
    assert found.low is not None
    assert found.low <= found.high
    assert np.min(values) - 1e-9 <= found.low
    assert found.high <= np.max(values) + 1e-9


def test_bootstrap_keeps_the_slices_of_a_patient_together():
    """With equal slices within a patient, the interval must be that of 4 patients, not of 400 slices."""
    patients = np.repeat(["a", "b", "c", "d"], 100)
    values = np.repeat([0.0, 0.0, 1.0, 1.0], 100)
    mean, low, high, how = patient_bootstrap(lambda rows: np.array([values[rows].mean()]), patients, 0, 500)
    assert mean[0] == 0.5
    assert (low[0], high[0]) == (0.0, 1.0)
    assert "4 patients" in how


def test_bootstrap_gives_no_interval_where_most_draws_are_undefined():
    patients = np.array(["a", "b", "c"])
    values, low, _, _ = patient_bootstrap(
        lambda rows: np.array([1.0 if 0 in rows else np.nan]), patients, 0, 200
    )  # "a" is missing from 30 % of the draws
    assert values[0] == 1.0
    assert np.isnan(low[0])


def test_jackknife_of_a_difference_of_means_is_the_textbook_standard_error():
    from scipy.stats import t

    random = np.random.default_rng(0)
    x, y = random.normal(size=8), random.normal(size=6)
    patients = [np.array([f"p{i}" for i in range(n)]) for n in (8, 6)]
    value, low, high, _ = jackknife(lambda i, j: np.array([x[i].mean() - y[j].mean()]), *patients, 20, 0)
    error = np.sqrt(x.var(ddof=1) / 8 + y.var(ddof=1) / 6)
    assert value[0] == pytest.approx(x.mean() - y.mean())
    assert high[0] - low[0] == pytest.approx(2 * t.ppf(0.975, 5) * error)


def test_groups_hold_every_image_once_and_patients_whole():
    patients = np.repeat([f"p{i:02d}" for i in range(45)], 3)
    groups = patient_groups(patients, 20, 0)
    assert len(groups) == 20
    assert sorted(np.concatenate(groups).tolist()) == list(range(135))
    for group in groups:
        assert not set(patients[group]) & set(np.delete(patients, group))


def test_subset_is_spread_over_patients():
    patients = np.repeat(["a", "b", "c"], [100, 5, 5])
    rows = spread_over_patients(patients, 15, 0, "x")
    assert {name: int((patients[rows] == name).sum()) for name in "abc"} == {"a": 5, "b": 5, "c": 5}
    assert len(set(rows.tolist())) == 15
    assert np.array_equal(rows, spread_over_patients(patients, 15, 0, "x"))
    assert spread_over_patients(patients, 1000, 0).tolist() == list(range(110))


def test_patients_needed_follows_the_normal_formula():
    assert patients_needed(np.array([0.0, 2.0])) == 16  # (1.96 + 0.84)² · 2 / 1², rounded up
    assert patients_needed(np.array([1.0, -1.0])) is None
