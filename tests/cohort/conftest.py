"""Small cohorts of noise: what the room's tests write and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthoma.cohort import create_cohort, open_cohort
from synthoma.records import Cohort, Lineage, Samples


def build_samples(patient: str, *, n: int = 3, size: int = 12, seed: int = 0, **changes: Any) -> Samples:
    rng = np.random.default_rng([seed, *patient.encode()])
    content: dict[str, Any] = {
        "images": rng.uniform(-1, 1, (n, 2, size, size)).astype(np.float32),
        "masks": (rng.random((n, 2, size, size)) > 0.5).astype(np.uint8),
        "channels": ("t1", "flair"),
        "mask_names": ("body", "lesion"),
        "slices": tuple(range(10, 10 + n)),
        "labels": ("tumour",) * n,
        "patient": patient,
        "site": "north",
        "spacing_mm": (1.0, 1.25),
        "intensity": {"t1": (-3.5, 96.5), "flair": (0.0, 1 / 3)},
        "unit": "arbitrary",
        "modality": "MR",
    }
    return Samples(**(content | changes))


def layout(**changes: Any) -> dict[str, Any]:
    """The arguments of ``create_cohort`` that fit ``build_samples``."""
    return {
        "channels": ("t1", "flair"),
        "mask_names": ("body", "lesion"),
        "shape": (12, 12),
    } | changes


def build_cohort(
    path: Path, splits: dict[str, tuple[str, int]], *, n: int = 3, size: int = 12, verify: bool = True, **settings: Any
) -> Cohort:
    with create_cohort(path, **layout(shape=(size, size), **settings)) as writer:
        for patient in splits:
            writer.add(build_samples(patient, n=n, size=size))
        writer.set_splits(splits)
        writer.set_lineage(Lineage.of("prepare", parents=("ab",), recipe={}, seed=1, patients_seen=splits))
    return open_cohort(path, verify=verify)


@pytest.fixture
def samples() -> Callable[..., Samples]:
    return build_samples


@pytest.fixture
def settings() -> Callable[..., dict[str, Any]]:
    return layout


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Cohort]:
    """``write({"patient": ("train", 0)})`` → an opened cohort."""
    return lambda splits, name="x.cohort", **more: build_cohort(tmp_path / name, splits, **more)


@pytest.fixture
def cohort(write: Callable[..., Cohort]) -> Cohort:
    """Four patients with three samples each; two to train on."""
    return write({"a": ("train", 0), "b": ("train", 1), "c": ("validation", 0), "d": ("test", 1)})
