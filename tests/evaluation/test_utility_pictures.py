"""ROC and calibration curves against scikit-learn, and what is kept of every arm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from synthoma.evaluation.arms import Pool
from synthoma.evaluation.classifier import Labelled, Trained, auc
from synthoma.evaluation.options import EmbeddingOptions, EvaluationOptions
from synthoma.evaluation.utility_measures import Judged
from synthoma.evaluation.utility_pictures import calibration_error, own_probability, pictures_of_arms, reliability, roc

OPTIONS = EvaluationOptions(bootstrap_draws=200, embedding=EmbeddingOptions(images=10, perplexity=5))


def some_test(n=80, seed=0):
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    score = np.clip(0.35 * positive + 0.6 * random.random(n), 0.001, 0.999)
    images = np.zeros((n, 1, 4, 4), np.float32)
    return Labelled(images, positive, np.array([f"p{i // 4}" for i in range(n)])), score, random


def test_roc_equals_scikit_learn():
    test, score, _ = some_test()
    found = roc(test, score)
    false, true, _ = metrics.roc_curve(test.positive, score)
    assert found["false_positive_rate"] == pytest.approx(false, abs=1e-5)
    assert found["true_positive_rate"] == pytest.approx(true, abs=1e-5)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(test.positive, score))
    assert found["low"] < found["auc"] < found["high"]
    assert (found["images"], found["patients"]) == (80, 20)


def test_a_long_roc_is_thinned_and_keeps_its_area():
    test, score, _ = some_test(4000)
    found = roc(test, score)
    assert len(found["false_positive_rate"]) <= 120
    area = np.trapezoid(found["true_positive_rate"], found["false_positive_rate"])
    assert area == pytest.approx(auc(test.positive, score), abs=0.01)


def test_reliability_equals_scikit_learn():
    test, score, _ = some_test()
    found = reliability(test.positive, score)
    observed, predicted = calibration_curve(test.positive, score, n_bins=8, strategy="quantile")
    assert found["observed"] == pytest.approx(observed, abs=1e-5)
    assert found["predicted"] == pytest.approx(predicted, abs=1e-5)
    assert found["images"] == [10] * 8
    expected = float(np.mean(np.abs(observed - predicted)))
    assert calibration_error(test.positive, score) == pytest.approx(expected)
    for low, value, high in zip(found["low"], found["observed"], found["high"], strict=True):
        assert low <= value <= high


def test_a_calibrated_classifier_has_a_small_error_and_an_overconfident_one_a_large():
    random = np.random.default_rng(0)
    probability = random.random(40_000)
    positive = random.random(40_000) < probability
    assert calibration_error(positive, probability) < 0.01
    assert calibration_error(positive, np.clip(2 * probability - 0.5, 0, 1)) > 0.1


@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.93])
def test_own_probabilities_undo_the_shift(threshold):
    own = np.linspace(0.01, 0.99, 15)
    logit = np.log(own / (1 - own)) - np.log(threshold / (1 - threshold))
    shifted = 1 / (1 + np.exp(-logit))
    assert own_probability(shifted, threshold) == pytest.approx(own)


def judged(name, test, score, embedding, curve=""):
    pool = Pool(name, test, curve, "real", 0.5)
    return Judged(pool, Trained(score, [1], [0.5], 1, 0.5, "a classifier", embedding.astype(np.float32)))


def test_every_arm_has_its_numbers_and_curves():
    test, score, random = some_test()
    noise = random.normal(size=(80, 3))
    apart = noise + 4 * test.positive[:, None]
    arms = [judged("real", test, score, noise), judged("real+synthetic", test, score, apart)]
    points = [judged("real, 50 %", test, score, noise, "patients")]
    found, curves = pictures_of_arms(arms + points, test, "tumour", OPTIONS)
    by = {(m.name, m.arm): m for m in found}
    assert set(by) == {
        ("calibration-error", "real"), ("calibration-error", "real+synthetic"),
        ("silhouette-classifier", "real"), ("silhouette-classifier", "real+synthetic"),
        ("silhouette-classifier-gain", "real+synthetic"),
    }  # fmt: skip
    expected = [metrics.silhouette_score(e.astype(np.float32), test.positive) for e in (noise, apart)]
    assert by["silhouette-classifier", "real"].value == pytest.approx(expected[0], abs=1e-6)
    gain = by["silhouette-classifier-gain", "real+synthetic"]
    assert gain.value == pytest.approx(expected[1] - expected[0], abs=1e-6)
    assert gain.low > 0
    assert gain.n_patients == 20
    for curve in ("roc", "reliability", "classifier_embedding"):
        assert list(curves[curve]) == ["real", "real+synthetic"]
    drawn = curves["classifier_embedding"]["real"]
    assert len(drawn["tsne"]) == len(drawn["pca"]) == len(drawn["positive"]) == 20
    assert (drawn["perplexity"], drawn["seed"], drawn["label"]) == (5, 0, "tumour")


def test_of_one_class_nothing_is_drawn():
    test, score, random = some_test()
    alone = Labelled(test.images, np.ones(80, bool), test.patients)
    assert pictures_of_arms([judged("real", alone, score, random.normal(size=(80, 2)))], alone, "x", OPTIONS) == (
        [],
        {},
    )
