"""The few building blocks that the networks share."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from synthoma.networks import fast

__all__ = ["Norm", "Upsample", "convolution", "doubled", "initialise", "normalisation", "transposed_convolution"]

Norm = Literal["batch", "instance", "none"]
Upsample = Literal["transpose", "resize"]

_CONVOLUTION: dict[int, Any] = {2: fast.Conv2d, 3: nn.Conv3d}
_DOUBLING: dict[int, Any] = {2: fast.DoublingConv2d, 3: fast.DoublingConv3d}
_TRANSPOSED: dict[int, Any] = {2: fast.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM = {
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
}


def convolution(
    spatial_dims: int, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
) -> nn.Module:
    """A convolution in 2 or 3 dimensions."""
    made: nn.Module = _CONVOLUTION[spatial_dims](inputs, outputs, kernel, stride, padding, bias=bias)
    return made


def transposed_convolution(
    spatial_dims: int,
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, ...],
    stride: int,
    padding: int,
    bias: bool = True,
    output_padding: int = 0,
) -> nn.Module:
    """A transposed convolution in 2 or 3 dimensions."""
    made: nn.Module = _TRANSPOSED[spatial_dims](inputs, outputs, kernel, stride, padding, output_padding, bias=bias)
    return made


def doubled(
    spatial_dims: int, inputs: int, outputs: int, upsample: Upsample, *, bias: bool, kernel: Literal[3, 4] = 4
) -> nn.Module:
    """Twice the size: a transposed convolution of 3 × 3 or 4 × 4, or the nearest neighbour and a convolution of 3 × 3.

    The second leaves no checkerboard (Odena et al. 2016).
    """
    if upsample == "resize":
        made: nn.Module = _DOUBLING[spatial_dims](inputs, outputs, bias)
        return made
    return transposed_convolution(spatial_dims, inputs, outputs, kernel, 2, 1, bias, output_padding=4 - kernel)


def normalisation(norm: Norm, spatial_dims: int, features: int) -> list[nn.Module]:
    """The normalisation layer as a list of none or one, to be unpacked into a ``Sequential``."""
    return [] if norm == "none" else [_NORM[norm, spatial_dims](features)]


def initialise(network: nn.Module) -> None:
    """Weights from N(0, 0.02), norm scales from N(1, 0.02), biases 0 (Isola et al. 2017, section 6.2)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
