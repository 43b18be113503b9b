"""Settings of the evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from synthoma.errors import did_you_mean
from synthoma.options import Options

__all__ = ["FAMILIES", "ClassifierOptions", "EvaluationOptions"]

FAMILIES = ("similarity", "distribution", "structure", "recognition", "utility")


class ClassifierOptions(Options):
    """The classifier of the utility and recognition families: trained alike for every arm and question."""

    network: Literal["efficientnet-lite0"] = "efficientnet-lite0"
    """EfficientNet-Lite0 with its embedded ImageNet weights."""
    trainable: Literal["head", "all"] = "head"
    """``head``: the network is frozen and a linear layer learns on its features; ``all``: every weight is trained."""
    steps: int = Field(default=400, ge=1, le=1_000_000)
    """Optimiser steps, the same for every arm: more images must not mean more training."""
    batch: int = Field(default=32, ge=2, le=4096)
    """Images a step, half of either class."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Of AdamW. For ``trainable: all``, 1e-4 is usual."""
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    """Of AdamW."""
    checks: int = Field(default=20, ge=1, le=1000)
    """How many times, at equal intervals, the validation loss is looked at; the weights of the lowest are kept."""


class EvaluationOptions(Options):
    """What is measured of a synthetic cohort, and how."""

    families: tuple[str, ...] = FAMILIES
    """Families of measurements to compute."""
    seed: int = Field(default=0, ge=0)
    """Of every draw: bootstraps, subsets, the classifier."""
    bootstrap_draws: int = Field(default=2000, ge=100, le=100_000)
    """Draws of patients for each bootstrap interval."""
    extractor: Literal["efficientnet-lite0"] = "efficientnet-lite0"
    """The network whose features the distribution family compares."""
    max_images: int = Field(default=400, ge=10)
    """At most so many images of a set go through the feature network, drawn evenly over its patients."""
    jackknife_groups: int = Field(default=20, ge=3)
    """With more patients than this, the jackknife of distances leaves out groups of them instead of single ones."""
    classifier: ClassifierOptions = ClassifierOptions()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; ``auto`` takes a CUDA device when there is one."""

    @field_validator("families")
    @classmethod
    def _known_families(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in FAMILIES:
                raise ValueError(f"unknown family '{name}'. {did_you_mean(name, FAMILIES)}")
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected one or more different families of {', '.join(FAMILIES)}, found {list(names)}")
        return names
