"""The brain in a whole head, found without registration or training: marker-controlled watershed, slice by slice.

After Hahn & Peitgen, "The skull stripping problem in MRI solved by a single 3D watershed transform", MICCAI 2000:
brain and scalp are bright basins, the skull and the fluid around the brain the dark ridge between them. Thick slices
make the third dimension unreliable, so the watershed runs in the plane, and a slice's brain seeds its neighbour's.
Assumes axial slices along axis 0, from the neck to the vertex (which reorienting to LPS ensures where the geometry
is known), and sequences in which bone is dark and scalp bright (T1, T1 with contrast, FLAIR, T2, PD).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.records import Scan

__all__ = ["brain_mask", "head_mask", "rim_contrast", "tissue_image"]

Bool = NDArray[np.bool_]
Image = NDArray[np.float32]

HEAD_RADIUS_PIXELS = 75.0
"""Lengths below are in pixels of a head of this radius, and scale with the head."""
DARK = 0.3
"""Of the head's median intensity: below it lies bone, fluid or air."""


def tissue_image(scan: Scan) -> Image:
    """One picture (z, y, x) in which tissue is about 1 and bone about 0: the mean of the channels.

    T2 is left out where there is another channel, since fluid is bright in it. A channel that is blank in a slice does
    not count there.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu

    names = [name for name in scan.channels if name != "t2"] or list(scan.channels)
    total = np.zeros(scan.grid.shape, dtype=np.float32)
    weight = np.zeros((scan.grid.shape[0], 1, 1), dtype=np.float32)
    for name in names:
        channel = scan.channels[name] - scan.channels[name].min()
        sparse = channel[:, ::2, ::2]
        if sparse.max() == sparse.min():
            continue
        threshold = threshold_otsu(sparse)
        seen = channel.max(axis=(1, 2), keepdims=True) > threshold / 2
        total += np.minimum(channel / np.median(sparse[sparse > threshold]), 1.5) * seen
        weight += seen
    smoothed: Image = gaussian_filter(total / np.maximum(weight, 1), (0, 1, 1)).astype(np.float32)
    return smoothed


def head_mask(image: Image) -> Bool:
    """The head in each slice of a :func:`tissue_image`: the largest piece above a low threshold, holes filled."""
    from scipy.ndimage import binary_fill_holes
    from skimage.filters import threshold_otsu

    head = np.zeros(image.shape, dtype=bool)
    if image.max() > image.min():
        threshold = 0.5 * threshold_otsu(image)
        for z, slice_ in enumerate(image):
            head[z] = _pieces(binary_fill_holes(_opened(slice_ > threshold, 2)), at_least=1.0)
    return head


def rim_contrast(image: Image, head: Bool) -> float:
    """How much brighter the rim of the head is than the darkest depth below it, over all slices.

    Above the eyes scalp over bone mostly gives 1.7 to 5; a stripped brain only grows brighter inwards and gives 1.0 to
    1.1.
    """
    from scipy.ndimage import distance_transform_edt

    bins = 40
    total, count = np.zeros(bins), np.zeros(bins)
    for z in np.flatnonzero(head.any(axis=(1, 2))):
        depth = distance_transform_edt(np.pad(head[z], 1))[1:-1, 1:-1]
        depth = np.minimum(depth / depth.max() * bins, bins - 1).astype(int)[head[z]]
        total += np.bincount(depth, image[z][head[z]], bins)
        count += np.bincount(depth, minlength=bins)
    profile = np.where(count > 0, total / np.maximum(count, 1), np.inf)  # a small head has no pixel at some depths
    if not np.isfinite(profile[2:16]).any():
        return 1.0
    darkest = 2 + int(np.argmin(profile[2:16]))
    profile = np.where(count > 0, profile, 0)
    return float(profile[: darkest + 1].max() / max(profile[darkest], 1e-6))


def brain_mask(image: Image, head: Bool) -> Bool:
    """The brain in a :func:`tissue_image` of a whole head; all false when no slice shows one."""
    areas = head.sum(axis=(1, 2))
    brain = np.zeros(head.shape, dtype=bool)
    if not areas.any():
        return brain
    unit = float(np.sqrt(np.median(areas[areas > 0.3 * areas.max()]) / np.pi)) / HEAD_RADIUS_PIXELS
    start = _clearest_slice(image, head, unit)
    if start is None:
        return brain
    first, brain[first] = start
    for direction in (1, -1):
        previous = brain[first]
        for z in range(first + direction, len(image) if direction > 0 else -1, direction):
            radius = _radius(previous)
            seed = _eroded(previous, 0.3 * radius) & (image[z] > DARK)
            if not seed.any():
                break
            # Towards the neck the brain only gets smaller; a tight limit keeps the orbits out.
            limit = max(0.2 * radius, 4 * unit) if direction > 0 else max(0.05 * radius, 3 * unit)
            found = _watershed(image[z], head[z], seed, _dilated(previous, limit), unit)
            if direction > 0 and found.sum() > 1.05 * previous.sum() and _reaches_skin(found, head[z], unit):
                # Near the vertex bone and scalp are cut so flatly that no dark ring is left between them and the brain.
                found = _watershed(image[z], head[z], seed, _dilated(previous, unit), unit)
            compact = _opened(found, 0.3 * _radius(found)).sum() > 0.6 * found.sum()
            if found.sum() < 0.06 * brain[first].sum() or not compact:
                break
            brain[z] = previous = found
    brain[1:-1] |= brain[:-2] & brain[2:]
    return brain


def _clearest_slice(image: Image, head: Bool, unit: float) -> tuple[int, Bool] | None:
    """The slice above the eyes whose brain is large, round, compact and surrounded by a dark ring."""
    from scipy.ndimage import distance_transform_edt

    best: tuple[float, int, Bool] | None = None
    for z in _slices_within(head, 0.48, 0.68):
        depth = distance_transform_edt(np.pad(head[z], 1))[1:-1, 1:-1]
        found = _watershed(image[z], head[z], depth > 0.45 * depth.max(), head[z], unit)
        if not found.any():
            continue
        area = found.sum()
        ring = _dilated(found, max(2 * unit, 1)) & ~found  # in a small head two scaled pixels may be none
        if not ring.any():
            continue
        contrast = float(np.median(image[z][found]) - image[z][ring].mean())
        edge = int((found & ~_eroded(found, 1)).sum())
        roundness = min(1.0, float(4 * np.pi * area / edge**2))
        compactness = float(_opened(found, 12 * unit).sum() / area)
        score = contrast * np.sqrt(area) * roundness * compactness**4
        if best is None or score > best[0]:
            best = (float(score), z, found)
    return None if best is None else best[1:]


def _watershed(image: Image, head: Bool, seed: Bool, allowed: Bool, unit: float) -> Bool:
    """The basin of ``seed`` against that of the head's rim and of what is not ``allowed``, smoothed, holes filled."""
    from scipy.ndimage import binary_fill_holes
    from skimage.segmentation import watershed

    markers = np.zeros(image.shape, dtype=np.int32)
    markers[~_eroded(head, 2 * unit) | ~allowed] = 2
    markers[seed] = 1
    basin = (watershed(-image, markers) == 1) & (image > DARK)
    basin = _pieces(_opened(basin, min(8 * unit, 0.35 * _radius(seed))), at_least=0.08)
    closed: Bool = binary_fill_holes(_eroded(_dilated(basin, 4 * unit), 4 * unit))
    return closed


def _reaches_skin(found: Bool, head: Bool, unit: float) -> bool:
    """Whether much of the outline lies where skin and bone must be."""
    edge = found & ~_eroded(found, 1)
    return bool((edge & ~_eroded(head, 5 * unit)).sum() > 0.3 * edge.sum())


def _slices_within(head: Bool, low: float, high: float) -> range:
    """Slices between two shares of the head's extent along axis 0."""
    areas = head.sum(axis=(1, 2))
    seen = np.flatnonzero(areas > 0.3 * areas.max()) if areas.any() else np.zeros(0, dtype=int)
    if not seen.size:
        return range(0)
    first, extent = int(seen[0]), int(seen[-1] - seen[0])
    return range(first + int(low * extent), first + int(high * extent) + 1)


def _radius(mask: Bool) -> float:
    return max(1.0, float(np.sqrt(mask.sum() / np.pi)))


def _eroded(mask: Bool, radius: float) -> Bool:
    from scipy.ndimage import distance_transform_edt

    inside: NDArray[Any] = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return inside > radius


def _dilated(mask: Bool, radius: float) -> Bool:
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~mask) <= radius) if mask.any() else mask


def _opened(mask: Bool, radius: float) -> Bool:
    return _dilated(_eroded(mask, radius), radius)


def _pieces(mask: Bool, at_least: float) -> Bool:
    """The connected pieces that have ``at_least`` this share of the largest one's area."""
    from scipy.ndimage import label

    labels, count = label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= at_least * sizes.max())[labels])
