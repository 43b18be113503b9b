"""Small networks are fastest on one thread, and leave the other cores to others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthoma.cohort import create_cohort, open_cohort
from synthoma.gans import GanOptions
from synthoma.generation import GenerationOptions
from synthoma.generation.generate import generate
from synthoma.records import Cohort, Lineage, Samples
from synthoma.training import TrainingOptions
from synthoma.training.loop import train


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def mixed_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Eight patients of 32 × 32, four by MR (``m0`` …) and four by CT (``c0`` …), at two sites that cut across.

    Of each four two train, one validates, one tests. Each has three samples: two with a tumour, one without. Every
    patient has windows of its own, and the CT patients two different pixel spacings.
    """
    splits = ("train", "train", "validation", "test")
    lineage = Lineage.of("prepare", parents=("ab",), recipe={}, seed=1, patients_seen=("c0", "c1", "m0", "m1"))
    folder = tmp_path_factory.mktemp("mixed") / "real.cohort"
    names = ("body", "core", "oedema")
    with create_cohort(
        folder, channels=("t1", "flair"), mask_names=names, shape=(32, 32), lineages=(lineage,)
    ) as writer:
        for kind, number in itertools.product("mc", range(4)):
            rng = np.random.default_rng([ord(kind), number])
            images = np.full((3, 2, 32, 32), -1, dtype=np.float32)
            images[:, :, 4:28, 4:28] = rng.uniform(-0.9, 0.9, (3, 2, 24, 24))
            masks = np.zeros((3, 3, 32, 32), dtype=np.uint8)
            masks[:, 0, 4:28, 4:28] = 1
            masks[:2, 1, 12:16, 12:16] = masks[:2, 2, 12:16, 16:20] = 1
            low = 10.0 * number + (0 if kind == "m" else -1000)
            samples = Samples(
                images=images,
                masks=masks,
                channels=("t1", "flair"),
                mask_names=names,
                slices=(5, 6, 7),
                labels=("tumour", "tumour", "tumour-free"),
                patient=f"{kind}{number}",
                site="north" if number % 2 else "south",
                spacing_mm=(1.0, 1.0) if kind == "m" else ((2.0, 2.0) if number == 1 else (3.0, 3.0)),
                intensity={"t1": (low, low + 100), "flair": (low + 1, low + 201)},
                unit="arbitrary" if kind == "m" else "HU",
                modality="MR" if kind == "m" else "CT",
            )
            writer.add(samples, split=splits[number], fold=number % 2, lineage=lineage.id)
    return open_cohort(folder)


@pytest.fixture(scope="session")
def volume_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Four patients of 8 × 32 × 32, one volume each; ``v0`` and ``v1`` train, ``v1`` has no tumour."""
    lineage = Lineage.of("prepare", parents=("ab",), recipe={}, seed=1, patients_seen=("v0", "v1"))
    folder = tmp_path_factory.mktemp("volumes") / "real.cohort"
    names, shape = ("body", "core"), (8, 32, 32)
    with create_cohort(folder, channels=("t1", "flair"), mask_names=names, shape=shape, lineages=(lineage,)) as writer:
        for number, split in enumerate(("train", "train", "validation", "test")):
            rng = np.random.default_rng(number)
            masks = np.zeros((1, 2, *shape), dtype=np.uint8)
            masks[0, 0, :, 4:28, 4:28] = 1
            if number != 1:
                masks[0, 1, 3:5, 12:16, 12:20] = 1
            images = np.where(masks[:, :1] > 0, rng.uniform(-0.9, 0.9, (1, 2, *shape)), -1).astype(np.float32)
            samples = Samples(
                images=images,
                masks=masks,
                channels=("t1", "flair"),
                mask_names=names,
                slices=(0,),
                labels=("tumour-free" if number == 1 else "tumour",),
                patient=f"v{number}",
                site="north",
                spacing_mm=(4.0, 1.0, 1.0),
                intensity={"t1": (0.0, 100.0), "flair": (0.0, 200.0)},
                unit="arbitrary",
                modality="MR",
            )
            writer.add(samples, split=split, lineage=lineage.id)
    return open_cohort(folder)


Made = Callable[..., Cohort]
UNTRAINED = TrainingOptions(epochs=0, batch_size=4, precision="float32", device="cpu", threads=1)


@pytest.fixture(scope="session")
def checkpoint_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[GanOptions, Cohort], Path]:
    """The checkpoint of a GAN with its first weights, made once for each settings and cohort."""
    known: dict[tuple[str, Any], Path] = {}

    def checkpoint(gan: GanOptions, cohort: Cohort) -> Path:
        key = gan.model_dump_json(), cohort.path
        if key not in known:
            folder = train(cohort, tmp_path_factory.mktemp("untrained") / "run", gan, UNTRAINED)
            known[key] = folder / "checkpoints" / "last.safetensors"
        return known[key]

    return checkpoint


@pytest.fixture
def made_by(checkpoint_for: Callable[[GanOptions, Cohort], Path], tmp_path: Path) -> Made:
    """``made_by(gan, cohort, "translate", batch_size=1)`` → the synthetic cohort, opened and verified."""
    numbers = itertools.count()

    def build(
        gan: GanOptions, cohort: Cohort, method: str, trained_on: Cohort | None = None, **settings: Any
    ) -> Cohort:
        checkpoint = checkpoint_for(gan, trained_on or cohort)
        out = tmp_path / f"made-{next(numbers)}.cohort"
        return open_cohort(generate(checkpoint, cohort, out, method, GenerationOptions(**settings)), verify=True)

    return build
