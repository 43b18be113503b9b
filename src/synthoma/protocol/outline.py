"""The graph of a recipe: which stages there are, in which folders, and what each waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from synthoma.phantoms import (
    BrainPhantomOptions,
    LiverPhantomOptions,
    LungPhantomOptions,
    write_brain_phantom,
    write_liver_phantom,
    write_lung_phantom,
)
from synthoma.protocol.folds import Fold, folds_of, seed_of, write_fold
from synthoma.protocol.graph import Stage, Work
from synthoma.protocol.pooled import pool_stage
from synthoma.protocol.prepare import prepare
from synthoma.protocol.stages import checkpoint_of, evaluate_stage, generate_stage, report_stage, train_stage
from synthoma.recipes.recipe import Recipe
from synthoma.scans import BratsData, DataOptions, LidcData, TciaLiverData
from synthoma.training import RunFolder

__all__ = ["PHANTOMS", "Outline", "first_stages", "fold_recipe", "outline"]

PHANTOMS: Mapping[type, tuple[Callable[..., object], Callable[[Path], DataOptions]]] = {
    BrainPhantomOptions: (write_brain_phantom, lambda folder: BratsData(path=folder)),
    LungPhantomOptions: (write_lung_phantom, lambda folder: LidcData(path=folder, indeterminate="drop")),
    LiverPhantomOptions: (write_liver_phantom, lambda folder: TciaLiverData(path=folder)),
}
"""Settings of a phantom → what draws it, and how what was drawn is read."""


@dataclass(frozen=True)
class Outline:
    """The stages of a study, parents first."""

    stages: tuple[Stage, ...]
    folds: tuple[Fold, ...] = ()
    whole: bool = True
    """Whether these are all; those of ``leave-one-site-out`` are known when the sites are."""


def outline(recipe: Recipe, out: Path, sites: Sequence[str] | None = None, *, workers: int = 1) -> Outline:
    """All stages of ``recipe`` in the folder ``out``.

    Args:
        sites: those of the prepared cohort, ``None`` before it is there; only ``leave-one-site-out`` asks for them.
        workers: processes that prepare patients side by side.

    Raises:
        CohortError: ``leave-one-site-out`` of patients of one site.
    """
    first = first_stages(recipe, out, workers=workers)
    protocol, real = recipe.protocol, out / "real.cohort"
    if protocol.design == "single":
        stages, synthetic = _methods(recipe, out, real, first[-1].name)
        evaluated = _evaluate(recipe, out, real, synthetic, stages)
        return Outline((*first, *stages, evaluated, _report(recipe, out, evaluated)))
    if protocol.design == "leave-one-site-out" and sites is None:
        return Outline(first, whole=False)
    folds = folds_of(protocol.design, protocol.runs, recipe.split.folds, sites or ())
    stages = []
    evaluations = []
    for fold in folds:
        own, folder = fold_recipe(recipe, fold), out / "folds" / fold.folder
        divided = _divide(recipe, folder, real, fold, first[-1].name)
        made, synthetic = _methods(own, folder, folder / "real.cohort", divided.name, f"{fold.name}: ")
        evaluations.append(_evaluate(own, folder, folder / "real.cohort", synthetic, made, f"{fold.name}: "))
        stages += [divided, *made, evaluations[-1]]
    pooled = _pool(recipe, out, folds, evaluations)
    return Outline((*first, *stages, pooled, _report(recipe, out, pooled)), folds)


def first_stages(recipe: Recipe, out: Path, *, workers: int = 1) -> tuple[Stage, ...]:
    """From files, or a phantom, to the prepared cohort; done by the process that runs the study."""
    content, data, stages, real = recipe.model_dump(mode="json"), recipe.data, [], out / "real.cohort"
    blocks = {name: content[name] for name in ("data", "preprocessing", "split")}
    if type(data) in PHANTOMS:
        draw, reader = PHANTOMS[type(data)]
        folder = out / "phantom"
        settings = {"data": {key: value for key, value in content["data"].items() if key != "workers"}}
        work = Work(draw, {"folder": folder, "options": data})
        stages.append(_stage("phantom", settings, (), (folder,), folder.is_dir, work, here=True))
        data = reader(folder)
    arguments = {"data": data, "preprocessing": recipe.preprocessing, "split": recipe.split, "out": real,
                 "workers": workers}  # fmt: skip
    before = tuple(stage.name for stage in stages)
    stages.append(_stage("prepare", blocks, before, (real,), real.is_dir, Work(prepare, arguments), here=True))
    return tuple(stages)


def fold_recipe(recipe: Recipe, fold: Fold) -> Recipe:
    """The recipe with the seeds of a fold."""
    blocks = {name: getattr(recipe, name) for name in ("training", "generation", "evaluation")}
    return recipe.model_copy(
        update={name: block.model_copy(update={"seed": seed_of(block.seed, fold)}) for name, block in blocks.items()}
    )


def _stage(
    name: str, settings: Mapping[str, Any], parents: Sequence[str], outputs: tuple[Path, ...], done: Callable[[], bool],
    work: Work, *, here: bool = False,
) -> Stage:  # fmt: skip
    return Stage(name, settings, tuple(parents), outputs, done, work, name.rpartition(": ")[2], here)


def _divide(recipe: Recipe, folder: Path, real: Path, fold: Fold, before: str) -> Stage:
    cohort = folder / "real.cohort"
    work = Work(write_fold, {"real": real, "out": cohort, "fold": fold, "split": recipe.split})
    return _stage(f"{fold.name}: divide", {"fold": asdict(fold)}, (before,), (cohort,), cohort.is_dir, work, here=True)


def _methods(
    recipe: Recipe, folder: Path, real: Path, before: str, prefix: str = ""
) -> tuple[list[Stage], dict[str, Path]]:
    """Trainings and what they draw; name of each synthetic cohort → its folder."""
    gan = folder / "gan"
    stages = [_train(recipe, f"{prefix}train", real, gan, before)]
    changed = {name: recipe.variant(name) for name in recipe.protocol.variants}
    variants = {name: folder / "variants" / name / "gan" for name in changed}
    stages += [_train(changed[name], f"{prefix}train {name}", real, variants[name], before) for name in changed]
    synthetic: dict[str, Path] = {}
    for way in recipe.methods:
        synthetic[way] = folder / "synthetic" / f"{way}.cohort"
        stages.append(_generate(recipe, f"{prefix}generate {way}", real, gan, synthetic[way], way, f"{prefix}train"))
    for name, variant in changed.items():
        for way in variant.methods:
            arm = name if way == variant.methods[0] else f"{name}-{way}"
            synthetic[arm] = folder / "variants" / name / f"{way}.cohort"
            stage = f"{prefix}generate {arm}"
            trained = f"{prefix}train {name}"
            stages.append(_generate(variant, stage, real, variants[name], synthetic[arm], way, trained))
    return stages, synthetic


def _train(recipe: Recipe, name: str, real: Path, folder: Path, before: str) -> Stage:
    content = recipe.model_dump(mode="json")
    settings = {"gan": content["gan"], "training": content["training"]}
    arguments = {"cohort": real, "out": folder, "gan": recipe.gan, "training": recipe.training, "resume": True,
                 "title": name}  # fmt: skip
    return _stage(name, settings, (before,), (folder,), partial(_trained, folder), Work(train_stage, arguments))


def _trained(folder: Path) -> bool:
    return RunFolder(folder).finished


def _generate(recipe: Recipe, name: str, real: Path, gan: Path, out: Path, way: str, trained: str) -> Stage:
    content = recipe.model_dump(mode="json")
    settings = {"generation": {key: value for key, value in content["generation"].items() if key != "methods"}}
    work = Work(_draw, {"gan": gan, "real": real, "out": out, "way": way, "options": recipe.generation})
    return _stage(name, settings, (trained,), (out,), out.is_dir, work)


def _draw(gan: Path, real: Path, out: Path, way: str, options: Any) -> Path:
    return generate_stage(checkpoint_of(gan, options.use), real, out, way, options)


def _evaluate(
    recipe: Recipe, out: Path, real: Path, synthetic: Mapping[str, Path], made: Sequence[Stage], prefix: str = ""
) -> Stage:
    settings = {"evaluation": recipe.model_dump(mode="json")["evaluation"], "compared": sorted(synthetic)}
    drawn = [stage.name for stage in made if stage.kind.startswith("generate ")]
    arguments = {"real": real, "synthetic": synthetic, "out": out, "options": recipe.evaluation, "overwrite": True}
    outputs = (out / "evidence", out / "evidence.csv", out / "compared.json")
    table = out / "evidence.csv"
    return _stage(f"{prefix}evaluate", settings, drawn, outputs, table.is_file, Work(evaluate_stage, arguments))


def _pool(recipe: Recipe, out: Path, folds: Sequence[Fold], evaluations: Sequence[Stage]) -> Stage:
    places = {fold: out / "folds" / fold.folder for fold in folds}
    arguments = {"folds": places, "out": out, "options": recipe.evaluation}
    outputs = (out / "evidence", out / "evidence.csv", out / "compared.json")
    settings = {"design": recipe.protocol.design, "evaluation": recipe.model_dump(mode="json")["evaluation"]}
    names = [stage.name for stage in evaluations]
    table = out / "evidence.csv"
    return _stage("pool", settings, names, outputs, table.is_file, Work(pool_stage, arguments), here=True)


def _report(recipe: Recipe, out: Path, before: Stage) -> Stage:
    page, tables = out / "report.html", out / "report-tables"
    work = Work(report_stage, {"folder": out, "path": page, "overwrite": True})
    done = partial(_reported, page, tables)
    return _stage("report", {"title": recipe.title}, (before.name,), (page, tables), done, work, here=True)


def _reported(page: Path, tables: Path) -> bool:
    return page.is_file() and tables.is_dir()
