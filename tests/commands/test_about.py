"""``recipes``, ``weights``, ``doctor``, and the verbs for Python."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch

import synthoma
from synthoma.errors import OutputError, SettingError
from synthoma.networks.extractors import EXTRACTORS
from synthoma.networks.pretrained import VGG19Features
from synthoma.networks.resnet50 import ResNet50
from synthoma.recipes import Recipe, read_blocks, read_recipe, ready_recipes, to_yaml


def test_recipes_are_listed_with_what_they_are_for(typed):
    said = typed("recipes", "list")
    assert said.code == 0
    assert {line.split()[0] for line in said.out.splitlines()} == set(ready_recipes())
    assert all(len(line.split()) > 4 for line in said.out.splitlines())


def test_a_recipe_is_shown_as_it_is_written_or_in_full(typed):
    said = typed("recipes", "show", "demo")
    assert said.out == ready_recipes()["demo"].read_text(encoding="utf-8")
    said = typed("recipes", "show", "demo", "--set", "training.epochs=7")
    recipe = read_recipe(said.out, "shown")
    assert (recipe.training.epochs, recipe.data.source) == (7, "phantom-brain")
    assert said.out.startswith("title: ")
    assert to_yaml(recipe) == said.out
    said = typed("recipes", "show", "brats-cgan", "--set", "training.epochs=7")  # its data.path is the user's
    assert read_recipe(said.out, "shown", ["data.path=scans"]).training.epochs == 7
    said = typed("recipes", "show", "dmo")
    assert (said.code, "Did you mean 'demo'?" in said.err) == (2, True)


def test_the_schema_documents_every_setting(typed):
    schema = json.loads(typed("recipes", "schema").out)
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["$defs"]["SliceSampling"]["properties"]["min_body_fraction"]["description"].startswith("Least share")


def test_weights(typed, tmp_path):
    said = typed("weights", "list")
    assert "efficientnet-lite0" in said.out
    assert "yours, by --set gan.perceptual.weights=FILE" in said.out
    path = Path(typed("weights", "path", "efficientnet-lite0").out.strip())
    assert path.is_file()
    said = typed("weights", "verify")
    assert (said.code, "as published" in said.out) == (0, True)
    assert "fits     efficientnet-lite0" in typed("weights", "verify", path).out
    for words in (("path", "vgg19"), ("verify", "vgg19")):
        said = typed("weights", *words)
        assert said.code == 3
        assert "Name yours with --set gan.perceptual.weights=FILE" in said.err
    said = typed("weights", "verify", "vgg91")
    assert (said.code, "Did you mean 'vgg19'?" in said.err) == (2, True)


def test_a_file_of_vgg19_is_loaded_strictly(typed, tmp_path):
    state = VGG19Features().state_dict()
    torch.save(state, tmp_path / "vgg.pth")
    said = typed("weights", "verify", tmp_path / "vgg.pth")
    assert (said.code, "fits     vgg19, another file than the published" in said.out) == (0, True)
    state.pop("features.0.bias")
    torch.save(state, tmp_path / "less.pth")
    said = typed("weights", "verify", tmp_path / "less.pth")
    assert (said.code, "found a difference at features.0.bias." in said.err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "inception-v3", "radimagenet-resnet50", "dinov2"])
def test_files_of_the_other_networks_are_told_apart(typed, tmp_path, name):
    network = ResNet50() if name == "resnet50" else EXTRACTORS[name].build()
    state = network.state_dict()
    if name == "radimagenet-resnet50":  # its authors number the parts
        numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
        heads = {key: key.partition(".") for key in state if not key.startswith("fc.")}
        state = {f"backbone.{numbers[head]}.{rest}": state[key] for key, (head, _, rest) in heads.items()}
    torch.save(state, tmp_path / "x.pth")
    said = typed("weights", "verify", tmp_path / "x.pth")
    assert (said.code, said.err) == (0, "")
    assert f"fits     {name}" in said.out


def test_a_file_of_no_known_network(typed, tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "x.pth")
    said = typed("weights", "verify", tmp_path / "x.pth")
    assert (said.code, "dinov2, efficientnet-lite0, found others (weight …)" in said.err) == (2, True)


def test_weights_that_were_altered(typed, tmp_path, monkeypatch):
    from synthoma.networks import pretrained

    (tmp_path / "x.pth").write_bytes(b"other")
    monkeypatch.setattr(pretrained, "embedded_lite0_path", lambda: tmp_path / "x.pth")
    said = typed("weights", "verify")
    assert (said.code, "x.pth: expected SHA-256 579344" in said.err) == (2, True)


def test_a_protocol_is_told_in_a_few_lines(typed, tmp_path):
    stages = ["prepare", *(f"run 0 fold {fold}: {name}" for fold in range(3) for name in ("divide", "train"))]
    (tmp_path / "stages.json").write_text(json.dumps({name: {} for name in stages}))
    for fold in range(3):
        (tmp_path / "folds" / f"run-0-fold-{fold}" / "real.cohort").mkdir(parents=True)
    lines = typed("info", tmp_path).out.splitlines()
    assert lines[1] == "  begun     prepare, divide (3 ×), train (3 ×)"
    assert lines[2] == "  cohorts   folds/*/real.cohort (3 ×)"


def test_a_study_where_a_cohort_belongs(typed, study, tmp_path):
    said = typed("export", study, "--as", "nnunet", "--out", tmp_path / "x")
    assert (said.code, f"There is one in it: {study / 'real.cohort'}." in said.err) == (2, True)


def test_a_word_where_a_list_belongs(typed):
    said = typed("recipes", "show", "demo", "--set", "gan.target=flair")
    assert (said.code, said.err) == (
        2, "error: demo: gan.target: expected a list, found 'flair'.\nWrite [flair].\n",
    )  # fmt: skip


@pytest.mark.slow
def test_doctor(typed):
    said = typed("doctor")
    assert said.code == 0
    for text in ("torch", "cores", "GiB free in", "GFLOP/s", "images/s", "minutes of training"):
        assert text in said.out


def test_the_package_offers_the_verbs():
    rooms = {path.name for path in Path(synthoma.__file__).parent.iterdir() if path.is_dir()}
    for name in synthoma.__all__:
        assert name in dir(synthoma)
        assert name not in rooms  # a room that was imported would take the name
        assert name == "__version__" or inspect.getdoc(getattr(synthoma, name))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = synthoma.nothing


def test_the_verbs_do_what_the_commands_do(study, scans, tmp_path):
    settings = {
        "preprocessing.steps.resize.size": 32,
        "preprocessing.sampling.per_patient": 6,
        "preprocessing.channels": ["t1", "flair"],
        "split.test": 0.2,
        "split.train": 0.6,
        "split.folds": 2,
    }
    real = synthoma.prepare("brats", str(scans), tmp_path / "real.cohort", settings=settings)
    for name in ("images.npy", "masks.npy", "samples.csv"):
        assert (real / name).read_bytes() == (study / "real.cohort" / name).read_bytes()
    with pytest.raises(OutputError):
        synthoma.prepare("brats", scans, real, settings=settings)
    gan = {"gan.width": 4, "gan.discriminator_width": 4, "gan.norm": "instance"}
    gan |= {"training.epochs": 1, "training.threads": 1}
    run = synthoma.train(real, tmp_path / "gan", settings=gan)
    made = synthoma.generate(run, real, tmp_path / "made.cohort")
    assert (made / "images.npy").read_bytes() == (study / "reconstruct.cohort" / "images.npy").read_bytes()
    quick = {"evaluation.families": ["similarity"], "evaluation.bootstrap_draws": 100}
    judged = synthoma.evaluate(real, {"reconstruct": made}, tmp_path / "judged", settings=quick)
    assert synthoma.write_report(judged, tmp_path / "page.html").is_file()
    assert synthoma.open_cohort(made).channels == ("flair",)
    assert synthoma.load_recipe("demo", {"training.epochs": 3}).training.epochs == 3


def test_settings_of_a_single_stage():
    blocks = read_blocks(("gan", "training"), "brats-cgan", {"training.epochs": 3})
    assert (blocks.gan.perceptual.network, blocks.training.epochs) == ("vgg19", 3)
    with pytest.raises(SettingError, match=r"expected a setting of evaluation.…, found 'evaluatoin.seed'"):
        read_blocks(("evaluation",), None, {"evaluatoin.seed": 3})


def test_a_recipe_of_the_user_is_read_and_its_data_replaced(tmp_path, scans):
    (tmp_path / "mine.yaml").write_text("data: {source: phantom-brain, patients: 4}\nsplit: {folds: 3}\n")
    with pytest.raises(SettingError, match="found 'patient'"):
        synthoma.load_recipe(tmp_path / "mine.yaml", ["data.patient=3"])
    recipe = synthoma.load_recipe(tmp_path / "mine.yaml", data={"source": "brats", "path": scans})
    assert (recipe.data.source, recipe.data.path, recipe.split.folds) == ("brats", scans, 3)
    (tmp_path / "mine.yaml").write_text("just a text")
    with pytest.raises(SettingError, match=r"mine.yaml: expected blocks of settings .* found str"):
        synthoma.load_recipe(tmp_path / "mine.yaml")
