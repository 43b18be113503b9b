"""A whole study: complete, continued, redone only where asked, and never over something else."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from synthoma.cohort import open_cohort
from synthoma.errors import MissingPartError, OutputError, SettingError
from synthoma.protocol.run import run
from synthoma.recipes import Recipe, load_recipe, read_recipe
from synthoma.recipes.recipe import to_yaml

NAMES = (
    "phantom", "prepare", "train", "train unet-l1", "generate reconstruct", "generate transplant", "generate remove",
    "generate redraw",
    "generate unet-l1", "evaluate", "report",
)  # fmt: skip


def changed(recipe: Recipe, *changes: str) -> Recipe:
    return read_recipe(to_yaml(recipe), "tiny", changes)


def stages_done(recipe: Recipe, out: Path, **options: bool) -> list[str]:
    """The stages that were really done in a run."""
    lines: list[str] = []
    run(recipe, out, say=lines.append, **options)
    return [line.split("] ")[1].removesuffix(" …") for line in lines if line.endswith("…")]


def test_a_study_leaves_everything_on_disk(study: Path, recipe: Recipe) -> None:
    for name in (
        "recipe.yaml",
        "stages.json",
        "real.cohort/cohort.json",
        "gan/log.jsonl",
        "evidence.csv",
        "report.html",
    ):
        assert (study / name).is_file(), name
    assert load_recipe(study / "recipe.yaml") == recipe
    assert tuple(json.loads((study / "stages.json").read_text())) == NAMES
    for method in ("reconstruct", "transplant", "remove"):
        assert len(open_cohort(study / "synthetic" / f"{method}.cohort", verify=True)) > 0
    assert not [path for path in study.rglob("*") if ".partial" in path.name]


def test_the_evidence_names_arms_regions_and_patients(study: Path) -> None:
    with (study / "evidence.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == [
        "name", "region", "arm", "value", "low", "high", "n_images", "n_patients", "unit", "method", "compared",
    ]  # fmt: skip
    body = {row["arm"]: float(row["value"]) for row in rows if row["name"] == "ssim" and row["region"] == "body"}
    assert {"synthetic", "unet-l1", "source image", "least squares", "mean training image"} <= set(body)
    assert {row["arm"] for row in rows if row["name"] == "accuracy"} == {
        "real", "real+duplicates", "real+classical", "real+synthetic", "synthetic",
    }  # fmt: skip
    assert all(row["method"] for row in rows)


def test_the_report_holds_the_studys_names(study: Path) -> None:
    text = (study / "report.html").read_text()
    assert "Tiny study" in text
    assert "unet-l1" in text


def test_sites_of_the_phantom_reach_the_cohort(study: Path) -> None:
    assert set(open_cohort(study / "real.cohort").table["site"].tolist()) == {"A", "B"}


def test_a_grid_is_kept_as_read_and_as_prepared(study: Path) -> None:
    cohort = open_cohort(study / "real.cohort")
    for scan in set(cohort.table["scan"].tolist()):
        both = cohort.grids[scan]
        assert both["as_read"].orientation == both["prepared"].orientation == "LPS"
        assert both["as_read"].spacing_mm[0] == pytest.approx(4.0)
        assert both["prepared"].shape[1:] == (48, 48)


def test_run_again_does_nothing(study: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(study, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.parent != out}
    assert stages_done(recipe, out) == []
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_lost_output_is_made_again_and_is_the_same(study: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(study, out)
    shutil.rmtree(out / "synthetic" / "transplant.cohort")
    assert stages_done(recipe, out) == ["generate transplant"]
    again, first = (open_cohort(folder / "synthetic" / "transplant.cohort") for folder in (out, study))
    np.testing.assert_array_equal(again.images, first.images)


def test_other_settings_are_refused_and_the_setting_named(study: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(study, out)
    with pytest.raises(SettingError, match=r"training\.epochs: expected 2, as in .*, found 3") as caught:
        run(changed(recipe, "training.epochs=3"), out, say=lambda _: None)
    assert "--overwrite" in str(caught.value)
    assert load_recipe(out / "recipe.yaml") == recipe, "a refused run must not change the folder"


def test_with_overwrite_only_what_depends_on_the_change_is_done_anew(
    study: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(study, out)
    weights = (out / "gan" / "checkpoints" / "last.safetensors").read_bytes()
    redone = stages_done(changed(recipe, "generation.samples=3"), out, overwrite=True)
    assert redone == list(NAMES[4:])
    assert (out / "gan" / "checkpoints" / "last.safetensors").read_bytes() == weights
    assert len(open_cohort(out / "synthetic" / "transplant.cohort")) == 3


def test_a_title_does_not_retrain(study: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(study, out)
    assert stages_done(changed(recipe, "title=Other"), out, overwrite=True) == ["report"]


def test_a_folder_of_something_else_is_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("x")
    with pytest.raises(OutputError, match="that of a study"):
        run(recipe, tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_two_studies_of_one_recipe_are_equal(study: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "again"
    short = changed(
        recipe, "evaluation.families=[similarity]", "protocol.variants={}", "generation.methods=[reconstruct]"
    )
    run(short, out, say=lambda _: None)
    name = Path("synthetic", "reconstruct.cohort", "images.npy")
    assert (out / name).read_bytes() == (study / name).read_bytes()
    assert (out / "gan/checkpoints/last.safetensors").read_bytes() == (
        study / "gan/checkpoints/last.safetensors"
    ).read_bytes()


def test_missing_weights_are_found_before_the_work(recipe: Recipe, tmp_path: Path) -> None:
    for change in ("gan.perceptual.network=vgg19", "protocol.variants={vgg: {gan.perceptual.network: vgg19}}"):
        with pytest.raises(MissingPartError, match=r"gan\.perceptual\.weights: expected a file") as caught:
            run(changed(recipe, change), tmp_path / "out", say=lambda _: None)
        assert caught.value.exit_code == 3
        assert not (tmp_path / "out").exists()
