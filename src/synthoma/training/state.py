"""All that a run carries from step to step, and its way into a checkpoint and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synthoma.errors import CheckpointError, SettingError, describe
from synthoma.gans import Engine, Gan
from synthoma.gans.checkpoints import load_arrays, to_arrays
from synthoma.records import Checkpoint, Lineage
from synthoma.training.averaging import Average

__all__ = ["State", "not_finite"]


@dataclass
class State:
    """The GAN, the running averages of the networks that draw, and how far the run has come.

    Random numbers are no part of it: those of a step follow from the seed and its number (:class:`Engine`).
    """

    gan: Gan
    averages: Mapping[str, Average]
    engine: Engine
    options: Mapping[str, Any]
    """What was asked for, as JSON can hold it."""
    lineage: Lineage
    step: int = 0
    """Optimiser steps done."""
    best: float | None = None
    """The best validation so far."""

    @property
    def drawing(self) -> dict[str, nn.Module]:
        """The networks that draw."""
        return {name: average.network for name, average in self.averages.items()}

    def checkpoint(self, *, whole: bool) -> Checkpoint:
        """The state after ``step`` steps; ``whole`` adds what only going on needs."""
        gan = self.gan
        arrays: dict[str, NDArray[Any]] = {}
        for name, average in self.averages.items():
            arrays |= to_arrays(f"averages/{name}", average.network.state_dict())
        if whole:
            for kind, modules in (("networks", gan.networks), ("memories", gan.memories)):
                for name, module in modules.items():
                    arrays |= to_arrays(f"{kind}/{name}", module.state_dict())
            for name, optimiser in gan.optimisers.items():
                for index, state in optimiser.state_dict()["state"].items():
                    arrays |= to_arrays(f"optimisers/{name}/{index}", state)
        scalars = {"best": self.best, "whole": whole, "engine": self.engine.state(), "arrays": len(arrays)}
        return Checkpoint(self.step, arrays, scalars, dict(self.options), self.lineage)

    def restore(self, saved: Checkpoint, what: str) -> None:
        """Put a whole state back.

        Raises:
            CheckpointError: names the first part of ``what`` that is not there or does not fit.
        """
        gan = self.gan
        if not saved.scalars.get("whole"):
            expected = "a whole state (optimisers and all)"
            raise CheckpointError(describe(what, expected, "the networks alone", "Only checkpoints/last is complete."))
        for name, average in self.averages.items():
            load_arrays(average.network, saved.part(f"averages/{name}"), what)
        for kind, modules in (("networks", gan.networks), ("memories", gan.memories)):
            for name, module in modules.items():
                load_arrays(module, saved.part(f"{kind}/{name}"), what)
        if len(saved.arrays) != saved.scalars["arrays"]:  # an optimiser that has not stepped yet has none: count all
            expected, found = f"{saved.scalars['arrays']} arrays", f"{len(saved.arrays)}: moments of an optimiser lack"
            raise CheckpointError(describe(what, expected, found))
        for name, optimiser in gan.optimisers.items():
            moments: dict[int, dict[str, torch.Tensor]] = {}
            weights = [weight for group in optimiser.param_groups for weight in group["params"]]
            for key, array in saved.part(f"optimisers/{name}").items():
                index, field = key.split("/")
                moment = torch.from_numpy(np.array(array))
                if moment.ndim:  # a fused optimiser goes through memory, where a weight may be channels last
                    moment = torch.empty_like(weights[int(index)], device="cpu").copy_(moment)
                moments.setdefault(int(index), {})[field] = moment
            optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        self.engine.restore(saved.scalars["engine"])
        self.step, self.best = saved.step, saved.scalars["best"]

    def check_finite(self) -> None:
        """Raise :class:`SettingError` when a weight is not finite, so that such a state is never saved."""
        for name, network in self.gan.networks.items():
            if not all(bool(torch.isfinite(weight).all()) for weight in network.parameters()):
                raise SettingError(not_finite(f"weights of the {name}", self.step, "NaN or infinity"))

    def weight_sum(self) -> torch.Tensor:
        """The sum of all weights, by which processes that train together are compared."""
        parts = [p.detach().double().sum() for network in self.gan.networks.values() for p in network.parameters()]
        return torch.stack(parts).sum()


def not_finite(what: str, step: int, found: object) -> str:
    """The message for a run that has come to nothing."""
    remedy = "Try --set training.precision=float32 or a smaller gan.learning_rate; the last saved state is good."
    return describe(f"{what} at step {step}", "finite numbers", found, remedy)
