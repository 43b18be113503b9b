"""CycleGAN: two domains, two generators, no pairs.

Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks",
https://arxiv.org/abs/1703.10593.
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

from synthoma.errors import CohortError, SettingError, describe
from synthoma.gans.diffaugment import Change, differentiable_augmentation, draw_changes
from synthoma.gans.domain import Domain
from synthoma.gans.engine import Engine
from synthoma.gans.gan import Examples, Gan
from synthoma.gans.layout import MASK, Layout
from synthoma.gans.losses import ADVERSARIAL, Adversarial, gradient_penalty, reconstruction_loss
from synthoma.gans.pool import ImagePool
from synthoma.gans.structure import structure_loss
from synthoma.networks.layers import Norm, Upsample
from synthoma.networks.patchgan import PatchGAN, check_sides
from synthoma.networks.resnet import ResNet
from synthoma.options import Options
from synthoma.records import Cohort
from synthoma.seeding import generator as random_generator
from synthoma.similarity import RADIUS

__all__ = ["CycleGAN", "CycleOptions"]

Rows = NDArray[np.intp]
SOURCE, TARGET = "source", "target"


class CycleOptions(Options):
    """Settings of the CycleGAN. The defaults are the paper's, which are the study's."""

    method: Literal["cycle"] = "cycle"
    source: Domain = Domain(channels=("t1",))
    """What is translated."""
    target: Domain = Domain(channels=("flair",))
    """What it is translated to."""
    disjoint_patients: bool = True
    """Where the domains are two channels of the same samples: take the source from one half of the patients and the
    target from the other, so that no pair is ever seen. ``false`` shows both channels of all, in unrelated order."""
    width: int = Field(64, ge=1)
    """Features of the generators' first layer."""
    blocks: int = Field(9, ge=0)
    """Residual blocks of the generators; 9 for 256², 6 for smaller images in the paper."""
    discriminator_width: int = Field(64, ge=1)
    """Features of the PatchGANs' first layer."""
    discriminator_layers: int = Field(3, ge=1, le=5)
    """3 looks at patches of 70 × 70 pixels, 2 at 34 × 34, 1 at 16 × 16: texture and contrast, not anatomy, which a
    small set of patients would be learned by."""
    norm: Norm = "instance"
    """Normalisation in all networks."""
    discriminator_norm: Norm | None = None
    """Normalisation in the discriminators, where it differs; ``none`` lets them see brightness and contrast."""
    upsample: Upsample = "transpose"
    """``resize`` leaves no checkerboard."""
    base: Literal["none", "input"] = "none"
    """``input``: the generators predict a change of their input, and start from it."""
    recompute: bool = False
    """Activation checkpointing: less memory, more time, the same result; see ``docs/performance.md``."""
    adversarial: Adversarial = "lsgan"
    """The loss of both discriminators; least squares as in the paper."""
    adversarial_weight: float = Field(1.0, gt=0)
    """Weight of the adversarial losses beside those of cycle and identity."""
    cycle_weight: float = Field(10.0, ge=0)
    """λ of the distance between an image and itself there and back."""
    cycle_ssim: float = Field(0.0, ge=0, le=1)
    """What that distance is: 0 the L1 distance of the paper, 1 one minus SSIM, between them both in these shares (Zhao
    et al. 2017)."""
    identity_weight: float = Field(0.5, ge=0)
    """Of the identity loss, as a share of ``cycle_weight``; 0 leaves it out, and its two forward passes."""
    structure: Literal["none", "gradient", "mind"] = "none"
    """A loss that keeps structure across a change of contrast, see :mod:`synthoma.gans.structure`; not in the study."""
    structure_weight: float = Field(1.0, ge=0)
    """Weight of the loss that ``structure`` chooses."""
    negatives: float = Field(0.0, ge=0, lt=1)
    """Share of real images of the other domain among those that each discriminator learns to refuse, beside the
    generators': it then knows what tells the domains apart from the first step, and an image that looks real but
    unchanged does not please it. As the mismatched pairs of Reed et al. 2016, algorithm 1 (there ½)."""
    pool_size: int = Field(50, ge=0)
    """Earlier images that each discriminator is shown again."""
    gradient_penalty: float = Field(0.0, ge=0)
    """Weight of the gradient penalty on the discriminators."""
    differentiable_augmentation: tuple[Change, ...] = ()
    """Changes to what the discriminators see, for small sets: brightness, contrast, translation, cutout."""
    learning_rate: float = Field(2e-4, gt=0)
    """Of Adam, for all networks."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Of Adam: how long the mean of the gradients remembers."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Of Adam: how long the mean of their squares remembers."""

    @property
    def named_channels(self) -> tuple[str, ...]:
        """The channels of the cohort that the settings name."""
        return (*self.source.channels, *self.target.channels)

    @model_validator(mode="after")
    def _two_domains(self) -> CycleOptions:
        if self.source == self.target:
            raise ValueError("source and target are the same domain: there is nothing to translate")
        if MASK in (*self.source.channels, *self.target.channels):
            raise ValueError("the domains must be images; 'mask' is none")
        return self


class CycleGAN(Gan):
    """Generators ``target`` (source → target) and ``source`` (back), and a discriminator of each domain."""

    makes = ("translate", "back", "cycle", "redraw")
    averaged = ("generator_target", "generator_source")
    compared = "cycle"
    judge = "discriminator_target"
    options: CycleOptions

    def __init__(self, options: CycleOptions, layout: Layout, device: torch.device) -> None:
        self.options, self.layout, self.device = options, layout, device
        self._names = {side: self._domain(side).channels or layout.channels for side in (SOURCE, TARGET)}
        for side, names in self._names.items():
            layout.check(f"gan.{side}.channels", names)
        if self._names[SOURCE] == self._names[TARGET] and options.source.columns == options.target.columns:
            found = f"the same, {', '.join(self._names[TARGET])}"
            remedy = "Let the domains differ in channels, modality, label or site."
            raise SettingError(describe("gan.target", "another domain than gan.source", found, remedy))
        if any(side % 4 for side in layout.shape):
            found = "×".join(map(str, layout.shape))
            raise SettingError(describe("gan.method", "image sides divisible by 4", found, "Change resize.size."))
        remedy = "Change resize.size or gan.discriminator_layers."
        check_sides("gan.discriminator_layers", layout.shape, remedy, options.discriminator_layers)
        if options.cycle_ssim > 0 and min(layout.shape) < 2 * RADIUS + 1:
            expected = f"0 for images of less than {2 * RADIUS + 1} pixels a side"
            raise SettingError(describe("gan.cycle_ssim", expected, options.cycle_ssim, "Or change resize.size."))
        counts = {side: len(names) for side, names in self._names.items()}
        for setting, asked, off in (
            ("base", options.base == "input", "none"),
            ("negatives", options.negatives > 0, "0"),
        ):
            if asked and not self._same_channels:
                found, remedy = f"{counts[SOURCE]} and {counts[TARGET]}", f"Set it to {off}."
                raise SettingError(describe(f"gan.{setting}", "as many channels in both domains", found, remedy))
        spatial_dims = len(layout.shape)
        self.networks = {}
        for side, other in ((TARGET, SOURCE), (SOURCE, TARGET)):
            self.networks[f"generator_{side}"] = ResNet(
                counts[other],
                counts[side],
                width=options.width,
                blocks=options.blocks,
                norm=options.norm,
                upsample=options.upsample,
                base=options.base,
                recompute=options.recompute,
                spatial_dims=spatial_dims,
            ).to(device)
        for side in (TARGET, SOURCE):
            self.networks[f"discriminator_{side}"] = PatchGAN(
                counts[side],
                width=options.discriminator_width,
                layers=options.discriminator_layers,
                norm=options.discriminator_norm or options.norm,
                spatial_dims=spatial_dims,
            ).to(device)
        self.optimisers = {
            f"{kind}s": self.adam([self.networks[f"{kind}_{side}"] for side in (TARGET, SOURCE)])
            for kind in ("generator", "discriminator")
        }
        self.memories = {
            f"pool_{side}": ImagePool(options.pool_size, counts[side], *layout.shape).to(device)
            for side in (TARGET, SOURCE)
        }

    def sides(self, cohort: Cohort, rows: Rows) -> tuple[Rows, ...]:
        """The training samples of the source domain, and those of the target domain."""
        source = self.options.source.rows(cohort, rows, SOURCE)
        target = self.options.target.rows(cohort, rows, TARGET)
        if not self.options.disjoint_patients or not len(np.intersect1d(source, target)):
            return source, target
        of_source, of_target = (cohort.table["patient"][side] for side in (source, target))
        both = np.intersect1d(of_source, of_target)
        alone = [len(np.setdiff1d(side, both)) for side in (of_source, of_target)]
        if len(both) + sum(alone) < 2:
            found = "one (set gan.disjoint_patients to false to show both channels of it)"
            raise CohortError(describe("gan.disjoint_patients", "at least two training patients", found))
        order = random_generator(0, "domains").permutation(both)
        # those that only one domain has are its own; the others even the two sides out
        first = min(max((alone[1] - alone[0] + len(both) + 1) // 2, 0), len(both))
        return source[~np.isin(of_source, order[first:])], target[~np.isin(of_target, order[:first])]

    def starts(self, cohort: Cohort, rows: Rows) -> Rows:
        """Those of the source domain."""
        return np.intersect1d(rows, cohort.rows(**self.options.source.columns))

    def channels(self, way: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """From which domain's channels to which."""
        made = {"translate": (SOURCE, TARGET), "redraw": (SOURCE, TARGET), "back": (TARGET, SOURCE)}
        start, end = made.get(way, (SOURCE, SOURCE))
        return self._names[start], self._names[end]

    def step(self, parts: Sequence[Examples], engine: Engine) -> dict[str, Tensor]:
        """The generators' step, one half of the cycle after the other, then the discriminators'."""
        real = {
            side: self.layout.stack(self._names[side], part.images, part.masks)
            for side, part in zip((SOURCE, TARGET), parts, strict=True)
        }
        changes = self.options.differentiable_augmentation
        drawn = draw_changes(len(real[SOURCE]), changes, engine)
        losses: dict[str, Tensor] = {}
        fakes: dict[str, Tensor] = {}

        for side in (TARGET, SOURCE):
            self.networks[f"discriminator_{side}"].requires_grad_(False)
        self.optimisers["generators"].zero_grad(set_to_none=True)
        for side, other in ((TARGET, SOURCE), (SOURCE, TARGET)):
            # a backward pass for each half: what it keeps is given back before the other half begins
            total, fake = self._half(side, other, real, drawn, engine, losses)
            engine.backward(total, "generators")
            fakes[side] = fake.detach()
        engine.update(self.optimisers, "generators")

        self.optimisers["discriminators"].zero_grad(set_to_none=True)
        for side, other in ((TARGET, SOURCE), (SOURCE, TARGET)):
            self.networks[f"discriminator_{side}"].requires_grad_(True)
            loss = self._judge(side, other, real, fakes[side], drawn, engine, losses)
            engine.backward(loss, "discriminators")
        engine.update(self.optimisers, "discriminators")
        return {name: loss.detach() for name, loss in losses.items()}

    def _half(
        self,
        side: str,
        other: str,
        real: Mapping[str, Tensor],
        drawn: Tensor | None,
        engine: Engine,
        losses: dict[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The generators' losses on images of ``other`` made to look like ``side`` and back; and those images."""
        options, there = self.options, engine.fast(self.networks[f"generator_{side}"])
        back = engine.fast(self.networks[f"generator_{other}"])
        with engine.autocast():
            fake = there(real[other])
            shown = differentiable_augmentation(fake, options.differentiable_augmentation, drawn)
            logits = engine.fast(self.networks[f"discriminator_{side}"])(shown)
            again = back(fake)
        losses[f"adversarial_{side}"] = ADVERSARIAL[options.adversarial][1](logits)
        losses[f"cycle_{other}"] = reconstruction_loss(again.float(), real[other], options.cycle_ssim)
        total = options.adversarial_weight * losses[f"adversarial_{side}"]
        total = total + options.cycle_weight * losses[f"cycle_{other}"]
        if options.identity_weight > 0 and self._same_channels:
            with engine.autocast():
                same = there(real[side])
            losses[f"identity_{side}"] = F.l1_loss(same.float(), real[side])
            total = total + options.cycle_weight * options.identity_weight * losses[f"identity_{side}"]
        if options.structure != "none" and options.structure_weight > 0:
            losses[f"structure_{side}"] = structure_loss(options.structure, fake.float(), real[other])
            total = total + options.structure_weight * losses[f"structure_{side}"]
        return total, fake

    @property
    def _same_channels(self) -> bool:
        """Whether a generator can be shown an image of its own domain."""
        return len(self._names[SOURCE]) == len(self._names[TARGET])

    def _judge(
        self,
        side: str,
        other: str,
        real: Mapping[str, Tensor],
        fake: Tensor,
        drawn: Tensor | None,
        engine: Engine,
        losses: dict[str, Tensor],
    ) -> Tensor:
        """The loss of one discriminator, on real images, on some of the images made so far, and, where the settings say
        so, on real images of the other domain."""
        options, discriminator = self.options, self.networks[f"discriminator_{side}"]
        against = ADVERSARIAL[options.adversarial][0]
        memory = self.memories[f"pool_{side}"]
        assert isinstance(memory, ImagePool)  # noqa: S101 (for the type checker)
        fake = memory.exchange(fake.float(), engine)

        def shown(image: Tensor) -> Tensor:
            return differentiable_augmentation(image, options.differentiable_augmentation, drawn)

        with engine.autocast():
            real_logits = engine.fast(discriminator)(shown(real[side]))
            fake_logits = engine.fast(discriminator)(shown(fake))
            other_logits = engine.fast(discriminator)(shown(real[other])) if options.negatives > 0 else None
        loss = losses[f"discriminator_{side}"] = against(real_logits, fake_logits)
        if other_logits is not None:
            wrong = losses[f"negatives_{side}"] = against(real_logits, other_logits)
            loss = (1 - options.negatives) * loss + options.negatives * wrong
        if options.gradient_penalty > 0:
            epsilon = engine.uniform(len(fake), *[1] * (fake.ndim - 1))
            penalty = gradient_penalty(lambda image: discriminator(shown(image)), real[side], fake, epsilon)
            losses[f"gradient_penalty_{side}"] = penalty
            loss = loss + options.gradient_penalty * penalty
        return loss

    def draw(self, networks: Mapping[str, nn.Module], examples: Examples, way: str) -> Tensor:
        """Translations to the target domain, back from it, or there and back (``cycle``)."""
        image = self.layout.stack(self.channels(way)[0], examples.images, examples.masks)
        for side in {"back": (SOURCE,), "cycle": (TARGET, SOURCE)}.get(way, (TARGET,)):
            image = networks[f"generator_{side}"](image).float().clamp(-1, 1)
        return image

    def _domain(self, side: str) -> Domain:
        return self.options.source if side == SOURCE else self.options.target
