"""How EfficientNet-Lite0 is shown a grey image, and the features that it answers with."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from synthoma.networks.pretrained import LITE_MEAN, LITE_STD

__all__ = ["SIZES", "batch_for_network", "feature_size", "lite0_features"]

SIZES = (96, 299)
"""Sides that EfficientNet-Lite0 is shown unchanged; smaller and larger images are resized to the nearer end."""


def batch_for_network(images: Tensor) -> Tensor:
    """(n, y, x) or (n, channel, y, x) in [−1, 1] → normalised input of EfficientNet-Lite0, float32.

    One channel becomes three equal ones; [−1, 1] → [0, 1] → its mean and standard deviation; resized, where
    :func:`feature_size` says so, by an antialiased bicubic (clean-fid's). Nothing is rounded to 8 bits.
    """
    images = images[:, None].expand(-1, 3, -1, -1) if images.ndim == 3 else images
    size = feature_size((images.shape[-2], images.shape[-1]))
    images = (images + 1) / 2
    if size != images.shape[-2:]:
        images = F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return (images - LITE_MEAN) / LITE_STD


def feature_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width at which an image of ``shape`` is shown: its own when both sides lie in :data:`SIZES`."""
    height, width = int(shape[0]), int(shape[1])
    low, high = SIZES
    scale = min(max(1.0, low / min(height, width)), high / max(height, width))
    return max(32, round(height * scale)), max(32, round(width * scale))


def lite0_features(network: Any, images: Tensor) -> Tensor:
    """(n, y, x) in [−1, 1] → (n, 1280) float64: the last feature maps, averaged over space."""
    with torch.inference_mode():
        maps: Tensor = network.extract_features(batch_for_network(images))
        return maps.double().mean(dim=(2, 3))
