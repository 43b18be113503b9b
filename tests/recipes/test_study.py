"""The recipes of the study hold its Table 2 to the letter. The table is written out here, apart from the recipes."""

from __future__ import annotations

from typing import Any

import pytest

from synthoma.preprocessing import Resize
from synthoma.recipes import load_recipe

PATHS = {
    "brats-cgan": {"data.path": "scans"},
    "lidc-cyclegan": {"data.path": "scans"},
    "mr-ct-cyclegan": {"data.parts.mr.path": "mr", "data.parts.ct.path": "ct"},
    "liver-wgan-gp": {"data.path": "scans"},
}

TABLE_2: dict[str, dict[str, Any]] = {
    "brats-cgan": {
        "gan.method": "conditional",  # U-Net encoder-decoder with skips, PatchGAN
        "gan.adversarial": "bce",  # the study's formula
        "gan.adversarial_weight": 1.0,
        "gan.l1_weight": 100.0,
        "gan.perceptual.network": "vgg19",
        "gan.perceptual.weight": 1.0,
        "gan.gradient_penalty": 10.0,  # "gradient penalty for stability"
        "gan.learning_rate": 2e-4,  # Adam
        "gan.beta1": 0.5,
        "gan.beta2": 0.999,
        "gan.upsample": "transpose",
        "gan.base": "none",
        "training.epochs": 200,
        "training.batch_size": 8,
    },
    "lidc-cyclegan": {
        "gan.method": "cycle",
        "gan.blocks": 9,  # ResNet-9
        "gan.width": 64,
        "gan.discriminator_layers": 3,  # 70 × 70
        "gan.adversarial": "lsgan",
        "gan.cycle_weight": 10.0,
        "gan.identity_weight": 0.5,
        "gan.pool_size": 50,
        "gan.structure": "none",
        "gan.base": "none",
        "gan.learning_rate": 2e-4,  # Adam
        "gan.beta1": 0.5,
        "training.epochs": 180,
    },
    "liver-wgan-gp": {
        "gan.method": "wasserstein",
        "gan.layers": 5,  # 5-layer CNN
        "gan.critic_norm": "none",  # CNN patch critic
        "gan.gradient_penalty": 10.0,
        "gan.n_critic": 5,
        "gan.optimiser": "rmsprop",
        "gan.learning_rate": 5e-5,
        "training.epochs": 220,
    },
}
TABLE_2["mr-ct-cyclegan"] = TABLE_2["lidc-cyclegan"] | {
    "gan.source.modality": "MR",
    "gan.target.modality": "CT",
}


def test_every_recipe_of_the_study_is_in_the_table() -> None:
    assert set(TABLE_2) == set(PATHS)


@pytest.mark.parametrize(
    ("name", "key"), [pytest.param(name, key, id=f"{name}-{key}") for name in TABLE_2 for key in TABLE_2[name]]
)
def test_value_of_table_2(name: str, key: str) -> None:
    value: Any = load_recipe(name, PATHS[name]).model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    assert value == TABLE_2[name][key]


@pytest.mark.parametrize("name", TABLE_2)
def test_images_have_256_pixels_a_side(name: str) -> None:
    recipe = load_recipe(name, PATHS[name])
    assert [step.size for step in recipe.preprocessing.steps if isinstance(step, Resize)] == [256]


@pytest.mark.parametrize("name", TABLE_2)
def test_split_is_the_studys(name: str) -> None:
    split = load_recipe(name, PATHS[name]).split
    assert (split.train, split.validation, split.test, split.folds) == (0.7, 0.2, 0.1, 5)
