"""A study small enough for a test, run once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from synthoma.cohort import SplitOptions, assign_splits, create_cohort
from synthoma.protocol.run import run
from synthoma.recipes import Recipe, read_recipe
from synthoma.records import Lineage, Samples

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


@pytest.fixture(scope="session")
def write_cohort() -> Callable[[Path, Mapping[str, tuple[str, tuple[str, ...]]], SplitOptions], Path]:
    """Write a prepared cohort of 4 × 4 noise: patient → (site, labels of its samples)."""

    def write(path: Path, patients: Mapping[str, tuple[str, tuple[str, ...]]], split: SplitOptions) -> Path:
        random = np.random.default_rng(len(patients))
        lineage = Lineage.of("prepare", parents=("ab",), recipe={}, seed=0, patients_seen=patients)
        with create_cohort(path, channels=("t1",), mask_names=("body", "tumour"), shape=(4, 4)) as writer:
            for name, (site, labels) in patients.items():
                n = len(labels)
                images = random.uniform(-1, 1, (n, 1, 4, 4)).astype(np.float32)
                writer.add(
                    Samples(
                        images=images, masks=np.ones((n, 2, 4, 4), np.uint8), channels=("t1",),
                        mask_names=("body", "tumour"), slices=tuple(range(n)), labels=labels, patient=name, site=site,
                        spacing_mm=(1.0, 0.1), intensity={"t1": (1 / 3, 7.0)}, unit="arbitrary", modality="MR",
                    )
                )  # fmt: skip
            writer.set_splits(assign_splits(writer.patients, split))
            writer.set_lineage(lineage)
        return path

    return write


DISCS = """
title: Discs
data: {{source: images, path: "{path}"}}
preprocessing:
  steps:
    - {{step: normalise, method: window, window: [0, 255]}}
  sampling: {{label: scan, min_body_fraction: 0.0}}
  require_lesion_mask: false
split: {{train: 0.5, validation: 0.25, test: 0.25, folds: 3}}
gan: {{method: wasserstein, latent: 8, width: 4, critic_width: 4, critic_layers: 2, n_critic: 1}}
training: {{epochs: 2, batch_size: 8, precision: float32, threads: 1, checkpoint_every: 1, preview_every: 9}}
generation: {{samples: 16}}
evaluation: {{bootstrap_draws: 100, classifier: {{steps: 10, checks: 2}}, families: [utility]}}
protocol: {{design: kfold, runs: 2}}
"""


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A protocol of seconds: twelve patients of three sites with four images of 16 × 16 each, discs small or large."""
    path = tmp_path_factory.mktemp("discs") / "discs.npz"
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(12), 4)
    large = patient % 2 == 1
    y, x = np.mgrid[:16, :16] - 7.5
    radius = np.where(large, random.uniform(4, 6, 48), random.uniform(2, 3, 48))
    discs = 100.0 * (np.hypot(y, x) < radius[:, None, None]) + random.normal(50, 10, (48, 16, 16))
    np.savez(
        path, image=discs.clip(0, 255).astype(np.float32), patient_id=np.array([f"p{i:02d}" for i in patient]),
        site=np.array(["north", "south", "west"])[patient // 2 % 3], label=np.where(large, "malignant", "benign"),
    )  # fmt: skip
    return read_recipe(DISCS.format(path=path), "discs")
