"""Out of a study: the answers with their origins, and the cohort without what readers rejected."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from synthoma.cohort import check_augmentation, check_generator, open_cohort
from synthoma.errors import CohortError, InputError, LeakError, OutputError
from synthoma.evaluation import EvaluationOptions, evaluate
from synthoma.study import open_key
from synthoma.study.export import COLUMNS, export_answers, export_cohort, mean_ratings


@pytest.fixture
def rated(app, visit):
    """Two readers are done: synthetic images get 1 or 4, by their row; real ones 5."""
    study, key = app[1], open_key(app[1])

    def score(shown):
        entry = key.images[shown.image]
        return 5 if entry.origin == "real" else 1 if entry.row % 4 < 2 else 4

    for number in (1, 2):
        reader = visit(number)
        for place, shown in enumerate(reader.order):
            reader.answer(place, realism=score(shown), call="real" if score(shown) > 3 else "synthetic")
    rows = {entry.row for entry in key.images.values() if entry.origin == "synthetic"}
    main = {one.image for order in study.design.readers for one in order if one.phase == "main"}
    shown = {e.row for name, e in key.images.items() if e.origin == "synthetic" and name in main}
    assert rows > shown or rows == shown
    return SimpleNamespace(study=study, key=key, shown=shown, low={row for row in shown if row % 4 < 2})


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_answers_come_with_their_origin(rated, tmp_path, cohorts):
    out = tmp_path / "answers.csv"
    n = export_answers(rated.study, rated.key, out)
    rows = table(out)
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == n == sum(len(order) for order in rated.study.design.readers)
    tables = {name: open_cohort(path).table for name, path in zip(("real", "synthetic"), cohorts, strict=True)}
    for row in rows:
        place = list(tables[row["origin"]]["id"]).index(row["sample"])
        assert tables[row["origin"]]["label"][place] == row["label"]
        assert row["correct"] == str(int(row["call"] == row["origin"]))
        shown = rated.study.order(int(row["reader"]))[int(row["place"]) - 1]
        assert (row["image"], row["phase"]) == (shown.image, shown.phase)
        assert row["changes"] == "0"
        assert row["lesion"] == ""
    assert {row["origin"] for row in rows if row["realism"] == "5"} == {"real"}
    with pytest.raises(OutputError, match="one that exists"):
        export_answers(rated.study, rated.key, out)
    assert export_answers(rated.study, rated.key, out, overwrite=True) == n


def test_every_change_can_be_had(app, visit, tmp_path):
    study = app[1]
    reader = visit(1)
    for realism in (2, 3, 5):
        reader.answer(0, realism=realism)
    reader.answer(1)
    export_answers(study, open_key(study), tmp_path / "last.csv")
    export_answers(study, open_key(study), tmp_path / "all.csv", history=True)
    assert [(row["realism"], row["changes"]) for row in table(tmp_path / "last.csv")] == [("5", "2"), ("4", "0")]
    found = [(row["realism"], row["changes"]) for row in table(tmp_path / "all.csv")]
    assert found == [("2", "0"), ("3", "1"), ("5", "2"), ("4", "0")]


def test_the_mean_is_over_readers_and_practice_does_not_count():
    def row(reader, realism, phase="main", image="a"):
        return {"reader": reader, "realism": realism, "phase": phase, "image": image, "lesion": None}

    rows = [row(1, 1), row(1, 3, "repeat"), row(2, 5), row(3, 1, "training"), row(1, 4, image="b")]
    assert mean_ratings(rows, "realism") == {"a": 3.5, "b": 4.0}
    assert mean_ratings(rows, "lesion") == {}


def test_what_readers_rejected_is_left_out(rated, tmp_path, cohorts):
    told = export_cohort(rated.study, rated.key, tmp_path / "filtered.cohort", below=3)
    before, after = open_cohort(cohorts[1]), open_cohort(tmp_path / "filtered.cohort", verify=True)
    kept = [row for row in range(len(before)) if row not in rated.low]
    assert rated.low, "the draw should show some that are rejected"
    assert (told.rated, told.kept, told.readers) == (len(rated.shown), len(kept), (1, 2))
    assert set(told.excluded) == {before.table["id"][row] for row in rated.low}
    for name, column in before.table.items():
        if name != "lineage":
            assert np.array_equal(after.table[name], column[kept], equal_nan=column.dtype.kind == "f"), name
    assert np.array_equal(after.images, before.images[kept])
    assert np.array_equal(after.masks, before.masks[kept])
    assert (after.conditions, after.channels, after.mask_names) == (
        before.conditions, before.channels, before.mask_names,
    )  # fmt: skip


def test_the_lineage_says_by_whom_and_the_guard_reads_it(rated, tmp_path, cohorts):
    export_cohort(rated.study, rated.key, tmp_path / "filtered.cohort", below=3)
    before, after = open_cohort(cohorts[1]), open_cohort(tmp_path / "filtered.cohort", verify=True)
    (name,) = set(after.table["lineage"].tolist())
    lineage = after.lineages[name]
    assert lineage.step == "exclude"
    assert set(lineage.parents) == set(before.table["lineage"].tolist())
    assert set(before.lineages) < set(after.lineages)
    assert after.notes[-1] == (
        f"Readers 1, 2 of study {rated.study.design.study} rated {len(rated.shown)} of 24 samples; the "
        f"{len(rated.low)} with a mean realism below 3 are left out."
    )
    check_generator(after, ["p001"])  # the generator never saw that patient
    with pytest.raises(LeakError):
        check_generator(after, ["someone-else"])
    with pytest.raises(LeakError):
        check_augmentation(after, [after.table["patient"][0]])


def test_what_nobody_rated_can_be_left_out_too(rated, tmp_path):
    told = export_cohort(rated.study, rated.key, tmp_path / "x.cohort", below=3, rated_only=True)
    assert told.kept == len(rated.shown) - len(rated.low)
    assert open_cohort(tmp_path / "x.cohort").notes[-1].endswith("and those that nobody rated.")


def test_the_limit_itself_stays(rated, tmp_path):
    assert len(export_cohort(rated.study, rated.key, tmp_path / "a.cohort", below=4).excluded) == len(rated.low)
    above = export_cohort(rated.study, rated.key, tmp_path / "b.cohort", below=4.01)
    assert len(above.excluded) == len(rated.shown)
    with pytest.raises(CohortError, match=r"mean realism 4\.01 or more, found none"):
        export_cohort(rated.study, rated.key, tmp_path / "c.cohort", below=4.01, rated_only=True)


def test_without_ratings_there_is_nothing_to_exclude_by(rated, create, tmp_path):
    with pytest.raises(InputError, match="ratings of lesion of synthetic images, found none yet"):
        export_cohort(rated.study, rated.key, tmp_path / "x.cohort", below=3, scale="lesion")
    other = create(name="other.study")
    with pytest.raises(InputError, match="none yet"):
        export_cohort(other, open_key(other), tmp_path / "x.cohort", below=3)


def test_another_cohort_is_not_filtered(rated, write, tmp_path):
    _, other = write(tmp_path, patients=3)
    with pytest.raises(CohortError, match="the synthetic cohort that the study was made from, found another"):
        export_cohort(rated.study, rated.key, tmp_path / "x.cohort", below=3, synthetic=other)
    with pytest.raises(CohortError, match="a cohort folder"):
        export_cohort(rated.study, rated.key, tmp_path / "x.cohort", below=3, synthetic=tmp_path / "gone")


def test_evaluate_takes_it_like_any_other(rated, tmp_path, cohorts):
    export_cohort(rated.study, rated.key, tmp_path / "filtered.cohort", below=3)
    filtered = open_cohort(tmp_path / "filtered.cohort")
    options = EvaluationOptions(families=("similarity",), bootstrap_draws=100)
    found = evaluate(open_cohort(cohorts[0]), {"filtered": filtered}, options)
    ssim = next(one for one in found.measurements if one.name == "ssim" and one.region == "body")
    assert ssim.n_images == len(filtered)
