"""Several processes that train one GAN: as ``torchrun`` starts them, one a GPU, or one a share of the cores."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from synthoma.errors import SettingError, describe

__all__ = ["Processes", "check_gpus", "is_main", "joined"]

T = TypeVar("T")
PATIENCE = timedelta(days=1)
"""The others wait so long for what the first one does alone: validation on many images, a slow disk."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1
    control: dist.ProcessGroup | None = None
    """Over which flags are exchanged: always on the CPU, so that no GPU has to be waited for."""
    parent: int = 0
    """The process that started this one."""

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def orphaned(self) -> bool:
        """Whether the process that started them was killed: nobody will stop them, and nobody hears them."""
        return self.count > 1 and os.getppid() != self.parent

    def any(self, flag: bool) -> bool:
        """Whether any of them says so."""
        if self.count == 1:
            return flag
        found = torch.tensor(int(flag))
        dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self.control)
        return bool(found)

    def first(self, action: Callable[[], T]) -> T:
        """What ``action`` returns, or raises, in the first process, which alone does it; the others wait for it."""
        if self.count == 1:
            return action()
        found: list[Any] = [None, None]
        if self.main:
            try:
                found[0] = action()
            except Exception as error:  # raised below, in all of them
                found[1] = error
        dist.broadcast_object_list(found, group=self.control)
        if found[1] is not None:
            raise found[1]
        result: T = found[0]
        return result

    def earliest(self, found: tuple[int, str] | None) -> tuple[int, str] | None:
        """The pair with the smallest number that any of them has, if one has any."""
        if self.count == 1 or not self.any(found is not None):
            return found
        pairs: list[tuple[int, str] | None] = [None] * self.count
        dist.all_gather_object(pairs, found, group=self.control)
        return min(pair for pair in pairs if pair is not None)

    def check_equal(self, weights: torch.Tensor) -> None:
        """Stop where the processes hold different weights, given their sum.

        Raises:
            SettingError: they drifted apart.
        """
        if self.count == 1:
            return
        own = weights.detach().double().cpu().reshape(1)
        all_of_them = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(all_of_them, own, group=self.control)
        values = [float(value) for value in all_of_them]
        if len(set(values)) > 1:
            remedy = "Train on devices of one kind; the last saved state is good."
            raise SettingError(describe("sum of the weights", "the same in all processes", values, remedy))


def is_main() -> bool:
    """Whether this process is alone, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started (``WORLD_SIZE`` in the environment), or be alone.

    Raises:
        SettingError: there are more processes than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    if device.type == "cuda":
        check_gpus(int(os.environ.get("LOCAL_WORLD_SIZE", count)), "torchrun --nproc-per-node")
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():  # once: the store where they find each other remembers the last time
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    control = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), count, control, os.getppid())
    finally:
        dist.destroy_process_group(control)


def check_gpus(count: int, setting: str) -> None:
    """Refuse more processes than there are GPUs on this machine: two would fight for one.

    Raises:
        SettingError: ``setting`` asks for more.
    """
    found = torch.cuda.device_count()
    if count > found:
        remedy = "Ask for fewer, or train on the processor with --set training.device=cpu."
        raise SettingError(describe(setting, f"at most {found}, the GPUs of this machine", count, remedy))
