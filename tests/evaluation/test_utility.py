"""The classifier and its arms."""

from __future__ import annotations

import re
from dataclasses import replace

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
from synthoma.evaluation.utility import augmentation, evaluate_utility

QUICK = ClassifierOptions(steps=40, batch=8, checks=4)
OPTIONS = EvaluationOptions(bootstrap_draws=200, classifier=QUICK)


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
    evidence = evaluate_utility(real, {"transplant": made}, OPTIONS, Means())
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
    evidence = evaluate_utility(real, {"transplant": tumours}, OPTIONS, Means())
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
