"""All that a run carries from step to step, and its way into a checkpoint and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from synthoma.errors import CheckpointError, SettingError, describe
from synthoma.gans import ConditionalGAN
from synthoma.gans.checkpoints import load_arrays, to_arrays
from synthoma.records import Checkpoint, Lineage
from synthoma.training.averaging import Average

__all__ = ["State"]


@dataclass
class State:
    """The GAN, the running average of its generator, and how far the run has come."""

    gan: ConditionalGAN
    average: Average
    options: Mapping[str, Any]
    """What was asked for, as JSON can hold it."""
    lineage: Lineage
    step: int = 0
    """Optimiser steps done."""
    best: float | None = None
    """The best validation so far."""

    def checkpoint(self, *, whole: bool) -> Checkpoint:
        """The state after ``step`` steps; ``whole`` adds what only going on needs."""
        gan = self.gan
        arrays = to_arrays(f"averages/{gan.averaged}", self.average.network.state_dict())
        if whole:
            for name, network in gan.networks.items():
                arrays |= to_arrays(f"networks/{name}", network.state_dict())
            for name, optimiser in gan.optimisers.items():
                for index, state in optimiser.state_dict()["state"].items():
                    arrays |= to_arrays(f"optimisers/{name}/{index}", state)
            arrays["random/cpu"] = torch.get_rng_state().numpy()
            if gan.device.type == "cuda":
                arrays["random/cuda"] = torch.cuda.get_rng_state(gan.device).numpy()
        return Checkpoint(self.step, arrays, {"best": self.best}, dict(self.options), self.lineage)

    def restore(self, saved: Checkpoint, what: str) -> None:
        """Put a whole state back.

        Raises:
            CheckpointError: names the first part of ``what`` that is not there or does not fit.
        """
        gan = self.gan
        load_arrays(self.average.network, saved.part(f"averages/{gan.averaged}"), what)
        for name, network in gan.networks.items():
            load_arrays(network, saved.part(f"networks/{name}"), what)
        for name, optimiser in gan.optimisers.items():
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, array in saved.part(f"optimisers/{name}").items():
                index, field = key.split("/")
                moments.setdefault(int(index), {})[field] = torch.from_numpy(np.array(array))
            optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        if "random/cpu" not in saved.arrays:
            raise CheckpointError(describe(what, "random/cpu", "nothing", "Only checkpoints/last is complete."))
        torch.set_rng_state(torch.from_numpy(np.array(saved.arrays["random/cpu"])))
        if "random/cuda" in saved.arrays and gan.device.type == "cuda":
            torch.cuda.set_rng_state(torch.from_numpy(np.array(saved.arrays["random/cuda"])), gan.device)
        self.step, self.best = saved.step, saved.scalars["best"]

    def check_finite(self) -> None:
        """Raise :class:`SettingError` when a weight is not finite, so that such a state is never saved."""
        for name, network in self.gan.networks.items():
            if not all(bool(torch.isfinite(weight).all()) for weight in network.parameters()):
                raise SettingError(not_finite(f"weights of the {name}", self.step, "NaN or infinity"))


def not_finite(what: str, step: int, found: object) -> str:
    """The message for a run that has come to nothing."""
    remedy = "Try --set training.precision=float32 or a smaller gan.learning_rate; the last saved state is good."
    return describe(f"{what} at step {step}", "finite numbers", found, remedy)
