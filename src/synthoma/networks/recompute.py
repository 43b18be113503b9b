"""Activation checkpointing: forget what lies between the layers, and compute it again in the backward pass.

Chen et al. 2016, "Training deep nets with sublinear memory cost", https://arxiv.org/abs/1604.06174.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

__all__ = ["apply"]


def apply(part: nn.Module, x: Tensor, recompute: bool) -> Tensor:
    """``part(x)``; with ``recompute`` its inner activations are not kept. The result is the same, bit for bit."""
    if not (recompute and torch.is_grad_enabled()):
        out: Tensor = part(x)
        return out

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _StatisticsUntouched(part)

    made: Tensor = checkpoint(part, x, use_reentrant=False, context_fn=contexts)
    return made


class _StatisticsUntouched(AbstractContextManager[None]):
    """Batch norms have counted this batch in the forward pass: not twice.

    Entered once for every backward pass that comes through, so several times where there are second derivatives.
    """

    def __init__(self, part: nn.Module) -> None:
        self.norms = [module for module in part.modules() if isinstance(module, _BatchNorm)]

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *_: object) -> None:
        for norm, (momentum, tracked) in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
