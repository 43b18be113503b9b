"""The recipes of the study hold its Table 1, the preparation. The table is written out here, apart from the recipes."""

from __future__ import annotations

from typing import Any

import pytest

from synthoma.recipes import load_recipe
from synthoma.recipes.recipe import Recipe

TABLE_1: dict[str, dict[str, Any]] = {
    "brats": {
        "source": "brats",
        "channels": ("t1", "t2", "flair"),
        # "skull stripping, intensity normalisation, bias correction"; the bias is taken off before values are mapped
        "steps": ("skull_strip", "n4", "normalise"),
    },
    "lidc": {
        "source": "lidc",
        "channels": ("ct",),
        # "Hounsfield scaling, resampling, contrast stretching"; resampled in Hounsfield units
        "steps": ("resample", "normalise", "stretch"),
    },
    "tcia-liver": {
        "source": "tcia-liver",
        "channels": ("ct",),
        "steps": ("equalise", "crop_roi", "median"),
    },
}
SAME = {"lidc-cyclegan": "lidc", "liver-wgan-gp": "tcia-liver"}
"""Recipes of the study's GANs (Table 2) and the preparation that they use."""


def recipe(name: str) -> Recipe:
    return load_recipe(name, {"data.path": "scans"})


@pytest.mark.parametrize("name", TABLE_1)
def test_the_preparation_is_that_of_the_study(name: str) -> None:
    row, found = TABLE_1[name], recipe(name)
    steps = [step.step for step in found.preprocessing.steps]
    assert found.data.source == row["source"]
    assert found.preprocessing.channels == row["channels"]
    assert [step for step in steps if step in row["steps"]] == list(row["steps"])
    assert steps[-1] == "resize"
    assert found.preprocessing.steps[-1].size == 256
    assert (found.split.train, found.split.validation, found.split.test, found.split.folds) == (0.7, 0.2, 0.1, 5)


def test_ct_is_scaled_by_hounsfield_windows() -> None:
    for name, window in (("lidc", (-1000, 400)), ("tcia-liver", (-160, 240))):
        (step,) = (step for step in recipe(name).preprocessing.steps if step.step == "normalise")
        assert (step.method, step.window) == ("window", window)


def test_the_region_of_interest_is_the_liver() -> None:
    (crop,) = (step for step in recipe("tcia-liver").preprocessing.steps if step.step == "crop_roi")
    assert crop.around == "liver"


@pytest.mark.parametrize("name", SAME)
def test_the_gans_of_the_study_start_from_the_same_preparation(name: str) -> None:
    assert recipe(name).preprocessing == recipe(SAME[name]).preprocessing
    assert recipe(name).data == recipe(SAME[name]).data


def test_the_conditional_gan_differs_in_its_channels_alone() -> None:
    wanted = recipe("brats").preprocessing.model_copy(update={"channels": ("t1", "flair")})
    assert recipe("brats-cgan").preprocessing == wanted
