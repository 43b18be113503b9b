"""``synthoma run`` as a user types it: the plan, the workers, the cluster that is not there."""

from __future__ import annotations

import sys

import pytest


def test_the_plan_of_a_protocol_writes_nothing(typed, tmp_path):
    words = ("--set", "protocol.design=kfold", "--set", "protocol.runs=2", "--set", "protocol.variants={}")
    said = typed("run", "demo", "--out", tmp_path / "out", "--plan", *words)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "Phantom demonstration: kfold, 2 runs"
    assert [line.split()[0] for line in lines[1:4]] == ["phantom", "prepare", "divide"]
    assert "  train                        0 of 10 done" in lines
    assert lines[-1].startswith("0 of 74 stages done; not timed yet: phantom, prepare, train, generate reconstruct")
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_a_single_study_names_its_variants(typed, tmp_path):
    said = typed("run", "demo", "--out", tmp_path / "out", "--plan")
    lines = [line.strip() for line in said.out.splitlines()]
    assert lines[0] == "Phantom demonstration: single"
    for name in ("train", "train cyclegan", "train wgan-gp", "generate wgan-gp", "evaluate", "report"):
        assert any(line.startswith(f"{name}  ") and line.endswith("to do") for line in lines), name
    assert not any(line.startswith(("divide", "pool")) for line in lines)


@pytest.mark.parametrize("words", [(), ("--plan",)])
def test_another_folder_is_left_alone(typed, tmp_path, words):
    (tmp_path / "mine").write_text("precious")
    said = typed("run", "demo", "--out", tmp_path, *words)
    assert (said.code, "expected a new folder or that of a study, found another one." in said.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_workers_are_one_or_more(typed, tmp_path):
    said = typed("run", "demo", "--out", tmp_path / "out", "--workers", "0")
    assert said.code == 2
    assert "--workers" in said.err
    assert not (tmp_path / "out").exists()


def test_a_cluster_needs_ray(typed, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = typed("run", "demo", "--out", tmp_path / "out", "--set", "protocol.runner=ray")
    assert said.code == 3
    assert said.err == (
        "error: protocol.runner: expected the package ray, found none.\n"
        "pip install synthoma[ray], or --set protocol.runner=local.\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_design_that_does_not_fit_the_split_is_refused(typed, tmp_path):
    said = typed(
        "run", "first-look", "--out", tmp_path / "out", "--set", "data.path=x", "--set", "protocol.design=kfold"
    )
    assert said.code == 2
    assert "protocol.design: kfold needs split.folds of 2 or more, got 0." in said.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("evaluation.extractor=inception-v3",), "no setting evaluation.extractor_weights"),
        (
            ("evaluation.classifier={network: resnet50, trainable: all, weights: nowhere.pth}",),
            "found nothing at nowhere.pth",
        ),
    ],
)
def test_weights_that_are_missing_are_found_before_anything_is_done(typed, tmp_path, settings, message):
    words = [word for setting in settings for word in ("--set", setting)]
    said = typed("run", "demo", "--out", tmp_path / "study", *words)
    assert (said.code, message in said.err) == (3, True)
    assert not (tmp_path / "study").exists()
