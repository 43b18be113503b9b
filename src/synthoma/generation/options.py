"""Settings of generation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from synthoma.options import Options

__all__ = ["GenerationOptions"]

Method = Literal["reconstruct", "transplant", "remove", "redraw"]


class GenerationOptions(Options):
    """Which synthetic cohorts are made, and how many samples."""

    methods: tuple[Method, ...] = ("reconstruct", "transplant", "remove", "redraw")
    """``reconstruct``: the image for the condition of held-out real samples. ``transplant``: the lesion of one training
    patient in a tumour-free slice of another. ``remove``: a tumour slice of a training patient with an empty mask.
    ``redraw``: every training slice from its own condition; without it the place of a slice would tell a classifier its
    synthetic class, since tumours are transplanted to where there were none, and removed from where they were."""
    use: Literal["best", "last"] = "best"
    """Which checkpoint draws: the best by validation patients (the last where there were none), or the last."""
    reconstruct_split: Literal["train", "validation", "test"] = "test"
    """Whose conditions are reconstructed."""
    samples: int | None = Field(None, ge=1)
    """Number of transplants, and at most so many removals; when not set, as many as there are real training samples
    with a tumour."""
    seed: int = Field(0, ge=0)
    rotate_deg: float = Field(30.0, ge=0, le=180)
    """A transplanted lesion is turned by up to so many degrees."""
    scale: tuple[float, float] = (0.8, 1.25)
    """… and scaled by a factor between these."""
    inside: float = Field(0.95, gt=0, le=1)
    """At least this share of it lies in the other patient's body."""
    batch_size: int = Field(8, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> GenerationOptions:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"generation.scale must be two rising positive factors, got {self.scale}")
        return self
