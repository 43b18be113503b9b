"""SSIM, PSNR, MAE of paired cohorts, their baselines and verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from synthoma.errors import CohortError, InputError
from synthoma.evaluation import EvaluationOptions
from synthoma.evaluation.baselines import baselines, fit_least_squares, mean_training_image
from synthoma.evaluation.features import Features
from synthoma.evaluation.pairs import pair
from synthoma.evaluation.similarity import difference_verdict, evaluate_similarity, score
from synthoma.evaluation.statistics import Interval

OPTIONS = EvaluationOptions(bootstrap_draws=200, families=("similarity",))
NOISE = np.random.default_rng(0).normal(0, 0.03, (64, 48, 48))


def noisy(image, row):
    return image + NOISE[row % 64]


def same(image, row):
    return image


def flat(image, row):
    return np.full_like(image, 0.3)


def measure(real, synthetic, options=OPTIONS):
    return evaluate_similarity(real, synthetic, options, Features())


def test_score_equals_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    random = np.random.default_rng(1)
    x = np.clip(random.normal(0, 0.4, (1, 40, 36)), -1, 1)
    y = np.clip(x + random.normal(0, 0.2, x.shape), -1, 1)
    body, lesion = np.zeros((2, 40, 36), dtype=bool)
    body[8:30, 5:30] = True
    lesion[12:18, 12:20] = True
    found = score(x, y, body, lesion)
    mean, full = structural_similarity(
        x[0], y[0], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2, full=True
    )
    assert found["ssim", "frame"][0] == pytest.approx(mean, abs=1e-5)
    assert found["ssim", "body"][0] == pytest.approx(full[body].mean(), abs=1e-5)
    assert found["ssim", "lesion"][0] == pytest.approx(full[lesion].mean(), abs=1e-5)
    assert found["psnr", "frame"][0] == pytest.approx(peak_signal_noise_ratio(x[0], y[0], data_range=2), abs=1e-5)
    assert found["psnr", "body"][0] == pytest.approx(
        peak_signal_noise_ratio(x[0][body], y[0][body], data_range=2), abs=1e-5
    )
    assert found["mae", "lesion"][0] == pytest.approx(np.abs(x - y)[0][lesion].mean())
    empty = score(x, y, body, np.zeros_like(body))
    assert np.isnan(empty["ssim", "lesion"][0])


def test_patient_first_then_mean(real, synthesise):
    evidence = measure(real, {"reconstruct": synthesise(noisy)})
    rows = real.rows(split="test")
    made = np.clip(real.channel("flair")[rows].astype(float) + NOISE[rows % 64], -1, 1)
    errors = np.abs(made - real.channel("flair")[rows])
    means = [
        np.mean([errors[i][real.body(r)].mean() for i, r in enumerate(rows) if real.table["patient"][r] == p])
        for p in sorted(set(real.table["patient"][rows]))
    ]
    found = evidence.find("mae", region="body", arm="synthetic")
    assert found.value == pytest.approx(500 * np.mean(means), rel=1e-5)  # the window is 1000 wide for 2
    assert evidence.find("mae-median", region="body", arm="synthetic").value == pytest.approx(500 * np.median(means))
    assert evidence.find("mae-relative", region="body", arm="synthetic").value == pytest.approx(found.value / 10)
    assert (found.n_images, found.n_patients, found.unit) == (16, 4, "arbitrary")
    assert found.low < found.value < found.high


def test_slices_without_lesion_are_skipped_and_counted(real, synthesise):
    found = measure(real, {"reconstruct": synthesise(noisy)}).find("ssim", region="lesion", arm="synthetic")
    assert found.n_images == 8
    assert "8 images without lesion skipped" in found.method


def test_a_gan_that_is_worse_is_reported_as_losing(real, synthesise):
    evidence = measure(real, {"reconstruct": synthesise(flat)})
    against = [v for v in evidence.verdicts if v.claim.endswith("than least squares")]
    assert len(against) == 2
    for verdict in against:
        assert verdict.verdict == "not supported"
        assert "loses to least squares" in verdict.because
    difference = evidence.find("ssim-difference", region="body", compared="least squares")
    assert difference.high < 0


def test_a_gan_that_is_better_is_supported(real, synthesise):
    evidence = measure(real, {"reconstruct": synthesise(noisy)})
    for baseline in ("source image", "mean training image"):
        found = [v.verdict for v in evidence.verdicts if v.claim.endswith(baseline)]
        assert found == ["supported", "supported"]


def test_verdict_cannot_tell_within_noise():
    differences = np.array([0.3, -0.2, 0.1])
    verdict = difference_verdict("a", Interval(0.0667, -0.2, 0.3, ""), differences, "b")
    assert verdict.verdict == "cannot tell"
    assert "n = 3" in verdict.because
    assert "patients would tell" in verdict.because
    assert difference_verdict("a", Interval(0.1, None, None, ""), np.array([0.1]), "b").verdict == "cannot tell"


def test_rivals_are_arms_of_their_own(real, synthesise):
    evidence = measure(real, {"unet-l1": synthesise(flat), "reconstruct": synthesise(noisy)})
    assert {m.arm for m in evidence.measurements} == {
        "synthetic", "unet-l1", "source image", "least squares", "mean training image", "real",
    }  # fmt: skip
    difference = evidence.find("psnr-difference", region="body", compared="unet-l1")
    means = [evidence.find("psnr", region="body", arm=arm).value for arm in ("synthetic", "unet-l1")]
    assert difference.value == pytest.approx(means[0] - means[1])


def test_no_reference_no_ssim(real, synthesise):
    unpaired = synthesise(noisy, split="train", paired=False)
    evidence = measure(real, {"transplant": unpaired})
    assert evidence.measurements == ()
    assert "transplant: no sample has a reference" in evidence.warnings[0]
    with pytest.raises(InputError, match="No reference, no SSIM"):
        pair(real, unpaired)


def test_references_outside_the_test_split_are_not_compared(real, synthesise):
    evidence = measure(real, {"reconstruct": synthesise(noisy, split="validation")})
    assert evidence.measurements == ()
    assert "no reference lies in the test split" in evidence.warnings[0]


def test_unknown_reference_is_refused(real, synthesise):
    synthetic = synthesise(noisy)
    synthetic.table["reference"][0] = "p77/3"
    with pytest.raises(CohortError, match="found 1 unknown, such as p77/3"):
        pair(real, synthetic)


def test_common_samples_only_when_a_rival_has_fewer(real, synthesise):
    fewer = synthesise(noisy).select(np.arange(12))
    evidence = measure(real, {"reconstruct": synthesise(noisy), "unet-l1": fewer})
    assert {m.n_images for m in evidence.measurements if m.region == "body"} == {12}
    assert any("12 test samples" in warning for warning in evidence.warnings)


def test_share_clipped_and_clipping(real, synthesise):
    def loud(image, row):
        image[:24] = 5.0
        return image

    evidence = measure(real, {"reconstruct": synthesise(loud)})
    assert evidence.find("share-clipped", arm="synthetic").value == pytest.approx(0.5)
    assert evidence.find("share-clipped", arm="real").value == 0
    assert evidence.find("mae-relative", region="frame", arm="synthetic").value <= 50


def test_identical_images_have_no_infinite_psnr(real, synthesise):
    evidence = measure(real, {"reconstruct": synthesise(same)})
    assert evidence.find("psnr", region="frame", arm="synthetic").value is None
    assert evidence.find("ssim", region="frame", arm="synthetic").value == pytest.approx(1)
    assert any("infinite" in warning for warning in evidence.warnings)


def test_least_squares_equals_lstsq(real):
    train = real.rows(split="train")
    fit = fit_least_squares(real, train, ("t1",), True, ("flair",))
    body = np.stack([real.body(int(row)) for row in train])
    design = np.stack(
        [real.channel("t1")[train][body], np.ones(body.sum()), np.stack([real.lesion(int(r)) for r in train])[body]], 1
    )
    expected = np.linalg.lstsq(design, real.channel("flair")[train][body].astype(np.float64), rcond=None)[0]
    assert fit.inside[:, 0] == pytest.approx(expected, rel=1e-7)
    row = int(real.rows(split="test")[0])
    outside = fit(real, row)[0][~real.body(row)]
    assert outside == pytest.approx(-1, abs=1e-9)  # the background is found to be −1


def test_baselines_read_training_patients_only(real):
    train, test = real.rows(split="train"), real.rows(split="test")
    changed = real.select(np.arange(len(real)))
    changed.images[test] = 0.123
    for one, other in zip(
        baselines(real, ("t1", "mask"), ("flair",)).items(), baselines(changed, ("t1", "mask"), ("flair",)).items(),
        strict=True,
    ):  # fmt: skip
        assert one[0] == other[0]
        assert one[1](int(train[0])) == pytest.approx(other[1](int(train[0])))
    mean = mean_training_image(real, train, ("flair",))
    assert mean[0] == pytest.approx(real.channel("flair")[train].mean(axis=0), abs=1e-6)
    assert list(baselines(real, (), ("flair",))) == ["mean training image"]  # from noise: there is no source


def test_two_target_channels_are_named(real, synthesise):
    from dataclasses import replace

    one = synthesise(noisy)
    table = dict(one.table) | {"low_t1": one.table["low_flair"], "high_t1": one.table["high_flair"]}
    t1 = real.channel("t1")[real.rows(split="test")][:, None]
    both = replace(one, images=np.concatenate([one.images, t1], 1), channels=("flair", "t1"), table=table)
    evidence = measure(real, {"reconstruct": both})
    mean, first, second = (
        evidence.find(name, region="body", arm="synthetic").value for name in ("ssim", "ssim[flair]", "ssim[t1]")
    )
    assert second == pytest.approx(1)
    assert {m.name for m in evidence.measurements} <= set(evidence.definitions)
    assert mean == pytest.approx((first + second) / 2)
