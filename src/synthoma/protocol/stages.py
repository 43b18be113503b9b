"""The stages after preparation as functions of a recipe and an output folder; between them are only files."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from synthoma import __version__
from synthoma.cohort import open_cohort
from synthoma.errors import InputError, describe
from synthoma.evaluation import EvaluationOptions, evaluate, read_evidence, write_evidence
from synthoma.gans import GanOptions
from synthoma.generation import GenerationOptions
from synthoma.recipes import Recipe, read_recipe, to_yaml
from synthoma.report import ReportContent, read_log, write_report
from synthoma.storage import check_new, file_sha256, read_json, writable, write_json
from synthoma.training import RunFolder, TrainingOptions

__all__ = [
    "by_folder_name",
    "checkpoint_of",
    "environment",
    "evaluate_stage",
    "generate_stage",
    "report_stage",
    "train_stage",
]


def train_stage(
    cohort: Path,
    out: Path,
    gan: GanOptions,
    training: TrainingOptions,
    *,
    resume: bool = False,
    overwrite: bool = False,
    title: str = "training",
    devices: int = 1,
) -> Path:
    """Train on a cohort folder; see :func:`synthoma.training.loop.train`.

    With ``overwrite`` the folder of another run is replaced; it stays where it is when the new run cannot begin.
    With several ``devices`` other processes train, and this one waits for them.
    """
    from synthoma.training.launch import launch
    from synthoma.training.loop import train
    from synthoma.training.processes import is_main

    opened = open_cohort(cohort)
    with _out_of_the_way(Path(out)) if overwrite and is_main() else nullcontext():
        if devices > 1:
            return launch(cohort, out, gan, training, devices, resume=resume)
        return train(opened, out, gan, training, resume=resume, title=title)


@contextmanager
def _out_of_the_way(run: Path) -> Iterator[None]:
    """Move a run folder aside; bring it back if nothing takes its place."""
    if not (run / "run.json").is_file():
        yield
        return
    aside = run.with_name(f".{run.name}.old")
    with writable(run):
        shutil.rmtree(aside, ignore_errors=True)
        run.rename(aside)
    try:
        yield
    finally:
        with writable(run):
            if (run / "run.json").is_file():
                shutil.rmtree(aside)
            else:
                shutil.rmtree(run, ignore_errors=True)
                aside.rename(run)


def checkpoint_of(run: Path, use: str = "best") -> Path:
    """The checkpoint of a run folder that draws images: ``best`` (``last`` where no validation chose one) or ``last``.

    A path to a ``.safetensors`` file is taken as it is.
    """
    if run.suffix == ".safetensors":
        return run
    folder = RunFolder(run)
    if use == "best" and folder.best.is_file():
        return folder.best
    return folder.last


def generate_stage(
    checkpoint: Path,
    cohort: Path,
    out: Path,
    method: str | None,
    options: GenerationOptions,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the synthetic cohort of one method; see :func:`synthoma.generation.generate.generate`."""
    from synthoma.generation.generate import generate

    return generate(checkpoint, open_cohort(cohort), out, method, options, overwrite=overwrite)


def by_folder_name(folders: Sequence[str | Path]) -> dict[str, Path]:
    """Cohorts by the names of their folders, without ``.cohort``.

    Raises:
        InputError: two have one name.
    """
    named: dict[str, Path] = {}
    for path in map(Path, folders):
        name = path.resolve().name.removesuffix(".cohort")
        if name in named:
            found = f"'{name}' twice: {named[name]} and {path}"
            raise InputError(describe("synthetic cohorts", "folders of different names", found))
        named[name] = path
    return named


def evaluate_stage(
    real: Path, synthetic: Mapping[str, Path], out: Path, options: EvaluationOptions, *, overwrite: bool = False
) -> Path:
    """Measure synthetic cohorts against the real one.

    Writes ``out/evidence/*.json``, ``out/evidence.csv``, and ``out/compared.json``, which names the cohorts for the
    report.
    """
    if not synthetic:
        raise InputError(describe("synthetic cohorts", "at least one", "none"))
    check_new(out / "evidence.csv", overwrite=overwrite)  # before minutes of work
    opened = {name: open_cohort(path) for name, path in synthetic.items()}
    evidence = evaluate(open_cohort(real), opened, options, cache=out / "cache")
    places = {name: _relative(path, out) for name, path in synthetic.items()}
    write_json(out / "compared.json", {"real": _relative(real, out), "synthetic": places})
    write_evidence(out, evidence, overwrite=overwrite)
    return out


def report_stage(folder: Path, path: Path, *, overwrite: bool = False) -> Path:
    """Gather what the stages left in ``folder`` and write the report to ``path``.

    ``folder`` is that of a study, or of an evaluation alone: then there are no learning curves and no recipe to show.

    Raises:
        InputError: nothing was evaluated there, or a cohort that was compared is gone.
        OutputError: ``path`` exists and ``overwrite`` is false.
    """
    check_new(path, overwrite=overwrite)
    if not (folder / "compared.json").is_file():
        expected, remedy = "the folder of a study or an evaluation", "Make one with synthoma run or synthoma evaluate."
        raise InputError(describe(folder, expected, "nothing that was evaluated", remedy))
    compared, found = read_json(folder / "compared.json"), read_evidence(folder)
    written = folder / "recipe.yaml"
    recipe = without_salt(read_recipe(written.read_text("utf-8"), str(written))) if written.is_file() else None
    runs = {run.parent.name: run for run in sorted(folder.glob("variants/*/gan"))}
    content = ReportContent(
        title=recipe.title if recipe else folder.resolve().name,
        real=open_cohort(folder / compared["real"]),
        synthetic={name: open_cohort(folder / place) for name, place in compared["synthetic"].items()},
        log=read_log(folder / "gan" / "log.jsonl") if (folder / "gan" / "log.jsonl").is_file() else (),
        variants={name: read_log(run / "log.jsonl") for name, run in runs.items() if (run / "log.jsonl").is_file()},
        measurements=found.measurements,
        curves=found.curves,
        warnings=found.warnings,
        verdicts=[{"claim": v.claim, "verdict": v.verdict, "because": v.because} for v in found.verdicts],
        recipe_yaml=to_yaml(recipe) if recipe else "",
        variant_recipes={name: to_yaml(recipe.variant(name)) for name in recipe.protocol.variants} if recipe else {},
        checksums=_checksums(folder, recipe),
        environment=environment(),
        definitions=found.definitions,
    )
    return write_report(path, content, overwrite=overwrite)


def _checksums(folder: Path, recipe: Recipe | None) -> dict[str, str]:
    """SHA-256 of the weights that drew, by training: of the study's own, of its variants, of every fold."""
    places = ("gan", "variants/*/gan", "folds/*/gan", "folds/*/variants/*/gan")
    runs = sorted(run for place in places for run in folder.glob(place))
    use = recipe.generation.use if recipe else "best"
    weights = [checkpoint_of(run, use) for run in runs]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in weights if path.is_file()}


def without_salt(recipe: Recipe) -> Recipe:
    """A recipe as it may be shown: what pseudonyms are made with stays with the user, since a report is passed on."""

    def cleared(settings: Any) -> Any:
        if isinstance(settings, dict):
            return {name: "" if name == "salt" else cleared(value) for name, value in settings.items()}
        return settings

    return Recipe.model_validate(cleared(recipe.model_dump(mode="json")))


def _relative(path: Path, start: Path) -> str:
    """``path`` as seen from the folder ``start``, so that both can be moved together."""
    return Path(os.path.relpath(path, start)).as_posix()


def environment() -> dict[str, str]:
    """Versions and machine, for the report."""
    from importlib.metadata import version

    import torch

    names = ("torch", "numpy", "scipy", "scikit-image", "scikit-learn", "nibabel", "SimpleITK")
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return {
        "synthoma": __version__,
        **{name: version(name) for name in names},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": gpu or f"CPU, {torch.get_num_threads()} threads",
    }
