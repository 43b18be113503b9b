"""A protocol over folds: complete, continued, the same by several processes, and with no way for a leak."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from synthoma.cohort import open_cohort
from synthoma.errors import CohortError, OutputError, SettingError
from synthoma.evaluation import read_evidence
from synthoma.gans.checkpoints import load_checkpoint
from synthoma.protocol.plan import plan
from synthoma.protocol.run import run
from synthoma.recipes import Recipe, read_recipe
from synthoma.recipes.recipe import to_yaml


def changed(recipe: Recipe, *changes: str) -> Recipe:
    return read_recipe(to_yaml(recipe), "discs", changes)


def stages_done(recipe: Recipe, out: Path, **options: bool) -> list[str]:
    lines: list[str] = []
    run(recipe, out, say=lines.append, **options)
    return [line.split("] ")[1].removesuffix(" …") for line in lines if line.endswith("…")]


@pytest.fixture(scope="module")
def protocol(discs: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished protocol of three folds and two runs; not to be changed."""
    out = tmp_path_factory.mktemp("protocol") / "out"
    run(discs, out, say=lambda _: None)
    return out


def test_a_protocol_leaves_a_study_in_every_fold_and_the_whole_above(protocol: Path) -> None:
    names = [f"run-{r}-fold-{f}" for r in range(2) for f in range(3)]
    assert sorted(path.name for path in (protocol / "folds").iterdir()) == names
    for name in names:
        for file in ("real.cohort/cohort.json", "gan/run.json", "synthetic/sample.cohort/cohort.json", "evidence.csv"):
            assert (protocol / "folds" / name / file).is_file(), file
    for file in ("recipe.yaml", "stages.json", "real.cohort/cohort.json", "evidence/protocol.json", "report.html"):
        assert (protocol / file).is_file(), file
    stages = json.loads((protocol / "stages.json").read_text())
    assert list(stages)[:3] == ["prepare", "run 0 fold 0: divide", "run 0 fold 0: train"]
    assert list(stages)[-2:] == ["pool", "report"]
    assert all(stage["seconds"] >= 0 for stage in stages.values())
    assert not [path for path in protocol.rglob("*") if ".partial" in path.name]


def test_the_pooled_evidence_is_that_of_the_folds(protocol: Path) -> None:
    pooled = read_evidence(protocol)
    folds = [[read_evidence(protocol / "folds" / f"run-{r}-fold-{f}") for r in range(2)] for f in range(3)]
    values = np.array([[part.find("accuracy", arm="real").value for part in row] for row in folds])
    found = pooled.find("accuracy", arm="real")
    assert found.value == pytest.approx(values.mean())
    assert pooled.find("accuracy-sd", arm="real").value == pytest.approx(values.mean(axis=0).std(ddof=1))
    assert found.n_patients == 12
    assert pooled.curves["protocol"]["design"] == "kfold"
    assert "mean over 2 runs of 3 folds" in (protocol / "report.html").read_text(encoding="utf-8")


def test_every_generator_saw_the_patients_of_its_fold_alone(protocol: Path) -> None:
    weights = set()
    for folder in (protocol / "folds").iterdir():
        real, made = open_cohort(folder / "real.cohort"), open_cohort(folder / "synthetic" / "sample.cohort")
        test = set(real.table["patient"][real.rows(split="test")].tolist())
        (trained,) = [lineage for lineage in made.lineages.values() if lineage.step == "train"]
        assert set(trained.patients_seen) == set(real.patients) - test
        assert real.lineages[trained.parents[0]].step == "fold"
        assert not test & set(made.patients_seen)
        weights.add((folder / "gan" / "checkpoints" / "last.safetensors").read_bytes())
        assert load_checkpoint(folder / "gan" / "checkpoints" / "last.safetensors").lineage == trained
    assert len(weights) == 6, "every fold of every run has a generator of its own"


def test_run_again_does_nothing_and_a_lost_part_is_the_same_again(
    protocol: Path, discs: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(protocol, out)
    assert stages_done(discs, out) == []
    table = (out / "folds" / "run-1-fold-1" / "evidence.csv").read_bytes()
    shutil.rmtree(out / "folds" / "run-1-fold-1")
    names = ("divide", "train", "generate sample", "evaluate")
    assert stages_done(discs, out) == [f"run 1 fold 1: {name}" for name in names]
    assert (out / "folds" / "run-1-fold-1" / "evidence.csv").read_bytes() == table


def test_another_setting_is_refused_and_then_only_what_depends_on_it_is_done(
    protocol: Path, discs: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(protocol, out)
    other = changed(discs, "evaluation.classifier.steps=12")
    with pytest.raises(SettingError, match=r"evaluation\.classifier\.steps: expected 10, as in .*, found 12"):
        run(other, out, say=lambda _: None)
    assert "'run 0 fold 0: evaluate' and all after it need --overwrite" in "\n".join(plan(other, out))
    done = stages_done(other, out, overwrite=True)
    assert done == [*(f"run {r} fold {f}: evaluate" for r in range(2) for f in range(3)), "pool", "report"]


@pytest.mark.slow
def test_one_run_more_takes_the_others_as_they_are(protocol: Path, discs: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(protocol, out)
    more = changed(discs, "protocol.runs=3")
    with pytest.raises(SettingError, match="after: expected"):
        run(more, out, say=lambda _: None)
    done = stages_done(more, out, overwrite=True)
    assert {name.partition(" fold")[0] for name in done} == {"run 2", "pool", "report"}


@pytest.mark.slow
def test_a_single_study_becomes_a_protocol_without_mixing_their_tables(discs: Recipe, tmp_path: Path) -> None:
    one = changed(discs, "protocol.design=single")
    assert stages_done(one, tmp_path / "out")[-3:] == ["generate sample", "evaluate", "report"]
    many = changed(discs, "protocol.runs=1")
    with pytest.raises(OutputError, match="expected nothing before 'pool', found what others made"):
        run(many, tmp_path / "out", say=lambda _: None)
    assert "prepare" not in stages_done(many, tmp_path / "out", overwrite=True)
    assert "evaluate" in stages_done(one, tmp_path / "out", overwrite=True)


def test_the_plan_counts_what_is_done_and_measures_what_is_not(protocol: Path, discs: Recipe, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in protocol.rglob("*")}
    lines = plan(discs, protocol)
    assert lines[0] == "Discs: kfold, 2 runs"
    assert [line.split()[0] for line in lines[1:-1]] == [
        "prepare", "divide", "train", "generate", "evaluate", "pool", "report",
    ]  # fmt: skip
    assert "6 of 6 done" in lines[3]
    assert lines[-1] == "27 of 27 stages done."
    assert before == {path: path.stat().st_mtime_ns for path in protocol.rglob("*")}
    out = tmp_path / "out"
    shutil.copytree(protocol, out)
    for folder in (out / "folds").glob("run-1*"):
        shutil.rmtree(folder)
    lines = plan(discs, out, workers=2)
    assert any("train" in line and "3 of 6 done" in line and " each" in line for line in lines)
    assert "15 of 27 stages done; the others take about" in lines[-1]
    assert lines[-1].endswith("with 2 workers.")
    for folder in (out / "folds").glob("run-0*"):
        shutil.rmtree(folder)
    lines = plan(discs, out)
    assert any("train" in line and "by some steps measured now" in line for line in lines)
    assert "at least" in lines[-1]
    assert "not timed yet: generate sample, evaluate." in lines[-1]
    lines = plan(discs, tmp_path / "nowhere")
    assert "0 of 27 stages done; not timed yet: prepare, train" in lines[-1]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
def test_a_site_is_a_fold_and_sites_are_known_when_the_cohort_is(discs: Recipe, tmp_path: Path) -> None:
    sites = changed(discs, "protocol.design=leave-one-site-out", "protocol.runs=1", "training.epochs=0")
    assert any("of each site" in line for line in plan(sites, tmp_path / "out"))
    done = stages_done(sites, tmp_path / "out")
    assert [name for name in done if name.endswith(": train")] == [
        f"run 0 site {name}: train" for name in ("north", "south", "west")
    ]
    assert stages_done(sites, tmp_path / "out") == []
    values = read_evidence(tmp_path / "out").curves["protocol"]
    assert values["tested"] == ["site north", "site south", "site west"]
    data = changed(sites, "preprocessing.steps=[{step: normalise, method: window, window: [0, 250]}]")
    assert stages_done(data, tmp_path / "out", overwrite=True) == done, "sites are looked up again"
    assert stages_done(data, tmp_path / "out") == []


def test_repeats_of_the_split(discs: Recipe, tmp_path: Path) -> None:
    repeats = changed(discs, "protocol.design=holdout", "training.epochs=0", "protocol.runs=2", "split.folds=0")
    done = stages_done(repeats, tmp_path / "out")
    assert [name for name in done if name.endswith("train")] == ["run 0: train", "run 1: train"]
    assert "2 repeats of the split" in read_evidence(tmp_path / "out").find("accuracy", arm="real").method


def test_too_few_patients_for_the_folds_are_named(discs: Recipe, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="at least 13 patients"):
        run(changed(discs, "split.folds=13"), tmp_path / "out", say=lambda _: None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("split.folds=0", "protocol.design: kfold needs split.folds of 2 or more, got 0"),
        ("protocol.gpus_per_stage=2", "protocol.gpus_per_stage: expected less than or equal to 1, found 2"),
        ("protocol.design=loocv", "protocol.design: expected 'single', 'holdout', 'kfold' or 'leave-one-site-out'"),
        ("protocol.runs=0", "protocol.runs: expected greater than or equal to 1, found 0"),
    ],
)
def test_settings_of_the_protocol(discs: Recipe, change: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        changed(discs, change)


def test_a_holdout_needs_test_patients(discs: Recipe) -> None:
    with pytest.raises(SettingError, match=r"holdout needs test patients"):
        changed(discs, "protocol.design=holdout", "split={train: 0.8, validation: 0.2, test: 0}")


@pytest.mark.slow
def test_several_workers_make_the_same_tables(protocol: Path, discs: Recipe, tmp_path: Path) -> None:
    run(discs, tmp_path / "out", workers=2, say=lambda _: None)
    for table in sorted(protocol.rglob("evidence.csv")):
        assert (tmp_path / "out" / table.relative_to(protocol)).read_bytes() == table.read_bytes()
