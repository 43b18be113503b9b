"""Random changes of training samples: drawn first, a sample at a time, and applied second, a whole batch at once.

Off by default. What a change must not do: tell the network something false. Left and right differ in a body, so flips
are asked for; channels are related, so every channel of a sample gets the same change of intensity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, model_validator

from synthoma.errors import did_you_mean
from synthoma.options import Options

if TYPE_CHECKING:
    import torch

__all__ = ["AUGMENTATIONS", "AugmentOptions", "Augmentation", "augment", "draw_augmentation"]

AUGMENTATIONS: Mapping[str, Mapping[str, float]] = {
    "none": {},
    "minimal": {"rotate_deg": 5.0},
}
"""Names that stand for settings: ``augment: minimal``."""


class AugmentOptions(Options):
    """Random changes of a training sample; a name of :data:`AUGMENTATIONS` is accepted too."""

    flip_left_right: bool = False
    """Mirror along x in half of the cases. Off: the body is not symmetric."""
    flip_up_down: bool = False
    """Mirror along y in half of the cases."""
    rotate_deg: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation in the plane, to either side."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of size: 0.1 draws factors from 1/1.1 to 1.1, evenly in their logarithm."""
    shift: float = Field(default=0.0, ge=0, le=0.5)
    """Largest shift along each axis of the plane, as a fraction of the frame."""
    gamma: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of the exponent: 0.2 draws exponents from 1/1.2 to 1.2 for values taken to [0, 1]."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of contrast: 0.2 draws factors from 1/1.2 to 1.2 on the distance from the background."""
    brightness: float = Field(default=0.0, ge=0, lt=1)
    """Largest shift of intensity, as a fraction of the range."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in AUGMENTATIONS:
            raise ValueError(f"unknown augmentation '{value}'. {did_you_mean(value, AUGMENTATIONS)}")
        return dict(AUGMENTATIONS[value])

    @property
    def moves(self) -> bool:
        """Whether pixels are interpolated."""
        return self.rotate_deg > 0 or self.scale > 0 or self.shift > 0

    @property
    def recolours(self) -> bool:
        """Whether intensities change."""
        return self.gamma > 0 or self.contrast > 0 or self.brightness > 0


@dataclass(frozen=True)
class Augmentation:
    """The parameters of one sample."""

    flip_x: bool
    flip_y: bool
    rotate_deg: float
    scale: float
    shift_y: float
    """As a fraction of the frame."""
    shift_x: float
    gamma: float
    contrast: float
    brightness: float


def draw_augmentation(options: AugmentOptions, rng: np.random.Generator) -> Augmentation:
    """Draw the parameters of one sample. Always the same number of draws: one setting does not shift another's."""
    flips = rng.random(2) < 0.5
    angle, scale, shift_y, shift_x, gamma, contrast, brightness = rng.uniform(-1, 1, 7).tolist()
    return Augmentation(
        flip_x=bool(flips[0]) and options.flip_left_right,
        flip_y=bool(flips[1]) and options.flip_up_down,
        rotate_deg=angle * options.rotate_deg,
        scale=(1 + options.scale) ** scale,
        shift_y=shift_y * options.shift,
        shift_x=shift_x * options.shift,
        gamma=(1 + options.gamma) ** gamma,
        contrast=(1 + options.contrast) ** contrast,
        brightness=brightness * options.brightness,
    )


def augment(
    images: torch.Tensor, masks: torch.Tensor, drawn: Sequence[Augmentation], options: AugmentOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply one :class:`Augmentation` a sample.

    Args:
        images: (n, channel, [z,] y, x) float32 in [−1, 1].
        masks: (n, mask, [z,] y, x) float32 of 0 and 1; they stay so.
        drawn: n parameters.
        options: what they were drawn with: decides which operations run, so that a sample does not depend on its batch.

    Returns:
        New images and masks of the same shapes. What comes in from outside the frame is −1, and 0 in the masks.
    """
    import torch

    if options.recolours:
        images = _recolour(images, drawn)
    for axis, name, asked in ((-1, "flip_x", options.flip_left_right), (-2, "flip_y", options.flip_up_down)):
        if asked:
            flags = _column(drawn, name, images).bool()
            images, masks = torch.where(flags, images.flip(axis), images), torch.where(flags, masks.flip(axis), masks)
    if options.moves:
        images, masks = _move(images, masks, drawn)
    return images, masks


def _column(drawn: Sequence[Augmentation], name: str, like: torch.Tensor) -> Any:
    """One parameter of all samples, (n, 1, …, 1)."""
    import torch

    values = torch.tensor([float(getattr(one, name)) for one in drawn], dtype=like.dtype)
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _recolour(images: torch.Tensor, drawn: Sequence[Augmentation]) -> torch.Tensor:
    """One monotone curve a sample, the same for its channels; background (exactly −1) stays background."""
    import torch

    gamma, contrast, brightness = (_column(drawn, name, images) for name in ("gamma", "contrast", "brightness"))
    values = ((images + 1) / 2).clamp(0, 1) ** gamma
    values = (contrast * values + brightness).clamp(0, 1)
    return torch.where(images > -1, values * 2 - 1, images)


def _move(
    images: torch.Tensor, masks: torch.Tensor, drawn: Sequence[Augmentation]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate, scale and shift in the plane (y, x): one sampling for the images, one for the masks."""
    import torch
    from torch.nn.functional import grid_sample

    n, *_, height, width = images.shape
    grid = _grid(drawn, height, width)
    planes = images.reshape(n, -1, height, width)  # a depth axis, where there is one, moves as more channels
    # shifted by one, the zeros that grid_sample pads with are background
    moved = grid_sample(planes + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - 1
    shapes = masks.reshape(n, -1, height, width)
    cut = grid_sample(shapes, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return torch.clamp(moved, -1, 1).reshape(images.shape), cut.reshape(masks.shape)


def _grid(drawn: Sequence[Augmentation], height: int, width: int) -> torch.Tensor:
    """Where each pixel of the result comes from, (n, y, x, 2) in grid_sample's [−1, 1].

    Written out, as products and sums of single numbers, and not as a matrix product, whose rounding may depend on n.
    """
    import torch

    y = ((torch.arange(height, dtype=torch.float32) + 0.5) - height / 2)[None, :, None]  # pixels from the centre
    x = ((torch.arange(width, dtype=torch.float32) + 0.5) - width / 2)[None, None, :]
    angle, scale, shift_y, shift_x = (
        torch.tensor([getattr(one, name) for one in drawn], dtype=torch.float64)[:, None, None]
        for name in ("rotate_deg", "scale", "shift_y", "shift_x")
    )
    cos, sin = (torch.cos(angle.deg2rad()) / scale).float(), (torch.sin(angle.deg2rad()) / scale).float()
    y, x = y - (shift_y * height).float(), x - (shift_x * width).float()
    from_x, from_y = cos * x + sin * y, cos * y - sin * x
    return torch.stack([from_x / (width / 2), from_y / (height / 2)], dim=-1)
