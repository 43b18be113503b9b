"""Perceptual loss: the distance of two images in the features of a pretrained network (Johnson et al. 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from synthoma.errors import MissingPartError, describe
from synthoma.networks.pretrained import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    LITE_MEAN,
    LITE_STD,
    efficientnet_lite0,
    vgg19_features,
)
from synthoma.options import Options

__all__ = ["PerceptualLoss", "PerceptualOptions"]


class PerceptualOptions(Options):
    """Which network compares, and how much it counts."""

    network: Literal["none", "efficientnet-lite0", "vgg19"] = "none"
    """``efficientnet-lite0`` is embedded; ``vgg19`` needs ``weights``."""
    weight: float = Field(1.0, ge=0)
    """Factor of the loss."""
    weights: Path | None = None
    """The user's file of VGG19 weights in torchvision's layout."""
    layer: int = Field(20, ge=0, le=36)
    """vgg19 only: torchvision's number of the layer compared; 20 is relu4_1."""

    @property
    def used(self) -> bool:
        """Whether the loss is computed at all."""
        return self.network != "none" and self.weight > 0

    def check_weights(self) -> None:
        """Refuse now what would fail after hours of preparation.

        Raises:
            MissingPartError: VGG19 is asked for and no file of its weights is named, or none is there.
        """
        if not self.used or self.network != "vgg19" or (self.weights is not None and self.weights.is_file()):
            return
        remedy = (
            "Name yours with --set gan.perceptual.weights=FILE, or use the embedded network: "
            "--set gan.perceptual.network=efficientnet-lite0"
        )
        found = "none" if self.weights is None else f"nothing at {self.weights}"
        raise MissingPartError(
            describe("gan.perceptual.weights", "a file with torchvision's vgg19 weights", found, remedy)
        )


class PerceptualLoss(nn.Module):
    """Mean absolute difference of features. Images are (n, c, y, x) in [−1, 1]; each channel is shown as grey."""

    def __init__(self, options: PerceptualOptions) -> None:
        super().__init__()
        self.options = options
        options.check_weights()
        if options.network == "vgg19":
            assert options.weights is not None  # noqa: S101 (for the type checker)
            self.network: nn.Module
            self.network, self.sha256 = vgg19_features(options.weights)
            mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        else:
            self.network, self.sha256 = efficientnet_lite0()
            mean, std = torch.full((3,), LITE_MEAN), torch.full((3,), LITE_STD)
        self.network.requires_grad_(False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean.view(1, 3, 1, 1))
        self.register_buffer("std", std.view(1, 3, 1, 1))

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """The loss; its gradient reaches ``image`` only."""
        with torch.no_grad():
            wanted = self._features(target)
        return (self._features(image) - wanted).abs().mean()

    def train(self, mode: bool = True) -> PerceptualLoss:  # noqa: ARG002 (the network always judges in eval mode)
        """Stays in eval mode."""
        return super().train(False)

    def _features(self, x: Tensor) -> Tensor:
        grey = (x.float().flatten(0, 1).unsqueeze(1) + 1) / 2
        shown = (grey.expand(-1, 3, -1, -1) - self.mean) / self.std
        if self.options.network == "vgg19":
            features: Tensor = self.network(shown, self.options.layer)
        else:
            features = _lite0_stride8(self.network, shown)
        return features


def _lite0_stride8(network: Any, x: Tensor) -> Tensor:
    """EfficientNet-Lite0 up to the last block at 1/8 of the size: 40 channels that still see texture."""
    x = network._swish(network._bn0(network._conv_stem(x)))
    for block in network._blocks[:5]:
        x = block(x)
    return x
