"""The cards: filled from lineage and evidence, with intervals, and no claim that nobody can make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from synthoma.exports.cards import data_card, model_card, model_index
from synthoma.exports.generators import Generator
from synthoma.exports.released import Released, config
from synthoma.gans import ConditionalGAN, ConditionalOptions, Layout
from synthoma.records import Cohort, Lineage, Measurement

SEEN = ("p0", "p1", "p2", "p3", "p4")


def measured(name: str, value: float | None, arm: str, **more: Any) -> Measurement:
    return Measurement(name, value, more.pop("low", None), more.pop("high", None), 12, 4, arm, **more)


MEASURED = (
    measured("ssim", 0.9312, "synthetic", low=0.91, high=0.952, region="body", better="higher", compared="real test"),
    measured("ssim", 0.99, "synthetic", low=0.98, high=0.995, region="frame"),
    measured("ssim", 0.88, "source image", low=0.87, high=0.89, region="body"),
    measured("mae", 12.5, "synthetic", low=11, high=14, region="body", unit="HU"),
    measured("kid", None, "synthetic"),
    measured("near-duplicates", 3.0, "synthetic", unit="images"),
    measured("ssim", 0.5, "cyclegan", low=0.4, high=0.6, region="body"),
)


@pytest.fixture
def released(ellipse_cohort: Cohort) -> Released:
    layout = Layout.of(ellipse_cohort)
    gan = ConditionalGAN(ConditionalOptions(width=2, adversarial_weight=0), layout, torch.device("cpu"))
    lineage = Lineage.of("train", parents=("ab",), recipe={"x": 1}, seed=7, patients_seen=SEEN)
    generator = Generator(gan, gan.networks, lineage)
    return Released(
        "tiny", Path("x.safetensors"), {"reconstruct": generator}, lineage, ellipse_cohort, ("synthetic",),
        ("synthetic",), MEASURED, {"ssim": "Structural similarity."}, (("synthetic: as good as real", "cannot tell"),),
    )  # fmt: skip


def header(card: str) -> dict[str, Any]:
    return dict(YAML(typ="safe", pure=True).load(card.split("---\n")[1]))


def test_the_header_is_that_of_a_hub(released: Released) -> None:
    card = model_card(released, "Call it.")
    assert card.startswith("---\n")
    found = header(card)
    assert (found["license"], found["pipeline_tag"]) == ("other", "image-to-image")
    assert {"synthetic-data", "mr"} <= set(found["tags"])
    (model,) = found["model-index"]
    (result,) = model["results"]
    assert set(result) == {"task", "dataset", "metrics"}
    assert all({"type", "name"} <= set(result[part]) for part in ("task", "dataset"))
    metrics = {metric["type"]: metric for metric in result["metrics"]}
    assert set(metrics) == {"ssim", "mae", "near-duplicates"}  # of its own cohorts, over the body, and measured
    assert metrics["ssim"]["value"] == 0.9312
    args = {"low": 0.91, "high": 0.952, "interval": "95 %", "unit": "", "compared": "real test"}
    assert metrics["ssim"]["args"] == args
    assert "low" not in metrics["near-duplicates"]["args"]
    assert "4 patients" in metrics["ssim"]["name"]


def test_what_the_card_says(released: Released) -> None:
    card = model_card(released, "Call it.")
    assert "5 patients had an influence on its weights" in card
    assert "Trained on 12 samples of 4 patients (magnetic resonance images; 2 sites: north, south)." in card
    assert "| ssim (body) | synthetic | 0.9312 | 0.91 to 0.952 | 12 images, 4 patients | real test |" in card
    assert "| ssim (body) | source image | 0.88 |" in card  # what it must beat stands beside it
    assert "| mae (body) | synthetic | 12.5 HU |" in card
    assert "cyclegan" not in card
    assert "- `ssim`: Structural similarity." in card
    assert "- synthetic: as good as real: **cannot tell**" in card
    assert "makes flair from t1, core, oedema of the same patient" in card
    for section in (
        "Intended use",
        "What it saw",
        "How it was measured",
        "Privacy",
        "Limits",
        "Ethics",
        "How it is used",
    ):
        assert f"\n## {section}\n" in card
    assert f"`{released.lineage.id}`" in card
    assert "Call it." in card


def test_no_card_promises_anonymity(released: Released) -> None:
    for what in (released, replace(released, risk="phantoms (no privacy audit)")):
        for card in (model_card(what, ""), data_card(what)):
            assert "Synthetic is not anonymous." in card
            assert "anonymous" not in card.replace("Synthetic is not anonymous", "")
            assert "anonymised" not in card.lower()


def test_an_accepted_risk_replaces_the_audit(released: Released) -> None:
    assert "Audited before this release, by its images synthetic: none" in model_card(released, "")
    card = model_card(replace(released, risk="phantoms (no privacy audit)"), "")
    assert "**Released with an accepted privacy risk:** phantoms (no privacy audit)" in card
    assert "Audited before this release" not in card
    assert config(replace(released, risk="x"))["exported"]["id"] != config(released)["exported"]["id"]


def test_the_data_card_counts_and_names_no_patient(released: Released) -> None:
    card = data_card(released)
    assert "| split train | 12 | 4 |" in card
    assert "| split validation | 3 | 1 |" in card
    assert "| site north | 9 | 3 |" in card
    assert "split test" not in card
    assert "32 × 32 pixels" in card
    for name in (*SEEN, "p5"):
        assert f" {name} " not in card


def test_a_generator_whose_data_are_gone(released: Released) -> None:
    bare = replace(released, real=None, arms=(), measurements=(), verdicts=())
    card = model_card(bare, "")
    assert "nothing else is known of it here" in card
    assert "there is no evidence of any cohort that it made" in card
    assert model_index(bare) == []
    assert "model-index" not in header(card)
    assert "## Samples" not in data_card(bare)
