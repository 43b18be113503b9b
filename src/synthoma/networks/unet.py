"""The U-Net generator of pix2pix.

Isola et al. 2017, "Image-to-image translation with conditional adversarial networks",
https://arxiv.org/abs/1611.07004, section 6.1.1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from synthoma.networks.layers import Norm, Upsample, convolution, doubled, initialise, normalisation
from synthoma.networks.recompute import apply

__all__ = ["UNet", "depth_for"]


def depth_for(size: int, most: int = 8) -> int:
    """How often ``size`` can be halved, at most ``most`` times: 256 → 8, 96 → 5 (down to 3 × 3)."""
    depth = 0
    while size % 2 == 0 and size > 1 and depth < most:
        size, depth = size // 2, depth + 1
    return depth


class UNet(nn.Module):
    """Encoder and decoder of ``depth`` levels with a skip at every level.

    (n, ``inputs``, [z,] y, x) → (n, ``outputs``, [z,] y, x); every side must be divisible by ``2 ** depth``.
    Channels grow as width × 1, 2, 4, 8, 8, … With ``width=64, depth=8, norm="batch"`` it is the reference's
    ``unet_256``, layer by layer.

    Args:
        base: "none" ends in tanh, as the reference does. "linear" adds the U-Net's output to a 1 × 1 convolution of
            the input (a per-pixel linear fit, to be set by :meth:`set_linear`), starts from it exactly, and ends
            without tanh. Where all of the input is at its minimum, −1 (the background), the fit is −1 too.
        dropout: rate in the (up to three) innermost levels of eight times the width, as in the reference.
        upsample: "transpose" as in the reference, or "resize" (nearest, then 3 × 3), which leaves no checkerboard
            (Odena et al. 2016).
        recompute: trade time for memory, see :mod:`synthoma.networks.recompute`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int = 8,
        width: int = 64,
        norm: Norm = "batch",
        dropout: float = 0.5,
        upsample: Upsample = "transpose",
        base: Literal["none", "linear"] = "none",
        recompute: bool = False,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        if depth < 2:
            raise ValueError(f"depth must be at least 2, got {depth}")
        features = [width * min(2**level, 8) for level in range(depth)]
        alone = norm != "batch"  # a layer without norm has a bias, but for the innermost beside batch norm (reference)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level in range(depth):
            outermost, innermost = level == 0, level == depth - 1
            below = inputs if outermost else features[level - 1]
            # What LeakyReLU reads is also the skip. In place is right all the same, since the decoder begins with ReLU:
            # relu(leaky(x)) = relu(x), and so are the gradients. What is computed twice must not change what it reads.
            self.down.append(
                nn.Sequential(
                    *([] if outermost else [nn.LeakyReLU(0.2, inplace=not recompute)]),
                    convolution(
                        spatial_dims,
                        below,
                        features[level],
                        4,
                        2,
                        1,
                        bias=norm == "none" or ((outermost or innermost) and alone),
                    ),
                    *([] if outermost or innermost else normalisation(norm, spatial_dims, features[level])),
                )
            )
            joined = features[level] * (1 if innermost else 2)
            to = outputs if outermost else features[level - 1]
            dropped = 0 < level < depth - 1 and features[level - 1] == features[level] == 8 * width
            self.up.append(
                nn.Sequential(
                    nn.ReLU(inplace=not recompute),
                    doubled(spatial_dims, joined, to, upsample, bias=norm == "none" or outermost),
                    *([] if outermost else normalisation(norm, spatial_dims, to)),
                    *([nn.Dropout(dropout)] if dropped and dropout > 0 else []),
                )
            )
        initialise(self)
        self.linear = convolution(spatial_dims, inputs, outputs, 1) if base == "linear" else None
        if self.linear is not None:
            for parameter in (*self.linear.parameters(), *self.up[0].parameters()):
                nn.init.zeros_(parameter)  # the first image is the linear fit itself

    def set_linear(self, weight: Tensor, bias: Tensor) -> None:
        """Set the per-pixel fit: ``weight`` (outputs, inputs), ``bias`` (outputs,)."""
        if self.linear is None:
            raise ValueError("this network was built with base='none'")
        own_weight, own_bias = self.linear.weight, self.linear.bias
        assert isinstance(own_weight, Tensor)  # noqa: S101 (for the type checker)
        assert isinstance(own_bias, Tensor)  # noqa: S101
        with torch.no_grad():
            own_weight.copy_(weight.reshape(own_weight.shape))
            own_bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """The image for a condition."""
        skips = []
        inner = x
        for down in self.down:
            inner = apply(down, inner, self.recompute)
            skips.append(inner)
        inner = apply(self.up[-1], skips.pop(), self.recompute)
        for up in reversed(self.up[:-1]):
            inner = apply(up, torch.cat([skips.pop(), inner], dim=1), self.recompute)
        if self.linear is None:
            return torch.tanh(inner)
        background = (x <= -1).all(dim=1, keepdim=True)  # else the loss would be spent on learning it
        image: Tensor = inner + torch.where(background, -1, self.linear(x))
        return image
