"""The family explain: where classifier and critic look, and that a critic is only taken for the cohort it judged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthoma.errors import CheckpointError
from synthoma.evaluation.critics import checkpoint_of, judge_of
from synthoma.evaluation.explain import evaluate_explain
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import ClassifierOptions, EvaluationOptions, ExplainOptions
from synthoma.gans import GANS, ConditionalOptions, Layout, WassersteinOptions
from synthoma.gans.checkpoints import save_checkpoint, to_arrays
from synthoma.records import Checkpoint, Lineage

OPTIONS = EvaluationOptions(
    bootstrap_draws=100, classifier=ClassifierOptions(steps=30, batch=8, checks=3), explain=ExplainOptions(images=8)
)


def same(image, row):
    del row
    return image


def trained(folder, real, options, change=None):
    """A checkpoint with fresh networks in a study's place, and the lineage of its training."""
    torch.manual_seed(0)
    gan = GANS[options.method](options, Layout.of(real), torch.device("cpu"))
    lineage = Lineage.of("train", parents=(), recipe={}, seed=1, patients_seen=[f"p{i:02d}" for i in range(6)])
    arrays = {}
    for name, network in gan.networks.items():
        arrays |= to_arrays(f"networks/{name}", network.state_dict())
    content = {"gan": options.model_dump(mode="json"), "layout": gan.layout.to_json()} | (change or {})
    content = json.loads(json.dumps(content))
    save_checkpoint(
        folder / "gan" / "checkpoints" / "last.safetensors", Checkpoint(7, arrays, {"whole": True}, content, lineage)
    )
    return gan, lineage


@pytest.fixture
def study(tmp_path, real, synthesise):
    """A conditional GAN in its place and the cohort that it drew."""
    (tmp_path / "gan" / "checkpoints").mkdir(parents=True)
    options = ConditionalOptions(condition=("t1", "mask"), target=("flair",), width=4, discriminator_width=4)
    gan, lineage = trained(tmp_path, real, options)
    made = synthesise(same)
    n = np.full(len(made), lineage.id)
    made = replace(
        made, path=tmp_path / "synthetic" / "reconstruct.cohort", lineages={lineage.id: lineage},
        table=made.table | {"lineage": n},
    )  # fmt: skip
    return gan, made


def test_the_judge_scores_as_the_discriminator_does(study, real):
    gan, made = study
    judge = judge_of(made, checkpoint_of(made))
    assert (judge.name, judge.channels) == ("discriminator", ("flair",))
    assert "after 7 steps" in judge.description
    rows = real.rows(split="test")
    own = np.arange(len(made))
    found = judge.score(torch.from_numpy(made.images[own]), real, rows, made, own)
    mask = torch.from_numpy(made.masks[:, 1:].astype(np.float32)) * 2 - 1
    shown = torch.cat([torch.from_numpy(real.images[rows][:, :1]), mask, torch.from_numpy(made.images)], dim=1)
    network = gan.networks["discriminator"].eval()
    torch.testing.assert_close(found, network(shown).mean(dim=(1, 2, 3)).detach(), rtol=1e-4, atol=1e-5)


def test_a_critic_is_told_the_class(tmp_path, real, synthesise):
    (tmp_path / "gan" / "checkpoints").mkdir(parents=True)
    options = WassersteinOptions(target=("flair",), width=4, layers=3, critic_width=4, critic_layers=2, recompute=True)
    gan, lineage = trained(tmp_path, real, options)
    made = replace(synthesise(same), path=tmp_path / "sample.cohort", lineages={lineage.id: lineage})
    judge = judge_of(made, checkpoint_of(made))
    assert judge.name == "critic"
    own = np.arange(len(made))
    found = judge.score(torch.from_numpy(made.images), real, own * 0, made, own)
    classes = torch.tensor([[1.0, 0.0] if name == "tumour" else [0.0, 1.0] for name in made.table["label"]])
    expected = gan.networks["critic"](torch.from_numpy(made.images), classes).mean(dim=(1, 2, 3))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)


def test_a_critic_of_another_training_or_of_other_images_is_none_of_the_cohort(study, synthesise):
    _, made = study
    path = checkpoint_of(made)
    stranger = synthesise(same)
    assert judge_of(replace(stranger, path=made.path), path) is None
    assert judge_of(replace(made, channels=("t1",)), path) is None
    assert checkpoint_of(stranger) is None
    assert checkpoint_of(replace(made, path=made.path.parents[3] / "a" / "b.cohort")) is None


def test_a_checkpoint_of_another_version_is_named(tmp_path, real, synthesise):
    (tmp_path / "gan" / "checkpoints").mkdir(parents=True)
    options = ConditionalOptions(condition=("t1",), target=("flair",), width=4, discriminator_width=4)
    _, lineage = trained(tmp_path, real, options, {"gan": {"method": "unheard-of"}})
    made = replace(synthesise(same), path=tmp_path / "x.cohort", lineages={lineage.id: lineage})
    with pytest.raises(CheckpointError, match="the settings of a GAN of this version"):
        judge_of(made, checkpoint_of(made))


@pytest.mark.slow
def test_every_share_has_its_uniform_and_its_best(study, real, synthesise):
    _, made = study
    more = synthesise(same, split="train", paired=False)
    found = evaluate_explain(real, {"reconstruct": made, "transplant": more}, OPTIONS, Features(device="cpu"))
    arms = {m.arm for m in found.measurements}
    assert arms == {
        "classifier: real", "classifier: real+synthetic", "discriminator: real", "discriminator: synthetic",
    }  # fmt: skip
    for arm in arms:
        for region in ("body", "frame"):
            share, uniform, best, over = (
                found.find(name, arm=arm, region=region)
                for name in ("heat-in-lesion", "heat-if-uniform", "heat-at-best", "heat-over-uniform")
            )
            assert 0 <= share.value <= best.value <= 1
            assert over.value == pytest.approx(share.value - uniform.value)
            assert share.n_images == uniform.n_images == best.n_images <= 8
            assert share.n_patients <= 4
            assert "Grad-CAM" in share.method
    lesions = [row for row in real.rows(split="test") if real.lesion(row).any()]
    area = np.mean([real.lesion(row).mean() for row in lesions])
    assert found.find("heat-if-uniform", arm="discriminator: real", region="frame").value == pytest.approx(
        area, rel=0.2
    )
    panel = found.curves["heat"]["discriminator"]["of"]
    assert set(panel) == {"real", "synthetic"}
    for one in (*panel["real"], *panel["synthetic"]):
        heat = np.array(one["heat"])
        assert heat.min() >= 0
        assert heat.max() in (0, 1)
    assert [one["row"] for one in panel["real"]] == [
        int(np.flatnonzero(real.table["id"] == made.table["reference"][one["row"]])[0]) for one in panel["synthetic"]
    ]
    assert any(v.claim == "The classifier trained on real looks at the lesion" for v in found.verdicts)


def test_without_a_critic_or_a_second_label_it_is_said(real, synthesise):
    one = replace(real, table=real.table | {"label": np.full(len(real), "tumour")})
    found = evaluate_explain(one, {"reconstruct": synthesise(same)}, OPTIONS, Features(device="cpu"))
    assert not found.measurements
    assert any("no classifier, a classifier needs two labels" in text for text in found.warnings)
    assert any("was not found beside a cohort" in text for text in found.warnings)


def test_volumes_and_cohorts_without_lesions_are_said(real, synthesise):
    made = {"reconstruct": synthesise(same)}
    volume = replace(real, images=real.images[:, :, None], masks=real.masks[:, :, None])
    assert "2D images only" in evaluate_explain(volume, made, OPTIONS, Features(device="cpu")).warnings[0]
    bare = replace(real, masks=real.masks[:, :1], mask_names=("body",))
    assert "no lesion mask" in evaluate_explain(bare, made, OPTIONS, Features(device="cpu")).warnings[0]
