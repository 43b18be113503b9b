"""Running averages of weights (EMA), as Karras et al. 2018 (section 4.1) draw their images from."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """A copy of ``network`` whose weights follow it: a ← d·a + (1 − d)·w after each step.

    The decay ramps up as (1 + t) / (10 + t), so that a short run is not dominated by its first weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follow ``network`` after its optimiser step number ``step`` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay > 0 else 0.0
        own: list[Tensor] = [*self.network.parameters()]
        other: list[Tensor] = [*network.parameters()]
        torch._foreach_lerp_(own, other, 1 - decay)
        for buffer, source in zip(self.network.buffers(), network.buffers(), strict=True):
            buffer.copy_(source)
