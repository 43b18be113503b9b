"""The losses against their textbook forms, in float64 and where that still has digits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from synthoma.gans.losses import ADVERSARIAL, gradient_penalty, ssim_loss
from synthoma.similarity import ssim

NAMES: list[Any] = sorted(ADVERSARIAL)
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


@settings(deadline=None, max_examples=50)
@given(real=logit_lists, fake=logit_lists)
def test_the_other_losses_number_by_number(real: list[float], fake: list[float]) -> None:
    """Means of what each paper writes for one logit."""
    n, m = len(real), len(fake)
    wanted: dict[Any, tuple[float, float]] = {
        "lsgan": (
            sum((d - 1) ** 2 for d in real) / (2 * n) + sum(d**2 for d in fake) / (2 * m),
            sum((d - 1) ** 2 for d in fake) / m,
        ),
        "hinge": (sum(max(0, 1 - d) for d in real) / n + sum(max(0, 1 + d) for d in fake) / m, -sum(fake) / m),
        "wasserstein": (sum(fake) / m - sum(real) / n, -sum(fake) / m),
    }
    assert {*wanted, "bce"} == set(ADVERSARIAL)
    for name, (discriminator, generator) in wanted.items():
        of_discriminator, of_generator = ADVERSARIAL[name]
        found = float(of_discriminator(torch.tensor(real), torch.tensor(fake)))
        assert found == pytest.approx(discriminator, rel=1e-5, abs=1e-5)
        assert float(of_generator(torch.tensor(fake))) == pytest.approx(generator, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("logit", [-1e4, -200.0, 0.0, 200.0, 1e4])
def test_losses_and_gradients_are_finite_at_any_logit(name: Any, logit: float) -> None:
    of_discriminator, of_generator = ADVERSARIAL[name]
    for loss_of in (lambda x: of_discriminator(-x, x), lambda x: of_discriminator(x, -x), of_generator):
        logits = torch.full((2, 1, 3, 3), logit, requires_grad=True)
        loss = loss_of(logits)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_whom_each_side_pulls_where(name: Any) -> None:
    """Undecided (logit 0), the discriminator wants real up and fake down, the generator wants fake up."""
    of_discriminator, of_generator = ADVERSARIAL[name]
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    for_real, for_fake = torch.autograd.grad(of_discriminator(real, fake), (real, fake), allow_unused=True)
    if name == "lsgan":  # its goal for a fake is 0: pulled from either side
        assert not for_fake.any()
        fake = torch.full((4,), 0.3, requires_grad=True)
        (for_fake,) = torch.autograd.grad(of_discriminator(real.detach(), fake), fake)
    assert (for_real < 0).all()
    assert (for_fake > 0).all()
    (of_fake,) = torch.autograd.grad(of_generator(fake), fake)
    assert (of_fake < 0).all()


@pytest.mark.parametrize("logit", [-1e4, -200.0, -3.0])
def test_a_sure_discriminator_still_teaches_the_generator_of_bce(logit: float) -> None:
    """Just when it knows a fake for one must the generator learn: the slope is −σ(−l), nearly −1 and not 0."""
    fake = torch.full((5,), logit, requires_grad=True)
    (gradient,) = torch.autograd.grad(ADVERSARIAL["bce"][1](fake), fake)
    torch.testing.assert_close(gradient.sum(), -torch.sigmoid(-torch.tensor(logit)))


def best(name: Any) -> tuple[Tensor, Tensor]:
    """Logits for real and fake at which a discriminator has nothing left to win."""
    real, fake = {"bce": (50.0, -50.0), "lsgan": (1.0, 0.0), "hinge": (1.0, -1.0)}[name]
    return torch.tensor([real]), torch.tensor([fake])


@pytest.mark.parametrize("name", ["bce", "lsgan", "hinge"])
def test_the_best_discriminator_is_at_its_optimum(name: Any) -> None:
    of_discriminator = ADVERSARIAL[name][0]
    real, fake = best(name)
    assert float(of_discriminator(real, fake)) == pytest.approx(0, abs=1e-6)
    assert of_discriminator(fake, real) > 0.5


@pytest.mark.parametrize("name", ["bce", "lsgan"])
def test_the_generator_is_content_where_its_images_count_as_real(name: Any) -> None:
    of_generator = ADVERSARIAL[name][1]
    real, fake = best(name)
    assert float(of_generator(real)) == pytest.approx(0, abs=1e-6)
    assert of_generator(fake) > 0.5


def test_the_hinge_asks_nothing_beyond_its_margin() -> None:
    """Real logits above 1 and fake ones below −1 have no gradient; all others the slope ∓1/n."""
    real = torch.tensor([-5.0, 0.9, 1.1, 7.0], requires_grad=True)
    fake = torch.tensor([-7.0, -1.1, -0.9, 5.0], requires_grad=True)
    for_real, for_fake = torch.autograd.grad(ADVERSARIAL["hinge"][0](real, fake), (real, fake))
    assert for_real.tolist() == [-0.25, -0.25, 0, 0]
    assert for_fake.tolist() == [0, 0, 0.25, 0.25]


def test_the_wasserstein_loss_is_minus_the_distance_and_knows_no_bound() -> None:
    """E[D(real)] − E[D(fake)] is what the critic maximises; it is linear, and adding a constant changes nothing."""
    of_critic, of_generator = ADVERSARIAL["wasserstein"]
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0])
    assert float(of_critic(real, fake)) == -2.5
    assert float(of_critic(fake, real)) == 2.5
    assert float(of_critic(10 * real, 10 * fake)) == -25
    assert float(of_critic(real + 7, fake + 7)) == -2.5
    assert float(of_generator(fake)) == -1.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_judged_in_float32(name: Any, half: torch.dtype) -> None:
    of_discriminator, of_generator = ADVERSARIAL[name]
    logits = torch.tensor([0.3, -2.0], dtype=half)
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


@settings(deadline=None, max_examples=25)
@given(
    kernel=st.sampled_from([(1, 0.7), (1, 2.0), (4, 0.1), (4, 0.5)]),
    shape=st.lists(st.sampled_from([4, 8, 12, 20]), min_size=2, max_size=3),
    channels=st.integers(1, 3),
)
def test_the_penalty_does_not_change_with_the_size_of_the_image(
    kernel: tuple[int, float], shape: list[int], channels: int
) -> None:
    """A critic whose every patch has the slope w of its own pixels: one pixel, or 4 × 4 that do not overlap."""
    side, value = kernel
    convolve = F.conv2d if len(shape) == 2 else F.conv3d
    weight = torch.full((1, channels, *[side] * len(shape)), value)
    norm = (channels * side ** len(shape) * value**2) ** 0.5
    real, fake = torch.randn(2, channels, *shape), torch.randn(2, channels, *shape)
    penalty = gradient_penalty(
        lambda x: convolve(x, weight, stride=side), real, fake, torch.rand(2, *[1] * (1 + len(shape)))
    )
    assert float(penalty.detach()) == pytest.approx((norm - 1) ** 2, rel=1e-3, abs=1e-4)


def test_the_penalty_is_a_mean_over_the_batch() -> None:
    """The same for a batch and for its parts, and no image's slope enters that of another."""
    torch.manual_seed(0)
    weight = torch.randn(1, 1, 3, 3)

    def critic(x: Tensor) -> Tensor:
        return F.conv2d(x, weight).tanh()

    real, fake, epsilon = torch.randn(4, 1, 6, 6), torch.randn(4, 1, 6, 6), torch.rand(4, 1, 1, 1)
    parts = [float(gradient_penalty(critic, real[[i]], fake[[i]], epsilon[[i]]).detach()) for i in range(4)]
    assert float(gradient_penalty(critic, real, fake, epsilon).detach()) == pytest.approx(sum(parts) / 4, rel=1e-5)
    assert len(set(parts)) == 4


def test_the_penalty_is_taken_between_real_and_fake() -> None:
    """D(x) = x²/2 has the gradient x: at ε = 1 that is the real sample, at ε = 0 the fake, at ½ their middle."""
    real, fake = torch.tensor([[3.0], [5.0]]), torch.tensor([[1.0], [1.0]])
    for epsilon, wanted in ((1.0, (4 + 16) / 2), (0.0, 0.0), (0.5, (1 + 4) / 2)):
        penalty = gradient_penalty(lambda x: x.square() / 2, real, fake, torch.full((2, 1), epsilon))
        assert float(penalty.detach()) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_the_penalty_is_computed_in_float32_within_autocast(half: torch.dtype) -> None:
    """What the critic is shown, what it computes and what comes out; a fake image of half precision is taken up."""
    torch.manual_seed(0)
    critic = torch.nn.Conv2d(1, 1, 3)
    seen: list[torch.dtype] = []
    critic.register_forward_hook(lambda _m, inputs, output: seen.extend((inputs[0].dtype, output.dtype)))
    real, fake, epsilon = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8).to(half), torch.rand(2, 1, 1, 1)
    exact = gradient_penalty(critic, real, fake.float(), epsilon)
    with torch.autocast("cpu", dtype=half):
        penalty = gradient_penalty(critic, real, fake, epsilon)
        assert critic(real).dtype == half  # the autocast is on
    assert seen[:4] == [torch.float32] * 4
    assert penalty.dtype == torch.float32
    assert torch.equal(penalty, exact)


def test_the_penalty_does_not_reach_the_generator() -> None:
    fake = torch.randn(2, 3, requires_grad=True)
    weight = torch.randn(3, requires_grad=True)
    penalty = gradient_penalty(lambda x: (x**2) @ weight, torch.randn(2, 3), fake, torch.rand(2, 1))
    of_weight, of_fake = torch.autograd.grad(penalty, (weight, fake), allow_unused=True)
    assert of_weight.abs().sum() > 0
    assert of_fake is None


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


@pytest.mark.parametrize("size", [(11, 11), (16, 23), (12, 13, 14)])
def test_the_loss_of_ssim_is_one_minus_the_ssim_that_is_measured(size: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, *size, generator=random) * 2 - 1
    y = 0.7 * x + 0.3 * torch.randn(x.shape, generator=random)
    pairs = zip(x.double().flatten(0, 1).numpy(), y.double().flatten(0, 1).numpy(), strict=True)
    measured = [ssim(a, b, 2.0) for a, b in pairs]
    assert float(ssim_loss(x, y)) == pytest.approx(1 - sum(measured) / len(measured), abs=1e-5)
    assert float(ssim_loss(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(ssim_loss(x, y, data_range=8.0)) < float(ssim_loss(x, y))


def test_the_loss_of_ssim_leads_back_to_the_image() -> None:
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    made = torch.zeros_like(image).requires_grad_(True)
    optimiser = torch.optim.Adam([made], lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        loss = ssim_loss(made, image)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.02
    assert float((made - image)[..., 5:-5, 5:-5].abs().mean()) < 0.1
