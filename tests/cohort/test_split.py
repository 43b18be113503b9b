"""Splits by patient: exact sizes, even strata, nothing that depends on order."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthoma.cohort import SPLITS, PatientSummary, SplitOptions, assign_splits
from synthoma.errors import CohortError

summaries = st.builds(
    PatientSummary,
    st.sampled_from(["north", "south", "east"]),
    st.dictionaries(st.sampled_from(["tumour", "tumour-free"]), st.integers(1, 9), min_size=1),
)
groups = st.dictionaries(st.text("abcdef0123", min_size=1, max_size=5), summaries, min_size=5, max_size=60)


def stratum(patient: PatientSummary) -> tuple[str, str]:
    """By hand: site, and the label that most samples have."""
    tumour, free = patient.labels.get("tumour", 0), patient.labels.get("tumour-free", 0)
    return patient.site, "tumour" if tumour >= free else "tumour-free"


@hypothesis_settings(max_examples=80, deadline=None)
@given(patients=groups, seed=st.integers(0, 1000))
def test_sizes_are_exact_and_strata_even(patients: dict[str, PatientSummary], seed: int) -> None:
    n = len(patients)
    given_splits = assign_splits(patients, SplitOptions(seed=seed))
    assert set(given_splits) == set(patients)
    sides = Counter(side for side, _ in given_splits.values())
    folds = Counter(fold for _, fold in given_splits.values())
    assert sides.total() == n
    for name, share in zip(SPLITS, (0.7, 0.2, 0.1), strict=True):
        assert sides[name] >= 1
        if n >= 10:  # else a side may have been raised to one patient
            assert abs(sides[name] - share * n) < 1
    assert set(folds) == set(range(5))
    assert max(folds.values()) - min(folds.values()) <= 1
    members = Counter(stratum(patient) for patient in patients.values())
    for index, totals in ((0, sides), (1, folds)):
        cells = Counter((stratum(patients[name]), given_splits[name][index]) for name in patients)
        for key, size in members.items():
            for side, total in totals.items():
                assert abs(cells[key, side] - size * total / n) < 1


@hypothesis_settings(max_examples=25, deadline=None)
@given(patients=groups, seed=st.integers(0, 100))
def test_order_does_not_matter(patients: dict[str, PatientSummary], seed: int) -> None:
    shuffled = list(patients.items())
    random.Random(seed).shuffle(shuffled)
    options = SplitOptions(seed=seed)
    assert assign_splits(dict(shuffled), options) == assign_splits(patients, options)


@pytest.mark.parametrize(
    ("n", "sizes"), [(5, (3, 1, 1)), (10, (7, 2, 1)), (11, (8, 2, 1)), (20, (14, 4, 2)), (110, (77, 22, 11))]
)
def test_known_sizes(n: int, sizes: tuple[int, ...]) -> None:
    patients = {f"p{i}": PatientSummary("s", {"x": 1}) for i in range(n)}
    counts = Counter(side for side, _ in assign_splits(patients, SplitOptions()).values())
    assert tuple(counts[name] for name in SPLITS) == sizes


@pytest.mark.parametrize(
    ("shares", "n", "sizes"),
    [
        ((1, 0, 0), 1, {"train": 1}),
        ((1, 0, 0), 9, {"train": 9}),
        ((0.8, 0.2, 0), 10, {"train": 8, "validation": 2}),
        ((0.8, 0, 0.2), 2, {"train": 1, "test": 1}),
    ],
)
def test_a_share_of_nothing_gets_nobody(shares: tuple[float, ...], n: int, sizes: dict[str, int]) -> None:
    options = SplitOptions(**dict(zip(SPLITS, shares, strict=True)), folds=0)
    patients = {f"p{i}": PatientSummary("ab"[i % 2], {"x": 1}) for i in range(n)}
    assert Counter(side for side, _ in assign_splits(patients, options).values()) == sizes


def test_each_side_gets_its_share_of_each_modality() -> None:
    patients = {f"p{i}": PatientSummary("", {"x": 1}, "MR" if i < 20 else "CT") for i in range(30)}
    for seed in range(5):
        given_splits = assign_splits(patients, SplitOptions(seed=seed))
        cells = Counter((patients[name].modality, side) for name, (side, _) in given_splits.items())
        assert cells["MR", "test"] == 2
        assert cells["CT", "test"] == 1
        assert cells["CT", "validation"] == 2


def test_every_patient_comes_everywhere() -> None:
    """Over many seeds a patient is in test as often as the share says: no one is favoured."""
    patients = {f"p{i}": PatientSummary("ab"[i % 2], {"x": 1}) for i in range(10)}
    tests = Counter(
        name
        for seed in range(200)
        for name, (side, _) in assign_splits(patients, SplitOptions(seed=seed)).items()
        if side == "test"
    )
    assert tests.total() == 200
    expected, spread = 20, np.sqrt(200 * 0.1 * 0.9)
    assert all(abs(tests[name] - expected) < 4 * spread for name in patients)


def test_seed_changes_the_split_and_folds_do_not() -> None:
    patients = {f"p{i}": PatientSummary("s", {"x": 1}) for i in range(20)}
    split = [side for side, _ in assign_splits(patients, SplitOptions(seed=1)).values()]
    assert split != [side for side, _ in assign_splits(patients, SplitOptions(seed=2)).values()]
    assert split == [side for side, _ in assign_splits(patients, SplitOptions(seed=1, folds=2)).values()]
    assert {fold for _, fold in assign_splits(patients, SplitOptions(folds=0)).values()} == {-1}


def test_many_patients_are_quick() -> None:
    patients = {f"p{i}": PatientSummary(f"s{i % 23}", {"x": 1, "y": i % 3}) for i in range(3000)}
    begun = time.perf_counter()
    assign_splits(patients, SplitOptions())
    assert time.perf_counter() - begun < 2


@pytest.mark.parametrize(
    ("n", "changes", "message"),
    [
        (0, {"folds": 0}, "at least 3 patients for train, validation and test, found 0"),
        (2, {"folds": 0}, "at least 3 patients for train, validation and test, found 2"),
        (0, {"train": 1, "validation": 0, "test": 0, "folds": 0}, "at least 1 patients for train, found 0"),
        (
            1,
            {"train": 0.9, "validation": 0, "test": 0.1, "folds": 0},
            "at least 2 patients for train and test, found 1",
        ),
        (
            2,
            {"train": 1, "validation": 0, "test": 0, "folds": 3},
            "train and 3 folds, found 2.\n.*set split.folds lower",
        ),
        (4, {}, "at least 5 patients for train, validation and test and 5 folds, found 4.\n.*set split.folds lower"),
    ],
)
def test_too_few_patients(n: int, changes: dict[str, Any], message: str) -> None:
    patients = {f"p{i}": PatientSummary("s", {"x": 1}) for i in range(n)}
    with pytest.raises(CohortError, match=message):
        assign_splits(patients, SplitOptions(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 0.8}, r"train \+ validation \+ test must be 1, got 1.1"),
        ({"train": 0, "validation": 0.9, "test": 0.1}, "greater than 0"),
        ({"train": 1, "validation": 0.2, "test": -0.2}, "greater than or equal to 0"),
        ({"folds": 1}, "folds must be 0"),
        ({"stratify": ("age",)}, "'site', 'label' or 'modality'"),
        ({"tset": 0.1}, "tset"),
    ],
)
def test_bad_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SplitOptions(**changes)
