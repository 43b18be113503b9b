"""PyTorch's convolutions, computed with less work on processors in float32.

PyTorch's kernels come near the peak of a processor where a layer has many channels, and stay far from it where it has
one or two. So layers of one or two channels are computed as others are, and layers of many channels with fewer
products (:mod:`synthoma.networks.winograd`). Weights, their names and what is computed are PyTorch's; the last digits
are not. On GPUs, in bf16 and fp16, and in compiled code PyTorch's own kernels run; only that a doubling convolution is
a transposed one holds everywhere. What it brings: ``docs/performance.md``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthoma.networks.winograd import KERNELS, Tiling, convolve

__all__ = ["Conv2d", "ConvTranspose2d", "DoublingConv2d", "DoublingConv3d"]

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
        y = _transposed_to_few(x, self.weight, self.stride[0], int(self.padding[0]), self.output_padding[0])
        return y if self.bias is None else y + self.bias[:, None, None]


class DoublingConv2d(nn.Conv2d):
    """The nearest neighbour at twice the size, then a convolution of 3 × 3: as one transposed convolution of 4 × 4.

    Each output pixel sees four different inputs and not nine, so it takes 4 products instead of 9, and the doubled
    image is never written.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, 1, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, y, x) → (n, outputs, 2 y, 2 x)."""
        weight = _doubling(self.weight)
        if self.out_channels > FEW or not _on_processor(x):
            return F.conv_transpose2d(x, weight, self.bias, stride=2, padding=1)
        y = _transposed_to_few(x, weight, 2, 1)
        return y if self.bias is None else y + self.bias[:, None, None]


class DoublingConv3d(nn.Conv3d):
    """The same in three dimensions: 8 products a voxel instead of 27."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, 1, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, z, y, x) → (n, outputs, 2 z, 2 y, 2 x)."""
        return F.conv_transpose3d(x, _doubling(self.weight), self.bias, stride=2, padding=1)


def _doubling(weight: Tensor) -> Tensor:
    """(o, c, 3, …) → (c, o, 4, …): what the nearest neighbour and the kernel of a convolution do together."""
    for axis in range(2, weight.ndim):
        first, middle, last = weight.unbind(axis)
        weight = torch.stack([last, middle + last, first + middle, first], axis)
    return weight.transpose(0, 1)


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


def _transposed_to_few(x: Tensor, weight: Tensor, stride: int, padding: int, more: int = 0) -> Tensor:
    """A transposed convolution to few channels: one product, and a sum over the kernel."""
    kernel = tuple(weight.shape[2:])
    sides = zip(x.shape[2:], kernel, strict=True)
    size = tuple((side - 1) * stride - 2 * padding + high + more for side, high in sides)
    columns = F.conv2d(x, weight.flatten(1).T[:, :, None, None]).flatten(2)
    return F.fold(columns, size, kernel, padding=padding, stride=stride)


def _from_few(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution of few channels: shifted rows become channels, and the kernel one row."""
    outputs, inputs, kernel, _ = weight.shape
    height = x.shape[2] - kernel + 1
    rows = torch.cat([x[:, :, row : row + height] for row in range(kernel)], dim=1)
    return F.conv2d(rows, weight.permute(0, 2, 1, 3).reshape(outputs, kernel * inputs, 1, kernel))
