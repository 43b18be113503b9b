"""Folds: every patient where it belongs, cohorts that are whole, and no room taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthoma.cohort import SPLITS, SplitOptions, check_splits, open_cohort
from synthoma.errors import CohortError, LeakError
from synthoma.protocol import folds
from synthoma.protocol.folds import Fold, folds_of, in_fold, patients_of, sides_of, write_fold
from synthoma.records import Cohort

Patients = Mapping[str, tuple[str, tuple[str, ...]]]
"""Patient → (site, labels of its samples)."""


Write = Callable[[Path, Patients, SplitOptions], Path]

TWELVE: Patients = {
    f"p{i:02d}": (("north", "south", "west")[i % 3], ("tumour", "tumour-free") if i % 2 else ("tumour",))
    for i in range(12)
}
SPLIT = SplitOptions(train=0.5, validation=0.25, test=0.25, folds=3, seed=7)


@pytest.fixture
def real(write_cohort: Write, tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "real.cohort", TWELVE, SPLIT)


def by_side(cohort: Cohort) -> dict[str, set[str]]:
    return {side: set(cohort.table["patient"][cohort.rows(split=side)].tolist()) for side in SPLITS}


tables = st.lists(
    st.tuples(st.sampled_from(("a", "b", "c,d", "a b")), st.lists(st.sampled_from("xy"), min_size=1, max_size=3)),
    min_size=8, max_size=20,
).map(lambda rows: {f"p{i}": (site, tuple(labels)) for i, (site, labels) in enumerate(rows)})  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables, st.integers(0, 1000), st.sampled_from(("holdout", "kfold", "leave-one-site-out")))
def test_every_patient_is_where_it_belongs(
    write_cohort: Write, tmp_path_factory: pytest.TempPathFactory, patients: Patients, seed: int, design: str
) -> None:
    sites = sorted({site for site, _ in patients.values()})
    split = SplitOptions(train=0.5, validation=0.25, test=0.25, folds=3, seed=seed)
    folder = tmp_path_factory.mktemp("cohort")
    cohort = open_cohort(write_cohort(folder / "real.cohort", patients, split))
    if design == "leave-one-site-out" and len(sites) < 2:
        with pytest.raises(CohortError, match="two sites or more"):
            folds_of(design, 2, 3, sites)
        return
    tested: dict[int, list[str]] = {}
    for fold in folds_of(design, 2, 3, sites):
        try:
            own = in_fold(cohort, fold, split)
        except CohortError as error:  # all patients but one are of one site
            assert "at least" in str(error) and design == "leave-one-site-out"  # noqa: PT017, PT018
            return
        check_splits(own)
        sides = by_side(own)
        assert all(sides.values())
        assert set.union(*sides.values()) == set(patients)
        assert sum(map(len, sides.values())) == len(patients)
        if design == "kfold":
            numbers = set(cohort.table["fold"][np.isin(cohort.table["patient"], sorted(sides["test"]))].tolist())
            assert numbers == {fold.fold}
        if design == "leave-one-site-out":
            assert sides["test"] == {name for name, (site, _) in patients.items() if site == fold.site}
        tested.setdefault(fold.run, []).extend(sides["test"])
    if design != "holdout":
        assert all(sorted(names) == sorted(patients) for names in tested.values()), "each patient once a run"


def test_the_first_repeat_is_the_stored_split_and_the_others_are_not(real: Path) -> None:
    cohort = open_cohort(real)
    stored = by_side(cohort)
    found = [by_side(in_fold(cohort, fold, SPLIT)) for fold in folds_of("holdout", 4, 3)]
    assert found[0] == stored
    assert len({frozenset(sides["test"]) for sides in found}) > 1
    assert {tuple(len(sides[side]) for side in SPLITS) for sides in found} == {(6, 3, 3)}


def test_runs_test_the_same_patients_and_choose_by_others(real: Path) -> None:
    cohort = open_cohort(real)
    runs = [by_side(in_fold(cohort, Fold("kfold", run, 1), SPLIT)) for run in range(6)]
    assert len({frozenset(sides["test"]) for sides in runs}) == 1
    assert len({frozenset(sides["validation"]) for sides in runs}) > 1


def test_nobody_validates_where_nobody_should(real: Path) -> None:
    split = SplitOptions(train=0.75, validation=0, test=0.25, folds=3)
    assert set(sides_of(open_cohort(real), Fold("kfold", 0, 0), split).values()) == {"train", "test"}


def test_a_folds_cohort_is_whole_and_takes_no_room(real: Path, tmp_path: Path) -> None:
    fold = Fold("kfold", 1, 2)
    made = open_cohort(write_fold(real, tmp_path / "folds" / "x" / "real.cohort", fold, SPLIT), verify=True)
    first = open_cohort(real, verify=True)
    assert made.path is not None
    for name in ("images.npy", "masks.npy"):
        assert (made.path / name).samefile(real / name)
    for column in set(first.table) - {"split", "lineage"}:
        np.testing.assert_array_equal(made.table[column], first.table[column])
    assert by_side(made) == by_side(in_fold(first, fold, SPLIT))
    (lineage,) = set(made.table["lineage"].tolist())
    assert made.lineages[lineage].step == "fold"
    assert made.lineages[lineage].parents == tuple(set(first.table["lineage"].tolist()))
    assert made.lineages[lineage].patients_seen == first.patients
    assert made.grids == first.grids
    assert patients_of(made) == patients_of(first)


def test_a_disk_without_links_gets_copies(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(folds.os, "link", refuse)
    made = write_fold(real, tmp_path / "fold.cohort", Fold("kfold", 0, 0), SPLIT)
    assert (made / "images.npy").stat().st_nlink == 1
    open_cohort(made, verify=True)


def test_names_become_folders_that_are_told_apart() -> None:
    plain = folds_of("leave-one-site-out", 2, 0, ("Duke", "MD Anderson"))
    assert [fold.folder for fold in plain] == [
        "run-0-site-Duke", "run-0-site-MD-Anderson", "run-1-site-Duke", "run-1-site-MD-Anderson",
    ]  # fmt: skip
    assert plain[1].name == "run 0 site MD Anderson"
    odd = folds_of("leave-one-site-out", 1, 0, ("a/b", "a b", "..", "京"))
    assert len({fold.folder for fold in odd}) == 4
    assert all(Path(fold.folder).name == fold.folder and fold.folder.isascii() for fold in odd)
    assert [fold.folder for fold in folds_of("kfold", 1, 2)] == ["run-0-fold-0", "run-0-fold-1"]
    assert [fold.folder for fold in folds_of("holdout", 2, 0)] == ["run-0", "run-1"]


def test_a_cohort_without_folds_is_refused(write_cohort: Write, tmp_path: Path) -> None:
    real = write_cohort(tmp_path / "real.cohort", TWELVE, SPLIT.model_copy(update={"folds": 0}))
    with pytest.raises(CohortError, match=r"run 0 fold 1: expected patients to test, found none among 12\.\nSet split"):
        write_fold(real, tmp_path / "fold.cohort", Fold("kfold", 0, 1), SPLIT)
    assert not (tmp_path / "fold.cohort").exists()


def test_too_few_patients_beside_a_site_are_refused(write_cohort: Write, tmp_path: Path) -> None:
    few = {f"p{i}": ("big" if i else "small", ("x", "y")) for i in range(6)}
    real = write_cohort(tmp_path / "real.cohort", few, SPLIT)
    with pytest.raises(CohortError, match="run 0 site big: split: expected at least 2 patients"):
        write_fold(real, tmp_path / "fold.cohort", Fold("leave-one-site-out", 0, site="big", slug="big"), SPLIT)


def test_the_guard_looks_at_every_fold(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that puts two patients' equal images on two sides never becomes a cohort."""
    table = real / "samples.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    hashes, patients = rows[0].index("image_sha256"), rows[0].index("patient")
    cohort = open_cohort(real)
    sides = sides_of(cohort, Fold("kfold", 0, 0), SPLIT)
    one, other = (next(i for i, r in enumerate(rows) if sides.get(r[patients]) == side) for side in ("train", "test"))
    rows[one][hashes] = rows[other][hashes]
    table.write_text("".join(",".join(row) + "\n" for row in rows))
    with pytest.raises(LeakError, match="the same one for several"):
        write_fold(real, tmp_path / "fold.cohort", Fold("kfold", 0, 0), SPLIT)
    assert not (tmp_path / "fold.cohort").exists()


def test_a_real_patient_of_two_sites_stands_with_the_first(real: Path) -> None:
    cohort = open_cohort(real)
    column = cohort.table["site"].copy()
    rows = np.flatnonzero(cohort.table["patient"] == "p01")
    column[rows[1:]] = "west"
    assert patients_of(replace(cohort, table={**cohort.table, "site": column}))["p01"].site == "south"
