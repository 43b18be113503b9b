"""``Checkpoint``: a trained GAN, complete enough to go on bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.records.lineage import Lineage

__all__ = ["Checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """All state of a training run. Arrays live in safetensors, the rest in JSON: loading runs no code."""

    step: int
    """Optimiser steps done."""
    arrays: Mapping[str, NDArray[Any]]
    """``networks/…``, ``averages/…``, ``optimisers/…``, ``memories/…`` → array."""
    scalars: Mapping[str, Any]
    """Numbers that belong to the state and are no arrays (optimiser hyper-parameters, best score so far)."""
    options: Mapping[str, Any]
    """The settings of the GAN and of its training, and what it was trained on, as JSON can hold them."""
    lineage: Lineage

    def part(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """The arrays below ``prefix/``, without the prefix."""
        cut = len(prefix) + 1
        return {name[cut:]: array for name, array in self.arrays.items() if name.startswith(prefix + "/")}
