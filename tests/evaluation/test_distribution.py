"""The two-sample test, radiomics of lesions, intervals from halves, and extractors that are never mixed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest, kurtosis, skew
from skimage.feature import graycomatrix, graycoprops

from synthoma.errors import MissingPartError
from synthoma.evaluation import EvaluationOptions, evaluate
from synthoma.evaluation.distribution import evaluate_distribution
from synthoma.evaluation.features import Features
from synthoma.evaluation.radiomics import FIRST_ORDER, SHAPE, TEXTURE, lesion_features, radiomics
from synthoma.evaluation.two_sample import two_sample

OPTIONS = EvaluationOptions(bootstrap_draws=200, max_images=12)


class Pools(Features):
    """Stands in for the network: 16 means over a 4 × 4 grid."""

    description = "grid means"

    def __call__(self, images):
        n, c, h, w = images.shape
        cut = images[:, :, : h // 4 * 4, : w // 4 * 4].astype(np.float64)
        return cut.reshape(n, c, 4, h // 4, 4, w // 4).mean(axis=(3, 5)).reshape(n, c, 16)


def noisy(image, row):
    return image + np.random.default_rng(row).normal(0, 0.03, image.shape)


def test_two_sets_of_one_distribution_cannot_be_told_apart():
    random = np.random.default_rng(0)
    inside, accuracies = 0, []
    for turn in range(25):
        owners = (np.repeat(np.arange(20), 4), np.repeat(np.arange(20, 40), 4))
        first, second = (np.repeat(random.normal(size=(20, 30)), 4, 0) + random.normal(size=(80, 30)) for _ in "ab")
        found = two_sample(first, second, owners, turn)
        inside += found.low <= 0.5 <= found.high
        accuracies.append(found.accuracy)
    assert binomtest(inside, 25).proportion_ci(0.99).high > 0.95
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.05)


def test_a_shift_is_told_and_slices_of_one_patient_do_not_help():
    random = np.random.default_rng(1)
    owners = (np.arange(60), np.arange(60, 120))
    shifted = two_sample(random.normal(size=(60, 10)), random.normal(size=(60, 10)) + np.eye(10)[0] * 3, owners, 0)
    assert shifted.accuracy > 0.85
    assert shifted.low > 0.7
    assert shifted.patients == 120
    # the very same images under both names: with a patient in one fold there is nothing to learn
    same = random.normal(size=(60, 10))
    assert two_sample(same, same, (np.arange(60), np.arange(60)), 0).accuracy <= 0.5


def test_too_few_patients_give_no_two_sample_test():
    random = np.random.default_rng(2)
    x, y = random.normal(size=(2, 20, 4))
    assert two_sample(x, y, (np.arange(20) // 5, np.arange(20)), 0) is None
    assert two_sample(np.ones((20, 4)), np.ones((20, 4)), (np.arange(20), np.arange(20)), 0) is None


def disc(side=40, centre=(20, 20), radius=9):
    yy, xx = np.mgrid[:side, :side]
    return np.hypot(yy - centre[0], xx - centre[1]) <= radius


def test_radiomics_of_a_disc():
    random = np.random.default_rng(3)
    mask, image = disc(), np.full((40, 40), -0.2)
    image[mask] = 0.5 + 0.1 * random.normal(size=mask.sum())
    found = lesion_features(image[None], mask, pixel=0.25)
    values = dict(zip((*SHAPE, *FIRST_ORDER, *TEXTURE), found, strict=True))
    inside = image[mask]
    assert values["area"] == mask.sum() * 0.25
    assert 0.85 < values["compactness"] < 1.15
    assert values["elongation"] == pytest.approx(1, abs=0.01)
    assert values["solidity"] > 0.92
    assert values["skewness"] == pytest.approx(skew(inside))
    assert values["kurtosis"] == pytest.approx(kurtosis(inside, fisher=False))
    assert values["contrast"] == pytest.approx(inside.mean() + 0.2)
    assert (values["tenth"], values["ninetieth"]) == pytest.approx(tuple(np.percentile(inside, [10, 90])))


def test_texture_is_that_of_scikit_image():
    """In a rectangle, where no neighbour is outside the lesion, the co-occurrence is scikit-image's."""
    random = np.random.default_rng(4)
    mask = np.zeros((30, 30), dtype=bool)
    mask[5:21, 6:26] = True
    image = np.clip(0.3 * random.normal(size=(30, 30)), -0.999, 0.999)
    levels = ((image[5:21, 6:26] + 1) / 2 * 16).astype(np.uint8)
    counts = graycomatrix(levels, [1], [0], 16, symmetric=True)[..., 0, 0].astype(float)
    for down, right in ((1, 0), (1, 1), (1, -1)):  # what its other angles are called depends on the version
        own = np.zeros((16, 16))
        for y in range(16 - down):
            for x in range(20):
                if 0 <= x + right < 20:
                    own[levels[y, x], levels[y + down, x + right]] += 1
        counts += own + own.T
    share = (counts / counts.sum())[:, :, None, None]
    found = dict(zip(TEXTURE, lesion_features(image[None], mask)[-5:], strict=True))
    assert found["homogeneity"] == pytest.approx(graycoprops(share, "homogeneity")[0, 0])
    assert found["difference"] == pytest.approx(graycoprops(share, "contrast")[0, 0])
    assert found["correlation"] == pytest.approx(graycoprops(share, "correlation")[0, 0])
    assert found["energy"] == pytest.approx(graycoprops(share, "ASM")[0, 0])
    assert found["disorder"] == pytest.approx(-(share[share > 0] * np.log2(share[share > 0])).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.booleans(), st.integers(0, 5))
def test_radiomics_do_not_depend_on_how_a_lesion_lies(turns, flip, seed):
    random = np.random.default_rng(seed)
    mask, image = disc(radius=6) | disc(centre=(24, 22), radius=5), np.clip(random.normal(size=(40, 40)) / 3, -1, 1)
    turned, shape = (np.rot90(a[:, ::-1] if flip else a, turns) for a in (image, mask))
    assert lesion_features(turned[None], shape) == pytest.approx(lesion_features(image[None], mask), rel=1e-6)


def test_radiomics_of_small_and_flat_lesions(real):
    rows = real.rows(split="train")[:4]
    masks = real.masks[rows].copy()
    masks[1, 1] = 0
    masks[1, 1, 10:12, 10:14] = 1  # 8 pixels
    images = real.images[rows].copy()
    images[0] = 0.3
    found, kept = radiomics(real.select(rows).__class__(**{**vars(real.select(rows)), "images": images,
                            "masks": masks}), np.arange(4), ("flair",))  # fmt: skip
    assert kept.tolist() == [True, False, True, False]
    assert found.shape == (4, len(SHAPE) + len(FIRST_ORDER) + len(TEXTURE))
    assert np.isfinite(found[kept]).all()


def test_lesions_of_another_size_are_far_and_stand_beside_their_floor(real, synthesise):
    def larger(cohort):
        from scipy.ndimage import binary_dilation

        masks = cohort.masks.copy()
        for row in range(len(cohort)):
            masks[row, 1] = binary_dilation(masks[row, 1], iterations=5) & (masks[row, 0] > 0)
        return replace(cohort, masks=masks)

    near = synthesise(noisy, split="train", paired=False)
    found = evaluate_distribution(real, {"near": near, "large": larger(near)}, OPTIONS, Pools())
    close, far = (found.find("radiomics-distance", arm=arm).value for arm in ("near", "large"))
    floor = found.find("radiomics-distance", arm="real vs real", compared="floor of near").value
    assert far > 3 * close
    assert far > 3 * floor
    assert found.find("two-sample-accuracy", arm="near", region="frame").n_images == 12


def test_the_interval_can_be_of_halves(real, synthesise):
    arms = {"transplant": synthesise(noisy, split="train", paired=False)}
    options = OPTIONS.model_copy(update={"interval": "subsampling", "subsamples": 100})
    first, second = (evaluate_distribution(real, arms, o, Pools()) for o in (OPTIONS, options))
    one, two = (e.find("frechet-distance", arm="transplant", region="frame") for e in (first, second))
    assert one.value == two.value
    assert "jackknife" in one.method
    assert "100 draws of half of the patients" in two.method
    assert two.low <= two.value <= two.high


def test_the_random_extractor_is_alive_and_named(real, synthesise):
    options = OPTIONS.model_copy(update={"families": ("distribution",), "extractor": "random"})
    changes = {"near": lambda image, _: image, "far": lambda image, _: image - 0.6 * (image > -1)}
    arms = {name: synthesise(change, split="train", paired=False) for name, change in changes.items()}
    found = evaluate(real, arms, options)
    near, far = (found.find("kid", arm=arm, region="frame") for arm in ("near", "far"))
    assert far.value > near.value + 1e-3
    assert found.find("frechet-distance", arm="near", region="frame").value > 1  # uncalibrated: 1e-16
    assert near.method.startswith("random (weights ")


def test_an_extractor_without_its_file_says_where_it_comes_from(real, synthesise, tmp_path):
    arms = {"near": synthesise(noisy, split="train", paired=False)}
    for name, origin in (("inception-v3", "pytorch-fid"), ("dinov2", "Meta"), ("radimagenet-resnet50", "RadImageNet")):
        options = EvaluationOptions(extractor=name, families=("distribution",))
        with pytest.raises(MissingPartError, match=f"no setting evaluation.extractor_weights(.|\n)*{origin}"):
            evaluate(real, arms, options)
        with pytest.raises(MissingPartError, match="nothing at"):
            EvaluationOptions(extractor=name, extractor_weights=tmp_path / "no.pth").check_extractor()
    EvaluationOptions().check_extractor()
    with pytest.raises(ValidationError, match="efficientnet-lite0 needs no file"):
        EvaluationOptions(extractor_weights=tmp_path / "no.pth")


def test_vectors_of_two_extractors_never_meet(tmp_path):
    images = np.random.default_rng(5).uniform(-1, 1, (2, 1, 48, 48)).astype(np.float32)
    one = Features(tmp_path)(images)
    two = Features(tmp_path, extractor="random", calibration=images)(images)
    three = Features(tmp_path, extractor="random", calibration=images[:1] * 0.5)(images)
    assert len(list(tmp_path.glob("features-*.npy"))) == 3
    assert not np.allclose(one, two)
    assert not np.allclose(two, three)
    assert np.array_equal(Features(tmp_path, extractor="random", calibration=images)(images), two)
