"""Batches of arrays for training: each sample a function of the seed, the epoch, the row and its round alone.

So an epoch can be left and taken up at any batch, and a sample does not depend on the size of its batch. One thread
prepares the next batches while the present one is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthoma.cohort.augment import Augmentation, AugmentOptions, augment, draw_augmentation
from synthoma.errors import CohortError, SettingError, describe
from synthoma.records import Cohort
from synthoma.seeding import generator

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "Batches"]

IN_MEMORY_BYTES = 1 << 30
"""A selection up to this size (1 GiB) is copied into memory."""
AHEAD = 2
"""Batches prepared beforehand."""


@dataclass(frozen=True)
class Batch:
    """Some samples of a cohort."""

    images: torch.Tensor
    """(n, channel, [z,] y, x) float32 in [−1, 1], the cohort's channels."""
    masks: torch.Tensor
    """(n, mask, [z,] y, x) float32 of 0 and 1, the cohort's masks."""
    rows: NDArray[np.intp]
    """(n,) rows of the cohort."""

    def __len__(self) -> int:
        return len(self.rows)


class Batches:
    """The batches of some rows of a cohort, epoch after epoch."""

    def __init__(
        self,
        cohort: Cohort,
        rows: NDArray[np.intp],
        *,
        batch_size: int,
        seed: int,
        augment: AugmentOptions | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        in_memory: bool | None = None,
        length: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare to draw batches.

        Args:
            cohort: where the samples are.
            rows: which of them.
            batch_size: samples a batch.
            seed: of the order and the augmentation.
            augment: random changes; none by default.
            shuffle: a new order each epoch; else the order of ``rows``.
            drop_last: leave out the last batch of an epoch where it is smaller.
            in_memory: copy the samples into memory, or read them from disk each time; by size when ``None``.
            length: samples an epoch, at least as many as there are; the rows are then gone through again, in a new
                order and with new augmentation each round. As many as there are when ``None``.
            share: (rank, processes): this process gets its equal part of every batch, whose size must be a multiple of
                the processes; what is over at the end of an epoch is left out.

        Raises:
            CohortError: there is no row.
            SettingError: an epoch would have no batch.
        """
        self.rows = np.asarray(rows, dtype=np.intp)
        if not len(self.rows):
            raise CohortError(describe(cohort.path or "cohort", "samples to draw batches from", "none"))
        if batch_size < 1 or (drop_last and batch_size > len(self.rows)):
            raise SettingError(describe("batch_size", f"1 to {len(self.rows)}, the number of samples", batch_size))
        self.batch_size, self.seed, self.shuffle, self.drop_last = batch_size, seed, shuffle, drop_last
        self.length = len(self.rows) if length is None else length
        self.rank, self.processes = share
        if batch_size % self.processes:
            expected = f"a multiple of {self.processes}, the number of processes"
            raise SettingError(describe("training.batch_size", expected, batch_size))
        self.length -= self.length % self.processes
        self.options = augment or AugmentOptions()
        size = len(self.rows) * (cohort.images[:1].nbytes + cohort.masks[:1].nbytes)
        self.in_memory = size <= IN_MEMORY_BYTES if in_memory is None else in_memory
        self._images, self._masks = cohort.images, cohort.masks
        self._place: dict[int, int] | None = None  # row of the cohort → place in the copy
        if self.in_memory:
            self._images, self._masks = np.asarray(cohort.images[self.rows]), np.asarray(cohort.masks[self.rows])
            self._place = {int(row): place for place, row in enumerate(self.rows)}

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(self.length, self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[Batch]:
        """The batches of epoch ``number``, from batch ``skip`` on (to resume within an epoch)."""
        order = self._order(number)
        rounds = np.arange(len(order)) // len(self.rows)
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            waiting: deque[Any] = deque()
            for start in range(skip, len(self) + AHEAD):
                if start < len(self):
                    begin = start * self.batch_size
                    part = min(self.batch_size, len(order) - begin) // self.processes
                    own = slice(begin + self.rank * part, begin + (self.rank + 1) * part)
                    waiting.append(pool.submit(self._batch, number, order[own], rounds[own]))
                if waiting and (len(waiting) > AHEAD or start >= len(self)):
                    yield waiting.popleft().result()

    def _order(self, number: int) -> NDArray[np.intp]:
        """The rows of an epoch, all of them before one comes again."""
        rounds = -(-self.length // len(self.rows))
        if not self.shuffle:
            return np.tile(self.rows, rounds)[: self.length]
        first = generator(self.seed, "order", number)
        return np.concatenate([first.permutation(self.rows) for _ in range(rounds)])[: self.length]

    def _batch(self, epoch: int, rows: NDArray[np.intp], rounds: NDArray[np.intp]) -> Batch:
        import torch

        places = rows if self._place is None else np.array([self._place[int(row)] for row in rows])
        images = torch.from_numpy(np.asarray(self._images[places], dtype=np.float32))
        masks = torch.from_numpy(np.asarray(self._masks[places], dtype=np.float32))
        if self.options != AugmentOptions():
            drawn = [self._draw(epoch, *which) for which in zip(rows.tolist(), rounds.tolist(), strict=True)]
            images, masks = augment(images, masks, drawn, self.options)
        return Batch(images, masks, rows)

    def _draw(self, epoch: int, row: int, turn: int) -> Augmentation:
        """The changes to a row of the cohort when it comes for the ``turn``-th time in an epoch, from 0."""
        again = (turn,) if turn else ()
        return draw_augmentation(self.options, generator(self.seed, "augment", epoch, row, *again))
