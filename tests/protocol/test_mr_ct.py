"""MR ↔ CT from files to report on real scans, one patient a side: the path works, and the report says no more."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest

from synthoma.cohort import open_cohort
from synthoma.evaluation import read_evidence
from synthoma.protocol.run import run
from synthoma.recipes import load_recipe

QUICK = (
    "preprocessing.steps.resize.size=32",
    "gan.width=4",
    "gan.blocks=1",
    "gan.discriminator_width=4",
    "training.epochs=2",
    "training.variety=false",
)


@pytest.fixture(scope="module")
def study(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's recipe in small, on the abdomen of one person by MR and of another by CT; read only."""
    abdomen = shared_data / "mr-ct" / "abdomen-nifti"
    scans = {"mr": "{patient}_mr_sm.nii.gz", "ct": "{patient}_ct_sm.nii.gz"}
    recipe = load_recipe(
        "mr-ct-cyclegan",
        (
            *(f"data.parts.{part}.path={abdomen}" for part in scans),
            *(f"data.parts.{part}.channels={{image: '{name}'}}" for part, name in scans.items()),
            "split={train: 1, validation: 0, test: 0, folds: 0}",
            "generation.reconstruct_split=train",
            *QUICK,
        ),
    )
    out = tmp_path_factory.mktemp("mr-ct") / "out"
    run(recipe, out, say=lambda _: None)
    return out


def test_two_people_by_two_scanners(study: Path) -> None:
    cohort = open_cohort(study / "real.cohort", verify=True)
    assert cohort.patients == ("ct-example", "mr-example")
    assert (cohort.modality, cohort.unit) == ("CT+MR", "HU+arbitrary")
    for patient, modality, unit in (("ct-example", "CT", "HU"), ("mr-example", "MR", "arbitrary")):
        rows = cohort.rows(patient=patient)
        assert set(cohort.table["modality"][rows]) == {modality}
        assert set(cohort.table["unit"][rows]) == {unit}
    assert set(cohort.table["split"]) == {"train"}


@pytest.mark.parametrize(
    ("way", "start", "end"), [("translate", "mr", "ct"), ("back", "ct", "mr"), ("cycle", "mr", "mr")]
)
def test_an_image_made_is_of_the_scanner_it_was_made_for(study: Path, way: str, start: str, end: str) -> None:
    made = open_cohort(study / "synthetic" / f"{way}.cohort", verify=True)
    real = open_cohort(study / "real.cohort")
    like = real.rows(patient=f"{end}-example")
    assert (made.modality, made.unit) == (("CT", "HU") if end == "ct" else ("MR", "arbitrary"))
    for name in ("low_image", "high_image"):
        assert set(made.table[name].tolist()) == {float(np.median(real.table[name][like]))}
    if end == "ct":
        assert set(zip(made.table["low_image"], made.table["high_image"], strict=True)) == {(-1000, 1000)}
    sources = real.table["id"][real.rows(patient=f"{start}-example")].tolist()
    assert made.table["made_from"].tolist() == sources
    assert made.table["reference"].tolist() == (sources if way == "cycle" else [""] * len(sources))  # no true pair


def test_the_report_says_that_nobody_was_held_out_and_nothing_is_judged(study: Path) -> None:
    page = (study / "report.html").read_text(encoding="utf-8")
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "No patient was held out: the generator was trained on, or chosen by, all 2 patients." in text
    assert "Nothing here is judged. This run shows that the path works" in text
    assert "and no more." in text
    assert "Verdicts not available: no claim was tested" in text
    assert "These patients were not held out: the generator may know them." in text
    found = read_evidence(study)
    assert (found.measurements, found.verdicts) == ((), ())
