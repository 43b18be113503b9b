"""A view of a cohort for the user's own PyTorch code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from synthoma.cohort.store import open_cohort
from synthoma.errors import CohortError, describe, did_you_mean
from synthoma.records import Cohort

__all__ = ["CohortDataset"]


class CohortDataset(Dataset[Any]):
    """Samples as dictionaries: ``image`` (channel, [z,] y, x) float32 in [−1, 1], ``mask`` (mask, [z,] y, x) float32 of
    0 and 1, ``label``, ``id``, ``patient``.

    MONAI's dictionary transforms take such items: give one as ``transform``, as
    ``Compose([RandFlipd(["image", "mask"], 0.5), …])``, or the view itself to ``monai.data.CacheDataset`` as its data.

    A worker process opens the folder itself, so that nothing but its path travels there.
    """

    def __init__(
        self,
        cohort: Cohort | Path | str,
        rows: NDArray[np.intp] | None = None,
        channels: tuple[str, ...] | None = None,
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        """View ``rows`` and ``channels`` (all by default) of a cohort; ``transform`` changes each item.

        Raises:
            CohortError: the cohort has no such channel, or cannot be opened.
        """
        self.cohort = cohort if isinstance(cohort, Cohort) else open_cohort(cohort)
        self.rows = np.arange(len(self.cohort)) if rows is None else np.asarray(rows, dtype=np.intp)
        self.channels = self.cohort.channels if channels is None else tuple(channels)
        for name in self.channels:
            if name not in self.cohort.channels:
                remedy = did_you_mean(name, self.cohort.channels)
                raise CohortError(describe("channels", "channels of the cohort", f"'{name}'", remedy))
        self.transform = transform
        self._indices = [self.cohort.channels.index(name) for name in self.channels]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        row = int(self.rows[index])
        table = self.cohort.table
        item = {
            "image": torch.from_numpy(np.array(self.cohort.images[row][self._indices], dtype=np.float32)),
            "mask": torch.from_numpy(np.array(self.cohort.masks[row], dtype=np.float32)),
            **{name: str(table[name][row]) for name in ("label", "id", "patient")},
        }
        return item if self.transform is None else self.transform(item)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cohort.path or self.cohort, self.rows, self.channels, self.transform)
