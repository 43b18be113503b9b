"""Which part of a real image's own is in a synthetic one, however it was turned, flipped, shifted or brightened?

Two images are compared after the mean real image was regressed out of both: registered scans are alike without it
(two different brains correlate at 0.96). The partial correlation is blind to scale and offset of the intensities, the
low pass to blur and noise, and the search runs over all turns by 90°, flips and shifts of ± 8 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORIENTATIONS", "SHIFT_PX", "Prepared", "coarse_correlations", "mean_of", "prepare", "register"]

SHIFT_PX = 8
"""Shifts are searched from − to + so many pixels of the cohort, along both sides; at most a quarter of the side."""
COARSE, FINE = 24, 96
"""Pixels a side on which all pairs are compared, and at most so many on which the most alike are compared again."""
LOW_PASS = (0.03, 0.02)
"""Standard deviation of the Gaussian on either grid, over the side."""
SLABS = 8
"""A volume is averaged to so many slabs along z, which then stand side by side like channels."""
BLOCK = 256
SHARED_FROM = 500_000
"""Pairs from which on threads share the products."""
FLAT = 0.01
"""A standard deviation below this, of values in [−1, 1]: nothing is there to compare."""
LEAST_REST = 1e-4
"""Least share of an image's variance that the mean image must leave, below which nothing is left to compare."""
ORIENTATIONS = tuple((turns, flipped) for flipped in (False, True) for turns in range(4))

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Prepared:
    """Images on the two grids, low-passed: (n, layer, 24, 24) and (n, layer, side, side) float32.

    The fine grid is the cohort's own up to 96 pixels a side, and a whole fraction of it above: a shift by whole pixels
    is then found exactly.
    """

    coarse: Float
    fine: Float
    pixel: float
    """Pixels of the cohort in one of the fine grid."""

    @property
    def reach(self) -> tuple[int, int]:
        """How far shifts are searched, in pixels of either grid."""
        side = self.fine.shape[-1]
        most = min(SHIFT_PX / (self.pixel * side), 0.25)
        return int(np.ceil(COARSE * most)), int(np.ceil(side * most - 1e-9))

    def __len__(self) -> int:
        return len(self.coarse)

    def take(self, rows: NDArray[Any]) -> Self:
        """The given images only."""
        return type(self)(self.coarse[rows], self.fine[rows], self.pixel)


def prepare(images: NDArray[Any]) -> Prepared:
    """(n, channel, [z,] y, x) in [−1, 1] → both grids; oblong images are filled up with background to squares."""
    import torch
    import torch.nn.functional as F

    images = np.clip(np.asarray(images, dtype=np.float32), -1, 1)
    if images.ndim == 5:
        slabs = np.array_split(images, min(SLABS, images.shape[2]), axis=2)
        images = np.concatenate([slab.mean(axis=2) for slab in slabs], axis=1)
    side = max(images.shape[2:])
    short = [side - n for n in images.shape[2:]]
    images = np.pad(images, [(0, 0), (0, 0), *((n // 2, n - n // 2) for n in short)], constant_values=-1)
    whole = torch.from_numpy(np.ascontiguousarray(images))
    grids = []
    for size, sigma in zip((COARSE, round(side / -(-side // FINE))), LOW_PASS, strict=True):
        small = F.interpolate(whole, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
        grids.append(_low_pass(small.numpy(), sigma * size))
    return Prepared(grids[0], grids[1], side / grids[1].shape[-1])


def mean_of(images: Prepared) -> Prepared:
    """The mean image, as a set of one."""
    return Prepared(
        images.coarse.mean(axis=0, keepdims=True), images.fine.mean(axis=0, keepdims=True), images.pixel
    )  # fmt: skip


def coarse_correlations(made: Prepared, real: Prepared, mean: Prepared) -> tuple[Float, NDArray[np.int8]]:
    """Highest partial correlation of every pair over turns, flips and shifts on the coarse grid, and the orientation.

    The middle of the real image, which every shift leaves inside the frame, is compared with as large a window of the
    synthetic one: nothing is wrapped around. Steps are half a pixel of the grid.

    Returns:
        (m, n) correlations, (m, n) indices into :data:`ORIENTATIONS`.
    """
    import torch

    reach = real.reach[0]
    inner = COARSE - 2 * reach
    middle = np.s_[:, :, reach : reach + inner, reach : reach + inner]
    along_mean = _vectors(mean.coarse[middle])[0]
    others = torch.from_numpy(_without(_vectors(real.coarse[middle]), along_mean).T.copy())
    best = np.full((len(made), len(real)), -1, dtype=np.float32)
    orientation = np.zeros(best.shape, dtype=np.int8)
    with _one_thread() if best.size < SHARED_FROM else nullcontext():
        for start in range(0, len(made), BLOCK):
            rows = slice(start, start + BLOCK)
            for number in range(len(ORIENTATIONS)):
                turned = _doubled(_oriented(made.coarse[rows], number))
                highest = torch.full(best[rows].shape, -1.0)
                product = torch.empty_like(highest)
                for down in range(4 * reach + 1):
                    for right in range(4 * reach + 1):
                        window = turned[:, :, down : down + 2 * inner : 2, right : right + 2 * inner : 2]
                        own = torch.from_numpy(_without(_vectors(window), along_mean))
                        torch.maximum(highest, torch.mm(own, others, out=product), out=highest)
                better = highest.numpy() > best[rows]
                best[rows][better] = highest.numpy()[better]
                orientation[rows][better] = number
    return best, orientation


def register(
    made: Prepared, real: Prepared, mean: Prepared, candidates: NDArray[np.intp], turned: NDArray[np.int8]
) -> tuple[Float, NDArray[np.float64]]:
    """Partial correlation of (m, k) pairs over all shifts of the fine grid, by FFT, and the best shift in pixels."""
    from scipy.fft import irfft2, rfft2

    side, reach = real.fine.shape[-1], real.reach[1]
    inner = slice(reach, side - reach)
    steps = np.arange(-reach, reach + 1)
    middle = np.zeros((side, side), dtype=np.float32)
    middle[inner, inner] = 1

    def template(images: Float) -> Float:
        """Centred in the middle window, 0 around it, of unit norm over all layers."""
        centred = (images - images[..., inner, inner].mean(axis=(-2, -1), keepdims=True)) * middle
        squares = (centred**2).sum(axis=(-3, -2, -1), keepdims=True)
        return np.asarray(centred / _norm(squares, images.shape[1] * middle.sum()), dtype=np.float32)

    def windowed(spectra: NDArray[Any], pattern: NDArray[Any]) -> NDArray[Any]:
        """Sum of image × pattern in every shifted window: (…, shift down, shift right)."""
        whole: NDArray[Any] = irfft2(spectra * np.conj(pattern), s=(side, side))
        return whole[..., steps[:, None], steps]

    b, mu = template(real.fine), template(mean.fine)
    along_b = (b * mu).sum(axis=(1, 2, 3))
    spectra_b, spectrum_mu, spectrum_middle = rfft2(b), rfft2(mu[0]), rfft2(middle)
    correlation = np.empty(candidates.shape, dtype=np.float32)
    shift = np.empty((*candidates.shape, 2))
    for start in range(0, len(made), BLOCK // 4):
        rows = np.arange(start, min(start + BLOCK // 4, len(made)))
        for number in range(len(ORIENTATIONS)):
            at, column = np.nonzero(turned[rows] == number)
            if not len(at):
                continue
            own, place = np.unique(at, return_inverse=True)
            images = _oriented(made.fine[rows[own]], number)
            images -= images.mean(axis=(2, 3), keepdims=True)  # else the sums of squares below lose their digits
            spectra = rfft2(images)
            total = windowed(spectra.astype(np.complex128), spectrum_middle)
            squares = windowed(rfft2(images.astype(np.float64) ** 2), spectrum_middle)
            norm = _norm((squares - total**2 / middle.sum()).sum(axis=1), images.shape[1] * middle.sum())
            along_a = windowed(spectra, spectrum_mu).sum(axis=1) / norm
            which = candidates[rows[at], column]
            product = (spectra[place] * np.conj(spectra_b[which])).sum(axis=1)
            both = irfft2(product, s=(side, side))[:, steps[:, None], steps] / norm[place]
            found = both - along_a[place] * along_b[which, None, None]
            found /= _rest(along_a)[place] * _rest(along_b)[which, None, None]
            flat = found.reshape(len(found), -1)
            peak = flat.argmax(axis=1)
            correlation[rows[at], column] = np.clip(flat[np.arange(len(flat)), peak], -1, 1)
            down, right = np.unravel_index(peak, found.shape[1:])
            shift[rows[at], column] = -np.stack([steps[down], steps[right]], axis=1) * real.pixel
    return correlation, shift


def _vectors(windows: Float) -> Float:
    """Each window as a vector: each layer centred, all of unit norm."""
    vectors = (windows - windows.mean(axis=(2, 3), keepdims=True)).reshape(len(windows), -1)
    squares = (vectors**2).sum(axis=1, keepdims=True)
    return np.asarray(vectors / _norm(squares, vectors.shape[1]), dtype=np.float32)


def _without(vectors: Float, mean: Float) -> Float:
    """What is left of unit vectors without their part along the mean image, again of unit norm."""
    along = vectors @ mean
    return np.asarray((vectors - along[:, None] * mean) / _rest(along)[:, None], dtype=np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Products as small as these, thousands of them, are not worth sharing: on busy cores threads that wait for each
    other took eight times as long."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _doubled(images: Float) -> Float:
    """With a linearly interpolated pixel between any two: (…, g, g) → (…, 2 g − 1, 2 g − 1)."""
    for axis in (-2, -1):
        first = np.moveaxis(images, axis, -1)
        wide = np.empty((*first.shape[:-1], 2 * first.shape[-1] - 1), dtype=np.float32)
        wide[..., ::2], wide[..., 1::2] = first, (first[..., 1:] + first[..., :-1]) / 2
        images = np.moveaxis(wide, -1, axis)
    return np.ascontiguousarray(images)


def _oriented(images: Float, number: int) -> Float:
    turns, flipped = ORIENTATIONS[number]
    return np.ascontiguousarray(np.rot90(images[..., ::-1] if flipped else images, turns, axes=(-2, -1)))


def _norm(squares: NDArray[Any], count: float) -> Float:
    """Root of a sum of ``count`` squares; infinite where the window is flat, so that it is like nothing."""
    flat = squares < count * FLAT**2
    return np.asarray(np.where(flat, np.inf, np.sqrt(np.maximum(squares, 1e-12))), dtype=np.float32)


def _rest(along_mean: NDArray[Any]) -> Float:
    """What the mean image leaves of the norm of an image of unit norm."""
    return np.asarray(np.sqrt(np.maximum(1 - np.asarray(along_mean) ** 2, LEAST_REST)), dtype=np.float32)


def _low_pass(images: NDArray[Any], sigma: float) -> Float:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(images, (0, 0, sigma, sigma), mode="nearest"), dtype=np.float32)
