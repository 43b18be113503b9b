"""Grad-CAM: where in an image the evidence for a score lies, and how much of it lies in a region.

Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization",
https://arxiv.org/abs/1610.02391, equations 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthoma.networks.classifiers import FineTunedLite0, NormalisedResNet50
from synthoma.networks.noise import Critic
from synthoma.networks.patchgan import PatchGAN

__all__ = ["best_share", "enlarged", "grad_cam", "last_maps", "share_inside", "uniform_share"]


def last_maps(network: nn.Module) -> nn.Module:
    """The layer whose output is the last feature maps: what the judging layer of a network reads."""
    if isinstance(network, FineTunedLite0):
        return network.base.get_submodule("_swish")  # called after every convolution of the body, last after the last
    if isinstance(network, NormalisedResNet50):
        return network.base.get_submodule("layer4")
    if isinstance(network, PatchGAN):
        return network.layers[-2]
    if isinstance(network, Critic):
        return network.layers[-1]
    raise TypeError(f"no feature maps are known of a {type(network).__name__}")


def grad_cam(layer: nn.Module, images: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Heat-maps ReLU(Σₖ αₖ Aₖ) with αₖ the mean over space of the score's gradient in map k of ``layer``.

    A network that reads the channels of an image one by one has maps of each; the sum is over all of them.

    Args:
        layer: of the network that ``score`` uses, in eval mode; of several calls the last counts.
        images: (n, channel, y, x).
        score: images → (n,); that of an image must not depend on the others.

    Returns:
        (n, h, w), not negative, as large as the maps.
    """
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, __, output: kept.append(output))
    try:
        with torch.enable_grad():
            total = score(images.detach().requires_grad_()).sum()
    finally:
        hook.remove()
    maps = kept[-1]
    (gradient,) = torch.autograd.grad(total, maps)
    heat = gradient.mean(dim=(2, 3), keepdim=True) * maps.detach()
    return heat.reshape(len(images), -1, *maps.shape[2:]).sum(dim=1).relu()


def enlarged(heat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(n, h, w) → (n, \\*shape), bilinear: the heat over the image."""
    large = F.interpolate(heat[:, None].double(), size=shape, mode="bilinear", align_corners=False)
    return large[:, 0]


def share_inside(heat: Tensor, inside: Tensor, within: Tensor) -> Tensor:
    """(n,) share of the heat over ``within`` that lies over ``inside`` too; NaN where there is none.

    Args:
        heat: (n, h, w) of :func:`grad_cam`.
        inside, within: (n, y, x) bool, of the image.
    """
    large = enlarged(heat, tuple(inside.shape[1:]))
    return (large * (inside & within)).sum(dim=(1, 2)) / (large * within).sum(dim=(1, 2))


def uniform_share(inside: Tensor, within: Tensor) -> Tensor:
    """(n,) the share that a map of one value would have: that of the area."""
    return (inside & within).sum(dim=(1, 2)).double() / within.sum(dim=(1, 2)).double()


def best_share(size: tuple[int, int], inside: Tensor, within: Tensor) -> Tensor:
    """(n,) the highest share that a heat-map of ``size`` (h, w) can have: all of its heat in the best of its pixels."""

    def over(region: Tensor) -> Tensor:
        """(n, h, w) how much of each pixel of the map, enlarged, lies over the region."""
        start = torch.zeros((len(region), *size), dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            total = (enlarged(start, tuple(region.shape[1:])) * region).sum()
        return torch.autograd.grad(total, start)[0]

    every = over(within)
    shares = torch.where(every > 1e-9, over(inside & within) / every.clamp(min=1e-9), 0.0)
    return shares.flatten(1).amax(dim=1)
