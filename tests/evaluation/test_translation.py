"""Arms of different channels: translations there and back, and images from noise, in every family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthoma.errors import LeakError
from synthoma.evaluation import METRICS, ClassifierOptions, EvaluationOptions, evaluate
from synthoma.evaluation.comparisons import comparisons
from synthoma.evaluation.distances import frechet_distance
from synthoma.evaluation.distribution import evaluate_distribution
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import ARMS
from synthoma.evaluation.similarity import evaluate_similarity
from synthoma.evaluation.structure import evaluate_structure
from synthoma.evaluation.utility import augmentation, evaluate_utility
from synthoma.similarity import ssim

OPTIONS = EvaluationOptions(
    bootstrap_draws=200, max_images=16, classifier=ClassifierOptions(steps=20, batch=8, checks=2)
)
ROUND_TRIP = "the image it began with, there and back (real test); t1"


class Pools(Features):
    """Stands in for the network: 16 means over a 4 × 4 grid."""

    description = "grid means"

    def __call__(self, images):
        n, c, h, w = images.shape
        return (
            np.clip(images, -1, 1)
            .reshape(n, c, 4, h // 4, 4, w // 4)
            .mean(axis=(3, 5))
            .reshape(n, c, 16)
            .astype(np.float64)
        )


@pytest.fixture
def arms(real, translate):
    """Translated well, back well, a round trip with a little noise, and training images translated for use."""
    noise = np.random.default_rng(3).normal(0, 0.03, (64, 48, 48))

    def of(channel, scale=1.0):
        return lambda row: real.channel(channel)[row] + scale * noise[row % 64]

    return {
        "translate": translate(of("flair")),
        "back": translate(of("t1", 2), "flair", "t1"),
        "cycle": translate(of("t1", 0.5), "t1", "t1"),
        "redraw": translate(of("flair"), split="train", paired=False),
    }


def test_each_direction_has_baselines_of_its_own_and_a_round_trip_none(real, arms):
    found = evaluate_similarity(real, arms, OPTIONS, Pools())
    rivals = ["source image", "least squares", "mean training image"]
    for compared, names in (
        ("real test; flair", ["translate", *rivals]), ("real test; t1", ["back", *rivals]), (ROUND_TRIP, ["cycle"]),
    ):  # fmt: skip
        got = [m.arm for m in found.measurements if (m.name, m.region, m.compared) == ("ssim", "body", compared)]
        assert got == names
    rows, patients = real.rows(split="test"), real.table["patient"]
    for arm, channel, compared in (("back", "t1", "real test; t1"), ("cycle", "t1", ROUND_TRIP)):
        made = arms[arm].channel(channel).clip(-1, 1)
        scores = [ssim(real.channel(channel)[r], made[i], 2.0, real.body(int(r))) for i, r in enumerate(rows)]
        means = [np.mean([s for s, r in zip(scores, rows, strict=True) if patients[r] == p]) for p in
                 sorted(set(patients[rows]))]  # fmt: skip
        assert found.find("ssim", region="body", arm=arm, compared=compared).value == pytest.approx(np.mean(means))
    source = found.find("ssim", region="body", arm="source image", compared="real test; t1").value
    made = [ssim(real.channel("t1")[r], real.channel("flair")[r], 2.0, real.body(int(r))) for r in rows]
    assert source == pytest.approx(np.mean(made))  # patients have equally many images
    assert {v.claim.split()[0] for v in found.verdicts} == {"translate", "back"}
    assert {v.verdict for v in found.verdicts if v.claim.endswith("than source image")} == {"supported"}
    assert any(text.startswith("redraw: no sample has a reference") for text in found.warnings)
    keys = [(m.name, m.region, m.arm, m.compared) for m in found.measurements]
    assert len(set(keys)) == len(keys)


def test_doing_nothing_is_no_better_than_the_source(real, translate):
    idle = translate(lambda row: real.channel("t1")[row])
    found = evaluate_similarity(real, {"translate": idle}, OPTIONS, Pools())
    against = [v for v in found.verdicts if v.claim.endswith("than source image")]
    assert [v.verdict for v in against] == ["not supported"] * 2
    assert found.find("ssim-difference", region="body", compared="source image").value == pytest.approx(0)


def test_a_conditional_gan_can_be_a_rival_of_a_translation(real, arms, synthesise):
    pix = synthesise(lambda image, _: image)
    found = evaluate_similarity(real, {**arms, "pix": pix}, OPTIONS, Pools())
    assert found.find("ssim-difference", region="body", arm="translate", compared="pix").value < 0
    assert found.find("ssim", region="body", arm="pix").compared == "real test; flair"


def test_the_untranslated_source_stands_beside_its_translation(real, arms):
    found = evaluate_distribution(real, arms, OPTIONS, Pools())
    rows = real.rows(split="test")
    t1, flair = (Pools()(real.images[rows][:, [c]])[:, 0] for c in (0, 1))
    made = Pools()(arms["translate"].images)[:, 0]
    name = "source of translate (untranslated)"
    same = "real test (the same patients; flair)"
    translated = found.find("frechet-distance", arm="translate", region="frame", compared=same)
    source = found.find("frechet-distance", arm=name, region="frame", compared=same)
    assert translated.value == pytest.approx(frechet_distance(flair, made), rel=1e-6)
    assert source.value == pytest.approx(frechet_distance(flair, t1), rel=1e-6)
    assert source.n_images == translated.n_images == 16
    assert found.find("kid", arm=name, region="frame", compared=same).value is not None
    difference = found.find("frechet-distance-difference", arm="translate", region="frame")
    assert difference.value == pytest.approx(translated.value - source.value)
    assert difference.compared == name
    verdicts = {v.claim: v.verdict for v in found.verdicts if "what they were made from" in v.claim}
    claim = "{} images are nearer to real ones than what they were made from is (Fréchet distance)"
    assert verdicts[claim.format("translate")] == verdicts[claim.format("redraw")] == "supported"
    assert not [m for m in found.measurements if m.arm == "cycle" or m.compared == f"floor of {name}"]


def test_the_identity_is_no_nearer_than_its_source(real, translate):
    idle = translate(lambda row: real.channel("t1")[row], split="train", paired=False)
    found = evaluate_distribution(real, {"redraw": idle}, OPTIONS, Pools())
    difference = found.find("frechet-distance-difference", region="frame")
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert [v.verdict for v in found.verdicts if "images are nearer" in v.claim] == ["not supported"]


def test_translations_to_a_modality_or_a_site_are_compared_with_images_of_it(real, translate):
    modality = np.where(np.arange(len(real)) % 4 < 2, "MR", "CT")
    site = np.where(np.arange(len(real)) % 2 == 0, "A", "B")
    mixed = replace(real, table=dict(real.table) | {"modality": modality, "site": site})
    to_ct = translate(lambda row: real.channel("t1")[row], "t1", "t1", paired=False, modality="CT")
    (found,), _ = comparisons(mixed, {"translate": to_ct})
    assert set(mixed.table["modality"][found.real_rows]) == {"CT"}
    assert found.compared == "real held-out (tumour, tumour-free; CT)"
    assert set(mixed.table["modality"][found.alike]) == {"CT"}
    tumours = to_ct.select(np.arange(0, len(to_ct), 2))  # all of them from site A
    harmonised = replace(tumours, table=dict(tumours.table) | {"site": np.full(8, "B"), "label": np.full(8, "")})
    mixed = replace(
        mixed, table=dict(mixed.table) | {"label": np.full(len(real), ""), "modality": np.full(len(real), "CT")}
    )
    (found,), warnings = comparisons(mixed, {"translate": harmonised})
    assert set(mixed.table["site"][found.real_rows]) == {"B"}
    assert found.compared == "real held-out (B)"
    assert warnings == []


def test_images_from_noise_go_through_every_family(real, draw):
    rows = real.rows(split="train")
    made = draw(real.channel("flair")[rows], real.table["label"][rows].tolist())
    random = np.random.default_rng(0).normal(0, 0.2, (24, 48, 48))
    found = evaluate(real, {"sample": made, "untrained": draw(random, ["tumour", "tumour-free"] * 12, seed=1)}, OPTIONS)
    near, far = (found.find("frechet-distance", arm=arm, region="frame") for arm in ("sample", "untrained"))
    assert near.n_images == far.n_images
    assert near.high < far.low
    assert "sample, lesion: 0 images a side" in " ".join(found.warnings)
    assert "sample: no sample has a reference" in " ".join(found.warnings)
    assert (
        found.find("checkerboard-index", arm="untrained").value
        > 2 * found.find("checkerboard-index", arm="sample").value
    )
    assert [m.arm for m in found.measurements if m.name == "auc"] == list(ARMS)
    assert not [m for m in found.measurements if m.arm.startswith("source")]
    assert tuple(found.families) == tuple(METRICS)
    assert {m.name for m in found.measurements} <= set(found.definitions)


def test_collapsed_samples_are_told(real, draw):
    one = np.repeat(real.channel("flair")[:1], 12, axis=0)
    found = evaluate_distribution(real, {"sample": draw(one, ["tumour", "tumour-free"] * 6)}, OPTIONS, Pools())
    assert any("sample, frame: diversity ratio 0.00" in text for text in found.warnings)


def test_an_untrained_control_joins_no_training_set(real, draw):
    made = draw(np.zeros((8, 48, 48)), ["tumour", "tumour-free"] * 4)
    control = draw(np.ones((8, 48, 48)), ["tumour", "tumour-free"] * 4, seed=1)
    chosen, warnings = augmentation(real, {"sample": made, "untrained": control})
    assert [name for name, _, _ in chosen] == ["sample"]
    assert warnings == ["utility: untrained is of another generator than sample: not added to it."]


def test_leaks_of_images_from_noise_are_refused(real, draw):
    images, labels = np.zeros((8, 48, 48)), ["tumour", "tumour-free"] * 4
    with pytest.raises(LeakError, match="p09"):
        augmentation(real, {"sample": draw(images, labels, seen=("p00", "p09"))})
    with pytest.raises(LeakError, match="p12"):
        evaluate(real, {"sample": draw(images, labels, seen=("p12",))}, OPTIONS)


def test_translated_test_patients_are_judged_and_never_learned_from(real, translate):
    unpaired = translate(lambda row: real.channel("flair")[row], paired=False)
    chosen, warnings = augmentation(real, {"translate": unpaired})
    assert chosen == []
    assert "stands alone" in warnings[0]
    redraw = translate(lambda row: real.channel("flair")[row], split="train", paired=False)
    back = translate(lambda row: real.channel("t1")[row], "flair", "t1", split="train", paired=False)
    arms = {"translate": unpaired, "redraw": redraw, "back": back}
    chosen, warnings = augmentation(real, arms)
    assert [(name, len(rows)) for name, _, rows in chosen] == [("redraw", 24)]
    assert warnings == ["utility: back has other channels than redraw: the classifier does not read it."]
    found = evaluate_utility(real, arms, OPTIONS, Pools())
    assert found.curves["classifier"]["real+synthetic"]["training_images"] == 32  # 16 of either at most


def test_spectra_are_compared_on_the_channels_of_each_arm(real, arms):
    found = evaluate_structure(real, arms, OPTIONS, Pools())
    compared = {arm: found.find("sharpness", arm=arm).compared for arm in arms}
    assert compared["translate"] == "real test (the same patients; flair)"
    assert compared["back"] == compared["cycle"] == "real test (the same patients; t1)"
    assert {"translate", "back", "cycle", "redraw", *compared.values()} == set(found.curves["spectrum"])
    index = {name: found.find("checkerboard-index", arm=name).value for name in set(compared.values())}
    assert len(set(index.values())) == len(index)


def test_without_held_out_patients_nothing_is_judged(real, translate):
    everybody = replace(real, table=dict(real.table) | {"split": np.full(len(real), "train")})
    made = translate(lambda row: real.channel("t1")[row], split="train")
    found = evaluate(everybody, {"translate": made}, OPTIONS)
    assert found.measurements == ()
    assert found.verdicts == ()
    assert [text.partition(":")[0] for text in found.warnings] == list(METRICS)
    assert all("no patient was held out (13 in the cohort" in text and "no more" in text for text in found.warnings)
