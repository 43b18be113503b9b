"""``training.channels_last``: another order in memory, the same training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from synthoma.errors import Interrupted
from synthoma.gans import ConditionalOptions, CycleOptions, GanOptions, WassersteinOptions
from synthoma.records import Cohort
from synthoma.training import TrainingOptions
from synthoma.training.hardware import channels_last_for
from synthoma.training.loop import train
from synthoma.training.trainer import Trainer

SMALL = {"width": 4, "discriminator_width": 4, "norm": "instance"}
EACH: dict[str, GanOptions] = {
    "conditional": ConditionalOptions(**SMALL, gradient_penalty=1),
    "cycle": CycleOptions(**SMALL, blocks=1, pool_size=3),
    "wasserstein": WassersteinOptions(width=4, critic_width=4, layers=3, critic_layers=2, latent=8, n_critic=2),
}
TRAINING = TrainingOptions(
    epochs=2, batch_size=4, precision="float32", device="cpu", threads=1, validate_every=9, variety=False
)


def losses(folder: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record["losses"] for record in records if record["kind"] == "train"]


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether all weights that can be were channels last when a training began, the averages' and the moments' at its
    end."""
    found: list[bool] = []
    whole = Trainer.run

    def looked_at(trainer: Trainer) -> None:
        gan, averages = trainer.state.gan, trainer.state.averages.values()
        own = {name: [id(weight) for weight in network.parameters()] for name, network in gan.networks.items()}
        whole(trainer)
        assert own == {name: [id(weight) for weight in network.parameters()] for name, network in gan.networks.items()}
        tensors: list[torch.Tensor] = [weight for network in gan.networks.values() for weight in network.parameters()]
        tensors += [weight for average in averages for weight in average.network.parameters()]
        for optimiser in gan.optimisers.values():
            tensors += [moment for state in optimiser.state.values() for moment in state.values()]
        images = [tensor for tensor in tensors if tensor.ndim == 4 and min(tensor.shape[1:3]) > 1]
        found.append(all(image.is_contiguous(memory_format=torch.channels_last) for image in images))

    monkeypatch.setattr(Trainer, "run", looked_at)
    return found


@pytest.mark.parametrize("method", EACH)
def test_the_losses_are_those_of_the_usual_order(
    method: str, ellipse_cohort: Cohort, tmp_path: Path, orders: list[bool]
) -> None:
    found: dict[str, Any] = {}
    for order in ("off", "on"):
        options = TRAINING.model_copy(update={"channels_last": order})
        found[order] = losses(train(ellipse_cohort, tmp_path / order, EACH[method], options))
    assert orders == [False, True]
    for usual, last in zip(found["off"], found["on"], strict=True):
        assert last == pytest.approx(usual, abs=1e-4)


@pytest.mark.parametrize("method", EACH)
def test_it_is_resumed_to_the_bit(method: str, ellipse_cohort: Cohort, tmp_path: Path, orders: list[bool]) -> None:
    """Moments come back from the disk in the usual order; a fused optimiser would take them for other weights'."""
    options = TRAINING.model_copy(update={"channels_last": "on"})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(ellipse_cohort, whole, EACH[method], options)
    with pytest.raises(Interrupted):
        train(ellipse_cohort, parts, EACH[method], options, stop_after=2)
    train(ellipse_cohort, parts, EACH[method], options, resume=True)
    last = Path("checkpoints", "last.safetensors")
    assert orders == [True, True]
    assert (parts / last).read_bytes() == (whole / last).read_bytes()


def test_auto_is_for_gpus() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [channels_last_for("auto", device) for device in (cpu, gpu)] == [False, True]
    assert [channels_last_for("on", device) for device in (cpu, gpu)] == [True, True]
    assert [channels_last_for("off", device) for device in (cpu, gpu)] == [False, False]
