"""Pretrained networks as classifiers of two classes, shown images of any channels in [−1, 1]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from synthoma.networks.features import batch_for_network, feature_size
from synthoma.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD
from synthoma.networks.resnet50 import ResNet50

__all__ = ["FineTunedLite0", "NormalisedResNet50"]


class FineTunedLite0(nn.Module):
    """EfficientNet-Lite0's features of every channel, mean over space, and a new linear layer on all of them."""

    def __init__(self, base: nn.Module, channels: int) -> None:
        super().__init__()
        self.base = base
        self.last = nn.Linear(1280 * channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(n, channel, y, x) → (n, 1) logits."""
        maps = self.base.extract_features(batch_for_network(images.flatten(0, 1)))  # type: ignore[operator]
        return self.last(maps.mean(dim=(2, 3)).reshape(len(images), -1))  # type: ignore[no-any-return]


class NormalisedResNet50(nn.Module):
    """ResNet-50 on all channels at once, each normalised by the means over ImageNet's colours."""

    def __init__(self, base: ResNet50) -> None:
        super().__init__()
        self.base = base

    def forward(self, images: Tensor) -> Tensor:
        """(n, channel, y, x) → (n, 1) logits."""
        height, width = images.shape[-2:]
        size, images = feature_size((height, width)), (images + 1) / 2
        if size != (height, width):
            images = F.interpolate(images, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        return self.base((images - sum(IMAGENET_MEAN) / 3) / (sum(IMAGENET_STD) / 3))  # type: ignore[no-any-return]
