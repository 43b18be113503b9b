"""What every GAN is: networks, optimisers, a step, and the images it can draw. One level of overriding, no more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synthoma.gans.engine import Engine
from synthoma.gans.layout import Layout
from synthoma.records import Cohort

__all__ = ["Examples", "Gan"]

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Examples:
    """Some samples as tensors on the device of the GAN."""

    images: Tensor
    """(n, channel, [z,] y, x) in [−1, 1]: all channels of the cohort."""
    masks: Tensor
    """(n, mask, [z,] y, x) of 0 and 1."""
    labels: Tensor
    """(n,) index of each sample's label among ``layout.labels``."""
    noise: Tensor | None = None
    """(n, latent), where images are drawn from noise."""

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device, *, last: bool = False) -> Examples:
        """The same on a device; with ``last`` 2D images in the order that tensor cores read (channels last)."""
        order = torch.channels_last if last and self.images.ndim == 4 else torch.preserve_format
        images = self.images.to(device, non_blocking=True, memory_format=order)
        masks, labels = (part.to(device, non_blocking=True) for part in (self.masks, self.labels))
        noise = None if self.noise is None else self.noise.to(device)
        return Examples(images, masks, labels, noise)


class Gan(ABC):
    """A method: its networks, what a step does to them, and what they draw."""

    makes: ClassVar[tuple[str, ...]]
    """The ways to draw images that it knows, the most telling first: ``reconstruct``, ``translate``, ``sample``, …"""
    averaged: ClassVar[tuple[str, ...]]
    """The networks that draw; their running averages do in the end."""
    compared: ClassVar[str] = ""
    """The way whose images should equal real ones, so that validation can measure it; empty where there is none."""
    chosen: ClassVar[bool] = False
    """Whether that measure says how good the GAN is, and may choose the best checkpoint."""
    judge: ClassVar[str] = ""
    """The network that learns to tell real images from those of the first of :attr:`makes`."""
    latent = 0
    """Length of the noise vector; 0 where images are not made from noise."""
    options: Any
    layout: Layout
    device: torch.device
    networks: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    memories: dict[str, nn.Module]
    """What else is kept from step to step, as buffers of modules: pools of images."""

    @abstractmethod
    def __init__(self, options: Any, layout: Layout, device: torch.device) -> None:
        """Build the networks, from PyTorch's random numbers, and their optimisers."""

    def sides(self, cohort: Cohort, rows: Rows) -> tuple[Rows, ...]:
        """The samples that the parts of a batch are drawn from: one part, or one for each of two domains."""
        del cohort
        return (rows,)

    def starts(self, cohort: Cohort, rows: Rows) -> Rows:
        """Those of some samples that the first of :attr:`makes` starts from."""
        del cohort
        return rows

    def start(self, cohort: Cohort, rows: Rows) -> None:
        """What a fresh run does once with its training samples."""
        del cohort, rows

    def weights_channels_last(self) -> None:
        """Turn the weights of 2D networks to the order of :meth:`Examples.to` with ``last``; before they are used."""
        if len(self.layout.shape) == 2:
            for network in self.networks.values():
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def averages_every(self) -> int:
        """Steps between two updates of the networks that draw."""
        return 1

    @abstractmethod
    def step(self, parts: Sequence[Examples], engine: Engine) -> dict[str, Tensor]:
        """One step on a batch, a part for each of :meth:`sides`; returns the losses, still on the device."""

    @abstractmethod
    def draw(self, networks: Mapping[str, nn.Module], examples: Examples, way: str) -> Tensor:
        """Images (n, channel, [z,] y, x) in [−1, 1] by one of :attr:`makes`, with the given networks."""

    def scores(self, made: Tensor, beside: Examples) -> Tensor:
        """What :attr:`judge` thinks of images, higher where they look real: (n, 1, [z,] y, x), a score a patch.

        Args:
            made: (n, channel, [z,] y, x), of the channels that the first of :attr:`makes` makes.
            beside: the samples that they belong to, for a judge that is shown a condition or a class with an image.
        """
        del beside
        scores: Tensor = self.networks[self.judge](made)
        return scores

    @abstractmethod
    def channels(self, way: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The channels that ``way`` looks at, and those that it makes."""

    def adam(self, networks: Sequence[nn.Module], weight_decay: float = 0.0) -> torch.optim.Optimizer:
        """Adam (AdamW where the weights decay) over the weights of some networks."""
        return torch.optim.AdamW(
            [parameter for network in networks for parameter in network.parameters()],
            lr=self.options.learning_rate,
            betas=(self.options.beta1, self.options.beta2),
            weight_decay=weight_decay,
            fused=True,
        )
