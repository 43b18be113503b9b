"""The GANs, one file a method. ``GANS`` is the table of them; nothing here trains or draws by itself.

A GAN is a class with ``networks`` and ``optimisers`` (dictionaries), ``averaged`` (the network whose running average
draws the images), ``start(cohort, rows)``, ``step(images, masks, precision) -> losses`` and
``draw(network, images, masks) -> images``. It is built from its options, a
:class:`~synthoma.gans.layout.Layout` and a device.
"""

from __future__ import annotations

from synthoma.gans.conditional import ConditionalGAN, ConditionalOptions
from synthoma.gans.layout import MASK, Layout

__all__ = ["GANS", "MASK", "ConditionalGAN", "ConditionalOptions", "GanOptions", "Layout"]

GanOptions = ConditionalOptions
"""The settings of any method; grows into a union with the second one."""

GANS: dict[str, type[ConditionalGAN]] = {"conditional": ConditionalGAN}
