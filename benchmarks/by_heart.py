"""How much closer to the truth a generator draws the phantoms it was trained on: seeds, sizes and lengths of training.

    python benchmarks/by_heart.py --train 4 --slices 2 --epochs 500 --seeds 3            (by heart)
    python benchmarks/by_heart.py --train 14 --slices 4 --epochs 15 --seeds 5 --augment  (healthy)
    python benchmarks/by_heart.py --train 4 --method cycle --epochs 300

One row a seed of training: errors on training and on held-out patients, their ratio, p, and what the release gate makes
of it. Phantoms and split are the same for all.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import synthoma
from synthoma.cohort import open_cohort
from synthoma.evaluation.by_heart import measure_by_heart
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom

TRAINING = {
    "training.precision": "float32", "training.preview_every": 10**6, "training.checkpoint_every": 10**6,
    "training.validate_every": 10**6, "training.threads": 1, "training.variety": False, "gan.upsample": "resize",
    "gan.learning_rate": 1e-3, "training.average_decay": 0.98,
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "conditional": {
        "gan.condition": ["t1", "mask"], "gan.target": ["flair"], "gan.width": 12, "gan.discriminator_width": 12,
        "gan.norm": "instance", "gan.base": "linear", "gan.dropout": 0.0, "training.batch_size": 8,
    },
    "cycle": {
        "gan.method": "cycle", "gan.source": {"channels": ["t1"]}, "gan.target": {"channels": ["flair"]},
        "gan.width": 8, "gan.blocks": 2, "gan.discriminator_width": 16, "gan.discriminator_layers": 2,
        "gan.base": "input", "gan.identity_weight": 0.0, "training.batch_size": 4,
    },
}  # fmt: skip
"""As the recipe ``demo`` has them, but narrower."""
WAYS = {"conditional": ("redraw", "reconstruct"), "cycle": ("redraw", "translate")}


def main(arguments: list[str] | None = None) -> None:
    """Train, draw, compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=28)
    parser.add_argument("--train", type=int, default=4, help="patients that are trained on")
    parser.add_argument("--slices", type=int, default=4, help="of each patient")
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--method", choices=sorted(METHODS), default="conditional")
    parser.add_argument("--augment", action="store_true", help="training.augment=minimal")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args(arguments)
    table = Table(title=f"{asked.method}, {asked.train} patients, {asked.slices} slices, {asked.epochs} epochs")
    for column in ("seed", "error, training", "error, held out", "ratio (95 %)", "p", "gate"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        real = prepare(asked, Path(folder))
        for seed in range(asked.seeds):
            table.add_row(str(seed), *one(asked, real, Path(folder) / str(seed), seed))
    Console(width=120).print(table)


def prepare(asked: argparse.Namespace, folder: Path) -> Path:
    """The cohort of the phantoms."""
    scans = write_brain_phantom(folder / "scans", BrainPhantomOptions(patients=asked.patients, spacing_mm=4.0, seed=1))
    steps = "{step: reorient}, {step: skull_strip}, {step: normalise}, {step: resize, size: %d, crop: body}"
    share = asked.train / asked.patients
    return synthoma.prepare(
        "brats", scans, folder / "real.cohort", workers=1,
        settings=[
            f"preprocessing.steps=[{steps % asked.size}]", "preprocessing.channels=[t1,flair]",
            f"preprocessing.sampling.per_patient={asked.slices}", f"split.train={share}", "split.validation=0.1",
            f"split.test={0.9 - share}",
        ],
    )  # fmt: skip


def one(asked: argparse.Namespace, real: Path, out: Path, seed: int) -> tuple[str, ...]:
    """A row of the table."""
    settings = TRAINING | METHODS[asked.method] | {"training.epochs": asked.epochs, "training.seed": seed}
    settings |= {"training.augment": "minimal"} if asked.augment else {}
    synthoma.train(real, out / "gan", settings=settings)
    made = {}
    for way in WAYS[asked.method]:
        made[way] = open_cohort(synthoma.generate(out / "gan", real, out / f"{way}.cohort", method=way))
    found = measure_by_heart(open_cohort(real), made, seed=0).curves["redraw"]
    ends = [math.nan if found[end] is None else found[end] for end in ("low", "high")]
    held_out = found["held_out_rmse"]
    return (
        f"{held_out / found['ratio']:.3f}", f"{held_out:.3f}", f"{found['ratio']:.2f} ({ends[0]:.2f}–{ends[1]:.2f})",
        f"{found['p']:.2g}", found["state"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
