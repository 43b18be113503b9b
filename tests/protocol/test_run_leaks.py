"""No leak can be built through the protocol: by the wiring of random recipes, and by pixels that must not matter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthoma.cohort import SplitOptions, check_splits, open_cohort
from synthoma.errors import CohortError
from synthoma.evaluation import read_evidence
from synthoma.gans.checkpoints import load_checkpoint
from synthoma.protocol import outline as outline_module
from synthoma.protocol.outline import outline
from synthoma.protocol.run import run
from synthoma.recipes import Recipe, read_recipe
from synthoma.recipes.recipe import to_yaml
from synthoma.records import Cohort
from synthoma.training.loop import _lineage

Patients = Mapping[str, tuple[str, tuple[str, ...]]]


@dataclass
class Spy:
    """Stands in for what trains, draws and judges; remembers who was shown to each."""

    trained: dict[Path, set[str]] = field(default_factory=dict)
    """Run folder → patients that its lineage says it has seen."""
    shown: dict[Path, set[str]] = field(default_factory=dict)
    """Run folder → patients whose samples it may train on or choose by, read off the cohort that it was given."""
    drawn: dict[Path, tuple[Path, set[str]]] = field(default_factory=dict)
    """Synthetic cohort → the run folder it is from, patients whose samples may be its condition."""
    judged: list[tuple[Cohort, dict[str, Path]]] = field(default_factory=list)

    def train(self, cohort: Path, out: Path, gan: Any, training: Any, **_: Any) -> None:
        opened = open_cohort(cohort)
        rows = opened.rows(split="train")
        sides = [opened.rows(split=side) for side in ("train", "validation")]
        self.shown[out] = {name for side in sides for name in opened.table["patient"][side].tolist()}
        self.trained[out] = set(_lineage(opened, rows, gan, training).patients_seen)

    def draw(self, gan: Path, real: Path, out: Path, **_: Any) -> None:
        opened = open_cohort(real)
        self.drawn[out] = gan, set(opened.table["patient"][opened.rows(split="train")].tolist())

    def judge(self, real: Path, synthetic: Mapping[str, Path], **_: Any) -> None:
        self.judged.append((open_cohort(real), dict(synthetic)))


def recipe_of(design: str, runs: int, split: SplitOptions, variants: int) -> Recipe:
    text = f"""
data: {{source: images, path: nowhere}}
gan: {{method: wasserstein}}
split: {split.model_dump_json()}
protocol:
  design: {design}
  runs: {runs}
  variants: {json.dumps({f"v{i}": {"training.epochs": i} for i in range(variants)})}
"""
    return read_recipe(text, "random")


tables = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from("xy"), min_size=1, max_size=3)), min_size=9, max_size=18
).map(lambda rows: {f"p{i}": (site, tuple(labels)) for i, (site, labels) in enumerate(rows)})


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Spy]]:
    def new() -> Spy:
        spy = Spy()
        for name, stand_in in (("train_stage", spy.train), ("_draw", spy.draw), ("evaluate_stage", spy.judge)):
            monkeypatch.setattr(outline_module, name, stand_in)
        return spy

    return new


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    patients=tables,
    design=st.sampled_from(("single", "holdout", "kfold", "leave-one-site-out")),
    runs=st.integers(1, 3),
    folds=st.integers(2, 4),
    shares=st.sampled_from(((0.7, 0.2, 0.1), (0.5, 0.25, 0.25), (0.6, 0.0, 0.4))),
    seed=st.integers(0, 99),
    variants=st.integers(0, 2),
)
def test_nothing_that_a_classifier_is_tested_on_was_seen_before(
    write_cohort: Any, spied: Callable[[], Spy], tmp_path_factory: pytest.TempPathFactory, patients: Patients,
    design: str, runs: int, folds: int, shares: tuple[float, float, float], seed: int, variants: int,
) -> None:  # fmt: skip
    split = SplitOptions(train=shares[0], validation=shares[1], test=shares[2], folds=folds, seed=seed)
    recipe, spy = recipe_of(design, runs, split, variants), spied()
    out = tmp_path_factory.mktemp("study")
    write_cohort(out / "real.cohort", patients, split)
    try:
        stages = outline(recipe, out, sorted({site for site, _ in patients.values()})).stages
        for stage in stages:
            if stage.kind not in ("prepare", "pool", "report"):
                stage.work()
    except CohortError:
        assert design == "leave-one-site-out"  # of one site, or of all patients but one
        return
    assert spy.judged
    tested: dict[str, int] = {}
    for real, synthetic in spy.judged:
        check_splits(real)
        sides = {side: set(real.table["patient"][real.rows(split=side)].tolist()) for side in ("train", "validation")}
        test = set(real.table["patient"][real.rows(split="test")].tolist())
        assert test
        assert not test & (sides["train"] | sides["validation"]), (
            "classical copies, constants, early stopping, threshold"
        )
        assert len(synthetic) == 1 + variants
        for path in synthetic.values():
            gan, conditions = spy.drawn[path]
            assert not test & spy.trained[gan]
            assert spy.shown[gan] == spy.trained[gan] == sides["train"] | sides["validation"]
            assert not test & conditions
            assert conditions == sides["train"]
        for name in test:
            tested[name] = tested.get(name, 0) + 1
    trainings = {out for out in spy.trained if "variants" not in out.parts}
    assert len(trainings) == len(spy.judged), "a generator for each fold of each run"
    if design in ("kfold", "leave-one-site-out"):
        assert tested == dict.fromkeys(patients, runs)


def with_pixels(recipe: Recipe, path: Path, patients: set[str]) -> Recipe:
    """The same patients, sites and labels; those of ``patients`` with other pixels."""
    with np.load(recipe.data.path) as stored:  # type: ignore[union-attr]
        arrays = dict(stored)
    own = np.isin(arrays["patient_id"], sorted(patients))
    random = np.random.default_rng(9)
    arrays["image"][own] = random.uniform(0, 255, arrays["image"][own].shape)
    np.savez(path, **arrays)
    return read_recipe(to_yaml(recipe), "pixels", (f"data.path={path}",))


def learned(folder: Path) -> tuple[dict[str, Any], np.ndarray, list[Any]]:
    """Weights of the generator, what it drew, and all that the classifiers' training left."""
    weights = dict(load_checkpoint(folder / "gan" / "checkpoints" / "last.safetensors").arrays)
    curves = read_evidence(folder).curves
    return weights, np.asarray(open_cohort(folder / "synthetic" / "sample.cohort").images), list(_training(curves))


def _training(curves: Any) -> Iterator[Any]:
    for name, value in curves.items() if isinstance(curves, Mapping) else ():
        if name in ("validation_loss", "best_step", "training_images"):
            yield value
        yield from _training(value)


@pytest.mark.slow
def test_pixels_of_test_patients_change_nothing_that_was_learned(discs: Recipe, tmp_path: Path) -> None:
    """Other pixels of the patients of fold 0: its generator, its images, and its classifiers stay as they are."""
    recipe = read_recipe(to_yaml(discs), "discs", ("protocol.runs=1",))
    run(recipe, tmp_path / "a", say=lambda _: None)
    real = open_cohort(tmp_path / "a" / "folds" / "run-0-fold-0" / "real.cohort")
    test, train = (set(real.table["patient"][real.rows(split=side)].tolist()) for side in ("test", "train"))
    run(with_pixels(recipe, tmp_path / "b.npz", test), tmp_path / "b", say=lambda _: None)
    run(with_pixels(recipe, tmp_path / "c.npz", {min(train)}), tmp_path / "c", say=lambda _: None)
    a, b, c = (learned(tmp_path / name / "folds" / "run-0-fold-0") for name in "abc")
    assert a[2], "the classifiers' training is looked at"
    assert a[0].keys() == b[0].keys()
    for name, value in a[0].items():
        np.testing.assert_array_equal(value, b[0][name])
    np.testing.assert_array_equal(a[1], b[1])
    assert a[2] == b[2]
    judged = [
        read_evidence(tmp_path / name / "folds" / "run-0-fold-0").find("brier", arm="real").value for name in "ab"
    ]
    assert judged[0] != judged[1], "the classifier was tested on the other pixels"
    assert any((value != c[0][name]).any() for name, value in a[0].items()), "those of a training patient do matter"
    assert a[2] != c[2]
    others = [learned(tmp_path / name / "folds" / "run-0-fold-1") for name in "ab"]
    assert any((value != others[1][0][name]).any() for name, value in others[0][0].items())
