"""From cohorts to evidence and to its files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from synthoma.errors import CohortError, InputError, LeakError, OutputError
from synthoma.evaluation import (
    METRICS,
    ClassifierOptions,
    EvaluationOptions,
    Evidence,
    evaluate,
    read_evidence,
    write_evidence,
)
from synthoma.evaluation.comparisons import comparisons
from synthoma.evaluation.distribution import evaluate_distribution
from synthoma.evaluation.features import Features
from synthoma.records import Measurement

OPTIONS = EvaluationOptions(
    bootstrap_draws=200, max_images=12, classifier=ClassifierOptions(steps=20, batch=8, checks=2)
)
SIMILARITY = OPTIONS.model_copy(update={"families": ("similarity",)})


class Pools(Features):
    """Stands in for the network: 16 means over a 4 × 4 grid."""

    description = "grid means"

    def __call__(self, images):
        n, c, h, w = images.shape
        cut = images[:, :, : h // 4 * 4, : w // 4 * 4].astype(np.float64)
        return cut.reshape(n, c, 4, h // 4, 4, w // 4).mean(axis=(3, 5)).reshape(n, c, 16)


def noisy(image, row):
    return image + np.random.default_rng(row).normal(0, 0.03, image.shape)


def flat(image, row):
    return np.full_like(image, 0.3)


@pytest.fixture(scope="module")
def evidence(real, synthesise, tmp_path_factory):
    arms = {
        "reconstruct": synthesise(noisy),
        "unet-l1": synthesise(flat),
        "transplant": synthesise(noisy, split="train", paired=False),
    }
    return evaluate(real, arms, OPTIONS, cache=tmp_path_factory.mktemp("cache"))


def test_all_families_measure(evidence):
    assert tuple(evidence.families) == tuple(METRICS) == OPTIONS.families
    for family in evidence.families.values():
        assert family.measurements
    for measurement in evidence.measurements:
        assert measurement.method
        assert measurement.compared
        assert measurement.n_patients > 0 or measurement.value is None
        assert measurement.name in evidence.definitions
    assert evidence.find("frechet-distance", arm="synthetic", region="lesion").n_images == 8
    assert "weights 579344248a93e230" in evidence.find("kid", arm="transplant", region="frame").method


def test_every_distance_has_its_floor_at_the_same_n(evidence):
    for name in ("frechet-distance", "kid", "diversity-ratio"):
        for measurement in evidence.measurements:
            if measurement.name == name and measurement.arm != "real vs real":
                floor = evidence.find(
                    name, arm="real vs real", region=measurement.region, compared=f"floor of {measurement.arm}"
                )
                assert floor.n_images == measurement.n_images


def test_collapse_is_told(evidence):
    assert evidence.find("diversity-ratio", arm="unet-l1", region="frame").value == pytest.approx(0, abs=1e-6)
    assert any("unet-l1, frame: diversity ratio 0.00" in warning for warning in evidence.warnings)


def test_files_come_back_equal(evidence, tmp_path):
    write_evidence(tmp_path, evidence)
    assert sorted(p.name for p in (tmp_path / "evidence").iterdir()) == sorted(f"{name}.json" for name in METRICS)
    back = read_evidence(tmp_path)
    assert set(back.measurements) == set(evidence.measurements)
    assert set(back.verdicts) == set(evidence.verdicts)
    assert back.families["structure"].curves == json.loads(json.dumps(evidence.families["structure"].curves))
    with (tmp_path / "evidence.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        "name",
        "region",
        "arm",
        "value",
        "low",
        "high",
        "n_images",
        "n_patients",
        "unit",
        "method",
        "compared",
    ]
    assert len(rows) == 1 + len(evidence.measurements)
    first = evidence.measurements[0]
    assert float(rows[1][3]) == first.value
    assert rows[1][:3] == [first.name, first.region, first.arm]


def test_nothing_is_overwritten_unasked(tmp_path):
    one = Evidence.join({"similarity": Evidence((Measurement("ssim", None, None, None, 0, 0, "synthetic"),))})
    write_evidence(tmp_path, one)
    with pytest.raises(OutputError, match=r"evidence.csv: expected a new file"):
        write_evidence(tmp_path, one)
    write_evidence(tmp_path, one, overwrite=True)
    assert (tmp_path / "evidence.csv").read_text().splitlines()[1] == "ssim,frame,synthetic,,,,0,0,,,"
    (tmp_path / "evidence.csv").unlink()
    with pytest.raises(OutputError, match=r"evidence: .* found one that exists"):
        write_evidence(tmp_path, one)
    with pytest.raises(ValueError, match=r"Evidence\.join"):
        write_evidence(tmp_path, Evidence())


def test_damaged_evidence_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected evidence files"):
        read_evidence(tmp_path)
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "similarity.json").write_text("{")
    with pytest.raises(InputError, match=r"similarity\.json: expected readable JSON"):
        read_evidence(tmp_path)
    (tmp_path / "evidence" / "similarity.json").write_text("[]")
    with pytest.raises(InputError, match=r"similarity\.json: expected an evidence file"):
        read_evidence(tmp_path)


def test_same_seed_same_numbers(real, synthesise, evidence):
    arms = {"reconstruct": synthesise(noisy), "unet-l1": synthesise(flat)}
    again = evaluate(real, arms, SIMILARITY)
    assert again.find("ssim", arm="synthetic", region="body") == evidence.find("ssim", arm="synthetic", region="body")


def test_a_generator_that_saw_a_test_patient_is_refused(real, synthesise):
    with pytest.raises(LeakError, match="p12"):
        evaluate(real, {"reconstruct": synthesise(noisy, seen=("p00", "p12"))}, SIMILARITY)


def test_a_leak_into_the_classifier_stops_before_any_work(real, synthesise):
    arms = {"transplant": synthesise(noisy, split="test", paired=False)}
    with pytest.raises(LeakError, match="p09"):
        evaluate(real, arms, OPTIONS)


def test_a_patient_on_two_sides_is_refused(real, synthesise):
    split = real.table["split"].copy()
    split[0] = "test"
    torn = replace(real, table=dict(real.table) | {"split": split})
    with pytest.raises(LeakError, match="p00"):
        evaluate(torn, {"reconstruct": synthesise(noisy)}, SIMILARITY)


def test_unfit_cohorts_are_refused(real, synthesise):
    good = synthesise(noisy)
    empty = replace(real, table=dict(real.table) | {"split": np.full(len(real), "")})
    cases = [
        (real, {}, "evaluate: expected one or more synthetic cohorts"),
        (empty, {"a": good}, "column split: expected a split, found none"),
        (real, {"a": replace(good, channels=("flare",))}, r"found 'flare'(.|\n)*Did you mean 'flair'"),
        (real, {"a": replace(good, images=good.images[..., :40])}, "image size: expected 48×48 .* found 48×40"),
        (real, {"a": replace(good, images=good.images * np.nan)}, "finite values, found NaN"),
        (real, {"a": good.select(np.array([], dtype=np.intp))}, "expected one or more samples"),
        (replace(real, mask_names=("head", "lesion")), {"a": good}, "expected a mask 'body', found head, lesion"),
    ]  # fmt: skip
    for cohort, synthetic, message in cases:
        with pytest.raises(InputError, match=message):
            evaluate(cohort, synthetic, SIMILARITY)
    assert issubclass(CohortError, InputError)


def test_unknown_family_names_the_nearest():
    with pytest.raises(ValidationError, match="Did you mean 'similarity'"):
        EvaluationOptions(families=("similarty",))
    with pytest.raises(ValidationError, match="different families"):
        EvaluationOptions(families=())


def test_unpaired_arms_stand_against_held_out_images_with_their_labels(real, synthesise):
    made = synthesise(noisy, split="train", paired=False)
    tumours = made.select(np.flatnonzero(made.table["label"] == "tumour"))
    (found,), _ = comparisons(real, {"transplant": tumours})
    assert found.compared == "real held-out (tumour)"
    assert set(real.table["label"][found.real_rows]) == {"tumour"}
    assert set(real.table["split"][found.real_rows]) == {"validation", "test"}
    unknown = replace(made, table=dict(made.table) | {"label": np.full(len(made), "cyst")})
    assert comparisons(real, {"x": unknown}) == (
        [],
        ["x: fewer than 8 real images like it (cyst), no distribution measured."],
    )


def test_distribution_tells_a_far_set_from_a_near_one(real, synthesise):
    arms = {
        "transplant": synthesise(noisy, split="train", paired=False),
        "far": synthesise(lambda image, row: noisy(image, row) - 0.4 * (image > -1), split="train", paired=False),
    }
    found = evaluate_distribution(real, arms, OPTIONS, Pools())
    near, far = (found.find("frechet-distance", arm=arm, region="frame") for arm in ("transplant", "far"))
    floor = found.find("frechet-distance", arm="real vs real", region="frame", compared="floor of far")
    assert near.high < far.low
    assert far.low > floor.value
    assert far.low >= 0
    verdicts = {v.claim.split()[0]: v.verdict for v in found.verdicts if "images are" in v.claim}
    assert verdicts["far"] == "not supported"
    assert verdicts["transplant"] != "not supported"


def test_a_paired_arm_is_never_called_as_near_as_other_patients(real, synthesise):
    found = evaluate_distribution(real, {"reconstruct": synthesise(lambda image, _: image)}, OPTIONS, Pools())
    assert found.find("frechet-distance", arm="synthetic", region="frame").value == pytest.approx(0, abs=1e-9)
    assert {v.verdict for v in found.verdicts} == {"cannot tell"}


def test_too_few_images_are_said_not_measured(real, synthesise):
    made = synthesise(noisy, split="train", paired=False).select(np.arange(4))
    found = evaluate_distribution(real, {"transplant": made}, OPTIONS, Pools())
    assert found.measurements == ()
    assert "transplant, frame: 4 images a side, fewer than 8" in found.warnings[0]
