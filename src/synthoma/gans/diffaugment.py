"""Differentiable augmentation: the discriminator sees no image as it is, and cannot learn a small set by heart.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", https://arxiv.org/abs/2006.10738.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from synthoma.gans.engine import Engine

__all__ = ["Change", "differentiable_augmentation", "draw_changes"]

Change = Literal["brightness", "contrast", "translation", "cutout"]

NUMBERS = 8
"""Random numbers a sample, whichever changes are asked for: adding one shifts no other."""
SHIFT, CUT = 0.125, 0.5
"""Largest shift and side of the hole as shares of the frame, as in the paper."""


def draw_changes(n: int, changes: Sequence[Change], engine: Engine) -> Tensor | None:
    """The random numbers (n, 8) for :func:`differentiable_augmentation`, or ``None`` when nothing is to change."""
    return engine.uniform(n, NUMBERS) if changes else None


def differentiable_augmentation(images: Tensor, changes: Sequence[Change], drawn: Tensor | None) -> Tensor:
    """The images (n, c, [z,] y, x) after the changes, sample by sample; the gradient flows through them.

    ``brightness`` adds up to ±0.5 and ``contrast`` scales about the mean by 0.5 to 1.5; ``translation`` shifts by up
    to an eighth of the frame and ``cutout`` blanks a box of half of it, both filling with 0, the middle of the window.
    """
    if drawn is None:
        return images
    for change in changes:
        images = _CHANGES[change](images, drawn)
    return images


def _per_sample(numbers: Tensor, images: Tensor) -> Tensor:
    return numbers.view(-1, *[1] * (images.ndim - 1)).to(images.dtype)


def _brightness(images: Tensor, drawn: Tensor) -> Tensor:
    return images + _per_sample(drawn[:, 0] - 0.5, images)


def _contrast(images: Tensor, drawn: Tensor) -> Tensor:
    mean = images.mean(dim=tuple(range(1, images.ndim)), keepdim=True)
    return (images - mean) * _per_sample(drawn[:, 1] + 0.5, images) + mean


def _translation(images: Tensor, drawn: Tensor) -> Tensor:
    for axis in range(2, images.ndim):
        size = images.shape[axis]
        most = int(size * SHIFT + 0.5)
        shift = (drawn[:, axis] * (2 * most + 1)).floor().long() - most
        source = torch.arange(size, device=images.device)[None] + shift[:, None]  # (n, size)
        inside = (source >= 0) & (source < size)
        view = [len(images), *[1] * (images.ndim - 1)]
        view[axis] = size
        index = source.clamp(0, size - 1).view(view).expand_as(images)
        images = images.gather(axis, index) * inside.view(view)
    return images


def _cutout(images: Tensor, drawn: Tensor) -> Tensor:
    hole = torch.ones((), dtype=torch.bool, device=images.device)
    for axis in range(2, images.ndim):
        size = images.shape[axis]
        side = int(size * CUT + 0.5)
        first = (drawn[:, 3 + axis] * (size + 1 - side % 2)).floor() - side // 2
        place = torch.arange(size, device=images.device)[None]
        view = [len(images), *[1] * (images.ndim - 1)]
        view[axis] = size
        hole = hole & ((place >= first[:, None]) & (place < first[:, None] + side)).view(view)
    return images * ~hole


_CHANGES: Mapping[Change, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "translation": _translation,
    "cutout": _cutout,
}
