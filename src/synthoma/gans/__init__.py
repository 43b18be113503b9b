"""The GANs, one file a method. ``GANS`` is the table of them; nothing here trains or draws a cohort by itself.

A GAN is a :class:`~synthoma.gans.gan.Gan`: networks, optimisers, a step on a batch, and the ways to draw images that it
knows. It is built from its options, a :class:`~synthoma.gans.layout.Layout` and a device.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from synthoma.gans.conditional import ConditionalGAN, ConditionalOptions
from synthoma.gans.cycle import CycleGAN, CycleOptions
from synthoma.gans.domain import Domain
from synthoma.gans.engine import Engine
from synthoma.gans.gan import Examples, Gan
from synthoma.gans.layout import MASK, Layout
from synthoma.gans.wasserstein import WassersteinGAN, WassersteinOptions

__all__ = [
    "GANS",
    "MASK",
    "ConditionalGAN",
    "ConditionalOptions",
    "CycleGAN",
    "CycleOptions",
    "Domain",
    "Engine",
    "Examples",
    "Gan",
    "GanOptions",
    "Layout",
    "WassersteinGAN",
    "WassersteinOptions",
]

GanOptions = Annotated[ConditionalOptions | CycleOptions | WassersteinOptions, Field(discriminator="method")]
"""The settings of any method; the field ``method`` says which."""

GANS: dict[str, type[Gan]] = {
    "conditional": ConditionalGAN,
    "cycle": CycleGAN,
    "wasserstein": WassersteinGAN,
}
