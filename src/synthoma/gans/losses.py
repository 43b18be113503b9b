"""Losses, each a pure function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from synthoma.similarity import K1, K2, RADIUS, SIGMA

__all__ = ["ADVERSARIAL", "Adversarial", "gradient_penalty", "reconstruction_loss", "ssim_loss"]


def _bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """−E[log D(x, y)] − E[log(1 − D(x, G(x)))] (Goodfellow et al. 2014, equation 1), halved as pix2pix does.

    With logits l, −log σ(l) = softplus(−l) and −log(1 − σ(l)) = softplus(l): exact, and finite for any logit.
    """
    return 0.5 * (F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean())


def _bce_generator(fake: Tensor) -> Tensor:
    """−E[log D(x, G(x))]: the non-saturating form (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake.float()).mean()


def _lsgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """½ E[(D(real) − 1)²] + ½ E[D(fake)²] (Mao et al. 2017, equation 9)."""
    return 0.5 * ((real.float() - 1).square().mean() + fake.float().square().mean())


def _lsgan_generator(fake: Tensor) -> Tensor:
    """E[(D(fake) − 1)²], with the discriminator's factor ½ left out as pix2pix does."""
    return (fake.float() - 1).square().mean()


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 − D(real))] + E[max(0, 1 + D(fake))] (Lim & Ye 2017; Miyato et al. 2018, equation 16)."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def _wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(fake)] − E[D(real)] (Arjovsky et al. 2017, equation 2, with the sign turned to be minimised)."""
    return fake.float().mean() - real.float().mean()


def _minus_mean(fake: Tensor) -> Tensor:
    """−E[D(fake)], the generator's side of the hinge and of the Wasserstein loss."""
    return -fake.float().mean()


Adversarial = Literal["bce", "lsgan", "hinge", "wasserstein"]

ADVERSARIAL: Mapping[Adversarial, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "bce": (_bce_discriminator, _bce_generator),
    "lsgan": (_lsgan_discriminator, _lsgan_generator),
    "hinge": (_hinge_discriminator, _minus_mean),
    "wasserstein": (_wasserstein_critic, _minus_mean),
}
"""Name → (loss of the discriminator from real and fake logits, loss of the generator from fake logits)."""


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖₂ − 1)²] at x̂ = ε·real + (1 − ε)·fake (Gulrajani et al. 2017, equation 3), in float32.

    A critic with P logits an image is asked for a slope of 1 *a patch*: the norm is that of ∇ Σ D(x̂) over √P, which is
    the usual norm where P = 1, and neither grows nor shrinks with the size of the image. ``epsilon`` is (n, 1, …) in
    [0, 1]. A tiny constant under the root keeps the gradient finite where the norm is 0.
    """
    mixed = (epsilon * real + (1 - epsilon) * fake).detach().float().requires_grad_(True)
    with torch.autocast(mixed.device.type, enabled=False):
        logits = discriminator(mixed)
    (gradient,) = torch.autograd.grad(logits.sum(), mixed, create_graph=True)
    patches = logits[0].numel()
    norm = (gradient.flatten(1).square().sum(dim=1) / patches + 1e-12).sqrt()
    return (norm - 1).square().mean()


def reconstruction_loss(made: Tensor, image: Tensor, ssim_share: float) -> Tensor:
    """(1 − ``ssim_share``) · L1 + ``ssim_share`` · (1 − SSIM) between images in [−1, 1].

    Zhao et al. 2017, "Loss functions for image restoration with neural networks", section III.
    """
    distance = (1 - ssim_share) * F.l1_loss(made, image)
    return distance + ssim_share * ssim_loss(made, image) if ssim_share > 0 else distance


def ssim_loss(x: Tensor, y: Tensor, data_range: float = 2.0) -> Tensor:
    """1 − SSIM, as :func:`synthoma.similarity.ssim` defines it for the whole frame, over images (n, c, [z,] y, x).

    A loss of images as in Zhao et al. 2017, "Loss functions for image restoration with neural networks", equation 6;
    in float32. Images need at least 11 pixels a side.
    """
    x, y = x.float(), y.float()
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    taps = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1, device=x.device) / SIGMA) ** 2)
    taps = taps / taps.sum()
    convolve: Callable[[Tensor, Tensor], Tensor] = F.conv2d if x.ndim == 4 else F.conv3d
    sides = x.shape[2:]
    moments = torch.stack([x, y, x * x + y * y, x * y]).reshape(-1, 1, *sides)
    for axis in range(len(sides)):
        shape = [1] * (2 + len(sides))
        shape[2 + axis] = len(taps)
        moments = convolve(moments, taps.view(shape))
    mean_x, mean_y, squares, product = moments.view(4, -1)
    mean_xy, mean_squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    numerator = (2 * mean_xy + c1) * (2 * (product - mean_xy) + c2)
    ssim: Tensor = numerator / ((mean_squares + c1) * (squares - mean_squares + c2))
    return 1 - ssim.mean()
