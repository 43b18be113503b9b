"""The losses of an epoch: their means for the log, and the first of them that is not finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from synthoma.gans import Engine
from synthoma.training.state import not_finite

__all__ = ["EpochLosses"]

NAMED = 8
"""Samples of a batch named in an error."""


class EpochLosses:
    """All stays on the device until somebody asks: to read a number is to wait for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        self._unread: list[tuple[int, Sequence[NDArray[np.intp]], tuple[str, ...], torch.Tensor]] = []

    def add(self, step: int, rows: Sequence[NDArray[np.intp]], losses: Mapping[str, torch.Tensor]) -> None:
        """The losses of step number ``step`` (from 1) on some rows of the cohort, a part of the batch each."""
        for name, loss in losses.items():
            self._sums[name] = self._sums[name] + loss.double() if name in self._sums else loss.double()
            self._counts[name] = self._counts.get(name, 0) + 1
        self._unread.append((step, rows, tuple(losses), torch.stack([*losses.values()]).isfinite()))

    def first_not_finite(self, ids: NDArray[np.str_]) -> tuple[int, str] | None:
        """The first step since the last call with a loss that is not finite, and what to say of it; ``ids`` are the
        names of all samples of the cohort."""
        unread, self._unread = self._unread, []
        for step, rows, names, finite in unread:
            if bool(finite.all()):
                continue
            samples = [str(name) for part in rows for name in ids[part].tolist()]
            more = f" and {len(samples) - NAMED} more" if len(samples) > NAMED else ""
            found = f"NaN or infinity, for the samples {', '.join(samples[:NAMED])}{more}"
            return step, not_finite(f"loss '{names[int(finite.int().argmin())]}'", step, found)
        return None

    def means(self, engine: Engine) -> dict[str, float]:
        """The mean of each loss over its steps and over the processes."""
        return {name: float(engine.mean(value / self._counts[name])) for name, value in self._sums.items()}
