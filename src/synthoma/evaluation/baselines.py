"""What a GAN must beat to be worth its training: the source image, least squares, the mean training image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.pairs import target
from synthoma.records import Cohort

__all__ = ["LeastSquares", "baselines", "fit_least_squares", "mean_training_image"]

Float = NDArray[np.float64]
Prediction = Callable[[int], Float]
"""Row of the real cohort → image of the target channels, (channel, [z,] y, x)."""


def baselines(real: Cohort, conditions: tuple[str, ...], channels: tuple[str, ...]) -> dict[str, Prediction]:
    """The baselines that can be computed, by name; each maps a row of ``real`` to the image it predicts there.

    ``source image``: the first condition that is an image. ``least squares``: see :func:`fit_least_squares`.
    ``mean training image``: the mean of the training images, pixel by pixel.

    Args:
        conditions: what the synthetic images were made from; ``mask`` stands for the parts of the lesion.
        channels: the target channels.
    """
    train = real.rows(split="train")
    sources = tuple(name for name in conditions if name in real.channels)
    found: dict[str, Prediction] = {}
    if sources:
        found["source image"] = lambda row: np.repeat(target(real, row, sources[:1]), len(channels), axis=0)
    if len(train) and conditions:
        fit = fit_least_squares(real, train, sources, "mask" in conditions, channels)
        found["least squares"] = lambda row: fit(real, row)
    if len(train):
        mean = mean_training_image(real, train, channels)
        found["mean training image"] = lambda row: mean  # noqa: ARG005 (the same for every patient)
    return found


def mean_training_image(real: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...]) -> Float:
    """Mean of the target channels over ``rows``, pixel by pixel, (channel, [z,] y, x)."""
    total = np.zeros((len(channels), *real.images.shape[2:]))
    for row in rows:
        total += target(real, int(row), channels)
    return total / len(rows)


@dataclass(frozen=True)
class LeastSquares:
    """Two linear fits, one for the pixels of the body and one for those outside."""

    sources: tuple[str, ...]
    with_mask: bool
    inside: Float
    """(regressor, target channel)"""
    outside: Float

    def __call__(self, cohort: Cohort, row: int) -> Float:
        """Prediction for one sample, (channel, [z,] y, x), clipped to [−1, 1]."""
        regressors = _regressors(cohort, row, self.sources, self.with_mask)
        body = cohort.body(row)
        image = np.where(body[..., None], regressors @ self.inside, regressors @ self.outside)
        return np.clip(np.moveaxis(image, -1, 0), -1.0, 1.0)


def fit_least_squares(
    real: Cohort, rows: NDArray[np.intp], sources: tuple[str, ...], with_mask: bool, channels: tuple[str, ...]
) -> LeastSquares:
    """Exact least squares of the target on the sources, an intercept and the parts of the lesion as indicators.

    Pixel by pixel over all ``rows``, by normal equations summed sample by sample, so a cohort of any size fits in
    memory. The background has a fit of its own: where the target is −1 outside the body, that fit is −1 exactly.
    """
    count = len(sources) + 1 + (len(real.lesion_names) if with_mask else 0)
    gram, moment = np.zeros((2, count, count)), np.zeros((2, count, len(channels)))
    for row in rows:
        regressors = _regressors(real, int(row), sources, with_mask)
        values = np.moveaxis(target(real, int(row), channels), 0, -1)
        body = real.body(int(row))
        for part, pixels in enumerate((body, ~body)):
            x, y = regressors[pixels], values[pixels]
            gram[part] += x.T @ x
            moment[part] += x.T @ y
    # lstsq of the normal equations: regressors that never vary (a lesion outside the body) get the shortest solution.
    inside, outside = (np.linalg.lstsq(g, m, rcond=1e-12)[0] for g, m in zip(gram, moment, strict=True))
    return LeastSquares(sources, with_mask, np.asarray(inside, np.float64), np.asarray(outside, np.float64))


def _regressors(cohort: Cohort, row: int, sources: tuple[str, ...], with_mask: bool) -> Float:
    """([z,] y, x, regressor): the sources, 1, and with ``with_mask`` each part of the lesion."""
    shape = cohort.images.shape[2:]
    columns: list[NDArray[Any]] = [*target(cohort, row, sources)] if sources else []
    columns.append(np.ones(shape))
    if with_mask:
        columns += [cohort.masks[row, cohort.mask_names.index(name)].astype(np.float64) for name in cohort.lesion_names]
    return np.stack(columns, axis=-1)
