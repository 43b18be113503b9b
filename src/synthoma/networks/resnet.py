"""The ResNet generator of CycleGAN.

Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks",
https://arxiv.org/abs/1703.10593, section 7.2 (after Johnson et al. 2016).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from synthoma.networks.layers import Norm, Upsample, convolution, doubled, initialise, normalisation
from synthoma.networks.recompute import apply

__all__ = ["ResNet"]

_REFLECT = {2: nn.ReflectionPad2d, 3: nn.ReflectionPad3d}


class ResNet(nn.Module):
    """c7s1-w, d2w, d4w, ``blocks`` × R4w, u2w, uw, c7s1: (n, ``inputs``, [z,] y, x) → (n, ``outputs``, …).

    With ``width=64, blocks=9, norm="instance"`` it computes what the reference's ``resnet_9blocks`` computes; a
    convolution before a norm has no bias here, since the norm takes it away again.

    Args:
        base: "none" ends in tanh, as the reference does. "input" adds what the network makes to its input, starts from
            the input exactly, and is clipped to [−1, 1] when images are drawn; it needs as many outputs as inputs. Its
            last two layers see the input beside the features, at full size and without norm, so that fine detail and
            grey values need not come through the quarter-size middle.
        upsample: "transpose" as in the reference, or "resize" (nearest, then 3 × 3), which leaves no checkerboard.
        recompute: trade time for memory, see :mod:`synthoma.networks.recompute`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        upsample: Upsample = "transpose",
        base: Literal["none", "input"] = "none",
        recompute: bool = False,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if base == "input" and inputs != outputs:
            raise ValueError(f"base='input' needs as many outputs as inputs, got {inputs} and {outputs}")
        self.recompute = recompute
        bias = norm == "none"

        def layer(features: int, *made: nn.Module) -> list[nn.Module]:
            return [*made, *normalisation(norm, spatial_dims, features), nn.ReLU(inplace=True)]

        def up(features: int) -> list[nn.Module]:
            return layer(features // 2, doubled(spatial_dims, features, features // 2, upsample, bias=bias, kernel=3))

        self.down = nn.Sequential(
            _REFLECT[spatial_dims](3),
            *layer(width, convolution(spatial_dims, inputs, width, 7, bias=bias)),
            *layer(2 * width, convolution(spatial_dims, width, 2 * width, 3, 2, 1, bias=bias)),
            *layer(4 * width, convolution(spatial_dims, 2 * width, 4 * width, 3, 2, 1, bias=bias)),
        )
        self.blocks = nn.ModuleList(_Block(4 * width, norm, spatial_dims) for _ in range(blocks))
        last = (
            [_REFLECT[spatial_dims](3), convolution(spatial_dims, width, outputs, 7)]
            if base == "none"
            else [
                _REFLECT[spatial_dims](1),
                convolution(spatial_dims, width + inputs, width, 3),
                nn.LeakyReLU(0.2, inplace=True),
                _REFLECT[spatial_dims](1),
                convolution(spatial_dims, width, outputs, 3),
            ]
        )
        self.up = nn.Sequential(*up(4 * width), *up(2 * width), *(last if base == "none" else []))
        self.detail = nn.Sequential(*last) if base == "input" else None
        initialise(self)
        if self.detail is not None:
            for parameter in last[-1].parameters():
                nn.init.zeros_(parameter)  # the first image is the input itself

    def forward(self, x: Tensor) -> Tensor:
        """The translated image; every side must be divisible by 4."""
        inner = apply(self.down, x, self.recompute)
        for block in self.blocks:
            inner = apply(block, inner, self.recompute)
        inner = apply(self.up, inner, self.recompute)
        if self.detail is None:
            return torch.tanh(inner)
        change: Tensor = self.detail(torch.cat([x, inner], dim=1))
        return x + change


class _Block(nn.Module):
    """Two 3 × 3 convolutions beside a short cut."""

    def __init__(self, features: int, norm: Norm, spatial_dims: int) -> None:
        super().__init__()
        bias = norm == "none"
        self.layers = nn.Sequential(
            _REFLECT[spatial_dims](1),
            convolution(spatial_dims, features, features, 3, bias=bias),
            *normalisation(norm, spatial_dims, features),
            nn.ReLU(inplace=True),
            _REFLECT[spatial_dims](1),
            convolution(spatial_dims, features, features, 3, bias=bias),
            *normalisation(norm, spatial_dims, features),
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x)
        return x + made
