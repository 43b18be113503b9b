"""What is shown to whom, and in which order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthoma.cohort import open_cohort
from synthoma.errors import CohortError
from synthoma.study import StudyOptions
from synthoma.study.design import Candidate, candidates_of, common_labels, draw_showings


def pool(patients: int, labels: int = 2, both: bool = True) -> list[Candidate]:
    """Each patient has a real sample and a synthetic one that was made from it."""
    return [
        Candidate(origin, i, f"class {i % labels}", frozenset({f"p{i}"}))
        for i in range(patients)
        for origin in (("real", "synthetic") if both else (("real", "synthetic")[i // labels % 2],))
    ]


def balance(order) -> Counter:
    return Counter(one.candidate.cell for one in order if one.phase == "main")


@settings(max_examples=40, deadline=None)
@given(
    items=st.integers(4, 30), readers=st.integers(1, 4), common=st.floats(0, 1), repeats=st.floats(0, 0.5),
    training=st.integers(0, 6), seed=st.integers(0, 99), both=st.booleans(),
)  # fmt: skip
def test_every_study_keeps_the_rules(items, readers, common, repeats, training, seed, both):
    options = StudyOptions(items=items, readers=readers, common=common, repeats=repeats, training=training, seed=seed)
    orders = draw_showings(pool(200, both=both), options)
    assert len(orders) == readers
    shared = set.intersection(*({one.candidate for one in order if one.phase == "main"} for order in orders))
    assert len(shared) >= round(items * common)
    for order in orders:
        phases = [one.phase for one in order]
        assert phases[:training] == ["training"] * training
        assert Counter(phases) == Counter(main=items, training=training, repeat=round(items * repeats))
        first = [one.candidate for one in order if one.phase != "repeat"]
        patients = [patient for candidate in first for patient in candidate.patients]
        assert len(set(patients)) == len(patients)
        main = [one.candidate for one in order if one.phase == "main"]
        for place, one in enumerate(order):
            if one.phase == "repeat":
                before = [other.candidate for other in order[:place] if other.phase == "main"]
                assert before.index(one.candidate) + len(main) / 3 <= len(before) + 1
        labels = Counter(candidate.label for candidate in main)
        assert max(labels.values()) - min(labels.values()) <= 3  # once for the common items, once for the reader's own


def test_common_items_are_balanced_and_the_rest_is_a_matter_of_chance():
    orders = draw_showings(pool(300), StudyOptions(items=40, readers=12, common=1, training=0))
    for order in orders:
        assert set(balance(order).values()) == {10}
    orders = draw_showings(pool(300), StudyOptions(items=40, readers=12, common=0.5, training=0))
    real = [sum(n for (_, origin), n in balance(order).items() if origin == "real") for order in orders]
    assert len(set(real)) > 3  # nobody can count to half
    assert 14 <= np.mean(real) <= 26


def test_one_seed_one_study_and_each_reader_an_order_of_their_own():
    options = StudyOptions(items=20, readers=3, common=1)
    once, again = (draw_showings(pool(60), options) for _ in range(2))
    assert once == again
    assert draw_showings(pool(60), options.model_copy(update={"seed": 2})) != once
    orders = [[one.candidate for one in order if one.phase == "main"] for order in once]
    assert all(set(order) == set(orders[0]) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_repeats_are_as_often_real_as_synthetic():
    for order in draw_showings(pool(100), StudyOptions(items=40, readers=3, repeats=0.2)):
        again = Counter(one.candidate.origin for one in order if one.phase == "repeat")
        assert again == Counter(real=4, synthetic=4)


def test_scarce_patients_are_used_to_the_last():
    """Every patient is needed, and only some choices fit: a greedy draw without foresight would fail."""
    candidates = [Candidate("real", i, "a", frozenset({f"p{i}"})) for i in range(12)]
    candidates += [Candidate("synthetic", i, "a", frozenset({f"p{i}"})) for i in range(6)]
    for seed in range(20):
        (order,) = draw_showings(candidates, StudyOptions(items=12, readers=1, training=0, common=1, seed=seed))
        assert balance(order) == Counter({("a", "real"): 6, ("a", "synthetic"): 6})


def test_too_few_patients_says_how_many_items_would_do():
    with pytest.raises(CohortError, match="found 24 patients") as error:
        draw_showings(pool(24), StudyOptions(items=100, training=4))
    remedy = int(str(error.value).splitlines()[1].split()[1])
    assert 12 <= remedy <= 20
    draw_showings(pool(24), StudyOptions(items=remedy, training=4))
    with pytest.raises(CohortError, match="Practise on fewer"):
        draw_showings(pool(3), StudyOptions(items=2, training=50))


def test_a_synthetic_sample_counts_for_every_patient_it_was_made_from(cohorts):
    real, synthetic = (open_cohort(path) for path in cohorts)
    found = candidates_of(synthetic, "synthetic", StudyOptions())
    assert [candidate.patients for candidate in found] == [{patient} for patient in real.table["patient"]]
    table = dict(synthetic.table) | {
        "patient": np.array(["new"] * len(synthetic)),
        "made_from": np.array(["p001/0007;p002/0009"] * len(synthetic)),
        "reference": np.array(["p003/0001"] * len(synthetic)),
    }
    found = candidates_of(type(synthetic)(**(vars(synthetic) | {"table": table})), "synthetic", StudyOptions())
    assert found[0].patients == {"new", "p001", "p002", "p003"}


def test_only_what_was_asked_for_is_drawn_from(cohorts):
    real = open_cohort(cohorts[0])
    assert len(candidates_of(real, "real", StudyOptions(split="test", modality="MR"))) == len(real)
    assert candidates_of(real, "real", StudyOptions(split="train")) == []
    assert candidates_of(real, "real", StudyOptions(modality="CT")) == []
    assert candidates_of(real, "synthetic", StudyOptions()) == []


def test_a_class_of_one_origin_only_is_not_shown():
    candidates = [*pool(10), Candidate("real", 99, "odd", frozenset({"p99"}))]
    assert common_labels(candidates, ()) == ("class 0", "class 1")
    assert common_labels(candidates, ("class 1",)) == ("class 1",)
    with pytest.raises(CohortError, match="found 'odd'"):
        common_labels(candidates, ("odd",))
    with pytest.raises(CohortError, match="found odd and no sample"):
        common_labels(candidates[-1:], ())
