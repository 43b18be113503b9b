"""Settings of generation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from synthoma.options import Options

__all__ = ["GenerationOptions", "Method"]

Method = Literal["reconstruct", "transplant", "remove", "redraw", "translate", "back", "cycle", "sample"]


class GenerationOptions(Options):
    """Which synthetic cohorts are made, and how many samples."""

    methods: tuple[Method, ...] = ()
    """Empty: all that the GAN knows.

    From a condition: ``reconstruct``: the image for the condition of held-out real samples. ``transplant``: the lesion
    of one training patient in a tumour-free slice of another. ``remove``: a tumour slice of a training patient with an
    empty mask. ``redraw``: every training slice from its own condition; without it the place of a slice would tell a
    classifier its synthetic class, since tumours are transplanted to where there were none, and removed from where they
    were.

    Between two domains: ``translate``: held-out samples of the source domain. ``back``: of the target domain, the other
    way. ``cycle``: of the source domain, there and back. ``redraw``: training samples of either domain, to the other.

    From noise: ``sample``: images of the labels asked for."""
    use: Literal["best", "last"] = "best"
    """Which checkpoint draws: the best by validation patients (the last where there is none), or the last."""
    reconstruct_split: Literal["train", "validation", "test"] = "test"
    """Whose samples are reconstructed or translated."""
    samples: int | None = Field(None, ge=1)
    """Number of transplants, at most so many removals, or the number of samples from noise; when not set, as many as
    there are real training samples (with a tumour, for the first two)."""
    mix: dict[str, float] = Field(default_factory=dict)
    """Label → its share of the samples from noise; the mix of the training samples when empty."""
    seed: int = Field(0, ge=0)
    """Of which lesion goes where, how it is turned and scaled, and of the noise."""
    rotate_deg: float = Field(30.0, ge=0, le=180)
    """A transplanted lesion is turned by up to so many degrees."""
    scale: tuple[float, float] = (0.8, 1.25)
    """… and scaled by a factor between these."""
    inside: float = Field(0.95, gt=0, le=1)
    """At least this share of it lies in the other patient's body."""
    batch_size: int = Field(8, ge=1)
    """Samples that are drawn at a time."""

    @field_validator("mix")
    @classmethod
    def _shares(cls, mix: dict[str, float]) -> dict[str, float]:
        if mix and (min(mix.values()) < 0 or sum(mix.values()) <= 0):
            raise ValueError(f"generation.mix must be shares of labels, not below 0 and not all 0, got {mix}")
        return mix

    @model_validator(mode="after")
    def _ordered(self) -> GenerationOptions:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"generation.scale must be two rising positive factors, got {self.scale}")
        return self
