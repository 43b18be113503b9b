"""Losses that ask two images for the same structure, whatever their contrast."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["mind", "normalised_gradients", "structure_loss"]

EDGE = 0.05
"""A change from pixel to pixel (of a window of 2) below which it counts as noise."""


def structure_loss(kind: Literal["gradient", "mind"], made: Tensor, source: Tensor) -> Tensor:
    """How much the structure of ``made`` (n, c, [z,] y, x) differs from that of ``source``; 0 for the same.

    ``gradient``: |a|²|b|² − ⟨a, b⟩² of normalised gradients a, b (Haber & Modersitzki 2006, "Intensity gradient based
    registration and fusion of multi-modal images"), whose edges must have the same direction, of either sign; and
    ||a|² − |b|²|: edges must lie at the same places, so that an image without any is no way out.
    ``mind``: mean absolute difference of MIND descriptors (Heinrich et al. 2012, "MIND: modality independent
    neighbourhood descriptor"), as Yang et al. 2018 use them between MR and CT.

    Several channels are averaged first: the two images need not have equally many.
    """
    a, b = made.mean(dim=1, keepdim=True), source.mean(dim=1, keepdim=True)
    if kind == "mind":
        return (mind(a) - mind(b)).abs().mean()
    first, second = normalised_gradients(a), normalised_gradients(b)
    # where neither has an edge both vectors are near 0, and nothing is asked
    strength = (first.square().sum(dim=1) * second.square().sum(dim=1)).clamp_min(0)
    return (strength - (first * second).sum(dim=1).square()).mean() + (
        first.square().sum(dim=1) - second.square().sum(dim=1)
    ).abs().mean()


def normalised_gradients(image: Tensor) -> Tensor:
    """∇a / √(|∇a|² + ε²), (n, spatial axes, [z,] y, x), by forward differences; the last pixel of an axis has none."""
    gradients = []
    for axis in range(2, image.ndim):
        step = image.diff(dim=axis)
        pad = [0] * (2 * (image.ndim - 1 - axis)) + [0, 1]
        gradients.append(F.pad(step, pad))
    gradient = torch.cat(gradients, dim=1)
    return gradient / (gradient.square().sum(dim=1, keepdim=True) + EDGE**2).sqrt()


def mind(image: Tensor) -> Tensor:
    """MIND with the nearest neighbours along every axis: exp(−D/V), (n, 2 · axes, [z,] y, x).

    D is the distance of the patch of 3 pixels a side around a pixel to that around its neighbour, V the mean of D over
    the neighbours, kept within 0.001 and 1000 times its mean over the image.
    """
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    distances = []
    for axis in range(2, image.ndim):
        for shift in (1, -1):
            moved = torch.roll(image, shift, dims=axis)
            distances.append(pool((image - moved).square(), 3, 1, 1))
    distance = torch.cat(distances, dim=1)
    variance = distance.mean(dim=1, keepdim=True)
    middle = variance.mean(dim=tuple(range(1, variance.ndim)), keepdim=True).detach() + 1e-6
    variance = variance.clamp(0.001 * middle, 1000 * middle)
    descriptor = (-distance / variance).exp()
    return descriptor / descriptor.amax(dim=1, keepdim=True)
