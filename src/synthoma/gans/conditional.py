"""The conditional GAN of the study: pix2pix's U-Net and PatchGAN, adversarial + λ·L1 + perceptual loss.

Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", https://arxiv.org/abs/1611.07004.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from synthoma.errors import SettingError, describe
from synthoma.gans.diffaugment import Change, differentiable_augmentation, draw_changes
from synthoma.gans.engine import Engine
from synthoma.gans.gan import Examples, Gan
from synthoma.gans.layout import MASK, Layout
from synthoma.gans.losses import ADVERSARIAL, Adversarial, gradient_penalty
from synthoma.gans.perceptual import PerceptualLoss, PerceptualOptions
from synthoma.networks.layers import Norm, Upsample
from synthoma.networks.patchgan import PatchGAN, check_sides
from synthoma.networks.unet import UNet, depth_for
from synthoma.options import Options
from synthoma.records import Cohort

__all__ = ["ConditionalGAN", "ConditionalOptions"]


class ConditionalOptions(Options):
    """Settings of the conditional GAN. The defaults are the study's."""

    method: Literal["conditional"] = "conditional"
    condition: tuple[str, ...] = Field(("t1", "mask"), min_length=1)
    """Channels that the generator is shown; ``mask`` stands for all parts of the lesion."""
    target: tuple[str, ...] = Field(("flair",), min_length=1)
    """Channels that it makes."""
    width: int = Field(64, ge=1)
    """Features of the U-Net's first level."""
    depth: int | None = Field(None, ge=2, le=8)
    """Levels of the U-Net; as many as the image size allows (256² = 8) when not set."""
    discriminator_width: int = Field(64, ge=1)
    """Features of the PatchGAN's first layer."""
    norm: Norm = "batch"
    """Normalisation in both networks. ``instance`` suits small batches."""
    discriminator_norm: Norm | None = None
    """Normalisation in the discriminator, where it differs. A gradient penalty asks for ``instance`` or ``none``: batch
    norm mixes the images whose slopes it looks at."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """In the innermost levels of the decoder."""
    upsample: Upsample = "transpose"
    """``resize`` leaves no checkerboard."""
    base: Literal["none", "linear"] = "none"
    """``linear``: predict on top of a per-pixel least-squares fit of the training patients, where the run starts."""
    recompute: bool = False
    """Activation checkpointing: more time, hardly less memory here, the same result; see ``docs/performance.md``."""
    adversarial: Adversarial = "bce"
    """``bce`` is the study's formula, computed from logits so that it cannot overflow."""
    adversarial_weight: float = Field(1.0, ge=0)
    """0 trains the U-Net alone, without a discriminator."""
    l1_weight: float = Field(100.0, ge=0)
    """λ of the L1 loss."""
    body_weight: float = Field(1.0, ge=1)
    """How much more a pixel of the body counts in the L1 loss than one of the background; the mean weight stays 1."""
    perceptual: PerceptualOptions = PerceptualOptions()
    gradient_penalty: float = Field(0.0, ge=0)
    """Weight of the gradient penalty on the discriminator."""
    differentiable_augmentation: tuple[Change, ...] = ()
    """Changes to what the discriminator sees, for small sets: brightness, contrast, translation, cutout."""
    learning_rate: float = Field(2e-4, gt=0)
    """Of Adam, for both networks."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Of Adam: how long the mean of the gradients remembers."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Of Adam: how long the mean of their squares remembers."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of the generator (AdamW)."""

    @property
    def named_channels(self) -> tuple[str, ...]:
        """The channels of the cohort that the settings name."""
        return tuple(name for name in (*self.condition, *self.target) if name != MASK)

    @model_validator(mode="after")
    def _apart(self) -> ConditionalOptions:
        shared = sorted(set(self.condition) & set(self.target))
        if shared:
            raise ValueError(f"'{shared[0]}' is both condition and target: the GAN would be shown its own answer")
        if MASK in self.target:
            raise ValueError("the target must be images; 'mask' can only be a condition")
        if not (self.adversarial_weight or self.l1_weight or self.perceptual.used):
            raise ValueError("all loss weights are 0: there is nothing to learn")
        return self


class ConditionalGAN(Gan):
    """One U-Net generator and (unless ``adversarial_weight`` is 0) one PatchGAN discriminator."""

    makes = ("reconstruct", "transplant", "remove", "redraw")
    averaged = ("generator",)
    compared = "reconstruct"
    chosen = True
    judge = "discriminator"
    options: ConditionalOptions

    def __init__(self, options: ConditionalOptions, layout: Layout, device: torch.device) -> None:
        layout.check("gan.condition", options.condition)
        layout.check("gan.target", options.target)
        spatial_dims = len(layout.shape)
        depth = options.depth or min(depth_for(side) for side in layout.shape)
        if depth < 2 or any(side % 2**depth for side in layout.shape):
            raise SettingError(
                describe(
                    "gan.depth", f"image sides divisible by 2^{max(depth, 2)}", layout.shape, "Change resize.size."
                )
            )
        if options.adversarial_weight > 0:
            remedy = "Change resize.size, or set gan.adversarial_weight to 0."
            check_sides("gan.adversarial_weight", layout.shape, remedy)
        if options.perceptual.used and spatial_dims != 2:
            raise SettingError(describe("gan.perceptual.network", "2D images", layout.shape, "Set it to none."))
        self.options, self.layout, self.device = options, layout, device
        inputs, outputs = layout.width(options.condition), layout.width(options.target)
        generator = UNet(
            inputs,
            outputs,
            depth=depth,
            width=options.width,
            norm=options.norm,
            dropout=options.dropout,
            upsample=options.upsample,
            base=options.base,
            recompute=options.recompute,
            spatial_dims=spatial_dims,
        )
        self.networks = {"generator": generator.to(device)}
        if options.adversarial_weight > 0:
            self.networks["discriminator"] = PatchGAN(
                inputs + outputs,
                width=options.discriminator_width,
                norm=options.discriminator_norm or options.norm,
                spatial_dims=spatial_dims,
            ).to(device)
        self.optimisers = {
            name: self.adam([network], options.weight_decay if name == "generator" else 0.0)
            for name, network in self.networks.items()
        }
        self.memories = {}
        self.perceptual = PerceptualLoss(options.perceptual).to(device) if options.perceptual.used else None

    def start(self, cohort: Cohort, rows: NDArray[np.intp]) -> None:
        """What a fresh run does once with its training samples: set the linear base."""
        if self.options.base == "linear":
            weight, bias = fit_linear(self.options, self.layout, cohort, rows)
            generator = self.networks["generator"]
            assert isinstance(generator, UNet)  # noqa: S101 (for the type checker)
            generator.set_linear(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())

    def channels(self, way: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Condition and target."""
        del way
        return self.options.condition, self.options.target

    def step(self, parts: Sequence[Examples], engine: Engine) -> dict[str, Tensor]:
        """The discriminator's step, then the generator's, with one forward pass of the generator for both."""
        (examples,) = parts
        options, images, masks = self.options, examples.images, examples.masks
        condition = self.layout.stack(options.condition, images, masks)
        target = self.layout.stack(options.target, images, masks)
        drawn = draw_changes(len(images), options.differentiable_augmentation, engine)
        losses = {}

        def shown(image: Tensor) -> Tensor:
            """What the discriminator sees of an image and its condition."""
            joined = torch.cat([condition, image], dim=1)
            return differentiable_augmentation(joined, options.differentiable_augmentation, drawn)

        self.optimisers["generator"].zero_grad(set_to_none=True)  # now: old gradients need not lie beside activations
        with engine.autocast():
            fake = engine.fast(self.networks["generator"])(condition)

        if options.adversarial_weight > 0:
            discriminator = self.networks["discriminator"]
            of_discriminator, of_generator = ADVERSARIAL[options.adversarial]
            self.optimisers["discriminator"].zero_grad(set_to_none=True)
            with engine.autocast():
                real_logits = engine.fast(discriminator)(shown(target))
            # These losses are sums of one part of the real and one of the fake logits. So each part has a backward pass
            # of its own, which gives back what it kept before the other begins: the peak of memory lies here.
            engine.backward(of_discriminator(real_logits, real_logits.detach()), "discriminator")
            with engine.autocast():
                fake_logits = engine.fast(discriminator)(shown(fake.detach()))
            losses["discriminator"] = of_discriminator(real_logits.detach(), fake_logits)
            total = losses["discriminator"]
            if options.gradient_penalty > 0:
                epsilon = engine.uniform(len(images), *[1] * (images.ndim - 1))
                penalty = gradient_penalty(lambda image: discriminator(shown(image)), target, fake.detach(), epsilon)
                losses["gradient_penalty"] = penalty
                total = total + options.gradient_penalty * penalty
            engine.backward(total, "discriminator")
            engine.update(self.optimisers, "discriminator")

        losses["l1"] = self._l1(fake, target, masks)
        total = options.l1_weight * losses["l1"]
        if options.adversarial_weight > 0:
            discriminator.requires_grad_(False)  # its weights are not to learn from the generator's step
            with engine.autocast():
                logits = engine.fast(discriminator)(shown(fake))
            losses["adversarial"] = of_generator(logits)
            total = total + options.adversarial_weight * losses["adversarial"]
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(fake, target)
            total = total + options.perceptual.weight * losses["perceptual"]
        engine.backward(total, "generator")
        engine.update(self.optimisers, "generator")
        if options.adversarial_weight > 0:
            discriminator.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}

    def draw(self, networks: Mapping[str, nn.Module], examples: Examples, way: str) -> Tensor:
        """Images of the target channels for a batch of conditions."""
        del way
        condition = self.layout.stack(self.options.condition, examples.images, examples.masks)
        made: Tensor = networks["generator"](condition)
        return made.float().clamp(-1, 1)

    def scores(self, made: Tensor, beside: Examples) -> Tensor:
        """The discriminator's, which is shown the condition with an image."""
        condition = self.layout.stack(self.options.condition, beside.images, beside.masks)
        scores: Tensor = self.networks[self.judge](torch.cat([condition, made], dim=1))
        return scores

    def _l1(self, fake: Tensor, target: Tensor, masks: Tensor) -> Tensor:
        if self.options.body_weight == 1:
            return F.l1_loss(fake.float(), target)
        weights = 1 + (self.options.body_weight - 1) * masks[:, :1].to(target.dtype)
        return ((fake.float() - target).abs() * (weights / weights.mean())).mean()


def fit_linear(
    options: ConditionalOptions, layout: Layout, cohort: Cohort, rows: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least-squares fit of the target on the condition, pixel by pixel over the body, by its normal equations.

    Returns ``weight`` (target, condition) and ``bias`` (target,).
    """
    inputs, outputs = layout.width(options.condition), layout.width(options.target)
    gram, product = np.zeros((inputs + 1, inputs + 1)), np.zeros((inputs + 1, outputs))
    for row in rows:
        images = torch.from_numpy(np.array(cohort.images[row : row + 1], dtype=np.float32))
        masks = torch.from_numpy(np.array(cohort.masks[row : row + 1]))
        body = cohort.body(int(row))
        x = layout.stack(options.condition, images, masks)[0].numpy()[:, body].astype(np.float64)
        y = layout.stack(options.target, images, masks)[0].numpy()[:, body].astype(np.float64)
        x = np.concatenate([x, np.ones((1, x.shape[1]))])
        gram += x @ x.T
        product += x @ y.T
    solution = np.linalg.lstsq(gram, product, rcond=None)[0]  # least norm where a channel is constant
    return np.asarray(solution[:-1].T), np.asarray(solution[-1])
