"""A generator by itself, without the GAN around it: tensors in, images out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from synthoma.gans import MASK, Gan
from synthoma.records import Lineage

__all__ = ["WAYS", "Generator", "program"]

WAYS: Mapping[str, Mapping[str, str]] = {
    "conditional": {"reconstruct": "generator"},
    "cycle": {"translate": "generator_target", "back": "generator_source"},
    "wasserstein": {"sample": "generator"},
}
"""Method of a GAN → what its generators do, the most telling first → the network that does it."""


class Generator(nn.Module):
    """What a GAN draws with, ready to be called: ``image = generator(condition)``, or ``generator(noise, classes)``.

    Conditions and images are (n, channel, [z,] y, x), float32 in [−1, 1]; a mask is a channel of −1 and +1. Sides must
    be those of ``shape``, or divisible as often. From noise: (n, ``latent``) standard normal numbers, and (n, classes),
    a one for the class in the order of ``labels``.
    """

    def __init__(self, gan: Gan, networks: Mapping[str, nn.Module], lineage: Lineage, way: str | None = None) -> None:
        super().__init__()
        self.method: str = gan.options.method
        ways = WAYS[self.method]
        self.way = way or next(iter(ways))
        shown, made = gan.channels(self.way)
        layout = gan.layout
        lesion = [layout.mask_names[index] for index in layout.lesion_indices]
        self.inputs = tuple(part for name in shown for part in (lesion if name == MASK else [name]))
        """The channels of a condition, in order; none where images are drawn from noise."""
        self.masks = tuple(lesion) if MASK in shown else ()
        """Those of them that are masks."""
        self.outputs = tuple(made)
        """The channels of an image."""
        self.shape = layout.shape
        self.labels, self.latent = layout.labels, gan.latent
        self.lineage = lineage
        self.network = networks[ways[self.way]]
        self.eval()

    def forward(self, given: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images in [−1, 1] for conditions, or for noise and classes."""
        made: Tensor = self.network(given) if classes is None else self.network(given, classes)
        return made.float().clamp(-1, 1)

    def example(self, n: int = 2) -> tuple[Tensor, ...]:
        """``n`` inputs of the right shape: of any values but for the classes, which are all the first."""
        if self.inputs:
            return (torch.zeros(n, len(self.inputs), *self.shape),)
        classes = torch.zeros(n, len(self.labels))
        classes[:, :1] = 1
        return torch.zeros(n, self.latent), classes


def program(generator: Generator) -> Any:
    """The generator as a program of ``torch.export`` for any number of samples, of the size that it was trained on."""
    given = generator.example()
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(generator, given, dynamic_shapes=[{0: batch}] * len(given))
