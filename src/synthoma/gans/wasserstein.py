"""WGAN-GP, conditional on the class: images from noise, each with a label.

Gulrajani et al. 2017, "Improved training of Wasserstein GANs", https://arxiv.org/abs/1704.00028.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from synthoma.errors import SettingError, describe
from synthoma.gans.diffaugment import Change, differentiable_augmentation, draw_changes
from synthoma.gans.engine import Engine
from synthoma.gans.gan import Examples, Gan
from synthoma.gans.layout import MASK, Layout
from synthoma.gans.losses import ADVERSARIAL, gradient_penalty
from synthoma.networks.layers import Norm, Upsample
from synthoma.networks.noise import Critic, NoiseGenerator
from synthoma.options import Options

__all__ = ["WassersteinGAN", "WassersteinOptions"]


class WassersteinOptions(Options):
    """Settings of the WGAN-GP. The defaults are the study's, and the paper's where the study is silent."""

    method: Literal["wasserstein"] = "wasserstein"
    target: tuple[str, ...] = ()
    """Channels that it makes; all of the cohort's when empty."""
    latent: int = Field(128, ge=1)
    """Length of the noise vector."""
    width: int = Field(64, ge=1)
    """Features before the generator's last layer; they double with every layer towards the noise."""
    layers: int = Field(5, ge=2)
    """Convolutional layers of the generator."""
    norm: Norm = "batch"
    """Normalisation in the generator."""
    upsample: Upsample = "transpose"
    """``resize`` leaves no checkerboard."""
    critic_width: int = Field(64, ge=1)
    """Features of the critic's first layer."""
    critic_layers: int = Field(3, ge=1)
    """Layers that halve the image before it is judged patch by patch."""
    critic_norm: Norm = "none"
    """``batch`` is refused: the penalty asks how the score of one image changes with that image alone."""
    recompute: bool = False
    """Activation checkpointing: more time, hardly less memory here, the same result; see ``docs/performance.md``."""
    n_critic: int = Field(5, ge=1)
    """Steps of the critic for one of the generator."""
    gradient_penalty: float = Field(10.0, gt=0)
    """λ of the gradient penalty."""
    penalty_every: int = Field(1, ge=1)
    """The penalty looks at every so many-th image of a batch: on all it takes 40 % of a step's operations, and
    fewer images estimate the same mean. 1, as in the paper, looks at all."""
    drift: float = Field(0.0, ge=0)
    """Weight of E[D(real)²], which keeps the critic's scores near 0 (Karras et al. 2018, appendix A.1: 0.001)."""
    differentiable_augmentation: tuple[Change, ...] = ()
    """Changes to what the critic sees, for small sets: brightness, contrast, translation, cutout."""
    optimiser: Literal["rmsprop", "adam"] = "rmsprop"
    """``rmsprop`` is the study's; ``adam`` the paper's, with ``beta1`` 0 and ``beta2`` 0.9."""
    learning_rate: float = Field(5e-5, gt=0)
    """For both networks."""
    beta1: float = Field(0.0, ge=0, lt=1)
    """Of Adam."""
    beta2: float = Field(0.9, ge=0, lt=1)
    """Of Adam."""

    @property
    def named_channels(self) -> tuple[str, ...]:
        """The channels of the cohort that the settings name."""
        return self.target

    @field_validator("critic_norm")
    @classmethod
    def _no_batch_norm(cls, norm: Norm) -> Norm:
        if norm == "batch":
            raise ValueError(
                "the critic of a WGAN-GP cannot have batch norm, which mixes the images of a batch (Gulrajani et al. "
                "2017, section 4); use none or instance"
            )
        return norm


class WassersteinGAN(Gan):
    """A generator from noise and class, and a critic."""

    makes = ("sample",)
    averaged = ("generator",)
    judge = "critic"
    options: WassersteinOptions

    def __init__(self, options: WassersteinOptions, layout: Layout, device: torch.device) -> None:
        names = options.target or layout.channels
        layout.check("gan.target", names)
        if MASK in names:
            raise SettingError(describe("gan.target", "images", "'mask'", "Leave it out."))
        divisor = 2 ** (options.layers - 1)
        alone = options.norm == "instance", options.critic_norm == "instance"  # cannot normalise a single pixel
        smallest = max(divisor * (1 + alone[0]), 2**options.critic_layers * (1 + alone[1]))
        if any(side % divisor or side < smallest for side in layout.shape):
            found = "×".join(map(str, layout.shape))
            expected = f"image sides of at least {smallest}, divisible by {divisor}, for {options.layers} layers"
            raise SettingError(describe("gan.layers", expected, found, "Change resize.size or gan.layers."))
        self.options, self.layout, self.device, self.names = options, layout, device, names
        self.latent = options.latent
        spatial_dims, classes = len(layout.shape), len(layout.labels)
        generator = NoiseGenerator(
            options.latent,
            classes,
            len(names),
            layout.shape,
            layers=options.layers,
            width=options.width,
            norm=options.norm,
            upsample=options.upsample,
            recompute=options.recompute,
        )
        critic = Critic(
            len(names),
            classes,
            layers=options.critic_layers,
            width=options.critic_width,
            norm=options.critic_norm,
            recompute=options.recompute,
            spatial_dims=spatial_dims,
        )
        self.networks = {"generator": generator.to(device), "critic": critic.to(device)}
        self.optimisers = {name: self._optimiser(network) for name, network in self.networks.items()}
        self.memories = {}

    def averages_every(self) -> int:
        """The generator moves with every ``n_critic``-th step."""
        return self.options.n_critic

    def channels(self, way: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """From nothing to the target."""
        del way
        return (), self.names

    def step(self, parts: Sequence[Examples], engine: Engine) -> dict[str, Tensor]:
        """A step of the critic; with every ``n_critic``-th of them one of the generator."""
        (examples,) = parts
        options, n = self.options, len(examples)
        real = self.layout.stack(self.names, examples.images, examples.masks)
        classes = self._classes(examples.labels)
        generator, critic = engine.fast(self.networks["generator"]), engine.fast(self.networks["critic"])
        with torch.no_grad(), engine.autocast():  # the critic's step asks nothing of the generator
            fake = generator(engine.normal(n, options.latent), classes).float()
        shown = self._shown(n, engine)
        real, fake = shown(real), shown(fake)
        self.optimisers["critic"].zero_grad(set_to_none=True)
        with engine.autocast():
            of_real, of_fake = critic(real, classes), critic(fake, classes)
        distance = ADVERSARIAL["wasserstein"][0](of_real, of_fake)
        epsilon = engine.uniform(n, *[1] * (real.ndim - 1))
        some = slice(None, None, options.penalty_every)
        penalty = gradient_penalty(
            lambda x: self.networks["critic"](x, classes[some]), real[some], fake[some], epsilon[some]
        )
        loss = distance + options.gradient_penalty * penalty
        if options.drift > 0:
            loss = loss + options.drift * of_real.float().square().mean()
        engine.backward(loss, "critic")
        engine.update(self.optimisers, "critic")
        losses = {"critic": loss, "wasserstein_distance": -distance, "gradient_penalty": penalty}
        if (engine.step + 1) % options.n_critic == 0:
            losses["generator"] = self._generator_step(n, classes, engine)
        return {name: value.detach() for name, value in losses.items()}

    def _generator_step(self, n: int, classes: Tensor, engine: Engine) -> Tensor:
        generator, critic = engine.fast(self.networks["generator"]), self.networks["critic"]
        shown = self._shown(n, engine)
        critic.requires_grad_(False)  # its weights are not to learn from the generator's step
        self.optimisers["generator"].zero_grad(set_to_none=True)
        with engine.autocast():
            fake = generator(engine.normal(n, self.options.latent), classes)
            scores = engine.fast(critic)(shown(fake), classes)
        loss = ADVERSARIAL["wasserstein"][1](scores)
        engine.backward(loss, "generator")
        engine.update(self.optimisers, "generator")
        critic.requires_grad_(True)
        return loss

    def draw(self, networks: Mapping[str, nn.Module], examples: Examples, way: str) -> Tensor:
        """Images from ``examples.noise`` for ``examples.labels``."""
        del way
        if examples.noise is None:
            raise ValueError("a WGAN draws from noise")
        made: Tensor = networks["generator"](examples.noise, self._classes(examples.labels))
        return made.float()

    def scores(self, made: Tensor, beside: Examples) -> Tensor:
        """The critic's, which is told the class of an image."""
        scores: Tensor = self.networks[self.judge](made, self._classes(beside.labels))
        return scores

    def _shown(self, n: int, engine: Engine) -> Callable[[Tensor], Tensor]:
        """What the critic sees of an image: the same changes for real and fake ones."""
        changes = self.options.differentiable_augmentation
        drawn = draw_changes(n, changes, engine)
        return lambda images: differentiable_augmentation(images, changes, drawn)

    def _classes(self, labels: Tensor) -> Tensor:
        """One-hot, (n, classes); nothing but zeros for a label that the training did not know."""
        return (labels[:, None] == torch.arange(len(self.layout.labels), device=labels.device)).float()

    def _optimiser(self, network: nn.Module) -> torch.optim.Optimizer:
        if self.options.optimiser == "adam":
            return self.adam([network])
        return torch.optim.RMSprop(network.parameters(), lr=self.options.learning_rate)
