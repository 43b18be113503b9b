"""Similarity of an image to the image it should be: SSIM, PSNR, mean absolute error; in the frame or in a region.

Every number needs the ``data_range`` L that its cohort declares (2 for intensities in [−1, 1]), never an image's own
maximum: the same pair scored with another L differs by 20 log10(L₁ / L₂) dB. All arithmetic is in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mae", "psnr_db", "ssim", "ssim_map"]

Array = NDArray[Any]

SIGMA = 1.5
"""Width of SSIM's Gaussian window, in pixels."""
RADIUS = 5
"""Half of SSIM's window: 11 taps, 3.5 σ on either side."""
K1, K2 = 0.01, 0.03


def ssim_map(x: Array, y: Array, data_range: float) -> NDArray[np.float64]:
    """SSIM at every pixel of a 2D image or every voxel of a 3D one.

    Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 13(4):600–612, 2004: Gaussian window of 11 taps along each axis, σ = 1.5,
    population covariance, K₁ = 0.01, K₂ = 0.03; borders reflected. Equals the map of scikit-image's
    ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True)``.

    Args:
        x, y: ([z,] y, x), of one shape, at least 11 long along each axis.
        data_range: L, the width of the intensity window.

    Raises:
        ValueError: the shapes differ, a value is not finite, the image is smaller than the window, L is not positive.
    """
    from scipy.ndimage import correlate1d

    x, y = _pair(x, y)
    c1, c2 = (K1 * _positive(data_range)) ** 2, (K2 * data_range) ** 2
    if x.ndim not in (2, 3) or min(x.shape) <= 2 * RADIUS:
        raise ValueError(f"SSIM: expected a 2D or 3D image of at least {2 * RADIUS + 1} pixels a side, found {x.shape}")
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    taps /= taps.sum()
    moments = np.stack([x, y, x * x + y * y, x * y])
    for axis in range(1, moments.ndim):
        moments = correlate1d(moments, taps, axis=axis, mode="reflect")
    mean_x, mean_y, squares, product = moments
    mean_xy, mean_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    numerator = (2 * mean_xy + c1) * (2 * (product - mean_xy) + c2)
    result: NDArray[np.float64] = numerator / ((mean_squares + c1) * (squares - mean_squares + c2))
    return result


def ssim(x: Array, y: Array, data_range: float, region: Array | None = None) -> float:
    """Mean of :func:`ssim_map` over ``region``; without one, over the frame where the window fits (5 pixels cropped).

    Selecting from the full map is the one choice that does not let a zeroed outside lift the number: nothing is
    filled before the windows are computed.

    Args:
        region: bool, of the images' shape.

    Raises:
        ValueError: as :func:`ssim_map`, or the region is empty.
    """
    full = ssim_map(x, y, data_range)
    if region is None:
        return float(full[(slice(RADIUS, -RADIUS),) * full.ndim].mean())
    return float(full[_checked(region, full.shape)].mean())


def psnr_db(x: Array, y: Array, data_range: float, region: Array | None = None) -> float:
    """Peak signal-to-noise ratio in decibels: 10 log₁₀(L² / MSE), over ``region`` or the whole frame.

    Identical images have no finite value: the result is ``math.inf``, which JSON cannot hold.

    Raises:
        ValueError: the shapes differ, a value is not finite, L is not positive, or the region is empty.
    """
    x, y = _pair(x, y)
    squares = np.square(x - y)
    mse = float((squares if region is None else squares[_checked(region, x.shape)]).mean())
    peak = _positive(data_range)
    return 10.0 * math.log10(peak * peak / mse) if mse > 0 else math.inf


def mae(x: Array, y: Array, region: Array | None = None) -> float:
    """Mean absolute error in the images' own unit, over ``region`` or the whole frame.

    Raises:
        ValueError: the shapes differ, a value is not finite, or the region is empty.
    """
    x, y = _pair(x, y)
    errors = np.abs(x - y)
    return float((errors if region is None else errors[_checked(region, x.shape)]).mean())


def _pair(x: Array, y: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.size == 0:
        raise ValueError(f"two images to compare: expected one shape, found {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("two images to compare: expected finite values, found NaN or infinity")
    return x, y


def _positive(data_range: float) -> float:
    if not (math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range: expected a positive number, found {data_range}")
    return float(data_range)


def _checked(region: Array, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    region = np.asarray(region, dtype=bool)
    if region.shape != shape:
        raise ValueError(f"region: expected shape {shape}, found {region.shape}")
    if not region.any():
        raise ValueError("region: expected at least one pixel, found none")
    return region
