"""The losses against their textbook forms, in float64 and where that still has digits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from synthoma.gans.losses import ADVERSARIAL, gradient_penalty

logit_lists = st.lists(st.floats(-12, 12, width=32), min_size=1, max_size=8)


@settings(deadline=None, max_examples=50)
@given(real=logit_lists, fake=logit_lists)
def test_bce_is_the_cross_entropy_of_sigmoids(real: list[float], fake: list[float]) -> None:
    of_discriminator, of_generator = ADVERSARIAL["bce"]
    real_logits, fake_logits = torch.tensor(real), torch.tensor(fake)
    p, q = real_logits.double().sigmoid(), fake_logits.double().sigmoid()
    entropy = F.binary_cross_entropy
    wanted = 0.5 * (entropy(p, torch.ones_like(p)) + entropy(q, torch.zeros_like(q)))
    torch.testing.assert_close(of_discriminator(real_logits, fake_logits).double(), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_generator(fake_logits).double(), entropy(q, torch.ones_like(q)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("logit", [-1e4, -200.0, 0.0, 200.0, 1e4])
def test_bce_is_finite_and_still_teaches_at_any_logit(logit: float) -> None:
    of_discriminator, of_generator = ADVERSARIAL["bce"]
    fake = torch.full((2, 1, 3, 3), logit, requires_grad=True)
    assert torch.isfinite(of_discriminator(-fake, fake))
    loss = of_generator(fake)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert fake.grad is not None
    assert torch.isfinite(fake.grad).all()
    if logit < 0:  # the discriminator is sure that these are fake: just then the generator must learn, −σ(−l) = −1
        torch.testing.assert_close(fake.grad.sum(), torch.tensor(-1.0))


def test_lsgan_by_hand() -> None:
    of_discriminator, of_generator = ADVERSARIAL["lsgan"]
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])
    assert float(of_discriminator(real, fake)) == pytest.approx(0.5 * (0 + 4) / 2 + 0.5 * (0 + 4) / 2)
    assert float(of_generator(fake)) == pytest.approx((1 + 1) / 2)


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_the_best_discriminator_is_at_its_optimum(name: str) -> None:
    """Where real and fake logits are as wanted, the loss is at most that anywhere else; the generator's, too."""
    of_discriminator, of_generator = ADVERSARIAL[name]
    real_best, fake_best = (
        (torch.tensor([50.0]), torch.tensor([-50.0]))
        if name == "bce"
        else (
            torch.tensor([1.0]),
            torch.tensor([0.0]),
        )
    )
    assert float(of_discriminator(real_best, fake_best)) == pytest.approx(0, abs=1e-6)
    assert float(of_generator(real_best)) == pytest.approx(0, abs=1e-6)
    assert of_discriminator(fake_best, real_best) > 0.5


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_half_precision_logits_are_judged_in_float32(name: str) -> None:
    of_discriminator, of_generator = ADVERSARIAL[name]
    logits = torch.tensor([0.3, -2.0], dtype=torch.bfloat16)
    assert of_discriminator(logits, logits).dtype == of_generator(logits).dtype == torch.float32


@pytest.mark.parametrize(("weight", "wanted"), [([3.0, 4.0], 16.0), ([0.6, 0.8], 0.0), ([0.0, 0.0], 1.0)])
def test_the_penalty_of_a_linear_critic(weight: list[float], wanted: float) -> None:
    """D(x) = w·x has the gradient w everywhere: the penalty is (‖w‖ − 1)²."""
    w = torch.tensor(weight, requires_grad=True)
    real, fake = torch.randn(3, 2), torch.randn(3, 2)
    penalty = gradient_penalty(lambda x: x @ w, real, fake, torch.rand(3, 1))
    assert float(penalty.detach()) == pytest.approx(wanted, abs=1e-4)
    penalty.backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    assert torch.isfinite(w.grad).all()  # also at the norm 0
    norm = sum(x * x for x in weight) ** 0.5
    if norm > 0:  # the penalty can be learned from: its gradient is 2 (‖w‖ − 1) w / ‖w‖
        torch.testing.assert_close(w.grad, 2 * (norm - 1) * torch.tensor(weight) / norm, rtol=1e-4, atol=1e-4)


def test_the_penalty_is_taken_between_real_and_fake() -> None:
    """D(x) = x²/2 has the gradient x: at ε = 1 that is the real sample, at ε = 0 the fake, at ½ their middle."""
    real, fake = torch.tensor([[3.0], [5.0]]), torch.tensor([[1.0], [1.0]])
    for epsilon, wanted in ((1.0, (4 + 16) / 2), (0.0, 0.0), (0.5, (1 + 4) / 2)):
        penalty = gradient_penalty(lambda x: x.square() / 2, real, fake, torch.full((2, 1), epsilon))
        assert float(penalty.detach()) == pytest.approx(wanted, abs=1e-4)


def test_the_penalty_numerically() -> None:
    """Against central differences of a small network, pixel by pixel."""
    torch.manual_seed(0)
    first, second = torch.randn(3, 1, 2, 2), torch.randn(1, 3, 3, 3)

    def critic(x: Tensor) -> Tensor:
        return F.conv2d(torch.tanh(F.conv2d(x, first.to(x.dtype))), second.to(x.dtype))

    real, fake, epsilon = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4), torch.rand(2, 1, 1, 1)
    mixed = (epsilon * real + (1 - epsilon) * fake).double()
    norms = []
    for image in mixed:
        slopes = []
        for pixel in range(16):
            step = torch.zeros(16, dtype=torch.float64)
            step[pixel] = 1e-5
            change = step.reshape(1, 4, 4)
            slopes.append(float((critic(image[None] + change) - critic(image[None] - change)).sum()) / 2e-5)
        norms.append(sum(slope**2 for slope in slopes) ** 0.5)
    wanted = sum((norm - 1) ** 2 for norm in norms) / 2
    assert float(gradient_penalty(critic, real, fake, epsilon).detach()) == pytest.approx(wanted, rel=1e-4)
