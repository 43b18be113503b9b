"""CycleGAN and WGAN-GP as a user types them: train, info, generate, and what each of them does not know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from synthoma.cohort import open_cohort
from synthoma.commands import main

TRAINING = ("training.epochs=1", "training.batch_size=4", "training.threads=1", "training.precision=float32")
GANS = {
    "cycle": ("gan.width=2", "gan.blocks=1", "gan.discriminator_width=2", "gan.pool_size=3"),
    "wasserstein": ("gan.width=2", "gan.critic_width=2", "gan.layers=3", "gan.critic_layers=2", "gan.latent=4",
                    "gan.n_critic=1", "gan.target=[flair]"),
}  # fmt: skip
WAYS = {"cycle": ("translate", "back", "cycle", "redraw"), "wasserstein": ("sample",)}


@pytest.fixture(scope="module")
def runs(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each, ``cycle`` and ``wasserstein``; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    for method, settings in GANS.items():
        sets = [word for setting in (f"gan.method={method}", *settings, *TRAINING) for word in ("--set", setting)]
        with pytest.raises(SystemExit) as left:
            main(["train", str(study / "real.cohort"), "--out", str(folder / method), *sets])
        assert left.value.code == 0
    return folder


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("cycle", "cycle GAN, [t1] ↔ [flair], finished"),
        ("wasserstein", "wasserstein GAN, noise → [flair], finished"),
    ],
)
def test_info_says_what_a_run_makes(typed, runs, method, line):
    said = typed("info", runs / method)
    assert said.code == 0, said.err
    assert line in said.out.splitlines()[0]
    assert "epochs    1 of 1" in said.out
    assert "losses    " in said.out


def test_info_names_domains_by_what_fixes_them(typed, runs, tmp_path):
    shutil.copytree(runs / "cycle", tmp_path / "run")
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    empty = {"channels": [], "modality": "", "label": "", "site": ""}
    content["options"]["gan"] |= {"source": empty | {"modality": "MR", "site": "A"}, "target": empty}
    (tmp_path / "run" / "run.json").write_text(json.dumps(content))
    assert "cycle GAN, modality MR site A ↔ all channels, finished" in typed("info", tmp_path / "run").out


@pytest.mark.parametrize(("method", "way"), [(method, way) for method, ways in WAYS.items() for way in ways])
def test_every_way_of_a_gan(typed, runs, real, tmp_path, method, way):
    words = ("generate", runs / method, real, "--method", way, "--out", tmp_path / "x.cohort")
    said = typed(*words, "--set", "generation.samples=4")
    assert said.code == 0, said.err
    made = open_cohort(tmp_path / "x.cohort")
    assert set(made.table["origin"]) == {"synthetic"}
    assert {name.split("/")[0] for name in made.table["id"].tolist()} == {way}
    conditions = {"sample": (), "back": ("flair",)}.get(way, ("t1",))
    assert (made.conditions, made.channels) == (conditions, ("t1",) if way in ("back", "cycle") else ("flair",))
    assert ("made from" in said.out) == bool(conditions)


@pytest.mark.parametrize(("method", "first"), [("cycle", "translate"), ("wasserstein", "sample")])
def test_the_first_way_is_taken_when_none_is_named(typed, runs, real, tmp_path, method, first):
    assert typed("generate", runs / method, real, "--out", tmp_path / "x.cohort").code == 0
    assert str(open_cohort(tmp_path / "x.cohort").table["id"][0]).startswith(f"{first}/")


def test_the_help_lists_the_ways_of_every_gan(typed):
    text = " ".join(typed("generate", "--help").out.split())
    assert "Of a CycleGAN: translate, back, cycle, redraw." in text
    assert "Of a WGAN-GP: sample." in text
    assert "reconstruct, transplant, remove, redraw." in text


@pytest.mark.parametrize(
    ("method", "way", "known", "remedy"),
    [
        ("cycle", "reconstruct", "translate, back, cycle, redraw, which a cycle GAN knows", "Known: back, cycle, "),
        ("cycle", "translat", "translate, back, cycle, redraw, which a cycle GAN knows", "Did you mean 'translate'?"),
        ("wasserstein", "transplant", "sample, which a wasserstein GAN knows", "Known: sample."),
        ("conditional", "sample", "reconstruct, transplant, remove, redraw, which a conditional GAN knows", "Known: "),
    ],
)
def test_a_way_that_the_gan_does_not_know(typed, runs, study, real, tmp_path, method, way, known, remedy):
    run = study / "gan" if method == "conditional" else runs / method
    said = typed("generate", run, real, "--method", way, "--out", tmp_path / "x.cohort")
    assert said.code == 2
    assert f"error: generation.methods: expected one of {known}, found '{way}'.\n{remedy}" in said.err
    assert len(said.err.splitlines()) == 2
    assert not (tmp_path / "x.cohort").exists()


def test_a_mix_of_labels(typed, runs, real, tmp_path):
    words = ("generate", runs / "wasserstein", real, "--set", "generation.samples=4", "--out")
    said = typed(*words, tmp_path / "x.cohort", "--set", "generation.mix={tumor: 1}")
    assert said.code == 2
    assert said.err == (
        "error: generation.mix: expected labels that the GAN was trained on, found 'tumor'.\nDid you mean 'tumour'?\n"
    )
    assert not (tmp_path / "x.cohort").exists()
    assert typed(*words, tmp_path / "x.cohort", "--set", "generation.mix={tumour: 3, tumour-free: 1}").code == 0
    assert sorted(open_cohort(tmp_path / "x.cohort").table["label"].tolist()) == ["tumour"] * 3 + ["tumour-free"]
