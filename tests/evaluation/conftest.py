"""Small cohorts of discs with lesions, held in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from synthoma.records import Cohort, Lineage

SIDE = 48
Make = Callable[..., Cohort]
SPLITS = ("train",) * 6 + ("validation",) * 3 + ("test",) * 4
SLICES = 4


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These networks are shown so little that threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _table(n: int, channels: tuple[str, ...], **columns: Any) -> dict[str, NDArray[Any]]:
    table: dict[str, Any] = {
        "site": ["A"] * n, "split": [""] * n, "fold": [-1] * n, "slice": list(range(n)), "spacing_mm": ["1 1"] * n,
        "reference": [""] * n, "made_from": [""] * n, "lineage": [""] * n,
        "modality": ["MR"] * n, "unit": ["arbitrary"] * n,
        "image_sha256": [f"{channels} {i}" for i in range(n)],
    } | columns  # fmt: skip
    for name in channels:
        table[f"low_{name}"], table[f"high_{name}"] = np.zeros(n), np.full(n, 1000.0)
    return {name: np.asarray(values) for name, values in table.items()}


@pytest.fixture(scope="session")
def real() -> Cohort:
    """13 patients of 4 slices: a disc of smooth texture; two slices of each have a bright lesion; t1 → flair."""
    random = np.random.default_rng(7)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    images, masks, ids, patients, labels, splits = [], [], [], [], [], []
    for p, split in enumerate(SPLITS):
        for s in range(SLICES):
            body = np.hypot(yy - 24, xx - 24) < 18 + random.uniform(-1, 1)
            texture = 0.3 * np.sin(yy / 3 + random.uniform(0, 6)) * np.cos(xx / 4 + random.uniform(0, 6))
            centre = random.uniform(17, 31, 2)
            lesion = (np.hypot(yy - centre[0], xx - centre[1]) < random.uniform(4, 6)) & body & (s % 2 == 0)
            t1 = np.where(body, texture + 0.05 * random.normal(size=body.shape), -1)
            flair = np.where(
                body, np.sin(2 * texture) * 0.6 - 0.2 + 0.7 * lesion + 0.02 * random.normal(size=body.shape), -1
            )
            images.append([t1, flair])
            masks.append([body, lesion])
            ids.append(f"p{p:02d}/{s}")
            patients.append(f"p{p:02d}")
            labels.append("tumour" if lesion.any() else "tumour-free")
            splits.append(split)
    n = len(images)
    return Cohort(
        path=None,
        table=_table(n, ("t1", "flair"), id=ids, patient=patients, label=labels, split=splits, origin=["real"] * n),
        images=np.clip(np.array(images, dtype=np.float32), -1, 1),
        masks=np.array(masks, dtype=np.uint8),
        channels=("t1", "flair"),
        mask_names=("body", "lesion"),
        unit="arbitrary",
        modality="MR",
        conditions=(),
        lineages={},
    )


@pytest.fixture(scope="session")
def synthesise(real: Cohort) -> Make:
    """``synthesise(change, split, paired, seen)``: a synthetic cohort of flair images ``change(flair, row)``."""

    def make(
        change: Callable[[NDArray[Any], int], NDArray[Any]],
        split: str = "test",
        paired: bool = True,
        seen: tuple[str, ...] = tuple(f"p{p:02d}" for p in range(6)),
    ) -> Cohort:
        rows = real.rows(split=split)
        lineage = Lineage.of("train", parents=(), recipe=json.loads("{}"), seed=0, patients_seen=seen)
        ids = real.table["id"][rows]
        return Cohort(
            path=None,
            table=_table(
                len(rows), ("flair",), id=[f"{i}/s" for i in ids], patient=real.table["patient"][rows],
                label=real.table["label"][rows], origin=["synthetic"] * len(rows), made_from=ids,
                reference=ids if paired else [""] * len(rows), lineage=[lineage.id] * len(rows),
            ),
            images=np.stack([change(real.channel("flair")[row].copy(), int(row))[None] for row in rows]).astype("f4"),
            masks=real.masks[rows],
            channels=("flair",),
            mask_names=real.mask_names,
            unit="arbitrary",
            modality="MR",
            conditions=("t1", "mask"),
            lineages={lineage.id: lineage},
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def translate(real: Cohort) -> Make:
    """``translate(change, source, target, split)``: what a translation from ``source`` to ``target`` made, a cohort.

    ``change(row)`` gives the image; ``columns`` overwrite what the samples inherit from their sources.
    """

    def make(
        change: Callable[[int], NDArray[Any]],
        source: str = "t1",
        target: str = "flair",
        split: str = "test",
        paired: bool = True,
        seen: tuple[str, ...] = tuple(f"p{p:02d}" for p in range(6)),
        **columns: str,
    ) -> Cohort:
        rows = real.rows(split=split)
        lineage = Lineage.of("train", parents=(), recipe={}, seed=0, patients_seen=seen)
        ids, n = real.table["id"][rows], len(rows)
        inherited = {name: real.table[name][rows] for name in ("patient", "label", "site", "modality", "unit")}
        return Cohort(
            path=None,
            table=_table(
                n, (target,), id=[f"{i}/s" for i in ids], origin=["synthetic"] * n, made_from=ids,
                reference=ids if paired else [""] * n, lineage=[lineage.id] * n,
                **(inherited | {name: np.full(n, value) for name, value in columns.items()}),
            ),
            images=np.stack([np.asarray(change(int(row)))[None] for row in rows]).astype("f4"),
            masks=real.masks[rows],
            channels=(target,),
            mask_names=real.mask_names,
            unit="arbitrary",
            modality="MR",
            conditions=(source,),
            lineages={lineage.id: lineage},
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def draw() -> Make:
    """``draw(images, labels)``: a cohort from noise, (n, y, x) images of the channel flair, each its own patient."""

    def make(
        images: NDArray[Any],
        labels: list[str],
        seen: tuple[str, ...] = tuple(f"p{p:02d}" for p in range(6)),
        seed: int = 0,
    ) -> Cohort:
        n = len(images)
        lineage = Lineage.of("train", parents=(), recipe={}, seed=seed, patients_seen=seen)
        names = [f"synthetic-{i:05d}" for i in range(1, n + 1)]
        masks = np.zeros((n, 2, SIDE, SIDE), dtype=np.uint8)
        masks[:, 0] = 1  # nobody knows where the body of nobody ends
        return Cohort(
            path=None,
            table=_table(
                n, ("flair",), id=[f"sample/{i:05d}" for i in range(n)], patient=names, label=labels,
                origin=["synthetic"] * n, lineage=[lineage.id] * n,
            ),
            images=np.asarray(images, dtype="f4")[:, None],
            masks=masks,
            channels=("flair",),
            mask_names=("body", "lesion"),
            unit="arbitrary",
            modality="MR",
            conditions=(),
            lineages={lineage.id: lineage},
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def goldens() -> dict[str, Any]:
    """Values computed once by reference implementations (scikit-image 0.26, scipy 1.17, torch 2.13)."""
    return dict(json.loads((Path(__file__).parent / "goldens.json").read_text()))
