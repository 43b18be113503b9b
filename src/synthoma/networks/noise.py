"""From a latent vector and a class to an image, and the critic that judges it: the networks of the WGAN-GP.

Radford et al. 2016 (DCGAN), https://arxiv.org/abs/1511.06434; conditional by class as in Mirza & Osindero 2014,
https://arxiv.org/abs/1411.1784; critic as in Isola et al. 2017 and Gulrajani et al. 2017.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from synthoma.networks.layers import (
    Norm,
    Upsample,
    convolution,
    doubled,
    initialise,
    normalisation,
    transposed_convolution,
)
from synthoma.networks.recompute import apply

__all__ = ["Critic", "NoiseGenerator"]


class NoiseGenerator(nn.Module):
    """(n, ``latent``) and (n, ``classes``) one-hot → (n, ``outputs``, [z,] y, x) in [−1, 1] by ``layers`` convolutions.

    The first makes the smallest map, ``shape`` / 2^(layers − 1), out of the vector; each of the others doubles it.
    Features halve from ``width · 2^(layers − 2)`` to ``width``.
    """

    def __init__(
        self,
        latent: int,
        classes: int,
        outputs: int,
        shape: Sequence[int],
        *,
        layers: int = 5,
        width: int = 64,
        norm: Norm = "batch",
        upsample: Upsample = "transpose",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        spatial_dims = len(shape)
        start = [side // 2 ** (layers - 1) for side in shape]
        if any(side * 2 ** (layers - 1) != whole or side < 1 for side, whole in zip(start, shape, strict=True)):
            raise ValueError(f"sides must be divisible by {2 ** (layers - 1)}, got {tuple(shape)}")
        self.recompute = recompute
        features = [width * 2**level for level in reversed(range(layers - 1))]
        bias = norm == "none"  # a norm takes the mean away, and the bias with it
        parts = [
            nn.Sequential(
                transposed_convolution(spatial_dims, latent + classes, features[0], tuple(start), 1, 0, bias=bias),
                *normalisation(norm, spatial_dims, features[0]),
                nn.ReLU(inplace=True),
            )
        ]
        for inputs, grown in itertools.pairwise(features):
            parts.append(
                nn.Sequential(
                    doubled(spatial_dims, inputs, grown, upsample, bias=bias),
                    *normalisation(norm, spatial_dims, grown),
                    nn.ReLU(inplace=True),
                )
            )
        parts.append(nn.Sequential(doubled(spatial_dims, width, outputs, upsample, bias=True), nn.Tanh()))
        self.layers = nn.ModuleList(parts)
        initialise(self)

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        """Images for latent vectors and classes."""
        x = torch.cat([noise, classes], dim=1)
        x = x.view(*x.shape, *[1] * self.spatial_dims)
        for part in self.layers:
            x = apply(part, x, self.recompute)
        return x

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        first = next(self.layers.parameters())
        return first.ndim - 2


class Critic(nn.Module):
    """(n, ``inputs``, [z,] y, x) and (n, ``classes``) one-hot → (n, 1, …): a score for every patch.

    ``layers`` convolutions of 4 × 4 with stride 2, then one of 3 × 3 that judges. The class is shown as constant
    planes beside the image. There is no batch norm: the gradient penalty asks how the score of *one* image changes.
    """

    def __init__(
        self,
        inputs: int,
        classes: int,
        *,
        layers: int = 3,
        width: int = 64,
        norm: Norm = "none",
        recompute: bool = False,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if norm == "batch":
            raise ValueError("a critic with a gradient penalty cannot have batch norm")
        self.recompute = recompute
        features = [inputs + classes, *(width * min(2**level, 8) for level in range(layers))]
        self.layers = nn.ModuleList(
            nn.Sequential(
                convolution(spatial_dims, before, after, 4, 2, 1, bias=norm == "none" or level == 0),
                *(normalisation(norm, spatial_dims, after) if level else []),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for level, (before, after) in enumerate(itertools.pairwise(features))
        )
        self.judge = convolution(spatial_dims, features[-1], 1, 3, 1, 1)
        initialise(self)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """Scores, higher where a patch looks real."""
        planes = classes.to(x.dtype).view(*classes.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        inner = torch.cat([x, planes], dim=1)
        for layer in self.layers:
            inner = apply(layer, inner, self.recompute)
        scores: Tensor = self.judge(inner)
        return scores
