"""A fourth method by a recipe alone: the least-squares conditional GAN of pix2pix, from scans to report."""

from __future__ import annotations

import json
from pathlib import Path

from synthoma.cohort import open_cohort
from synthoma.gans import GANS, ConditionalOptions
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom
from synthoma.protocol.run import run
from synthoma.recipes import load_recipe
from synthoma.training import RunFolder

SMALL = (
    "preprocessing.steps.resize.size=32",
    "preprocessing.sampling.per_patient=4",
    "split={train: 0.6, validation: 0.2, test: 0.2, folds: 0}",
    "gan.width=4",
    "gan.discriminator_width=4",
    "training.epochs=2",
    "training.variety=false",
    "generation.methods=[reconstruct]",
    "evaluation={families: [similarity], bootstrap_draws: 100}",
)


def test_the_least_squares_pix2pix_needs_only_a_recipe(tmp_path: Path) -> None:
    scans = write_brain_phantom(tmp_path / "scans", BrainPhantomOptions(patients=5, spacing_mm=4.0))
    recipe = load_recipe("brats-pix2pix-lsgan", (f"data.path={scans}", *SMALL))
    assert isinstance(recipe.gan, ConditionalOptions)
    assert recipe.gan.adversarial == "lsgan"
    assert set(GANS) == {"conditional", "cycle", "wasserstein"}

    run(recipe, tmp_path / "out", say=lambda _: None)
    assert RunFolder(tmp_path / "out" / "gan").finished
    log = [json.loads(line) for line in (tmp_path / "out" / "gan" / "log.jsonl").read_text().splitlines()]
    losses = [record["losses"] for record in log if record["kind"] == "train"]
    assert len(losses) == 2
    assert set(losses[0]) == {"discriminator", "adversarial", "l1"}
    assert losses[1]["l1"] < losses[0]["l1"]
    train = open_cohort(tmp_path / "out" / "real.cohort").rows(split="train")
    assert log[-1]["step"] == 2 * len(train)  # one image a step, as its authors do
    assert (tmp_path / "out" / "report.html").is_file()
    assert open_cohort(tmp_path / "out" / "synthetic" / "reconstruct.cohort").channels == ("flair",)
