"""Spectra, sharpness and the checkerboard index."""

from __future__ import annotations

import numpy as np
import pytest

from synthoma.evaluation import EvaluationOptions
from synthoma.evaluation.features import Features
from synthoma.evaluation.structure import (
    checkerboard_index,
    evaluate_structure,
    radial_spectrum,
    sharpness,
    spectrum_distance,
)

ROW, COLUMN = np.mgrid[:32, :32]
OPTIONS = EvaluationOptions(bootstrap_draws=200)


def test_radial_spectrum_of_a_point_is_flat():
    point = np.zeros((32, 32))
    point[3, 7] = 1
    assert radial_spectrum(point, window=False) == pytest.approx(1)


def test_radial_spectrum_golden(goldens):
    spectrum = radial_spectrum(np.cos(2 * np.pi * 8 * COLUMN / 32), window=False)
    assert spectrum.argmax() == 8
    assert spectrum[8] == pytest.approx(goldens["radial_cos8_32"])


def test_hann_window_stops_the_frame_from_dominating():
    ramp = np.tile(np.linspace(-1, 1, 64), (64, 1))  # its ends do not meet
    windowed, plain = radial_spectrum(ramp), radial_spectrum(ramp, window=False)
    assert windowed[16:].mean() / windowed[1:4].mean() < 1e-3 * plain[16:].mean() / plain[1:4].mean()


def test_checkerboard_goldens(goldens):
    board = np.where((ROW + COLUMN) % 2, 1.0, -1.0)
    wave = np.cos(2 * np.pi * 2 * COLUMN / 32)
    assert checkerboard_index(board) == pytest.approx(1)
    assert checkerboard_index(np.where(COLUMN % 2, 1.0, -1.0)) == pytest.approx(1)
    assert checkerboard_index(wave) == pytest.approx(0, abs=1e-12)
    assert checkerboard_index(wave + 0.1 * board) == pytest.approx(goldens["checkerboard_mix"])
    random = np.random.default_rng(0)
    noise = np.mean([checkerboard_index(random.normal(size=(32, 32))) for _ in range(200)])
    assert noise == pytest.approx(63 / 1023, abs=0.003)
    assert np.isnan(checkerboard_index(np.full((32, 32), 0.3)))


def test_bad_images_are_refused():
    with pytest.raises(ValueError, match="even sides"):
        checkerboard_index(np.zeros((31, 32)))
    with pytest.raises(ValueError, match="2D image"):
        radial_spectrum(np.zeros((4, 32, 32)))


def test_sharpness_and_distance():
    image = np.random.default_rng(1).normal(size=(64, 64))
    spectrum = radial_spectrum(image)
    assert sharpness(4 * spectrum, spectrum) == pytest.approx(np.log(4))
    assert spectrum_distance(4 * spectrum, spectrum) == pytest.approx(np.log(4))
    assert spectrum_distance(spectrum, spectrum) == 0


def test_blur_and_checkerboard_are_seen(real, synthesise):
    from scipy.ndimage import gaussian_filter

    def blurred(image, row):
        return gaussian_filter(image, 1)

    def board(image, row):
        return image + np.where(np.indices(image.shape).sum(axis=0) % 2, 0.2, -0.2)

    arms = {"reconstruct": synthesise(blurred), "boarded": synthesise(board), "transplant": synthesise(
        blurred, split="train", paired=False)}  # fmt: skip
    evidence = evaluate_structure(real, arms, OPTIONS, Features())
    for arm in ("synthetic", "transplant"):
        found = evidence.find("sharpness", arm=arm)
        assert found.high < -1
    same = "real test (the same patients)"
    index = {arm: evidence.find("checkerboard-index", arm=arm) for arm in ("boarded", same)}
    assert index["boarded"].low > 5 * index[same].high
    distance = evidence.find("spectrum-distance", arm="synthetic")
    assert (
        distance.value > 2 * evidence.find("spectrum-distance", arm="real vs real", compared="floor of synthetic").value
    )
    assert set(evidence.curves["spectrum"]) == {"synthetic", "boarded", "transplant", same,
                                                evidence.find("sharpness", arm="transplant").compared}  # fmt: skip
    assert len(evidence.curves["spectrum"]["synthetic"]) == len(evidence.curves["spectrum_frequency"]) == 25
    assert evidence.curves["spectrum_frequency"][-1] == 0.5
