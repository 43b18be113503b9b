"""The engine of one process: random numbers, precision, scalers. Several processes are tested in ``tests/training``."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from synthoma.gans import Engine

CPU = torch.device("cpu")


def numbers(engine: Engine) -> list[float]:
    drawn = [engine.uniform(2, 3), engine.normal(2, 3), engine.uniform_for_all(4), torch.rand(3)]
    return torch.cat([part.flatten() for part in drawn]).tolist()


def test_the_numbers_of_a_step_follow_from_the_seed_and_its_number() -> None:
    """Whatever was drawn before; so a run that is stopped needs no random state."""
    first, second = Engine(CPU, seed=1), Engine(CPU, seed=1)
    for _ in range(3):
        first.begin(2)
        numbers(first)
    torch.manual_seed(99)
    first.begin(3)
    of_first = numbers(first)
    second.begin(3)
    assert numbers(second) == of_first
    for engine, step in ((first, 4), (Engine(CPU, seed=2), 3)):
        engine.begin(step)
        assert not set(numbers(engine)) & set(of_first)


def test_a_fresh_engine_stands_at_step_0() -> None:
    fresh, begun = Engine(CPU, seed=5), Engine(CPU, seed=5)
    drawn = numbers(fresh)
    begun.begin(0)
    assert drawn == numbers(begun)


def test_the_first_samples_of_a_batch_draw_the_same_whatever_its_size() -> None:
    few, many = Engine(CPU), Engine(CPU)
    assert torch.equal(few.uniform(2, 5), many.uniform(6, 5)[:2])


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_processes_draw_for_the_whole_batch_and_take_their_share(rank: int) -> None:
    whole, part = Engine(CPU, seed=3), Engine(CPU, seed=3)
    part.rank, part.processes = rank, 3
    for draw in ("uniform", "normal"):
        assert torch.equal(getattr(part, draw)(2, 4), getattr(whole, draw)(6, 4)[2 * rank : 2 * rank + 2])
    assert torch.equal(part.uniform_for_all(5), whole.uniform_for_all(5))


def test_dropout_differs_between_processes() -> None:
    drawn = []
    for rank in (0, 1):
        engine = Engine(CPU, seed=3)
        engine.rank = rank
        engine.begin(7)
        drawn.append(torch.rand(8))
    assert not torch.equal(*drawn)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_networks_run_in_the_precision_and_weights_stay_float32(precision: torch.dtype) -> None:
    engine, layer = Engine(CPU, precision), nn.Linear(4, 4)
    with engine.autocast():
        assert layer(torch.rand(2, 4)).dtype == precision
    assert layer.weight.dtype == torch.float32


def a_network() -> tuple[nn.Linear, dict[str, torch.optim.Optimizer]]:
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    return network, {"first": torch.optim.SGD(network.parameters(), 0.1), "second": torch.optim.SGD([nn.Parameter()])}


def test_fp16_scales_its_losses_and_steps_as_float32_does() -> None:
    x, after = torch.tensor([[1.0, 2.0, 3.0]]), []
    for precision in (torch.float32, torch.float16):
        engine = Engine(CPU, precision)
        network, optimisers = a_network()
        engine.backward(network(x).sum(), "first")
        assert network.weight.grad is not None
        scale = 1 if precision == torch.float32 else 2**16
        assert torch.equal(network.weight.grad, scale * x)
        engine.update(optimisers, "first")
        after.append(network.weight.detach().clone())
        assert engine.skipped == {}
    torch.testing.assert_close(*after)


def test_a_step_that_overflows_is_skipped_and_counted_for_its_optimiser_alone() -> None:
    engine = Engine(CPU, torch.float16)
    network, optimisers = a_network()
    before = network.weight.detach().clone()
    for _ in range(2):
        engine.backward(network(torch.full((1, 3), torch.inf)).sum(), "first")
        engine.update(optimisers, "first")
        network.zero_grad()
    assert torch.equal(network.weight, before)
    assert engine.skipped == {"first": 2}
    assert engine.scalers["first"].get_scale() == 2**14
    engine.backward(network(torch.ones(1, 3)).sum(), "second")
    assert engine.scalers["second"].get_scale() == 2**16
    assert engine.state()["first/skipped"] == 2


def test_scalers_and_counts_come_back_from_their_state() -> None:
    engine, restored = Engine(CPU, torch.float16), Engine(CPU, torch.float16)
    network, optimisers = a_network()
    for value in (torch.inf, 1.0, 1.0):
        engine.backward(network(torch.full((1, 3), value)).sum(), "first")
        engine.update(optimisers, "first")
        network.zero_grad()
    restored.restore(engine.state())
    assert restored.state() == engine.state()
    assert restored.skipped == {"first": 1}
    own, other = restored.scalers["first"], engine.scalers["first"]
    assert own.state_dict() == other.state_dict()
    for each in (engine, restored):  # and they go on alike
        each.backward(network(torch.ones(1, 3)).sum(), "first")
        each.update(optimisers, "first")
        network.zero_grad()
    assert restored.state() == engine.state()


def test_float32_has_no_scaler_and_nothing_to_keep() -> None:
    engine = Engine(CPU)
    network, optimisers = a_network()
    engine.backward(network(torch.ones(1, 3)).sum(), "first")
    engine.update(optimisers, "first")
    assert engine.state() == {}
    engine.restore({})
    assert engine.scalers == {}


def test_only_what_was_asked_for_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each network once."""
    compiled: list[nn.Module] = []

    def compile_(network: nn.Module) -> nn.Module:
        compiled.append(network)
        return nn.Sequential(network)

    monkeypatch.setattr(torch, "compile", compile_)
    network, other = nn.Linear(1, 1), nn.Linear(1, 1)
    assert Engine(CPU).fast(network) is network
    engine = Engine(CPU, compiled=True)
    assert engine.fast(network) is engine.fast(network) is not network
    engine.fast(other)
    assert compiled == [network, other]


def test_alone_the_shares_are_the_whole() -> None:
    engine, x = Engine(CPU), torch.rand(4, 2, requires_grad=True)
    assert torch.equal(engine.share(x), x)
    assert torch.equal(engine.gathered(x), x)
    assert not engine.gathered(x).requires_grad
    assert torch.equal(engine.mean(x.sum()), x.sum())
