"""Samples a second that the data path delivers, in memory and memory-mapped, beside what a training step takes.

python benchmarks/data_path.py --json data.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from worker import Worker


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=int, default=64, help="of the step to compare with")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3, help="the median of so many")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    step = _step(asked)
    with tempfile.TemporaryDirectory() as folder:
        results = _deliver(asked, Path(folder))
    table = Table(title=f"{asked.samples} samples of {asked.size}², 2 channels and 2 masks, batch {asked.batch}")
    for column in ("samples", "augmented", "samples/s", "times the step"):
        table.add_column(column)
    for result in results:
        result |= {"step_images_per_second": step, "size": asked.size, "batch": asked.batch, "width": asked.width}
        speed = result["samples_per_second"]
        table.add_row(result["where"], "yes" if result["augmented"] else "no", f"{speed:.0f}", f"{speed / step:.0f} ×")
    console = Console(width=120)
    console.print(table)
    console.print(
        f"the conditional GAN's step takes {step:.2f} images/s (width {asked.width}, {asked.threads} threads)"
    )
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _step(asked: argparse.Namespace) -> float:
    """Images a second of the conditional GAN's step."""
    worker = Worker(
        do="train",
        method="conditional",
        size=asked.size,
        dims=2,
        batch=asked.batch,
        width=asked.width,
        channels=1,
        precision="float32",
        compile=False,
        recompute=False,
        average=True,
        channels_last="auto",
        device="cpu",
        threads=asked.threads,
    )
    worker.turn()
    seconds = min(worker.turn()["seconds"] for _ in range(2))
    worker.end()
    return float(asked.batch / seconds)


def _deliver(asked: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Write a cohort of noise, and go through its batches."""
    import torch

    from synthoma.cohort import AugmentOptions, Batches, open_cohort

    torch.set_num_threads(asked.threads)
    _write_noise(folder / "noise.cohort", asked.samples, asked.size)
    cohort, rows = open_cohort(folder / "noise.cohort"), np.arange(asked.samples)
    moved = AugmentOptions(flip_left_right=True, rotate_deg=10, scale=0.1, shift=0.05, brightness=0.1)
    results = []
    for in_memory in (True, False):
        for augment in (None, moved):
            batches = Batches(cohort, rows, batch_size=asked.batch, seed=0, augment=augment, in_memory=in_memory)
            speeds = []
            for epoch in range(asked.epochs):
                begun = time.perf_counter()
                count = sum(len(batch) for batch in batches.epoch(epoch))
                speeds.append(count / (time.perf_counter() - begun))
            where = "in memory" if in_memory else "memory-mapped"
            speed = float(np.median(speeds))
            results.append({"where": where, "augmented": augment is not None, "samples_per_second": speed})
    return results


def _write_noise(path: Path, count: int, size: int) -> None:
    from synthoma.cohort import create_cohort
    from synthoma.records import Lineage, Samples

    random = np.random.default_rng(0)
    names, masks = ("t1", "flair"), ("body", "tumour")
    lineage = Lineage.of("prepare", parents=("noise",), recipe={}, seed=0, patients_seen={"p"})
    samples = Samples(
        images=random.uniform(-1, 1, (count, 2, size, size)).astype(np.float32),
        masks=np.ones((count, 2, size, size), dtype=np.uint8),
        channels=names,
        mask_names=masks,
        slices=tuple(range(count)),
        labels=("tumour",) * count,
        patient="p",
        site="north",
        spacing_mm=(1.0, 1.0),
        intensity=dict.fromkeys(names, (0.0, 1.0)),
        unit="arbitrary",
        modality="MR",
    )
    shape = (size, size)
    with create_cohort(path, channels=names, mask_names=masks, shape=shape, lineages=(lineage,)) as writer:
        writer.add(samples, split="train", fold=0, lineage=lineage.id)


if __name__ == "__main__":
    main(sys.argv[1:])
