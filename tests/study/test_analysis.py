"""From answers to what they say: known effects, known chance, and a whole scripted study."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from fastapi.testclient import TestClient

from synthoma.commands import main
from synthoma.errors import InputError
from synthoma.study import open_key
from synthoma.study.agreement import icc
from synthoma.study.analysis import DEFINITIONS, analyse, analyse_study
from synthoma.study.analysis_images import FEATURE_DISTANCE, SSIM, correlations, image_measures
from synthoma.study.answered import between, columns_of, resampled
from synthoma.study.server import create_app

DRAWS = 200


def simulate(n=60, readers=3, skill=0.0, effect=0.0, repeats=12, seed=0, noise=0.6, slower=0.0):
    """Answers of readers to n images, every other synthetic; and the quality that each image really has."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n)
    skills = np.broadcast_to(skill, readers)
    rows = []
    for reader in range(1, readers + 1):
        shown = [*rng.permutation(n), *rng.permutation(n)[:repeats]]
        for place, i in enumerate(shown, start=1):
            synthetic = i % 2 == 1
            liked = 3.2 + effect * synthetic + 0.9 * quality[i] + 0.2 * (reader - 2) + noise * rng.normal()
            right = rng.random() < 0.5 + skills[reader - 1]
            rows.append({
                "reader": reader, "place": place, "phase": "main" if place <= n else "repeat", "image": f"i{i}",
                "origin": "synthetic" if synthetic else "real", "correct": int(right), "note": "",
                "realism": int(np.clip(round(liked), 1, 5)), "anatomy": int(np.clip(round(liked + 0.3), 1, 5)),
                "lesion": None if i % 3 == 0 else int(rng.integers(1, 6)),
                "seconds": float(np.exp(rng.normal(2, 0.4) + slower * synthetic)),
            })  # fmt: skip
    return rows, quality


def analysed(rows, measures=(), margin=0.1, due=None, draws=DRAWS):
    images = {row["image"] for row in rows}
    return analyse(
        rows, {i: (i.replace("i", "p"),) for i in images}, dict(measures), due or {}, margin=margin, draws=draws
    )


def find(analysis, name, arm=None, compared=None):
    (found,) = [
        m for m in analysis.measurements if m.name == name and arm in (None, m.arm) and compared in (None, m.compared)
    ]
    return found


def test_a_difference_in_realism_is_found_and_its_absence_too():
    worse, equal = analysed(simulate(effect=-1.2)[0]), analysed(simulate(effect=0.0)[0])
    assert find(worse, "reader-realism-difference").high < 0
    assert find(worse, "reader-realism-superiority").high < 0.5
    assert find(worse, "reader-odds-ratio", "realism").high < 1
    difference = find(equal, "reader-realism-difference")
    assert difference.low < 0 < difference.high
    real, made = find(equal, "reader-realism", "real"), find(equal, "reader-realism", "synthetic")
    assert made.value - real.value == pytest.approx(difference.value)
    assert (difference.n_images, difference.n_patients) == (60, 60)


def test_the_means_are_those_of_the_first_showings():
    rows, _ = simulate()
    values = [row["realism"] for row in rows if row["phase"] == "main" and row["origin"] == "real"]
    found = analysed(rows)
    assert find(found, "reader-realism", "real").value == pytest.approx(np.mean(values))
    assert sum(found.distribution["realism"]["real"]) == len(values)


def test_superiority_by_counting_pairs():
    rows, _ = simulate(n=14, readers=1)
    first = [row for row in rows if row["phase"] == "main"]
    pairs = [
        (a["realism"] > b["realism"]) + 0.5 * (a["realism"] == b["realism"])
        for a in first if a["origin"] == "synthetic"
        for b in first if b["origin"] == "real"
    ]  # fmt: skip
    assert find(analysed(rows), "reader-realism-superiority").value == pytest.approx(np.mean(pairs))


def test_readers_who_guess_are_shown_to_by_many_images_and_not_by_few():
    claim = "Synthetic images pass for real with readers"
    many, few = analysed(simulate(n=400, repeats=0)[0]), analysed(simulate(n=12, repeats=0)[0])
    assert (many.verdicts[0]["claim"], many.verdicts[0]["verdict"]) == (claim, "supported")
    assert find(many, "reader-equivalence-p", "reader 1").value < 0.05
    assert few.verdicts[0]["verdict"] == "cannot tell"
    assert find(few, "reader-equivalence-p", "reader 1").value > 0.05


def test_readers_who_can_tell():
    found = analysed(simulate(skill=0.35)[0])
    assert found.verdicts[0]["verdict"] == "not supported"
    right = find(found, "reader-accuracy", "all readers")
    assert right.low > 0.5
    assert right.value == pytest.approx(0.85, abs=0.08)


def test_one_who_can_and_one_who_is_fooled_make_no_chance_together():
    found = analysed(simulate(n=200, readers=2, skill=(0.3, -0.3), repeats=0)[0])
    assert find(found, "reader-accuracy", "all readers").value == pytest.approx(0.5, abs=0.06)
    assert found.verdicts[0]["verdict"] == "not supported"
    assert "reader 1, reader 2 can" in found.verdicts[0]["because"]


def test_agreement_between_readers_is_shrout_and_fleiss_over_the_common_images():
    rows, _ = simulate()
    rows = [row for row in rows if not (row["reader"] == 1 and row["image"] in ("i4", "i5"))]
    rated = {(row["reader"], row["image"]): row["realism"] for row in rows if row["phase"] == "main"}
    table = [[rated[reader, f"i{i}"] for reader in (1, 2, 3)] for i in range(60) if i not in (4, 5)]
    found = find(analysed(rows), "reader-icc-single", "realism")
    assert found.n_images == 58
    assert found.value == pytest.approx(icc(table)["2,1"].value)
    assert find(analysed(rows), "reader-icc-mean", "realism").value == pytest.approx(icc(table)["2,k"].value)


def test_agreement_with_oneself_falls_with_noise():
    steady, shaky = analysed(simulate(repeats=40, noise=0.1)[0]), analysed(simulate(repeats=40, noise=3)[0])
    assert (
        find(steady, "reader-kappa-realism", "all readers").low
        > find(shaky, "reader-kappa-realism", "all readers").high
    )
    assert find(steady, "reader-kappa-realism", "reader 2").n_images == 40
    without = analysed(simulate(repeats=0)[0])
    assert not [m for m in without.measurements if "kappa" in m.name]


def test_ratings_that_follow_ssim_and_ratings_that_do_not():
    rows, quality = simulate()
    follows = {f"i{i}": 0.9 + 0.02 * quality[i] for i in range(1, 60, 2)}
    noise = dict(zip(follows, np.random.default_rng(8).normal(size=30), strict=True))
    found = analysed(rows, {SSIM: follows, FEATURE_DISTANCE: noise})
    r = find(found, "reader-pearson", "realism", SSIM)
    assert r.low > 0.5
    assert r.n_images == 30
    assert find(found, "reader-pearson", "realism", FEATURE_DISTANCE).low < 0
    assert found.verdicts[1]["verdict"] == "supported"
    assert len(found.points[SSIM]["realism"]) == 30


def test_the_correlation_of_the_study_in_its_own_layout():
    """r = 0.84 over 30 images: 0.688 to 0.921."""
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=(2, 30))
    x, noise = x - x.mean(), noise - noise.mean()
    noise -= x * (x @ noise) / (x @ x)
    y = 0.84 * x / np.linalg.norm(x) + np.sqrt(1 - 0.84**2) * noise / np.linalg.norm(noise)
    names = [f"i{i}" for i in range(30)]
    found, _ = correlations(
        {"realism": dict(zip(names, y, strict=True))},
        {SSIM: dict(zip(names, x, strict=True))},
        {n: (n,) for n in names},
    )
    assert [round(v, 3) for v in (found[0].value, found[0].low, found[0].high)] == [0.84, 0.688, 0.921]


def test_time_spent_on_synthetic_images():
    found = analysed(simulate(n=120, slower=0.7)[0])
    ratio = find(found, "reader-seconds-ratio")
    assert ratio.low > 1
    assert ratio.value == pytest.approx(np.exp(0.7), rel=0.15)
    same = find(analysed(simulate(n=120)[0]), "reader-accuracy-difference")
    assert same.low < 0 < same.high


def test_what_must_be_known():
    rows, _ = simulate(readers=3)
    rows = [row for row in rows if row["reader"] < 3 or row["place"] <= 6]
    found = analysed(rows, due={1: 72, 2: 72, 3: 72})
    notes = " | ".join(found.notes)
    assert "not finished: reader 3 (6 of 72); agreement between readers is that of readers 1, 2" in notes
    assert "3 readers: intervals over readers describe these 3" in notes
    assert find(found, "reader-icc-single", "realism").n_images == 60
    assert "one reader: intervals are over patients alone" in analysed(simulate(readers=1)[0]).notes[0]


def test_ratings_without_variation_are_said_to_have_no_model():
    rows = [{**row, "realism": 4} for row in simulate(n=20)[0]]
    found = analysed(rows)
    assert any("realism: no cumulative link model" in note for note in found.notes)
    assert find(found, "reader-icc-single", "realism").value is None


def test_without_answers():
    with pytest.raises(InputError, match="answers on real and on synthetic images"):
        analysed([])
    rows = [{**row, "phase": "training"} for row in simulate(n=6)[0]]
    with pytest.raises(InputError, match="Practice does not count"):
        analysed(rows)


def test_every_measurement_has_a_definition():
    rows, quality = simulate()
    found = analysed(rows, {SSIM: {f"i{i}": quality[i] for i in range(1, 60, 2)}})
    assert {m.name for m in found.measurements} <= set(DEFINITIONS)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_seed_gives_one_result():
    rows, _ = simulate(n=20)
    assert analysed(rows).measurements == analysed(rows).measurements


@pytest.mark.slow
def test_the_interval_over_readers_and_patients_covers():
    """Images that are hard for all, eight readers of different skill: about 95 of 100 intervals hold the truth."""
    from scipy.stats import norm

    rng, hits, runs = np.random.default_rng(0), 0, 200
    for _ in range(runs):
        hard, able = rng.normal(size=80), 0.15 * rng.normal(size=8)
        rows = [
            {"reader": r + 1, "place": i + 1, "phase": "main", "image": f"i{i}", "origin": ("real", "synthetic")[i % 2],
             "correct": 0.3 + able[r] + 0.5 * hard[i] + rng.normal() > 0, "seconds": 1.0,
             "realism": 1, "anatomy": 1, "lesion": None}
            for r in range(8) for i in range(80)
        ]  # fmt: skip
        answers = columns_of(rows, {f"i{i}": (f"p{i}",) for i in range(80)})
        right = answers.correct.astype(float)
        low, high = between(resampled(answers, lambda w, y=right: [w @ y / w.sum()], 200, rng)[:, 0])
        hits += low <= norm.cdf(0.3 / np.sqrt(1 + 0.25 + 0.15**2)) <= high
    assert 0.9 <= hits / runs <= 1


@pytest.fixture
def app(create):
    """In place of the smaller study that the other tests share: 12 items, three readers."""
    study = create(items=12, readers=3, repeats=0.25, training=1)
    application = create_app(study)
    with TestClient(application, base_url="http://127.0.0.1"):
        yield application, study


@pytest.fixture
def answered(app, visit):
    """A study that scripted readers have finished through the pages: synthetic images please them less."""
    study, key, rng = app[1], open_key(app[1]), np.random.default_rng(4)
    for who in range(1, len(study.design.readers) + 1):
        reader = visit(who)
        for place, shown in enumerate(reader.order):
            made = key.images[shown.image].origin == "synthetic"
            liked = int(np.clip(4 - made + rng.integers(-1, 2), 1, 5))
            call = "synthetic" if made == (rng.random() < 0.95) else "real"
            given = reader.answer(place, realism=liked, call=call, seconds=float(rng.uniform(2, 9)))
            assert given.status_code == 200, given.text
    return study


def test_image_measures(create):
    key = open_key(create())
    found, notes = image_measures(key, features=lambda images: images.reshape(len(images), -1).astype(float))
    made = {name for name, entry in key.images.items() if entry.origin == "synthetic"}
    assert notes in ([], ["no feature distance: fewer than 5 real images of other patients"])
    assert set(found[SSIM]) == made
    assert all(-1 <= value <= 1 for value in found[SSIM].values())


def test_image_measures_of_volumes(create, write, tmp_path):
    real, synthetic = write(tmp_path / "volumes", patients=12, shape=(12, 24, 24))
    found, notes = image_measures(
        open_key(create(real, synthetic, items=4, readers=1, training=0)), features=lambda _: np.zeros((1, 1))
    )
    assert len(found[SSIM]) == 2
    assert notes == ["no feature distance: it is measured on slices, not on volumes"]


def test_cohorts_that_are_gone_and_cohorts_that_are_others(create, cohorts, tmp_path):
    from synthoma.errors import CohortError

    key = open_key(create())
    gone = key.model_copy(update={"real": key.real.model_copy(update={"path": str(tmp_path / "gone")})})
    measures, notes = image_measures(gone)
    assert (measures, "name it with --real" in notes[0]) == ({}, True)
    assert image_measures(gone, real=cohorts[0])[0]
    with pytest.raises(CohortError, match="the cohort that the study was made from"):
        image_measures(key, real=cohorts[1])


@pytest.mark.slow
def test_from_create_to_analyse_and_into_the_report(answered, cohorts, tmp_path, capsys):
    from synthoma.evaluation import Evidence, write_evidence
    from synthoma.records import Measurement

    folder = tmp_path / "evaluation"
    known = Measurement("ssim", 0.9, 0.8, 0.95, 24, 24, "synthetic", "body")
    write_evidence(folder, Evidence.join({"similarity": Evidence(measurements=(known,))}))
    (folder / "compared.json").write_text(
        json.dumps({"real": str(cohorts[0]), "synthetic": {"reconstruct": str(cohorts[1])}})
    )
    words = ["study", "analyse", str(answered.path), "--no-features", "--report", str(folder)]
    code, said, errors = _typed(capsys, *words)
    assert (code, errors) == (0, "")
    assert said.startswith("Synthetic images pass for real with readers: not supported.")
    written = answered.path / "analysis"
    assert {path.name for path in written.iterdir()} == {
        "analysis.json", "tables.csv", "readers.html", "ratings.svg", "ratings.png", "calls.svg", "calls.png",
        "ratings-ssim.svg", "ratings-ssim.png",
    }  # fmt: skip
    rows = list(csv.DictReader((written / "tables.csv").open(encoding="utf-8")))
    content = json.loads((written / "analysis.json").read_text(encoding="utf-8"))
    assert len(rows) == len(content["measurements"]) > 20
    accuracy = next(row for row in rows if (row["name"], row["arm"]) == ("reader-accuracy", "all readers"))
    assert float(accuracy["low"]) > 0.5
    page = (written / "readers.html").read_text(encoding="utf-8")
    assert "Agreement between readers" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)

    code, _, errors = _typed(capsys, *words)
    assert (code, "Add --overwrite" in errors) == (2, True)
    assert _typed(capsys, *words, "--overwrite")[0] == 0
    table = list(csv.DictReader((folder / "evidence.csv").open(encoding="utf-8")))
    assert len(table) == len(rows) + 1  # once, though analysed twice
    assert _typed(capsys, "report", str(folder), "--out", str(tmp_path / "report.html"))[0] == 0
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Synthetic images pass for real with readers (reconstruct)" in report
    assert "Reader accuracy" in report


def test_a_report_on_other_cohorts_is_refused(answered, cohorts, tmp_path, capsys):
    (tmp_path / "compared.json").write_text(json.dumps({"real": "r", "synthetic": {"x": str(cohorts[0])}}))
    for folder, message in ((tmp_path, "the synthetic cohort that the readers saw"), (cohorts[0], "nothing that was")):
        code, _, errors = _typed(capsys, "study", "analyse", str(answered.path), "--report", str(folder))
        assert (code, message in errors) == (2, True)
    assert not (answered.path / "analysis").exists()


def test_an_empty_study_is_not_analysed(create, capsys):
    code, _, errors = _typed(capsys, "study", "analyse", str(create().path), "--no-features")
    assert (code, "See synthoma study status" in errors) == (2, True)


@pytest.mark.slow
def test_distances_in_features(answered):
    from synthoma.study.analysis_images import lite0

    features = lite0()
    if features is None:
        pytest.skip("efficientnet_lite_pytorch is not installed")
    found = analyse_study(answered, open_key(answered), features=features, draws=DRAWS)
    assert find(found, "reader-pearson", "realism", FEATURE_DISTANCE).n_images >= 3


def _typed(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(list(words))
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err
