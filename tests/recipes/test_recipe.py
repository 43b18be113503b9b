"""Recipes: YAML, changes on the command line, and messages that name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthoma.errors import SettingError
from synthoma.recipes import load_recipe, read_blocks, read_recipe, ready_recipes
from synthoma.recipes.preparation import load_preparation
from synthoma.recipes.ready import summary
from synthoma.recipes.recipe import to_yaml

SMALL = "data: {source: brats, path: scans}\n"


@pytest.mark.parametrize("name", sorted(ready_recipes()))
def test_a_ready_recipe_is_valid_and_says_what_it_is_for(name: str) -> None:
    paths = {"mr-ct-cyclegan": ["data.parts.mr.path=mr", "data.parts.ct.path=ct"]}.get(name, ["data.path=scans"])
    recipe = load_recipe(name, [] if name.startswith("demo") else paths)
    assert read_recipe(to_yaml(recipe), "again") == recipe
    assert len(summary(ready_recipes()[name])) > 20


def test_changes_reach_any_setting() -> None:
    changes = ["training.epochs=3", "preprocessing.steps.resize.size=64", "gan.learning_rate=1e-3"]
    recipe = load_recipe("demo", changes)
    assert recipe.training.epochs == 3
    assert recipe.gan.learning_rate == 1e-3
    assert recipe.preprocessing.steps[-1].size == 64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gan.widht=3", "demo: gan.widht: expected a known setting, found 'widht'.\nDid you mean 'width'?"),
        ("preprocessing.steps.resize.sizee=4", "Did you mean 'size'?"),
        ("training.augment={rotate: 3}", "Did you mean 'rotate_deg'?"),
        ("training.epochs=-1", "demo: training.epochs: expected greater than or equal to 0, found -1."),
        ("training.epochs=many", "expected a valid integer"),
        ("data.source=brast", "Did you mean 'brats'?"),
        ("gan.target=[t1]", "'t1' is both condition and target: the GAN would be shown its own answer"),
        ("gan.target=[t2]", "gan asks for channel 't2', which preprocessing.channels"),
        ("gan.target=[mask]", "'mask' is both condition and target"),
        ("training.epochs", "--set training.epochs: expected KEY=VALUE, such as training.epochs=20, found no '='"),
        ("preprocessing.steps.resiz.size=4", "Did you mean 'resize'?"),
        ("foo=1", "Known: data, evaluation, gan, generation, preprocessing, protocol, split, title, training."),
        ("split.train=0.9", "train + validation + test must be 1, got 1.26"),
        ("gan.perceptual.network=vgg", "expected 'none', 'efficientnet-lite0' or 'vgg19', found 'vgg'"),
        (
            "protocol.variants={a: {data.path: x}}",
            "may change gan.…, training.… and generation.…, or gan as a whole with its method only, got data.path",
        ),
        (
            "protocol.variants={a: {gan: {width: 8}}}",
            "may change gan.…, training.… and generation.…, or gan as a whole with its method only, got gan",
        ),
        (
            "protocol.variants.a.gan.width=8",
            "may change gan.…, training.… and generation.…, or gan as a whole with its method only, got gan",
        ),
        ("protocol.variants={a/b: {}}", "variant names become folders"),
        ("evaluation.families=[similarty]", "Did you mean 'similarity'?"),
        ("generation.scale=[2, 1]", "two rising positive factors"),
        ("evaluation.explain.images=many", "demo: evaluation.explain.images: expected a valid integer"),
        (
            "data={source: dicom, path: x, masks: {tumour: []}}",
            "data.masks.tumour: expected at least 1 item, found [].",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_do(change: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        load_recipe("demo", [change])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {source: brats}", "x: data.path: expected a value, found none.\nGive one: --set data.path=…"),
        ("title: a", "x: data: expected a value, found none."),
        ("data: {}", "x: data.source: expected a value, found none."),
        ("- 1", "x: expected blocks of settings"),
        ("", "x: expected blocks of settings"),
        ("a: [", "x: expected valid YAML"),
        (SMALL + "title: a\ntitle: b\n", "duplicate key"),
    ],
)
def test_a_wrong_file_is_named_with_what_to_do(text: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        read_recipe(text, "x")
    assert message in str(caught.value)


def test_yaml_reads_what_a_person_means() -> None:
    recipe = read_recipe(SMALL + "gan: {learning_rate: 1e-3}\ntitle: no\n", "x")
    assert recipe.gan.learning_rate == 1e-3
    assert recipe.title == "no"


def test_no_such_recipe() -> None:
    with pytest.raises(SettingError, match="Did you mean 'brats-cgan'"):
        load_recipe("brats-gan")


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL)
    assert load_recipe(path).data.source == "brats"


def test_a_variant_differs_in_its_changes_only() -> None:
    recipe = load_recipe("tcga-lgg-cgan", ["data.path=scans"])
    changed = recipe.variant("unet-l1")
    assert changed.gan.adversarial_weight == 0
    assert changed.gan.model_copy(update={"adversarial_weight": recipe.gan.adversarial_weight}) == recipe.gan
    assert changed.training == recipe.training


def test_channels_need_not_fit_a_gan_that_nobody_asked_for() -> None:
    assert read_recipe(SMALL, "x", ["preprocessing.channels=[t2]"]).preprocessing.channels == ("t2",)


def test_a_stage_refuses_settings_of_other_blocks() -> None:
    with pytest.raises(SettingError, match=r"--set training.epochs: expected a setting of data.… or preprocessing.…"):
        load_preparation("brats", "scans", None, ["training.epochs=3"])
    with pytest.raises(SettingError, match=r"--set data.path: expected a setting of gan.… or training.…, found"):
        read_blocks(("gan", "training"), None, ["data.path=scans"])


@pytest.mark.parametrize("recipe", [None, "brats-cgan"])
def test_a_preparation_is_a_part_of_the_recipe(recipe: str | None) -> None:
    changes = ["preprocessing.steps.resize.size=64", "split.folds=3", "protocol.workers=2"]
    found = load_preparation("brats", "scans", recipe, changes)
    whole = load_recipe(recipe, changes, data={"source": "brats", "path": "scans"})
    bare = {} if recipe else {"require_lesion_mask": False}
    assert found.preprocessing == whole.preprocessing.model_copy(update=bare)
    assert (found.data, found.split, found.protocol) == (whole.data, whole.split, whole.protocol)
    assert "folds" in found.split.model_fields_set
    assert "workers" in found.protocol.model_fields_set


@pytest.mark.parametrize(
    ("source", "recipe", "change", "message"),
    [
        ("brast", None, "split.folds=2", "settings: data.source: expected one of 'brats', "),
        ("brats", None, "data.sizee=4", "settings: data.sizee: expected a known setting, found 'sizee'."),
        ("brats", None, "preprocessing.steps.resize.sizee=4", "steps.3.sizee: expected a known setting, found 'sizee'"),
        ("phantom-brain", None, "split.folds=2", "source: expected one that reads files, found 'phantom-brain'."),
        ("several", None, "split.folds=2", "source: expected one that reads a single folder, found 'several'."),
        ("brats", "brats-cgn", "split.folds=2", "Did you mean 'brats-cgan'?"),
        ("brats", "mine.yaml", "split.folds=2", "mine.yaml: gan.widht: expected a known setting, found 'widht'."),
    ],
)
def test_a_wrong_preparation_is_named_with_what_to_do(
    source: str, recipe: str | None, change: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(SMALL + "gan: {widht: 3}\n")
    with pytest.raises(SettingError) as caught:
        load_preparation(source, "scans", recipe, [change])
    assert message in str(caught.value)


def test_names_that_the_user_gave_are_not_taken_for_kinds() -> None:
    text = "data: {source: several, parts: {brats: {source: dicom, path: x, paht: y}}}\n"
    with pytest.raises(SettingError) as caught:
        read_recipe(text, "x")
    assert (
        str(caught.value) == "x: data.parts.brats.paht: expected a known setting, found 'paht'.\nDid you mean 'path'?"
    )
    with pytest.raises(SettingError, match=r"^x: protocol.variants.cycle: expected "):
        read_recipe(SMALL + "protocol: {variants: {cycle: 3}}\n", "x")
