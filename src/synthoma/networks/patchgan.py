"""The 70 × 70 PatchGAN discriminator (Isola et al. 2017, section 6.1.2): one logit for every patch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from synthoma.errors import SettingError, describe
from synthoma.networks.layers import Norm, convolution, initialise, normalisation

__all__ = ["PatchGAN", "check_sides"]


def check_sides(setting: str, shape: Sequence[int], remedy: str = "Change resize.size.", layers: int = 3) -> None:
    """Raise :class:`SettingError` where images are too small for a :class:`PatchGAN` of so many ``layers``.

    Each of them halves the image, and 3 pixels must be left for the two convolutions that end in a logit.
    """
    smallest = 3 * 2**layers
    if min(shape) < smallest:
        expected = f"image sides of at least {smallest} pixels"
        raise SettingError(describe(setting, expected, tuple(shape), remedy))


class PatchGAN(nn.Module):
    """(n, ``inputs``, [z,] y, x) → (n, 1, …) logits; with ``layers=3`` each sees 70 × 70 pixels."""

    def __init__(
        self, inputs: int, *, width: int = 64, layers: int = 3, norm: Norm = "batch", spatial_dims: int = 2
    ) -> None:
        super().__init__()
        bias = norm == "none"  # a norm takes the mean away, and the bias with it
        parts = [convolution(spatial_dims, inputs, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        features = width
        for layer in range(1, layers + 1):
            grown = width * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            parts += [
                convolution(spatial_dims, features, grown, 4, stride, 1, bias=bias),
                *normalisation(norm, spatial_dims, grown),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            features = grown
        parts.append(convolution(spatial_dims, features, 1, 4, 1, 1))
        self.layers = nn.Sequential(*parts)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, higher where a patch looks real."""
        logits: Tensor = self.layers(x)
        return logits
