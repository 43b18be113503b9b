"""A study small enough for a test, run once."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthoma.protocol import run
from synthoma.recipes import Recipe, read_recipe

RECIPE = """
title: Tiny study
data: {source: phantom-brain, patients: 7, spacing_mm: 4.0, seed: 3}
preprocessing:
  channels: [t1, flair]
  steps:
    - {step: reorient}
    - {step: skull_strip}
    - {step: normalise}
    - {step: resize, size: 48, crop: body}
  sampling: {per_patient: 6, min_body_fraction: 0.1}
split: {train: 0.58, validation: 0.14, test: 0.28, folds: 0}
gan: {condition: [t1, mask], target: [flair], width: 4, discriminator_width: 4, norm: instance, base: linear}
training: {epochs: 2, batch_size: 4, validate_every: 1, preview_every: 2, checkpoint_every: 1, precision: float32}
generation: {samples: 4}
evaluation: {bootstrap_draws: 100, classifier: {steps: 10, checks: 2}}
protocol: {variants: {unet-l1: {gan.adversarial_weight: 0}}}
"""


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return read_recipe(RECIPE, "tiny")


@pytest.fixture(scope="session")
def study(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study. Tests read it; those that change one copy it first."""
    out = tmp_path_factory.mktemp("study") / "out"
    run(recipe, out, say=lambda _: None)
    return out
