"""How a step is carried out: in which precision, by how many processes, with which random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from synthoma.seeding import child_seed

__all__ = ["Engine"]


class Engine:
    """What every GAN's step is given, so that the methods themselves hold nothing but networks and losses.

    **Precision.** :meth:`autocast` runs networks in bf16 or fp16; weights and losses stay float32. With fp16 every
    optimiser has a loss scaler of its own, since the losses of two networks differ in size; steps that it skips are
    counted in ``skipped``.

    **Processes.** Each process computes its share of a batch; :meth:`update` averages the gradients of an optimiser
    over the processes before it steps, in one flat transfer. So any number of forward and backward passes may come
    before a step, double backward included, and the processes cannot drift apart: a gradient that is not averaged is
    not used.

    **Random numbers.** :meth:`begin` sets PyTorch's generator (dropout) from the seed, the step and the process, and
    :meth:`normal`, :meth:`uniform` draw for the whole batch from the seed and the step alone and give this process its
    share. A step's numbers depend on no step before it, nor on the number of processes.
    """

    def __init__(
        self, device: torch.device, precision: torch.dtype = torch.float32, *, seed: int = 0, compiled: bool = False
    ) -> None:
        self.device, self.precision, self.seed, self.compiled = device, precision, seed, compiled
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.processes = dist.get_world_size() if together else 1
        self.step = 0
        """Number of the step being done, from 0."""
        self.skipped: dict[str, int] = {}
        """Optimiser → its steps that fp16 made overflow."""
        self.scalers: dict[str, torch.amp.GradScaler] = {}
        self._compiled: dict[int, nn.Module] = {}
        self._random = torch.Generator()
        self.begin(0)

    def begin(self, step: int) -> None:
        """Before a step: set the random numbers that it will draw."""
        self.step = step
        self._random.manual_seed(child_seed(self.seed, "step", step))
        torch.manual_seed(child_seed(self.seed, "dropout", step, self.rank))

    def autocast(self) -> torch.autocast:
        """The context in which networks run."""
        return torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32)

    def fast(self, network: nn.Module) -> nn.Module:
        """The network, compiled if that was asked for. Not for gradient penalties: compiled code has no second
        derivative."""
        if not self.compiled:
            return network
        if id(network) not in self._compiled:
            self._compiled[id(network)] = cast(nn.Module, torch.compile(network))
        return self._compiled[id(network)]

    def normal(self, n: int, *shape: int) -> Tensor:
        """Standard normal numbers (n, …) for the n samples of this process."""
        return self._share(torch.randn(n * self.processes, *shape, generator=self._random))

    def uniform(self, n: int, *shape: int) -> Tensor:
        """Numbers (n, …) in [0, 1) for the n samples of this process."""
        return self._share(torch.rand(n * self.processes, *shape, generator=self._random))

    def uniform_for_all(self, n: int) -> Tensor:
        """n numbers in [0, 1), on the CPU, the same in every process."""
        return torch.rand(n, generator=self._random)

    def gathered(self, images: Tensor) -> Tensor:
        """The samples of all processes in the order of the whole batch, without gradient."""
        if self.processes == 1:
            return images.detach()
        own = images.detach().contiguous()  # what travels is memory: in one order everywhere
        parts = [torch.empty_like(own) for _ in range(self.processes)]
        dist.all_gather(parts, own)
        return torch.cat(parts)

    def share(self, whole: Tensor) -> Tensor:
        """This process's part of a whole batch."""
        n = len(whole) // self.processes
        return whole[self.rank * n : (self.rank + 1) * n]

    def backward(self, loss: Tensor, optimiser: str) -> None:
        """Add the gradients of ``loss``, scaled for ``optimiser``."""
        scaler = self._scaler(optimiser)
        (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def update(self, optimisers: Mapping[str, torch.optim.Optimizer], name: str) -> None:
        """Average the gradients over the processes, and let the optimiser ``name`` step."""
        optimiser, scaler = optimisers[name], self._scaler(name)
        self._average(p for group in optimiser.param_groups for p in group["params"])
        if scaler is None:
            optimiser.step()
            return
        before = scaler.get_scale()
        scaler.step(optimiser)
        scaler.update()
        if scaler.get_scale() < before:
            self.skipped[name] = self.skipped.get(name, 0) + 1

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over the processes."""
        if self.processes > 1:
            value = value.clone()
            dist.all_reduce(value)
            value = value / self.processes
        return value

    def state(self) -> dict[str, float]:
        """What must be kept to go on: the scale of every loss scaler and how long it has been good."""
        return {
            f"{name}/{key}": float(value)
            for name, scaler in self.scalers.items()
            for key, value in scaler.state_dict().items()
        } | {f"{name}/skipped": float(count) for name, count in self.skipped.items()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Back from :meth:`state`."""
        for name in {key.split("/")[0] for key in state}:
            values = {key.split("/")[1]: value for key, value in state.items() if key.startswith(f"{name}/")}
            if "skipped" in values:
                self.skipped[name] = int(values.pop("skipped"))
            scaler = self._scaler(name)
            if scaler is not None and values:
                for whole in ("growth_interval", "_growth_tracker"):
                    values[whole] = int(values[whole])
                scaler.load_state_dict(values)

    def _share(self, whole: Tensor) -> Tensor:
        return self.share(whole).to(self.device, non_blocking=True)

    def _scaler(self, optimiser: str) -> torch.amp.GradScaler | None:
        if self.precision != torch.float16:
            return None
        if optimiser not in self.scalers:
            self.scalers[optimiser] = torch.amp.GradScaler(self.device.type)
        return self.scalers[optimiser]

    def _average(self, parameters: Iterable[nn.Parameter]) -> None:
        if self.processes == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.processes
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
