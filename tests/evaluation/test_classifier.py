"""The classifier's threshold, its changes of training images, and ResNet-50."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import balanced_accuracy_score

from synthoma.errors import MissingPartError
from synthoma.evaluation import classifier
from synthoma.evaluation.classifier import LIGHT, Labelled, train_classifier
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import ClassifierOptions


class Given(Features):
    """Stands in for the network: the images are their own features."""

    description = "given"

    def __call__(self, images):
        return images.reshape(len(images), 1, -1).astype(np.float64)


def labelled(values, positive):
    values = np.asarray(values, dtype=np.float32)
    return Labelled(values[:, None, None, None], np.asarray(positive), np.arange(len(values)))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(-6, 6)), min_size=2, max_size=25))
def test_no_cut_has_a_higher_balanced_accuracy(pairs):
    positive = np.array([True, False, *(side for side, _ in pairs)])
    logits = np.array([0.5, -0.5, *(value / 2 for _, value in pairs)])
    cut = classifier._best_cut(positive, logits)
    best = balanced_accuracy_score(positive, logits >= cut)
    others = [
        balanced_accuracy_score(positive, logits >= other)
        for other in (0, *np.arange(-3.75, 4, 0.25))
        if other == 0 or logits.min() < other <= logits.max()  # a cut beyond all would call all of them one class
    ]
    assert best >= max(others) - 1e-9
    if balanced_accuracy_score(positive, logits >= 0) >= best - 1e-9:
        assert cut == 0  # nothing is moved without need


def test_a_cut_lies_in_the_middle_of_what_it_parts():
    positive = np.array([True, True, False, False])
    assert classifier._best_cut(positive, np.array([-1.0, -2.0, -4.0, -5.0])) == -3
    assert classifier._best_cut(positive, np.zeros(4)) == 0


def test_a_biased_classifier_is_put_right_by_validation_patients_and_not_by_test_ones():
    """Training images of one class are brighter than they are elsewhere: ½ of the network calls nearly all negative."""
    random = np.random.default_rng(0)

    def part(n, positive_mean, negative_mean):
        positive = np.arange(n) % 2 == 0
        return labelled(np.where(positive, positive_mean, negative_mean) + 0.3 * random.normal(size=n), positive)

    parts = [part(60, 4.0, 0.0), part(40, 1.5, 0.0), part(400, 1.5, 0.0)]
    found = {}
    for threshold in ("half", "validation"):
        options = ClassifierOptions(steps=200, learning_rate=0.1, checks=1, batch=16, threshold=threshold)
        found[threshold] = train_classifier(*parts, options, 0, Given())
    truth, half, chosen = parts[2].positive, found["half"], found["validation"]
    assert balanced_accuracy_score(truth, half.probability >= 0.5) < 0.7
    assert balanced_accuracy_score(truth, chosen.probability >= 0.5) > 0.95
    assert half.threshold == 0.5
    assert chosen.threshold < 0.5
    cut = np.log(chosen.threshold / (1 - chosen.threshold))
    logits = np.log(half.probability / (1 - half.probability))
    shifted = np.log(chosen.probability / (1 - chosen.probability))
    assert shifted == pytest.approx(logits - cut, abs=1e-6)  # the order, and so the AUC, is the same
    assert "threshold 0.5" in half.method
    assert "best balanced accuracy on validation patients" in chosen.method


@pytest.mark.parametrize(
    ("given_settings", "text"),
    [
        ({"network": "resnet50", "weights": "none"}, "expected trainable: all, found head"),
        ({"network": "resnet50", "trainable": "all"}, "resnet50 needs weights"),
        ({"weights": "none"}, "weights belong to network: resnet50"),
        ({"augment": "minimal"}, "expected trainable: all"),
        ({"trainable": "all", "augment": "wild"}, "unknown augmentation 'wild'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given_settings, text):
    with pytest.raises(ValidationError, match=text):
        ClassifierOptions(**given_settings)


def test_a_missing_file_of_weights_is_named_with_its_setting(tmp_path):
    options = ClassifierOptions(network="resnet50", trainable="all", weights=tmp_path / "resnet50.pth")
    with pytest.raises(MissingPartError) as caught:
        options.check_weights()
    assert "evaluation.classifier.weights: expected a file with torchvision's resnet50 weights" in str(caught.value)
    assert "nothing at" in str(caught.value)
    (tmp_path / "resnet50.pth").write_bytes(b"there")
    options.check_weights()
    ClassifierOptions(network="resnet50", trainable="all", weights="none").check_weights()


def _parts():
    random, parts = np.random.default_rng(0), []
    for _ in range(3):
        positive = np.arange(8) % 2 == 0
        images = np.clip(random.normal(0, 0.3, (8, 2, 40, 40)) + 0.4 * positive[:, None, None, None], -1, 1)
        parts.append(Labelled(images.astype(np.float32), positive, np.arange(8)))
    return tuple(parts)


def test_only_training_images_are_changed_and_each_time_anew(monkeypatch):
    monkeypatch.setattr("synthoma.networks.pretrained.efficientnet_lite0", lambda: (torch.nn.Identity(), ""))
    parts, rows = _parts(), np.array([0, 3])
    options = ClassifierOptions(trainable="all")
    _, give = classifier._whole(parts, options, 0, torch.device("cpu"))
    first, second, again = give(0, rows), give(0, rows), classifier._whole(parts, options, 0, torch.device("cpu"))[1]
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.from_numpy(parts[0].images[rows]))
    assert torch.equal(again(0, rows), first)  # by the seed alone
    for side in (1, 2):
        assert torch.equal(give(side, rows), torch.from_numpy(parts[side].images[rows]))
    plain = classifier._whole(parts, options.model_copy(update={"augment": LIGHT.__class__()}), 0, torch.device("cpu"))
    assert torch.equal(plain[1](0, rows), torch.from_numpy(parts[0].images[rows]))


@pytest.mark.slow
def test_resnet50_learns_and_says_where_it_started(tmp_path):
    from safetensors.torch import save_file

    from synthoma.networks.resnet50 import ResNet50
    from synthoma.storage import file_sha256

    torch.manual_seed(0)
    save_file(ResNet50().state_dict(), tmp_path / "w.safetensors")
    common = {"network": "resnet50", "trainable": "all", "steps": 4, "batch": 4, "checks": 2}
    named = ClassifierOptions(weights=tmp_path / "w.safetensors", **common)
    found = train_classifier(*_parts(), named, 0, Features(device="cpu"))
    assert f"resnet50 (weights {file_sha256(tmp_path / 'w.safetensors')[:16]})" in found.method
    assert "images changed at random (rotate_deg 5, scale 0.05" in found.method
    assert found.probability.shape == (8,)
    untrained = ClassifierOptions(weights="none", augment="none", **common)
    first, second = (train_classifier(*_parts(), untrained, 0, Features(device="cpu")) for _ in range(2))
    assert np.array_equal(first.probability, second.probability)
    assert not np.array_equal(first.probability, found.probability)
    assert "untrained at the start" in first.method
    assert "images as they are" in first.method
