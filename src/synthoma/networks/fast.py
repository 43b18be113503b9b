"""PyTorch's convolutions, computed with less work on processors in float32.

PyTorch's kernels come near the peak of a processor where a layer has many channels, and stay far from it where it has
one or two. So layers of one or two channels are computed as others are, and layers of many channels with fewer
products (:mod:`synthoma.networks.winograd`). Weights, their names and what is computed are PyTorch's; the last digits
are not. On GPUs, in bf16 and fp16, and in compiled code PyTorch's own kernels run. What it brings:
``docs/performance.md``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthoma.networks.winograd import KERNELS, Tiling, convolve

__all__ = ["Conv2d", "ConvTranspose2d"]

FEW = 4
"""Channels up to which a layer is narrow."""
MANY = 128
"""Channels from which fewer products save more than the sums around them cost."""
TILES = 64
"""Tiles of a batch from which they do."""


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` with square kernels, without groups and dilation."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolution, by the way that suits its size."""
        kernel, padding = self.kernel_size[0], int(self.padding[0])
        if self.stride != (1, 1) or kernel == 1 or not _on_processor(x):
            return super().forward(x)
        if self.out_channels <= FEW:
            y = _to_few(_padded(x, padding), self.weight)
        elif self.in_channels <= FEW:
            y = _from_few(_padded(x, padding), self.weight)
        elif self._is_large(x):
            y = convolve(x, self.weight, padding)
        else:
            return super().forward(x)
        return y if self.bias is None else y + self.bias[:, None, None]

    def _is_large(self, x: Tensor) -> bool:
        if min(self.in_channels, self.out_channels) < MANY or self.kernel_size[0] not in KERNELS:
            return False
        tiling = Tiling(self.kernel_size[0], int(self.padding[0]), x.shape[2], x.shape[3])
        return len(x) * tiling.count >= TILES


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` without groups and dilation."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The transposed convolution; to few channels as one product and a sum over the kernel."""
        if self.out_channels > FEW or output_size is not None or not _on_processor(x):
            return super().forward(x, output_size)
        paddings = tuple(int(side) for side in self.padding)
        sizes = tuple(
            (side - 1) * stride - 2 * padding + kernel + more
            for side, stride, padding, kernel, more in zip(
                x.shape[2:], self.stride, paddings, self.kernel_size, self.output_padding, strict=True
            )
        )
        columns = F.conv2d(x, self.weight.flatten(1).T[:, :, None, None]).flatten(2)
        y = F.fold(columns, sizes, self.kernel_size, padding=paddings, stride=self.stride)
        return y if self.bias is None else y + self.bias[:, None, None]


def _on_processor(x: Tensor) -> bool:
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    return plain and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def _padded(x: Tensor, padding: int) -> Tensor:
    return F.pad(x, [padding] * 4) if padding else x


def _to_few(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution to few channels: one for every row of the kernel, side by side, then the sum of shifted rows."""
    outputs, inputs, kernel, _ = weight.shape
    height = x.shape[2] - kernel + 1
    rows = F.conv2d(x, weight.permute(2, 0, 1, 3).reshape(kernel * outputs, inputs, 1, kernel))
    y = rows[:, :outputs, :height]
    for row in range(1, kernel):
        y = y + rows[:, row * outputs : (row + 1) * outputs, row : row + height]
    return y


def _from_few(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution of few channels: shifted rows become channels, and the kernel one row."""
    outputs, inputs, kernel, _ = weight.shape
    height = x.shape[2] - kernel + 1
    rows = torch.cat([x[:, :, row : row + height] for row in range(kernel)], dim=1)
    return F.conv2d(rows, weight.permute(0, 2, 1, 3).reshape(outputs, kernel * inputs, 1, kernel))
