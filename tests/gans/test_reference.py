"""One step of each GAN against the textbook: plain networks, plain losses, by hand.

The networks are those of the papers' code (https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix, and DCGAN), written
plainly: every bias, nothing in place, the U-Net by recursion. Ours only lends its weights (:func:`lend_weights`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthoma.gans import (
    ConditionalGAN,
    ConditionalOptions,
    CycleGAN,
    CycleOptions,
    Engine,
    Examples,
    Gan,
    Layout,
    WassersteinGAN,
    WassersteinOptions,
)
from synthoma.networks.unet import UNet

CPU = torch.device("cpu")
RATE = 0.05  # of plain gradient descent, which stands in for Adam: what follows a step shows that it was made

NORMS = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}


class TextbookUNet(nn.Module):
    """One level of the U-Net around the next deeper one."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, norm: str, level: int = 0) -> None:
        super().__init__()
        features = width * min(2**level, 8)
        self.outermost, self.innermost = level == 0, level == depth - 1
        normed = not (self.outermost or self.innermost)
        self.down = nn.Conv2d(inputs, features, 4, 2, 1, bias=normed or norm == "instance")
        if normed:
            self.down_norm = NORMS[norm](features)
        if not self.innermost:
            self.inside = TextbookUNet(features, features, width, depth, norm, level + 1)
        joined = features if self.innermost else 2 * features
        self.up = nn.ConvTranspose2d(joined, outputs, kernel_size=4, stride=2, padding=1)
        if not self.outermost:
            self.up_norm = NORMS[norm](outputs)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.down(x if self.outermost else F.leaky_relu(x, 0.2))
        if not (self.outermost or self.innermost):
            inner = self.down_norm(inner)
        if not self.innermost:
            inner = self.inside(inner)
        made = self.up(F.relu(inner))
        if self.outermost:
            return torch.tanh(made)
        return torch.cat([x, self.up_norm(made)], dim=1)


class TextbookPatchGAN(nn.Sequential):
    def __init__(self, inputs: int, width: int, norm: str) -> None:
        made: list[nn.Module] = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            made += [nn.Conv2d(width * before, width * after, 4, stride, 1), NORMS[norm](width * after)]
            made += [nn.LeakyReLU(0.2)]
        super().__init__(*made, nn.Conv2d(width * 8, 1, 4, 1, 1))


class TextbookBlock(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(features, features, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(F.instance_norm(self.first(F.pad(x, (1, 1, 1, 1), mode="reflect"))))
        return x + F.instance_norm(self.second(F.pad(inner, (1, 1, 1, 1), mode="reflect")))


class TextbookResNet(nn.Module):
    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 7)
        self.down = nn.ModuleList(nn.Conv2d(width * f, width * f * 2, 3, stride=2, padding=1) for f in (1, 2))
        self.blocks = nn.ModuleList(TextbookBlock(4 * width) for _ in range(blocks))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width * f, width * f // 2, 3, stride=2, padding=1, output_padding=1) for f in (4, 2)
        )
        self.last = nn.Conv2d(width, outputs, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.instance_norm(self.first(F.pad(x, (3, 3, 3, 3), mode="reflect"))))
        for down in self.down:
            x = F.relu(F.instance_norm(down(x)))
        for block in self.blocks:
            x = block(x)
        for up in self.up:
            x = F.relu(F.instance_norm(up(x)))
        return torch.tanh(self.last(F.pad(x, (3, 3, 3, 3), mode="reflect")))


class TextbookDCGAN(nn.Module):
    """From noise and class; three layers: the start, one that doubles, and the one that makes the image."""

    def __init__(self, latent: int, width: int, start: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(latent, 2 * width, start)
        self.first_norm = nn.BatchNorm2d(2 * width)
        self.second = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.second_norm = nn.BatchNorm2d(width)
        self.last = nn.ConvTranspose2d(width, outputs, 4, 2, 1)

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        x = torch.cat([noise, classes], dim=1)[:, :, None, None]
        x = F.relu(self.first_norm(self.first(x)))
        return torch.tanh(self.last(F.relu(self.second_norm(self.second(x)))))


class TextbookCritic(nn.Module):
    """Three halvings and a judgement; the class as planes beside the image."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1)
            for before, after in ((inputs, width), (width, 2 * width), (2 * width, 4 * width))
        )
        self.judge = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(self, image: Tensor, classes: Tensor) -> Tensor:
        planes = [torch.ones_like(image[:, :1]) * classes[:, i, None, None, None] for i in range(classes.shape[1])]
        x = torch.cat([image, *planes], dim=1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        judged: Tensor = self.judge(x)
        return judged


def run_order(network: nn.Module) -> list[nn.Module]:
    """The layers with weights, in the order in which they are run."""
    found = list(network.modules())
    if isinstance(network, UNet):  # its decoder is listed from the outside in
        found = [module for part in (*network.down, *list(network.up)[::-1]) for module in part.modules()]
    return [module for module in found if isinstance(getattr(module, "weight", None), nn.Parameter)]


def pairs(ours: nn.Module, textbook: nn.Module) -> list[tuple[Any, Any]]:
    return list(zip(run_order(ours), run_order(textbook), strict=True))


def lend_weights(ours: nn.Module, textbook: nn.Module) -> None:
    """A bias that ours does not have is not 0: the norm behind it must take it away again."""
    with torch.no_grad():
        for mine, theirs in pairs(ours, textbook):
            theirs.weight.copy_(mine.weight)
            if theirs.bias is not None:
                theirs.bias.copy_(torch.tensor(0.01) if mine.bias is None else mine.bias)


def same_gradients(ours: nn.Module, textbook: nn.Module, gradients: Mapping[nn.Parameter, Tensor]) -> None:
    """To 1e-4 of each gradient, or of the smallest that float32 can tell from 0; what ours leaves out has none."""
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    compared = 0
    for mine, theirs in pairs(ours, textbook):
        for name in ("weight", "bias"):
            own, other = getattr(mine, name), getattr(theirs, name)
            if other is None:
                assert own is None
                continue
            wanted = gradients[other]
            if own is None:
                assert float(wanted.abs().max()) < 1e-5 * largest
                continue
            assert own.grad is not None
            assert float((own.grad - wanted).norm()) < 1e-4 * max(float(wanted.norm()), 1e-3 * largest), (mine, name)
            compared += 1
    assert compared == len(list(ours.parameters()))


def gradients_of(loss: Tensor, *networks: nn.Module, keep: bool = False) -> dict[nn.Parameter, Tensor]:
    parameters = [parameter for network in networks for parameter in network.parameters()]
    found = torch.autograd.grad(loss, parameters, retain_graph=keep)
    return dict(zip(parameters, found, strict=True))


def descend(gradients: Mapping[nn.Parameter, Tensor]) -> None:
    with torch.no_grad():
        for parameter, gradient in gradients.items():
            parameter.sub_(RATE * gradient)


def plain_descent(gan: Gan) -> None:
    for name, optimiser in gan.optimisers.items():
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        gan.optimisers[name] = torch.optim.SGD(weights, lr=RATE)


def same_losses(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert set(found) == set(wanted)
    for name, loss in wanted.items():
        assert float(found[name]) == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-7), name


class Recording(Engine):
    """Writes down what it draws, so that the textbook can take the same."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.drawn: list[Tensor] = []
        super().__init__(*args, **settings)

    def normal(self, n: int, *shape: int) -> Tensor:
        self.drawn.append(super().normal(n, *shape))
        return self.drawn[-1]

    def uniform(self, n: int, *shape: int) -> Tensor:
        self.drawn.append(super().uniform(n, *shape))
        return self.drawn[-1]


def towards(kind: str, logits: Tensor, wanted: float) -> Tensor:
    """How far logits are from "real" (1) or "fake" (0)."""
    goal = torch.full_like(logits, wanted)
    return F.binary_cross_entropy_with_logits(logits, goal) if kind == "bce" else F.mse_loss(logits, goal)


def penalty_of(judge: Any, real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """Image by image, so that nothing can be mixed up among those of a batch; a slope of 1 a patch."""
    terms = []
    for index in range(len(real)):
        mixed = (epsilon[index] * real[index] + (1 - epsilon[index]) * fake[index].detach())[None].requires_grad_()
        scores = judge(mixed, index)
        (slope,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
        terms.append((slope.pow(2).sum().div(scores.numel()).sqrt() - 1) ** 2)
    return torch.stack(terms).mean()


def some_examples(n: int, seed: int, classes: int = 2) -> Examples:
    """Smooth images and masks of a box."""
    random = torch.Generator().manual_seed(seed)
    images = F.interpolate(torch.rand(n, 2, 8, 8, generator=random) * 2 - 1, size=32, mode="bilinear")
    masks = torch.zeros(n, 2, 32, 32)
    masks[:, 0, 3:29, 3:29] = 1
    masks[:, 1, 8:20, 10:18] = 1
    return Examples(images, masks, torch.arange(n) % classes)


LAYOUT = Layout(("t1", "flair"), ("body", "lesion"), (32, 32), ("benign", "malignant"))


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


@pytest.mark.parametrize(
    ("norm", "adversarial", "penalty"),
    [("batch", "bce", 0.0), ("batch", "lsgan", 0.0), ("instance", "bce", 2.0), ("instance", "lsgan", 0.0)],
)
def test_the_conditional_gans_step(norm: Any, adversarial: Any, penalty: float) -> None:
    """The study's step: the discriminator's, then the generator's against the discriminator that has stepped."""
    options = ConditionalOptions(
        width=4,
        discriminator_width=4,
        dropout=0,
        norm=norm,
        adversarial=adversarial,
        adversarial_weight=2,
        l1_weight=30,
        gradient_penalty=penalty,
    )
    gan = ConditionalGAN(options, LAYOUT, CPU)
    plain_descent(gan)
    generator, discriminator = TextbookUNet(2, 1, 4, 5, norm), TextbookPatchGAN(3, 4, norm)
    for name, textbook in (("generator", generator), ("discriminator", discriminator)):
        lend_weights(gan.networks[name], textbook)
    examples, engine = some_examples(3, seed=1), Recording(CPU)
    losses = gan.step([examples], engine)

    condition = torch.cat([examples.images[:, :1], examples.masks[:, 1:] * 2 - 1], dim=1)
    target = examples.images[:, 1:]
    fake = generator(condition)
    of_real = discriminator(torch.cat([condition, target], dim=1))
    of_fake = discriminator(torch.cat([condition, fake.detach()], dim=1))
    wanted = {"discriminator": 0.5 * (towards(adversarial, of_real, 1) + towards(adversarial, of_fake, 0))}
    total = wanted["discriminator"]
    if penalty:
        (epsilon,) = engine.drawn
        wanted["gradient_penalty"] = penalty_of(
            lambda image, i: discriminator(torch.cat([condition[i : i + 1], image], dim=1)), target, fake, epsilon
        )
        total = total + penalty * wanted["gradient_penalty"]
    of_discriminator = gradients_of(total, discriminator)
    descend(of_discriminator)
    wanted["l1"] = (fake - target).abs().mean()
    wanted["adversarial"] = towards(adversarial, discriminator(torch.cat([condition, fake], dim=1)), 1)
    of_generator = gradients_of(2 * wanted["adversarial"] + 30 * wanted["l1"], generator)

    same_losses(losses, wanted)
    same_gradients(gan.networks["discriminator"], discriminator, of_discriminator)
    same_gradients(gan.networks["generator"], generator, of_generator)


@pytest.mark.parametrize(("adversarial", "identity"), [("lsgan", 0.5), ("bce", 0.5), ("lsgan", 0.0)])
def test_the_cycle_gans_step(adversarial: Any, identity: float) -> None:
    """Both halves in one sum and one backward pass here, one after the other in ours; the pool's first images are
    the latest ones. The discriminators judge what the generators made before they stepped."""
    options = CycleOptions(
        width=4,
        blocks=9,
        discriminator_width=4,
        adversarial=adversarial,
        adversarial_weight=2,
        cycle_weight=7,
        identity_weight=identity,
    )
    gan = CycleGAN(options, LAYOUT, CPU)
    plain_descent(gan)
    to_b, to_a = TextbookResNet(1, 1, 4, 9), TextbookResNet(1, 1, 4, 9)
    judge_b, judge_a = TextbookPatchGAN(1, 4, "instance"), TextbookPatchGAN(1, 4, "instance")
    textbooks: dict[str, nn.Module] = {
        "generator_target": to_b,
        "generator_source": to_a,
        "discriminator_target": judge_b,
        "discriminator_source": judge_a,
    }
    for name, textbook in textbooks.items():
        lend_weights(gan.networks[name], textbook)
    parts = [some_examples(2, seed=1), some_examples(2, seed=2)]
    losses = gan.step(parts, Engine(CPU))

    a, b = parts[0].images[:, :1], parts[1].images[:, 1:]
    fake_b, fake_a = to_b(a), to_a(b)
    wanted = {
        "adversarial_target": towards(adversarial, judge_b(fake_b), 1),
        "adversarial_source": towards(adversarial, judge_a(fake_a), 1),
        "cycle_source": (to_a(fake_b) - a).abs().mean(),
        "cycle_target": (to_b(fake_a) - b).abs().mean(),
    }
    total = 2 * (wanted["adversarial_target"] + wanted["adversarial_source"])
    total = total + 7 * (wanted["cycle_source"] + wanted["cycle_target"])
    if identity:
        wanted["identity_target"], wanted["identity_source"] = (to_b(b) - b).abs().mean(), (to_a(a) - a).abs().mean()
        total = total + 7 * identity * (wanted["identity_target"] + wanted["identity_source"])
    gradients = gradients_of(total, to_b, to_a)
    for name, judge, real, fake in (("target", judge_b, b, fake_b), ("source", judge_a, a, fake_a)):
        of_real, of_fake = towards(adversarial, judge(real), 1), towards(adversarial, judge(fake.detach()), 0)
        wanted[f"discriminator_{name}"] = (of_real + of_fake) / 2
        gradients |= gradients_of(wanted[f"discriminator_{name}"], judge)

    same_losses(losses, wanted)
    for name, textbook in textbooks.items():
        same_gradients(gan.networks[name], textbook, gradients)


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_the_wgans_step_in_double_precision(drift: float) -> None:
    """The critic's step, penalty and second derivative, then the generator's against the critic that has stepped."""
    options = WassersteinOptions(latent=6, width=4, layers=3, critic_width=4, n_critic=1, drift=drift)
    gan = WassersteinGAN(options, LAYOUT, CPU)
    plain_descent(gan)
    generator, critic = TextbookDCGAN(6 + 2, 4, 8, 2).double(), TextbookCritic(2 + 2, 4).double()
    with torch.no_grad():
        for weight in gan.networks["critic"].parameters():
            weight.mul_(5)  # scores that are not all but 0
    for name, textbook in (("generator", generator), ("critic", critic)):
        lend_weights(gan.networks[name], textbook)
    examples, engine = some_examples(4, seed=1), Recording(CPU, seed=4)
    losses = gan.step([examples], engine)

    noise, epsilon, second_noise = (drawn.double() for drawn in engine.drawn)
    classes, real = F.one_hot(examples.labels, 2).double(), examples.images.double()
    fake = generator(noise, classes).detach()
    of_real = critic(real, classes)
    distance = of_real.mean() - critic(fake, classes).mean()
    penalty = penalty_of(lambda image, i: critic(image, classes[i : i + 1]), real, fake, epsilon)
    wanted = {"critic": -distance + 10 * penalty, "wasserstein_distance": distance, "gradient_penalty": penalty}
    if drift:
        wanted["critic"] = wanted["critic"] + drift * (of_real**2).mean()
    of_critic = gradients_of(wanted["critic"], critic)
    descend(of_critic)
    wanted["generator"] = -critic(generator(second_noise, classes), classes).mean()
    of_generator = gradients_of(wanted["generator"], generator)

    same_losses(losses, wanted)
    # the last bias moves real and fake scores alike
    assert (float(of_critic[critic.judge.bias].abs()) > 1e-4) is bool(drift)  # type: ignore[index]
    same_gradients(gan.networks["critic"], critic, of_critic)
    same_gradients(gan.networks["generator"], generator, of_generator)
