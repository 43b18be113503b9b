"""The pool of earlier images against CycleGAN's own rule, written with a list."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from synthoma.gans import Engine
from synthoma.gans.pool import ImagePool

CPU = torch.device("cpu")


class ListPool:
    """util/image_pool.py of junyanz/pytorch-CycleGAN-and-pix2pix; two numbers are drawn for every image here."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor, drawn: list[float]) -> Tensor:
        returned = []
        for image, (coin, place) in zip(images, zip(drawn[::2], drawn[1::2], strict=True), strict=True):
            if len(self.images) < self.size:
                self.images.append(image.clone())
                returned.append(image)
            elif coin > 0.5:
                index = int(place * self.size)
                returned.append(self.images[index])
                self.images[index] = image.clone()
            else:
                returned.append(image)
        return torch.stack(returned)


def some(n: int, seed: int, shape: tuple[int, ...] = (1, 4, 4)) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("size", "batch"), [(1, 1), (3, 1), (5, 2), (4, 6), (50, 8)])
@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 2, 3, 4)], ids=str)
def test_the_rule_is_cycle_gans(size: int, batch: int, shape: tuple[int, ...]) -> None:
    pool, wanted = ImagePool(size, *shape), ListPool(size)
    engine, numbers = Engine(CPU, seed=7), Engine(CPU, seed=7)
    exchanged = 0
    for step in range(40):
        engine.begin(step)
        numbers.begin(step)
        images = some(batch, step, shape)
        before = images.clone()
        shown = pool.exchange(images, engine)
        assert torch.equal(shown, wanted.query(images, numbers.uniform_for_all(2 * batch).tolist()))
        assert torch.equal(images, before)  # the generator's images are left as they are
        exchanged += sum(not torch.equal(a, b) for a, b in zip(shown, images, strict=True))
    kept = min(size, 40 * batch)
    assert int(pool.filled) == kept
    assert torch.equal(pool.images[:kept], torch.stack(wanted.images))
    after = 40 * batch - size  # images that came when the pool was full, half of them exchanged
    assert abs(exchanged - after / 2) < 4 * (after / 4) ** 0.5 + 1


def test_the_first_images_pass_as_they_are() -> None:
    pool, images = ImagePool(8, 1, 4, 4), some(8, 1)
    assert torch.equal(pool.exchange(images, Engine(CPU)), images)
    assert torch.equal(pool.images, images)


def test_a_pool_of_none_passes_everything_and_draws_nothing() -> None:
    pool, engine, other = ImagePool(0, 1, 4, 4), Engine(CPU), Engine(CPU)
    for seed in range(3):
        images = some(2, seed)
        assert torch.equal(pool.exchange(images, engine), images)
    assert torch.equal(engine.uniform(2), other.uniform(2))
    assert int(pool.filled) == 0


@pytest.mark.parametrize("size", [0, 3])
def test_no_gradient_comes_through(size: int) -> None:
    pool = ImagePool(size, 1, 4, 4)
    images = some(2, 0).requires_grad_(True)
    for _ in range(3):
        assert not pool.exchange(images * 2, Engine(CPU)).requires_grad


def test_it_is_saved_and_comes_back_with_its_contents() -> None:
    """Half full and full: what follows is the same, bit for bit."""
    for filled in (2, 6):
        pool, engine = ImagePool(4, 1, 4, 4), Engine(CPU)
        pool.exchange(some(filled, 0), engine)
        restored = ImagePool(4, 1, 4, 4)
        restored.load_state_dict(pool.state_dict(), strict=True)
        for step in range(5):
            shown = []
            for each in (pool, restored):
                engine.begin(step)
                shown.append(each.exchange(some(3, 10 + step), engine))
            assert torch.equal(*shown)


def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is read off a tensor when a state is loaded, and never again."""
    loaded, pool, engine = ImagePool(4, 1, 4, 4), ImagePool(4, 1, 4, 4), Engine(CPU)
    pool.exchange(some(3, 0), engine)
    loaded.load_state_dict(pool.state_dict())

    def wait(*_: object) -> int:
        raise AssertionError("a tensor was read")

    for name in ("__int__", "__index__", "__bool__", "__float__", "item"):
        monkeypatch.setattr(Tensor, name, wait)
    for step in range(4):
        engine.begin(step)
        loaded.exchange(some(1, step), engine)
    monkeypatch.undo()
    assert int(loaded.filled) == 4


def test_it_holds_copies() -> None:
    pool, images = ImagePool(2, 1, 4, 4), some(2, 0)
    shown = pool.exchange(images, Engine(CPU))
    kept = pool.images.clone()
    images.zero_()
    shown.zero_()
    assert torch.equal(pool.images, kept)
