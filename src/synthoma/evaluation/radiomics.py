"""A small set of radiomics-style features of lesions: shape, first order, texture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.records import Cohort

__all__ = ["FIRST_ORDER", "LEAST_PIXELS", "SHAPE", "TEXTURE", "lesion_features", "radiomics"]

SHAPE = ("area", "compactness", "elongation", "solidity")
"""Area in mm² (pixels where the spacing is unknown); 4π area / perimeter²; short over long axis; share of the convex
hull."""
FIRST_ORDER = ("mean", "deviation", "skewness", "kurtosis", "tenth", "ninetieth", "entropy", "contrast")
"""Of the values in the lesion, in [−1, 1]; entropy in bits over 16 levels; contrast is the mean less that of the ring
of 3 pixels around it."""
TEXTURE = ("homogeneity", "difference", "correlation", "energy", "disorder")
"""Of the grey-level co-occurrence (16 levels, neighbours in four directions, both in the lesion), Haralick 1973."""
LEAST_PIXELS = 16
"""A smaller lesion has no texture to speak of."""
LEVELS = 16
RING = 3

Float = NDArray[np.float64]


def radiomics(cohort: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...]) -> tuple[Float, NDArray[np.bool_]]:
    """Features of the lesion of each sample, (n, d), and which samples have a lesion large enough; d = 4 + 13 channels.

    The rows of the others are NaN.
    """
    order = [cohort.channels.index(name) for name in channels]
    width = len(SHAPE) + len(order) * (len(FIRST_ORDER) + len(TEXTURE))
    found = np.full((len(rows), width), np.nan)
    for at, row in enumerate(rows.tolist()):
        mask = cohort.lesion(row)
        if mask.sum() >= LEAST_PIXELS:
            spacing = [float(text) for text in str(cohort.table["spacing_mm"][row]).split()][-2:]
            images = np.clip(np.asarray(cohort.images[row], dtype=np.float64)[order], -1, 1)
            pixel = float(np.prod(spacing)) if len(spacing) == 2 else 1.0
            found[at] = lesion_features(images, mask, pixel)
    return found, np.isfinite(found).all(axis=1)


def lesion_features(images: Float, mask: NDArray[np.bool_], pixel: float = 1.0) -> Float:
    """Of one lesion: :data:`SHAPE`, then :data:`FIRST_ORDER` and :data:`TEXTURE` of every channel.

    Args:
        images: (channel, y, x) in [−1, 1].
        mask: (y, x); all its parts together are one lesion.
        pixel: area of a pixel in mm².
    """
    box = tuple(
        slice(max(0, int(at.min()) - RING), int(at.max()) + RING + 1) for at in np.nonzero(mask)
    )  # nothing farther away is looked at
    images, mask = images[:, *box], mask[box]
    parts = [_shape(mask, pixel)]
    for image in images:
        parts += [_first_order(image, mask), _texture(image, mask)]
    return np.concatenate(parts)


def _shape(mask: NDArray[np.bool_], pixel: float) -> Float:
    from skimage.measure import perimeter, regionprops

    region = regionprops(mask.astype(np.uint8))[0]
    around = max(float(perimeter(mask)), 1.0)
    long, short = float(region.axis_major_length), float(region.axis_minor_length)
    area = float(mask.sum())
    return np.array([area * pixel, 4 * np.pi * area / around**2, short / max(long, 1e-6), float(region.solidity)])


def _first_order(image: Float, mask: NDArray[np.bool_]) -> Float:
    from scipy.ndimage import binary_dilation

    values = image[mask]
    deviation = float(values.std())
    standard = (values - values.mean()) / deviation if deviation > 1e-6 else np.zeros_like(values)
    share = np.bincount(_levels(values), minlength=LEVELS) / len(values)
    ring = binary_dilation(mask, iterations=RING) & ~mask
    outside = float(image[ring].mean()) if ring.any() else float(values.mean())
    tenth, ninetieth = np.percentile(values, [10, 90])
    return np.array([
        values.mean(), deviation, (standard**3).mean(), (standard**4).mean(), tenth, ninetieth,
        _entropy(share), values.mean() - outside,
    ])  # fmt: skip


def _texture(image: Float, mask: NDArray[np.bool_]) -> Float:
    counts = np.zeros(LEVELS**2)
    levels = _levels(image)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        first, second = _shifted(levels, down, right)
        both = np.logical_and(*_shifted(mask, down, right))
        counts += np.bincount(first[both] * LEVELS + second[both], minlength=LEVELS**2)
    table = counts.reshape(LEVELS, LEVELS) + counts.reshape(LEVELS, LEVELS).T
    share = table / max(table.sum(), 1.0)
    i, j = np.mgrid[:LEVELS, :LEVELS]
    mean = (share * i).sum()
    variance = (share * (i - mean) ** 2).sum()
    correlation = (share * (i - mean) * (j - mean)).sum() / variance if variance > 1e-12 else 1.0
    return np.array([
        (share / (1 + (i - j) ** 2)).sum(), (share * (i - j) ** 2).sum(), correlation, (share**2).sum(),
        _entropy(share.ravel()),
    ])  # fmt: skip


def _shifted(array: NDArray[Any], down: int, right: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """An array and itself moved, where they overlap."""
    height, width = array.shape
    left, start = max(0, -right), max(0, right)
    first = array[: height - down, left : width - start]
    return first, array[down:, start : width - left]


def _levels(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.minimum(((values + 1) / 2 * LEVELS).astype(np.int64), LEVELS - 1)


def _entropy(share: Float) -> float:
    positive = share[share > 0]
    return float(-(positive * np.log2(positive)).sum())
