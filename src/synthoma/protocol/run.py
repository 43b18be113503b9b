"""A whole study: every stage of a recipe in one output folder. Run again, it goes on where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthoma.errors import OutputError, SettingError, describe
from synthoma.gans import ConditionalOptions
from synthoma.options import first_difference
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom
from synthoma.protocol.prepare import prepare
from synthoma.protocol.stages import checkpoint_of, evaluate_stage, generate_stage, report_stage, train_stage
from synthoma.recipes.recipe import Recipe, to_yaml
from synthoma.scans import BratsData
from synthoma.storage import read_json, writable, write_bytes, write_json
from synthoma.training import RunFolder

__all__ = ["run"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Stage:
    """A step of the study: the settings it depends on, what it leaves, whether that is complete, and how to do it."""

    name: str
    settings: Mapping[str, Any]
    outputs: tuple[Path, ...]
    done: Callable[[], bool]
    do: Callable[[], object]


def run(recipe: Recipe, out: Path, *, overwrite: bool = False, say: Say = print) -> Path:
    """Run every stage of ``recipe`` in the folder ``out``; returns the report.

    A stage that is complete is not done again. Stopped by Ctrl-C or killed, the same call goes on. ``stages.json``
    keeps the settings of each stage: with other settings the stage, and all after it, are done anew if ``overwrite`` is
    true.

    Raises:
        SettingError: a finished stage was done with other settings and ``overwrite`` is false.
        OutputError: ``out`` exists and is not the folder of a study.
        MissingPartError: a file of pretrained weights is not there; found before anything is done.
    """
    for study in (recipe, *(recipe.variant(name) for name in recipe.protocol.variants)):
        if isinstance(study.gan, ConditionalOptions):
            study.gan.perceptual.check_weights()
    out = Path(out)
    ledger = out / "stages.json"
    if out.exists() and not ledger.is_file() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(describe(out, "a new folder or that of a study", "another one", "Choose another --out."))
    with writable(out):
        out.mkdir(parents=True, exist_ok=True)
    begun: dict[str, Any] = read_json(ledger) if ledger.is_file() else {}
    stages = _stages(recipe, out)
    redo = _first_changed(stages, begun, out, overwrite=overwrite)
    for stage in reversed(stages[redo:]):  # all of them before the first is done anew: a run may be stopped in between
        for path in stage.outputs:
            _remove(path)
    write_bytes(out / "recipe.yaml", to_yaml(recipe).encode())
    for number, stage in enumerate(stages):
        begun[stage.name] = stage.settings
        write_json(ledger, {s.name: begun[s.name] for s in stages if s.name in begun})
        where = f"[{number + 1}/{len(stages)}] {stage.name}"
        if stage.done():
            say(f"{where}: done before")
            continue
        say(f"{where} …")
        stage.do()
    return out / "report.html"


def _first_changed(stages: list[_Stage], begun: Mapping[str, Any], out: Path, *, overwrite: bool) -> int:
    """Number of the first stage to be done anew because its settings changed; refused unless asked for."""
    for number, stage in enumerate(stages):
        if stage.name not in begun:
            continue
        differs = first_difference(begun[stage.name], stage.settings)
        if differs is None:
            continue
        if not overwrite:
            key, before, now = differs
            remedy = f"Add --overwrite to do '{stage.name}' and all after it anew, or choose another --out."
            raise SettingError(describe(key, f"{before!r}, as in {out}", repr(now), remedy))
        return number
    return len(stages)


def _stages(recipe: Recipe, out: Path) -> list[_Stage]:
    """The stages in order."""
    content = recipe.model_dump(mode="json")
    real, gan = out / "real.cohort", out / "gan"
    stages, data = [], recipe.data
    if isinstance(data, BrainPhantomOptions):
        phantom, options = out / "phantom", data
        stages.append(
            _Stage(
                "phantom",
                {"data": {key: value for key, value in content["data"].items() if key != "workers"}},
                (phantom,),
                phantom.is_dir,
                lambda: write_brain_phantom(phantom, options),
            )
        )
        data = BratsData(path=phantom)
    blocks = {name: content[name] for name in ("data", "preprocessing", "split")}
    source = data
    stages.append(
        _Stage(
            "prepare",
            blocks,
            (real,),
            real.is_dir,
            lambda: prepare(source, recipe.preprocessing, recipe.split, real, workers=recipe.protocol.workers),
        )
    )
    stages.append(_train(recipe, "train", real, gan))
    changed = {name: recipe.variant(name) for name in recipe.protocol.variants}
    variants = {name: out / "variants" / name / "gan" for name in changed}
    stages += [_train(changed[name], f"train {name}", real, variants[name]) for name in changed]
    synthetic: dict[str, Path] = {}
    for method in recipe.methods:
        synthetic[method] = out / "synthetic" / f"{method}.cohort"
        stages.append(_generate(recipe, f"generate {method}", real, gan, synthetic[method], method))
    for name, variant in changed.items():
        for way in variant.methods:
            arm = name if way == variant.methods[0] else f"{name}-{way}"
            synthetic[arm] = out / "variants" / name / f"{way}.cohort"
            stages.append(_generate(variant, f"generate {arm}", real, variants[name], synthetic[arm], way))
    stages.append(
        _Stage(
            "evaluate",
            {"evaluation": content["evaluation"], "compared": sorted(synthetic)},
            (out / "evidence", out / "evidence.csv", out / "compared.json"),
            (out / "evidence.csv").is_file,
            lambda: evaluate_stage(real, synthetic, out, recipe.evaluation, overwrite=True),
        )
    )
    stages.append(
        _Stage(
            "report",
            {"title": recipe.title},
            (out / "report.html",),
            (out / "report.html").is_file,
            lambda: report_stage(out, out / "report.html"),
        )
    )
    return stages


def _train(recipe: Recipe, name: str, real: Path, folder: Path) -> _Stage:
    content = recipe.model_dump(mode="json")
    return _Stage(
        name,
        {"gan": content["gan"], "training": content["training"]},
        (folder,),
        lambda: RunFolder(folder).finished,
        lambda: train_stage(real, folder, recipe.gan, recipe.training, resume=True, title=name),
    )


def _generate(recipe: Recipe, name: str, real: Path, gan: Path, out: Path, method: str) -> _Stage:
    content = recipe.model_dump(mode="json")
    return _Stage(
        name,
        {"generation": {key: value for key, value in content["generation"].items() if key != "methods"}},
        (out,),
        out.is_dir,
        lambda: generate_stage(checkpoint_of(gan, recipe.generation.use), real, out, method, recipe.generation),
    )


def _remove(path: Path) -> None:
    with writable(path):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
