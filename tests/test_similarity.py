"""Similarity against scikit-image, closed forms and stored values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from synthoma.similarity import mae, psnr_db, ssim, ssim_map

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
ROW, COLUMN = np.mgrid[0:32, 0:32]
A = 127.5 + 100 * np.sin(ROW / 3) * np.cos(COLUMN / 4)
B = A + 10 * np.cos(ROW + 2 * COLUMN)
DISC = np.hypot(ROW - 16, COLUMN - 16) < 8


def test_stored_values() -> None:
    z, y, x = np.mgrid[0:24, 0:24, 0:24]
    a3 = 127.5 + 100 * np.sin(z / 3) * np.cos(y / 4) * np.cos(x / 5)
    b3 = a3 + 10 * np.cos(z + 2 * y + 3 * x)
    assert ssim(A, B, 255) == pytest.approx(0.9656523946015397, abs=1e-12)
    assert ssim(a3, b3, 255) == pytest.approx(0.9298007924938892, abs=1e-12)
    assert np.mean([ssim(a3[..., k], b3[..., k], 255) for k in range(24)]) == pytest.approx(0.8792220264882027)
    assert ssim(A, B, 255, DISC) == pytest.approx(0.9665880648404372, abs=1e-12)
    assert psnr_db(A, B, 255) == pytest.approx(31.140211023226723, abs=1e-10)
    assert psnr_db(A, B, 255, DISC) == pytest.approx(31.1321066, abs=1e-6)
    assert 255**2 / 10 ** (psnr_db(A, B, 255) / 10) == pytest.approx(50.01027682656871)


def test_constant_images_have_a_closed_form() -> None:
    flat = np.ones((16, 16))
    assert ssim(100 * flat, 110 * flat, 255) == pytest.approx(0.9954764440915066, abs=1e-10)
    assert ssim(5 * flat, -5 * flat, 255) == pytest.approx(-0.7698331932, abs=1e-9)
    assert mae(100 * flat, 110 * flat) == 10


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([(11, 11), (17, 40), (12, 13, 14)]), st.sampled_from([2.0, 255.0]))
def test_equals_scikit_image(seed: int, shape: tuple[int, ...], data_range: float) -> None:
    draw = np.random.default_rng(seed)
    x = draw.uniform(-1, 1, shape)
    y = x + draw.normal(0, 0.3, shape)
    value, full = structural_similarity(x, y, data_range=data_range, full=True, **WANG)
    assert ssim(x, y, data_range) == pytest.approx(value, abs=1e-7)
    np.testing.assert_allclose(ssim_map(x, y, data_range), full, atol=1e-7)
    assert psnr_db(x, y, data_range) == pytest.approx(peak_signal_noise_ratio(x, y, data_range=data_range))


def test_float32_on_a_high_offset_is_computed_in_float64() -> None:
    x, y = (A + 30000).astype(np.float32), (B + 30000).astype(np.float32)
    expected = structural_similarity(x.astype(float), y.astype(float), data_range=255, **WANG)
    assert ssim(x, y, 255) == pytest.approx(expected, abs=1e-7)


def test_a_region_sees_only_itself() -> None:
    worse = np.where(DISC, B, A + 50)
    assert psnr_db(A, worse, 255, DISC) == psnr_db(A, B, 255, DISC)
    assert mae(A, worse, DISC) == pytest.approx(np.abs(A - B)[DISC].mean())
    assert mae(A, worse) > mae(A, worse, DISC)
    assert ssim(A, B, 255, np.ones_like(DISC)) == pytest.approx(ssim_map(A, B, 255).mean())


def test_the_data_range_moves_psnr_by_its_ratio() -> None:
    assert psnr_db(A, B, 510) - psnr_db(A, B, 255) == pytest.approx(20 * math.log10(2))


def test_identical_images() -> None:
    assert ssim(A, A, 255) == pytest.approx(1)
    assert psnr_db(A, A, 255) == math.inf
    assert mae(A, A) == 0


NAN = np.where(DISC, np.nan, A)


@pytest.mark.parametrize(
    ("x", "y", "data_range", "region", "message"),
    [
        (A, B[1:], 255, None, "expected one shape, found \\(32, 32\\) and \\(31, 32\\)"),
        (A, NAN, 255, None, "found NaN or infinity"),
        (A, B, 0, None, "data_range: expected a positive number, found 0"),
        (A, B, math.nan, None, "data_range"),
        (A, B, 255, np.zeros_like(DISC), "region: expected at least one pixel, found none"),
        (A, B, 255, DISC[1:], "region: expected shape"),
    ],
)
def test_bad_input(
    x: NDArray[Any], y: NDArray[Any], data_range: float, region: NDArray[np.bool_] | None, message: str
) -> None:
    for measure in (ssim, psnr_db):
        with pytest.raises(ValueError, match=message):
            measure(x, y, data_range, region)


def test_an_image_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 11 pixels a side, found \\(10, 32\\)"):
        ssim(A[:10], B[:10], 255)
