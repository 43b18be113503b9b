"""The classifier and its arms."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from synthoma.errors import LeakError
from synthoma.evaluation import ClassifierOptions, EvaluationOptions, classifier
from synthoma.evaluation import utility as module
from synthoma.evaluation.classifier import (
    METRICS_OF_CLASSIFIER,
    Labelled,
    auc,
    classification_metrics,
    train_classifier,
)
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import UtilityOptions
from synthoma.evaluation.utility import augmentation, evaluate_utility

QUICK = ClassifierOptions(steps=40, batch=8, checks=4)
OPTIONS = EvaluationOptions(bootstrap_draws=200, classifier=QUICK)
THREE = OPTIONS.model_copy(update={"utility": UtilityOptions(arms=("real", "real+synthetic", "synthetic"))})


class Means(Features):
    """Stands in for the network: the mean and the largest value of each image."""

    description = "means"

    def __call__(self, images):
        return np.stack([images.mean(axis=(2, 3)), images.max(axis=(2, 3))], axis=2).astype(np.float64)


def same(image, row):
    return image


def test_metrics_equal_scikit_learn():
    from sklearn import metrics as m

    random = np.random.default_rng(0)
    positive = random.random(60) < 0.4
    probability = np.round(np.clip(0.3 * positive + random.random(60) * 0.7, 0, 1), 1)  # with ties
    called = probability >= 0.5
    expected = {
        "accuracy": m.accuracy_score(positive, called),
        "balanced-accuracy": m.balanced_accuracy_score(positive, called),
        "sensitivity": m.recall_score(positive, called),
        "specificity": m.recall_score(~positive, ~called),
        "precision": m.precision_score(positive, called),
        "f1": m.f1_score(positive, called),
        "auc": m.roc_auc_score(positive, probability),
        "brier": m.brier_score_loss(positive, probability),
    }
    found = dict(zip(METRICS_OF_CLASSIFIER, classification_metrics(positive, probability), strict=True))
    assert found == pytest.approx(expected)


def test_metrics_of_one_class_are_undefined_not_invented():
    found = dict(zip(METRICS_OF_CLASSIFIER, classification_metrics(np.zeros(4, bool), np.full(4, 0.1)), strict=True))
    assert found["accuracy"] == 1
    assert all(np.isnan(found[name]) for name in ("sensitivity", "balanced-accuracy", "auc", "f1", "precision"))
    assert np.isnan(auc(np.ones(3, bool), np.arange(3.0)))


def _parts(seed=0, shift=0.5):
    random = np.random.default_rng(seed)
    parts = []
    for n in (40, 20, 30):
        positive = np.arange(n) % 5 == 0  # one in five
        images = random.normal(0, 0.1, (n, 1, 48, 48)).astype(np.float32) + shift * positive[:, None, None, None]
        parts.append(Labelled(images, positive, np.array([f"p{i // 2}" for i in range(n)])))
    return parts


def test_head_learns_repeats_and_depends_on_the_seed():
    parts = _parts(shift=0.02)  # hard enough that the path matters
    first = train_classifier(*parts, QUICK, 0, Means())
    again = train_classifier(*parts, QUICK, 0, Means())
    other = train_classifier(*parts, QUICK, 1, Means())
    assert np.array_equal(first.probability, again.probability)
    assert not np.array_equal(first.probability, other.probability)
    assert first.steps == [10, 20, 30, 40]
    assert first.best_step == first.steps[int(np.argmin(first.validation_loss))]
    easy = train_classifier(*_parts(), QUICK.model_copy(update={"learning_rate": 0.1}), 0, Means())
    assert auc(_parts()[2].positive, easy.probability) == 1


def test_batches_are_balanced_whatever_the_arm_holds():
    """With one positive in five and nothing to learn, balanced training answers ½, unbalanced would answer 0.2."""
    parts = [replace(part, images=np.zeros_like(part.images)) for part in _parts()]
    options = ClassifierOptions(steps=200, batch=8, checks=10, learning_rate=0.1)
    assert train_classifier(*parts, options, 0, Means()).probability == pytest.approx(0.5, abs=0.05)


def test_one_class_is_refused():
    parts = _parts()
    with pytest.raises(ValueError, match="both classes"):
        train_classifier(replace(parts[0], positive=np.ones(40, bool)), *parts[1:], QUICK, 0, Means())


@pytest.mark.slow
def test_every_weight_is_trained_when_all_is_asked_for(monkeypatch):
    parts = [
        replace(part, images=part.images[:8], positive=part.positive[:8], patients=part.patients[:8])
        for part in _parts()
    ]
    options = ClassifierOptions(steps=4, batch=4, checks=2, trainable="all", learning_rate=1e-4)
    seen = []
    whole = classifier._whole

    def spy(*arguments):
        network, give = whole(*arguments)
        seen.append((network, {name: value.detach().clone() for name, value in network.named_parameters()}))
        return network, give

    monkeypatch.setattr(classifier, "_whole", spy)
    found = train_classifier(*parts, options, 0, Features(device="cpu"))
    assert found.steps == [2, 4]
    network, before = seen[0]
    still = [name for name, value in network.named_parameters() if (value == before[name]).all()]
    assert still == ["base._fc.weight", "base._fc.bias"]  # ImageNet's own last layer, which is not used
    again = train_classifier(*parts, options, 0, Features(device="cpu"))
    assert np.array_equal(found.probability, again.probability)


def test_arms_and_differences(real, synthesise):
    made = synthesise(same, split="train", paired=False)
    evidence = evaluate_utility(real, {"transplant": made}, THREE, Means())
    assert list(evidence.curves["classifier"]) == ["real", "real+synthetic", "synthetic"]
    images = {arm: curve["training_images"] for arm, curve in evidence.curves["classifier"].items()}
    assert images == {"real": 24, "real+synthetic": 48, "synthetic": 24}
    assert len({tuple(curve["step"]) for curve in evidence.curves["classifier"].values()}) == 1  # equal steps
    real_arm, copy = (evidence.find("brier", arm=arm).value for arm in ("real", "synthetic"))
    assert real_arm == pytest.approx(copy)  # the very same images, the same seed: the same classifier
    difference = evidence.find("auc-difference", arm="synthetic")
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert {v.verdict for v in evidence.verdicts} == {"not supported"}  # equal is not better
    assert any("4 test patients" in warning for warning in evidence.warnings)


def test_leak_is_refused(real, synthesise):
    with pytest.raises(LeakError, match="p09"):
        augmentation(real, {"transplant": synthesise(same, split="test", paired=False)})
    seen = synthesise(same, split="train", paired=False, seen=("p00", "p12"))
    with pytest.raises(LeakError, match="p12"):
        augmentation(real, {"transplant": seen})
    chose = synthesise(same, split="train", paired=False, seen=("p07",))  # a validation patient chose the checkpoint
    assert len(augmentation(real, {"transplant": chose})[0]) == 1


def test_reconstructions_of_training_patients_stand_in(real, synthesise):
    chosen, warnings = augmentation(real, {"reconstruct": synthesise(same, split="train"), "unet": synthesise(same)})
    assert [(name, len(rows)) for name, _, rows in chosen] == [("reconstruct", 24)]
    assert warnings == []
    chosen, warnings = augmentation(real, {"reconstruct": synthesise(same)})
    assert chosen == []
    assert "stands alone" in warnings[0]


def test_synthetic_images_of_one_class_only_add_to_real_ones(real, synthesise):
    made = synthesise(same, split="train", paired=False)
    tumours = made.select(np.flatnonzero(made.table["label"] == "tumour"))
    evidence = evaluate_utility(real, {"transplant": tumours}, THREE, Means())
    assert list(evidence.curves["classifier"]) == ["real", "real+synthetic"]
    assert any("all of one class" in warning for warning in evidence.warnings)


@pytest.mark.parametrize(
    ("labels", "text"),
    [("one", "has 1 \\(tumour\\)"), ("missing in test", "test has only 'tumour'"), ("three", "has 3")],
)
def test_unfit_labels_are_a_warning(real, synthesise, labels, text):
    label = real.table["label"].copy()
    if labels == "one":
        label[:] = "tumour"
    elif labels == "three":
        label[0] = "cyst"
    else:
        label[real.rows(split="test")] = "tumour"
    changed = replace(real, table=dict(real.table) | {"label": label})
    made = synthesise(same, split="train", paired=False)
    evidence = evaluate_utility(changed, {"transplant": made}, OPTIONS, Means())
    assert evidence.measurements == ()
    assert re.search(text, evidence.warnings[-1])


def test_every_difference_is_defined():
    assert all(name in module.DEFINITIONS for name in METRICS_OF_CLASSIFIER)


ALL = ["real", "real+duplicates", "real+classical", "real+synthetic", "synthetic"]


def test_every_arm_is_trained_and_judged_alike(real, synthesise):
    made = synthesise(same, split="train", paired=False)
    evidence = evaluate_utility(real, {"transplant": made}, OPTIONS, Means())
    curves = evidence.curves
    assert list(curves["classifier"]) == ALL
    assert [curve["training_images"] for curve in curves["classifier"].values()] == [24, 48, 48, 48, 24]
    assert len({tuple(curve["step"]) for curve in curves["classifier"].values()}) == 1
    ids = real.table["id"][real.rows(split="test")]
    predicted = curves["predictions"]
    assert predicted["id"] == ids.tolist()
    assert predicted["patient"] == [name.split("/")[0] for name in ids]
    assert predicted["positive"] == (real.table["label"][real.rows(split="test")] == "tumour").tolist()
    assert {arm: len(values) for arm, values in predicted["arms"].items()} == dict.fromkeys(ALL, len(ids))
    called = np.array(predicted["arms"]["real"]) >= 0.5  # ½ is the threshold, whatever was chosen
    accuracy = evidence.find("accuracy", arm="real").value
    assert accuracy == pytest.approx((called == np.array(predicted["positive"])).mean())
    assert {m.name for m in evidence.measurements} <= set(evidence.definitions)
    assert len({(m.name, m.arm, m.compared) for m in evidence.measurements}) == len(evidence.measurements)


def test_real_images_repeated_have_no_utility(real, synthesise):
    """A synthetic cohort that is the real one: exactly what duplicates give, and never 'supported'."""
    made = synthesise(same, split="train", paired=False)
    for seed in range(3):
        options = OPTIONS.model_copy(update={"seed": seed})
        evidence = evaluate_utility(real, {"transplant": made}, options, Means())
        arms = evidence.curves["predictions"]["arms"]
        assert arms["real+synthetic"] == arms["real+duplicates"]
        compared = "real+duplicates (the same test images)"
        control = evidence.find("balanced-accuracy-difference", arm="real+synthetic", compared=compared)
        assert (control.value, control.low, control.high) == (0, 0, 0)
        exchange = evidence.find("exchange-p-holm", arm="real+synthetic", compared=compared)
        assert exchange.value == 1
        assert [v for v in evidence.verdicts if v.verdict == "supported"] == []


def judged(shares, difference, **others):
    """A comparison of 40 patients with these numbers, and the measurements that a verdict reads."""
    from synthoma.evaluation.tests_of_difference import McNemar, equivalence
    from synthoma.evaluation.utility_tests import Comparison
    from synthoma.records import Measurement

    value, low, high = difference
    error = (high - low) / 3.92
    one = Comparison(
        "real+synthetic", "real", value, 40, shares, shares, "", McNemar(0, 0, 1.0), 1.0, 1, None,
        equivalence(value, error, 39, 0.02), 77,
    )  # fmt: skip
    measured = {other: Measurement("", *ends, 0, 40, "", "") for other, ends in {"real": difference, **others}.items()}
    return one, measured["real"], {("real+synthetic", other): m for other, m in measured.items()}


@pytest.mark.parametrize(
    ("p", "difference", "others", "verdict", "text"),
    [
        (0.01, (0.08, 0.03, 0.13), {}, "supported", "+8.0 points, 40 test patients"),
        (0.01, (0.08, 0.03, 0.13), {"real+duplicates": (0.05, 0.01, 0.09)}, "supported", "after Holm 0.01"),
        (0.01, (0.08, 0.03, 0.13), {"real+duplicates": (0.0, -0.02, 0.02)}, "cannot tell", "repeated as often"),
        (0.20, (0.08, 0.03, 0.13), {}, "cannot tell", "with n = 40 patients (with 77 one could)"),
        (0.20, (0.08, -0.03, 0.19), {}, "cannot tell", "-3.0 to +19.0"),
        (1.00, (-0.01, -0.09, 0.07), {}, "not supported", "-1.0 points"),
        (0.50, (0.002, -0.004, 0.008), {}, "not supported", "equal to within 2 points"),
    ],
)
def test_verdicts(p, difference, others, verdict, text):
    from synthoma.evaluation.utility_tests import verdict_of

    found = verdict_of(*judged(p, difference, **others), OPTIONS)
    assert found.verdict == verdict
    assert text in found.because


def test_a_cohort_that_helps_is_found_to(real, draw):
    """Real training labels are noise, synthetic images show the lesion: synthetic helps, more than copies do."""
    random = np.random.default_rng(0)
    label = real.table["label"].copy()
    rows = real.rows(split="train")
    label[rows] = random.permutation(label[rows])
    confused = replace(real, table=dict(real.table) | {"label": label})
    images = np.full((60, 48, 48), -0.9)
    images[:30, 20:30, 20:30] = 1.0
    made = draw(images + 0.05 * random.normal(size=images.shape), ["tumour"] * 30 + ["tumour-free"] * 30)
    options = EvaluationOptions(
        bootstrap_draws=200, classifier=ClassifierOptions(steps=200, batch=8, checks=4, learning_rate=0.05)
    )
    evidence = evaluate_utility(confused, {"sample": made}, options, Means())
    assert evidence.find("auc", arm="synthetic").value > 0.95
    difference = evidence.find("auc-difference", arm="synthetic")
    assert difference.value > 0.1
    delong = evidence.find("auc-delong", arm="real")
    assert delong.value == pytest.approx(evidence.find("auc", arm="real").value)
    assert delong.low < delong.value < delong.high


def test_ratio_and_learning_curves(real, synthesise):
    made = synthesise(same, split="train", paired=False)
    utility = UtilityOptions(ratio=0.5, ratio_curve=(0.25, 1, 3), learning_curve=(0.3, 1))
    evidence = evaluate_utility(real, {"transplant": made}, OPTIONS.model_copy(update={"utility": utility}), Means())
    sizes = [curve["training_images"] for curve in evidence.curves["classifier"].values()]
    assert sizes == [24, 36, 36, 36, 12]
    ratios = evidence.curves["ratio_curve"]["real+synthetic"]
    assert [(point["at"], point["training_images"]) for point in ratios] == [(0.25, 30), (1, 48)]
    assert any("3 synthetic images for each real one are 72, and 24 are there" in w for w in evidence.warnings)
    learning = evidence.curves["learning_curve"]
    assert [(point["at"], point["patients"]) for point in learning["real"]] == [(0.3, 2), (1, 6)]
    assert [point["training_images"] for point in learning["real+synthetic"]] == [8 + 12, 24 + 12]
    whole = learning["real"][1]["balanced-accuracy"]
    assert whole["value"] == evidence.find("balanced-accuracy", arm="real").value  # the arm itself, not trained again
    point = evidence.find("auc-by-ratio", arm="real+synthetic, 0.25 for each real")
    assert (point.value, point.low, point.high) == tuple(ratios[0]["auc"].values())
    assert evidence.find("balanced-accuracy-by-patients", arm="real, 30 % of the real patients").value is not None
    assert set(evidence.curves["predictions"]["arms"]) == set(ALL)
    assert not any("difference" in m.name and "," in m.arm for m in evidence.measurements)


def test_shares_keep_proportions_and_grow():
    from synthoma.evaluation.arms import share_of, some_patients

    positive = np.arange(60) % 3 == 0
    part = Labelled(np.arange(60.0)[:, None, None, None], positive, np.array([f"p{i % 15:02d}" for i in range(60)]))

    def content(images):
        return set(images.images.ravel().tolist())

    shares = [share_of(part, count, 0) for count in (6, 15, 30, 60, 99)]
    assert [len(share.positive) for share in shares] == [6, 15, 30, 60, 60]
    assert [int(share.positive.sum()) for share in shares] == [2, 5, 10, 20, 20]
    assert all(content(a) <= content(b) for a, b in pairwise(shares))
    few = [some_patients(part, share, 0) for share in (0.2, 0.4, 1.0)]
    assert all(content(a) <= content(b) for a, b in pairwise(few))
    assert [len(set(one.patients.tolist())) for one in few] == [3, 6, 15]
    assert all(one.positive.any() and not one.positive.all() for one in few)  # 5 of 15 patients are positive
    assert content(share_of(part, 15, 1)) != content(shares[1])


def test_classical_copies_differ_from_their_images_and_each_other():
    from synthoma.cohort.augment import AugmentOptions
    from synthoma.evaluation.arms import changed_copies

    part = _parts()[0]
    part = replace(part, images=part.images.astype(np.float32))
    twice = Labelled(*(np.concatenate([getattr(part, n)] * 2) for n in ("images", "positive", "patients")))
    found = changed_copies(twice, UtilityOptions().classical, 0)
    assert found.images.shape == twice.images.shape
    assert np.abs(found.images).max() <= 1
    assert not any(np.array_equal(a, b) for a, b in zip(found.images, twice.images, strict=True))
    assert not any(np.array_equal(found.images[i], found.images[i + 40]) for i in range(40))
    still = changed_copies(twice, AugmentOptions(), 0)
    assert np.array_equal(still.images, np.clip(twice.images, -1, 1))
    flipped = changed_copies(twice, AugmentOptions(flip_left_right=True), 0).images
    mirrored = [np.array_equal(a, np.clip(b, -1, 1)[..., ::-1]) for a, b in zip(flipped, twice.images, strict=True)]
    assert 20 < sum(mirrored) < 60


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"arms": ("real", "real+magic")}, "unknown arm 'real\\+magic'"),
        ({"arms": ("synthetic",)}, "expected 'real' and others"),
        ({"arms": ("real", "real")}, "each once"),
        ({"ratio": 0}, "greater than 0"),
        ({"ratio_curve": (1, 0.5)}, "expected rising numbers"),
        ({"learning_curve": (0.5, 1.5)}, "less than or equal to 1"),
        ({"margin": 0}, "greater than 0"),
    ],
)
def test_settings_of_utility_are_checked(settings, text):
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match=text):
        UtilityOptions(**settings)
    assert UtilityOptions(arms=("synthetic", "real")).arms == ("real", "synthetic")  # always in their order
