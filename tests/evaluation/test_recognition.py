"""Whether a classifier of real images takes synthetic ones for what they claim to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from synthoma.evaluation import ClassifierOptions, EvaluationOptions
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import RecognitionOptions
from synthoma.evaluation.recognition import ACCURACY, AS_TARGET, BALANCED, Question, evaluate_recognition, questions

OPTIONS = EvaluationOptions(
    bootstrap_draws=200,
    max_images=400,
    families=("recognition",),
    classifier=ClassifierOptions(steps=200, batch=8, checks=4, learning_rate=0.1),
)
BY_CHANNEL = "channel: t1 or flair"


class Largest(Features):
    """Stands in for the network: the largest and the mean value of each image, which tell these classes apart."""

    description = "largest"

    def __call__(self, images):
        return np.stack([images.max(axis=(2, 3)), images.mean(axis=(2, 3))], axis=2).astype(np.float64)


def of(real, channel, shift=0.0):
    return lambda row: np.where(real.body(row), real.channel(channel)[row] + shift, -1)


@pytest.fixture(scope="module")
def plain(real):
    """The two channels differ by a shift that anyone can see, in every image."""
    images = real.images.copy()
    images[:, 0] = np.where(real.masks[:, 0] > 0, images[:, 0] * 0.2 - 0.5, -1)
    images[:, 1] = np.where(real.masks[:, 0] > 0, images[:, 0] * 0.2 + 0.5, -1)
    return replace(real, images=images.astype("f4"))


def test_a_perfect_translation_is_recognised_and_the_identity_is_not(plain, translate):
    arms = {"translate": translate(of(plain, "flair")), "idle": translate(of(plain, "t1"))}
    found = evaluate_recognition(plain, arms, OPTIONS, Largest())
    perfect, idle = (found.find(AS_TARGET, arm=arm, compared=BY_CHANNEL) for arm in arms)
    assert (perfect.value, perfect.low, perfect.high) == (1, 1, 1)
    assert (idle.value, idle.low, idle.high) == (0, 0, 0)
    assert (perfect.n_images, perfect.n_patients) == (16, 4)
    real = found.find(BALANCED, arm="real", compared=BY_CHANNEL)
    assert (real.value, real.n_images, real.n_patients) == (1, 32, 4)  # both channels of the test images
    assert found.find(ACCURACY, arm="real", compared=BY_CHANNEL).value == 1
    assert found.find(AS_TARGET, arm="real (flair)", compared=BY_CHANNEL).value == 1
    assert found.find(AS_TARGET, arm="source of translate (untranslated)", compared=BY_CHANNEL).value == 0
    verdicts = {v.claim.split()[0]: v.verdict for v in found.verdicts if "(channel)" in v.claim}
    assert verdicts == {"translate": "supported", "idle": "not supported"}
    assert {m.name for m in found.measurements} <= set(found.definitions)


def test_half_translated_is_half_recognised(plain, translate):
    rows = plain.rows(split="test").tolist()
    half = translate(lambda row: of(plain, "flair" if rows.index(row) % 2 else "t1")(row))
    found = evaluate_recognition(plain, {"translate": half}, OPTIONS, Largest())
    assert found.find(AS_TARGET, arm="translate", compared=BY_CHANNEL).value == 0.5


def test_training_reads_neither_test_images_nor_synthetic_ones(plain, translate, monkeypatch):
    from synthoma.evaluation import classifier

    sets = []
    inner = classifier.train_classifier

    def spy(train, validation, test, *rest):
        sets.append((set(train.patients), set(validation.patients), set(test.patients)))
        return inner(train, validation, test, *rest)

    monkeypatch.setattr(classifier, "train_classifier", spy)
    evaluate_recognition(plain, {"translate": translate(of(plain, "flair"))}, OPTIONS, Largest())
    split = dict(zip(plain.table["patient"].tolist(), plain.table["split"].tolist(), strict=True))
    assert len(sets) == 2  # by channel, by label
    only = OPTIONS.model_copy(update={"recognition": RecognitionOptions(by=("channel",))})
    found = evaluate_recognition(plain, {"translate": translate(of(plain, "flair"))}, only, Largest())
    assert {m.compared for m in found.measurements} == {BY_CHANNEL}
    assert len(sets) == 3
    for train, validation, test in sets:
        assert [{split[p] for p in part} for part in (train, validation, test)] == [{"train"}, {"validation"}, {"test"}]


def test_requested_labels_are_recognised_or_not(real, draw):
    rows = np.concatenate([real.rows(split="train"), real.rows(split="validation")])
    images, labels = real.channel("flair")[rows], real.table["label"][rows].tolist()
    random = np.random.default_rng(1)
    arms = {"sample": draw(images, labels), "shuffled": draw(images, random.permutation(labels).tolist())}
    found = evaluate_recognition(real, arms, OPTIONS, Largest())
    compared = "label of flair: tumour or tumour-free"
    good, shuffled, truth = (found.find(BALANCED, arm=arm, compared=compared) for arm in (*arms, "real"))
    assert good.value > 0.9
    assert good.low > 0.65
    assert truth.value > 0.9
    assert shuffled.low < 0.5 < shuffled.high
    assert shuffled.value == pytest.approx(0.5, abs=0.15)
    right = round(found.find(ACCURACY, arm="shuffled", compared=compared).value * len(rows))
    exact = binomtest(right, len(rows)).proportion_ci(method="exact")  # as many of either label: the two are one
    assert (shuffled.low, shuffled.high) == pytest.approx((exact.low, exact.high))
    assert "Clopper–Pearson interval of 36 independent images" in shuffled.method
    verdicts = {v.claim.split()[0]: v.verdict for v in found.verdicts}
    assert verdicts["sample"] == "supported"
    assert verdicts["shuffled"] != "supported"


def test_unequal_classes_have_a_bootstrap_for_the_balanced_accuracy(real, draw):
    rows = real.rows(split="train")[:-3]
    made = draw(real.channel("flair")[rows], real.table["label"][rows].tolist())
    found = evaluate_recognition(real, {"sample": made}, OPTIONS, Largest())
    assert "bootstrap" in found.find(BALANCED, arm="sample").method
    assert "Clopper" in found.find(ACCURACY, arm="sample").method


def test_a_cohort_of_one_label_is_asked_for_that_label(real, synthesise):
    made = synthesise(lambda image, _: image, split="train", paired=False)
    free = made.select(np.flatnonzero(made.table["label"] == "tumour-free"))
    found = evaluate_recognition(real, {"remove": free}, OPTIONS, Largest())
    share = found.find(AS_TARGET, arm="remove")
    assert share.value > 0.9
    assert "the classifier knows real images of patients that these were made from" in share.method
    assert found.find(AS_TARGET, arm="real (tumour-free)").n_images == 8


def test_sites_labels_and_modalities_are_asked_for_where_they_changed(real, translate):
    site = np.where(np.arange(len(real)) % 4 < 2, "north", "south")
    images = real.images.copy()
    images[site == "south"] += 0.4 * (images[site == "south"] > -1)
    two = replace(real, images=images.clip(-1, 1), table=dict(real.table) | {"site": site})
    rows = two.rows(split="test")
    keep = np.flatnonzero(site[rows] == "north")

    def arm(shift, **columns):
        return translate(of(two, "t1", shift), "t1", "t1", paired=False, **columns).select(keep)

    arms = {"translate": arm(0.4, site="south"), "idle": arm(0.0, site="south")}
    asked = questions(two, arms)
    assert Question("site", ("north", "south"), ("t1",)) in asked
    found = evaluate_recognition(two, arms, OPTIONS, Largest())
    compared = "site of t1: north or south"
    assert found.find(AS_TARGET, arm="translate", compared=compared).value > 0.9
    assert found.find(AS_TARGET, arm="idle", compared=compared).value < 0.3
    source = found.find(AS_TARGET, arm="source of idle (untranslated)", compared=compared)
    assert source.value == found.find(AS_TARGET, arm="idle", compared=compared).value
    tumours = np.flatnonzero(real.table["label"][rows] == "tumour-free")
    made = translate(of(real, "flair"), "flair", "flair", paired=False, label="tumour").select(tumours)
    assert list(questions(real, {"translate": made})) == [Question("label", ("tumour-free", "tumour"), ("flair",))]


def test_what_cannot_be_asked_is_said(real, translate, draw):
    cycle = translate(of(real, "t1"), "t1", "t1")
    found = evaluate_recognition(real, {"cycle": cycle}, OPTIONS, Largest())
    assert found.measurements == ()
    assert "no cohort claims one of two classes" in found.warnings[0]
    label = real.table["label"].copy()
    label[real.rows(split="validation")] = "tumour"
    poor = replace(real, table=dict(real.table) | {"label": label})
    made = draw(np.zeros((8, 48, 48)), ["tumour", "tumour-free"] * 4)
    found = evaluate_recognition(poor, {"sample": made}, OPTIONS, Largest())
    assert found.measurements == ()
    assert "validation has no real image of 'tumour-free'" in found.warnings[0]
    cyst = draw(np.zeros((8, 48, 48)), ["cyst"] * 8)
    assert questions(real, {"sample": cyst}) == {}


def test_an_ignorant_classifier_proves_nothing(real, translate, monkeypatch):
    """Where even real test images are not told apart, no translation is called recognised."""

    class Blind(Features):
        description = "blind"

        def __call__(self, images):
            return np.zeros((*images.shape[:2], 2))

    found = evaluate_recognition(real, {"translate": translate(of(real, "flair"))}, OPTIONS, Blind())
    assert {v.verdict for v in found.verdicts} == {"cannot tell"}
