"""The WGAN-GP's own settings and steps. Its losses and gradients are compared in ``test_reference.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from synthoma.errors import SettingError
from synthoma.gans import Engine, Examples, Layout, WassersteinGAN, WassersteinOptions

CPU = torch.device("cpu")


def layout_of(shape: tuple[int, ...] = (32, 32), labels: tuple[str, ...] = ("benign", "malignant")) -> Layout:
    return Layout(("ct", "pet"), ("body", "nodule"), shape, labels)


def small(**changes: Any) -> WassersteinOptions:
    return WassersteinOptions.model_validate({"latent": 4, "width": 2, "layers": 3, "critic_width": 2} | changes)


def some(n: int = 4, shape: tuple[int, ...] = (32, 32), noise: Tensor | None = None) -> Examples:
    images = torch.rand(n, 2, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Examples(images, torch.ones(n, 2, *shape), torch.arange(n) % 2, noise)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"critic_norm": "batch"}, "the critic of a WGAN-GP cannot have batch norm, which mixes the images of a batch"),
        ({"gradient_penalty": 0}, "gradient_penalty"),
        ({"layers": 1}, "layers"),
        ({"n_critic": 0}, "n_critic"),
        ({"penalty_every": 0}, "penalty_every"),
        ({"latent": 0}, "latent"),
        ({"optimiser": "sgd"}, "optimiser"),
        ({"adversarial": "bce"}, "adversarial"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**changes)


def test_the_message_on_batch_norm_says_what_to_do_and_why() -> None:
    with pytest.raises(ValidationError, match=r"Gulrajani et al\. 2017, section 4\); use none or instance"):
        small(critic_norm="batch")
    for norm in ("none", "instance"):
        gan = WassersteinGAN(small(critic_norm=norm), layout_of(), CPU)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in gan.networks["critic"].modules())


def test_the_defaults_are_the_studys() -> None:
    """Table 2: a CNN of five layers, RMSProp 5e-5; λ 10 and five steps of the critic are the paper's (algorithm 1)."""
    options = WassersteinOptions()
    assert (options.layers, options.optimiser, options.learning_rate) == (5, "rmsprop", 5e-5)
    assert (options.gradient_penalty, options.n_critic, options.critic_norm) == (10, 5, "none")
    assert options.penalty_every == 1
    gan = WassersteinGAN(options, layout_of((64, 64)), CPU)
    assert all(isinstance(optimiser, torch.optim.RMSprop) for optimiser in gan.optimisers.values())
    convolutions = [m for m in gan.networks["generator"].modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 5


@pytest.mark.parametrize("optimiser", ["rmsprop", "adam"])
def test_the_optimiser_has_the_settings_it_was_given(optimiser: str) -> None:
    gan = WassersteinGAN(small(optimiser=optimiser, learning_rate=3e-4, beta1=0.1, beta2=0.8), layout_of(), CPU)
    for made in gan.optimisers.values():
        assert isinstance(made, torch.optim.RMSprop if optimiser == "rmsprop" else torch.optim.AdamW)
        assert made.defaults["lr"] == 3e-4
        assert optimiser == "rmsprop" or (made.defaults["betas"], made.defaults["weight_decay"]) == ((0.1, 0.8), 0)


def test_an_unknown_channel_names_the_nearest_and_a_mask_is_none() -> None:
    with pytest.raises(SettingError, match=r"gan\.target: .* found 'pett'\.\nDid you mean 'pet'"):
        WassersteinGAN(small(target=("pett",)), layout_of(), CPU)
    with pytest.raises(SettingError, match=r"gan\.target: expected images, found 'mask'"):
        WassersteinGAN(small(target=("ct", "mask")), layout_of(), CPU)


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({"layers": 5}, (24, 32), "at least 16, divisible by 16, for 5 layers, found 24×32"),
        ({"layers": 6}, (48, 48), "at least 32, divisible by 32, for 6 layers, found 48×48"),
        ({"critic_layers": 5}, (16, 16), "at least 32, divisible by 4, for 3 layers, found 16×16"),
        ({"layers": 5, "norm": "instance"}, (16, 16), "at least 32, divisible by 16, for 5 layers, found 16×16"),
        ({"critic_norm": "instance"}, (8, 8), "at least 16, divisible by 4, for 3 layers, found 8×8"),
        ({"layers": 4}, (32, 32, 20), "at least 8, divisible by 8, for 4 layers, found 32×32×20"),
    ],
    ids=str,
)
def test_a_size_that_does_not_fit_the_layers(changes: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SettingError, match=f"gan.layers: expected image sides of {message}") as caught:
        WassersteinGAN(small(**changes), layout_of(shape), CPU)
    assert "Change resize.size or gan.layers." in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (8, 8)),
        ({"norm": "instance"}, (8, 8)),
        ({"norm": "instance", "critic_norm": "instance"}, (16, 16)),
        ({"critic_layers": 5}, (32, 32)),
        ({"layers": 4}, (16, 24, 8)),
        ({"norm": "none", "upsample": "resize"}, (12, 20)),
    ],
    ids=str,
)
def test_the_smallest_sizes_can_be_trained_on_and_drawn(changes: dict[str, Any], shape: tuple[int, ...]) -> None:
    gan = WassersteinGAN(small(n_critic=1, **changes), layout_of(shape), CPU)
    losses = gan.step([some(2, shape)], Engine(CPU))
    assert set(losses) == {"critic", "wasserstein_distance", "gradient_penalty", "generator"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.no_grad():
        drawn = gan.draw({"generator": gan.networks["generator"].eval()}, some(2, shape, torch.randn(2, 4)), "sample")
    assert drawn.shape == (2, 2, *shape)


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def equal(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("n_critic", [1, 2, 5])
def test_the_generator_moves_with_every_nth_step(n_critic: int) -> None:
    gan, engine = WassersteinGAN(small(n_critic=n_critic), layout_of(), CPU), Engine(CPU)
    assert gan.averages_every() == n_critic
    for number in range(2 * n_critic + 1):
        generator, critic = weights(gan.networks["generator"]), weights(gan.networks["critic"])
        engine.begin(number)
        losses = gan.step([some()], engine)
        moves = (number + 1) % n_critic == 0
        assert ("generator" in losses) is moves
        assert equal(generator, weights(gan.networks["generator"])) is not moves
        assert not equal(critic, weights(gan.networks["critic"]))


def test_the_critic_does_not_learn_from_the_generators_step() -> None:
    """Its weights after a step with the generator's are those after one without."""
    after = []
    for n_critic in (1, 2):
        torch.manual_seed(0)
        gan = WassersteinGAN(small(n_critic=n_critic), layout_of(), CPU)
        gan.step([some()], Engine(CPU))
        after.append(weights(gan.networks["critic"]))
        assert all(p.requires_grad for p in gan.networks["critic"].parameters())
    assert equal(*after)


def test_only_the_asked_channels_are_made_and_judged() -> None:
    gan = WassersteinGAN(small(target=("pet",)), layout_of(), CPU)
    assert gan.channels("sample") == ((), ("pet",))
    assert WassersteinGAN(small(), layout_of(), CPU).channels("sample") == ((), ("ct", "pet"))
    losses = []
    for changed in (0, 1):  # the same step with the other channel, and with this one, blanked
        torch.manual_seed(0)
        gan = WassersteinGAN(small(target=("pet",)), layout_of(), CPU)
        examples = some()
        plain = gan.step([examples], Engine(CPU))["critic"]
        examples.images[:, changed] = 0
        torch.manual_seed(0)
        gan = WassersteinGAN(small(target=("pet",)), layout_of(), CPU)
        losses.append(torch.equal(gan.step([examples], Engine(CPU))["critic"], plain))
    assert losses == [True, False]


def test_noise_and_label_decide_the_image() -> None:
    torch.manual_seed(0)
    gan = WassersteinGAN(small(), layout_of(), CPU)
    networks = {"generator": gan.networks["generator"].eval()}
    noise = torch.randn(1, 4).expand(4, -1)
    with torch.no_grad():
        drawn = gan.draw(networks, some(noise=noise), "sample")
        other = gan.draw(networks, some(noise=noise + 1), "sample")
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, other)


def test_the_critic_is_told_the_label() -> None:
    torch.manual_seed(0)
    critic = WassersteinGAN(small(), layout_of(), CPU).networks["critic"]
    image = some(1).images
    scores = [critic(image, torch.tensor([classes])) for classes in ([1.0, 0.0], [0.0, 1.0])]
    assert not torch.equal(*scores)


def test_an_image_without_noise_is_a_mistake_of_the_caller() -> None:
    gan = WassersteinGAN(small(), layout_of(), CPU)
    with pytest.raises(ValueError, match="a WGAN draws from noise"):
        gan.draw({"generator": gan.networks["generator"]}, some(), "sample")


def test_real_and_fake_are_changed_alike_for_the_critic() -> None:
    """In the critic's step, and with other numbers in the generator's."""
    options = small(differentiable_augmentation=("cutout",), n_critic=1)
    gan = WassersteinGAN(options, layout_of(), CPU)
    seen: list[Tensor] = []
    gan.networks["critic"].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach() == 0))
    gan.step([some(8)], Engine(CPU))
    real, fake, mixed, of_generator = (part.all(dim=1) for part in seen)
    assert real.any()
    for part in (fake, mixed):  # a generated pixel may be 0 by itself
        assert part[real].all()
        assert float(part[~real].float().mean()) < 0.05
    assert float(of_generator[real].float().mean()) < 0.9


def test_the_penalty_may_look_at_some_images_only() -> None:
    """Every third of eight: of the three the mixtures, classes and penalty are those that the whole batch has."""
    mixed: dict[int, tuple[Tensor, Tensor]] = {}
    for every in (1, 3):
        torch.manual_seed(0)
        gan = WassersteinGAN(small(penalty_every=every), layout_of(), CPU)
        seen: list[tuple[Tensor, Tensor]] = []
        critic = gan.networks["critic"]
        critic.register_forward_pre_hook(lambda _m, given, seen=seen: seen.append((given[0].detach(), given[1])))
        found = gan.step([some(8)], Engine(CPU))
        mixed[every] = seen[2]
    for whole, part in zip(mixed[1], mixed[3], strict=True):
        assert torch.equal(part, whole[[0, 3, 6]])
    torch.manual_seed(0)
    fresh = WassersteinGAN(small(), layout_of(), CPU).networks["critic"]
    image, classes = mixed[3]
    (gradient,) = torch.autograd.grad(fresh(image.requires_grad_(True), classes).sum(), image)
    patches = fresh(image, classes)[0].numel()
    norms = (gradient.flatten(1).square().sum(dim=1) / patches).sqrt()
    torch.testing.assert_close(found["gradient_penalty"], (norms - 1).square().mean())


def test_the_drift_term_keeps_scores_near_zero() -> None:
    """E[D(real)²], added with its weight (Karras et al. 2018, appendix A.1)."""
    losses = []
    for drift in (0.0, 0.5):
        torch.manual_seed(0)
        gan = WassersteinGAN(small(drift=drift), layout_of(), CPU)
        with torch.no_grad():
            for weight in gan.networks["critic"].parameters():
                weight.mul_(20)  # scores that are not all but 0
        scores: list[Tensor] = []
        gan.networks["critic"].register_forward_hook(lambda _m, _i, output, scores=scores: scores.append(output))
        losses.append(float(gan.step([some()], Engine(CPU))["critic"]))
    assert losses[1] - losses[0] == pytest.approx(0.5 * float(scores[0].detach().square().mean()), rel=1e-3)


@pytest.mark.slow
def test_it_learns_what_each_label_looks_like() -> None:
    """Two classes, dark (−0.6) and bright (0.6): after 300 steps the labels are as far apart as noise never is."""
    torch.manual_seed(0)
    options = small(optimiser="adam", learning_rate=2e-3, n_critic=2, norm="none", width=8, critic_width=8)
    gan, engine = WassersteinGAN(options.model_copy(update={"critic_layers": 2}), layout_of((8, 8)), CPU), Engine(CPU)
    labels = torch.arange(16) % 2
    images = torch.where(labels == 1, 0.6, -0.6).view(-1, 1, 1, 1).expand(-1, 2, 8, 8)
    for number in range(300):
        engine.begin(number)
        gan.step([Examples(images, torch.ones_like(images), labels)], engine)
    noise = torch.randn(16, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        drawn = gan.draw(gan.networks, Examples(images, torch.ones_like(images), labels, noise), "sample")
    means = drawn.mean(dim=(1, 2, 3))
    assert float(means[labels == 1].min() - means[labels == 0].max()) > 0.4
