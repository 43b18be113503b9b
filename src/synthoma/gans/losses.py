"""Losses, each a pure function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ADVERSARIAL", "gradient_penalty"]


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


ADVERSARIAL: Mapping[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "bce": (_bce_discriminator, _bce_generator),
    "lsgan": (_lsgan_discriminator, _lsgan_generator),
}
"""Name → (loss of the discriminator from real and fake logits, loss of the generator from fake logits)."""


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖₂ − 1)²] at x̂ = ε·real + (1 − ε)·fake (Gulrajani et al. 2017, equation 3), in float32.

    ``epsilon`` is (n, 1, …) in [0, 1]. A tiny constant under the root keeps the gradient finite where the norm is 0.
    """
    mixed = (epsilon * real + (1 - epsilon) * fake).detach().float().requires_grad_(True)
    with torch.autocast(mixed.device.type, enabled=False):
        logits = discriminator(mixed)
    (gradient,) = torch.autograd.grad(logits.sum(), mixed, create_graph=True)
    norm = (gradient.flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    return (norm - 1).square().mean()
