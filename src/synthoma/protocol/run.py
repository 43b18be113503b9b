"""A whole study: every stage of a recipe in one output folder. Run again, it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from synthoma.cohort import open_cohort
from synthoma.errors import OutputError, describe
from synthoma.gans import ConditionalOptions
from synthoma.protocol.graph import keys_of
from synthoma.protocol.ledger import Ledger
from synthoma.protocol.outline import Outline, first_stages, outline
from synthoma.protocol.runners import InProcess, Runner, Workers
from synthoma.protocol.schedule import execute
from synthoma.recipes.recipe import Recipe, to_yaml
from synthoma.storage import writable, write_bytes

__all__ = ["check_study", "known_outline", "run"]

Say = Callable[[str], None]


def run(recipe: Recipe, out: Path, *, overwrite: bool = False, workers: int | None = None, say: Say = print) -> Path:
    """Run every stage of ``recipe`` in the folder ``out``; returns the report.

    A stage that is complete is not done again. Stopped by Ctrl-C or killed, the same call goes on. ``stages.json``
    keeps the settings of each stage: where they, or the stages before it, are others, it is done anew if ``overwrite``
    is true.

    Args:
        workers: processes that work side by side; those of the recipe when ``None``.
        say: told what is being done.

    Raises:
        SettingError: a finished stage was done with other settings and ``overwrite`` is false.
        OutputError: ``out`` exists and is not the folder of a study.
        MissingPartError: a file of pretrained weights, or Ray, is not there; found before anything is done.
        ProcessError: a worker was killed more often than ``protocol.retries``.
        Interrupted: Ctrl-C; what was done is kept.
    """
    out = Path(out)
    workers = workers or recipe.protocol.workers
    check_study(recipe, out)
    runner = _runner(recipe, out, workers)
    with writable(out):
        out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(out)
    ledger.check(known_outline(recipe, out, ledger, workers=workers).stages, overwrite=overwrite)
    write_bytes(out / "recipe.yaml", to_yaml(recipe).encode())
    known = known_outline(recipe, out, ledger, workers=workers)
    execute(known.stages, ledger, runner, retries=recipe.protocol.retries, say=say)
    if not known.whole:
        known = known_outline(recipe, out, ledger, workers=workers)
        ledger.check(known.stages, overwrite=overwrite)
        execute(known.stages, ledger, runner, retries=recipe.protocol.retries, say=say)
    return out / "report.html"


def check_study(recipe: Recipe, out: Path) -> None:
    """Refuse what can be refused before anything is written.

    Raises:
        OutputError: ``out`` exists and is not the folder of a study.
        MissingPartError: a file of pretrained weights is not there.
    """
    for study in (recipe, *(recipe.variant(name) for name in recipe.protocol.variants)):
        if isinstance(study.gan, ConditionalOptions):
            study.gan.perceptual.check_weights()
    recipe.evaluation.check_extractor()
    recipe.evaluation.classifier.check_weights()
    if out.exists() and not (out / "stages.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(describe(out, "a new folder or that of a study", "another one", "Choose another --out."))


def known_outline(recipe: Recipe, out: Path, ledger: Ledger, *, workers: int = 1) -> Outline:
    """The stages as far as they are known: the sites of a cohort when it is prepared with these settings."""
    first = first_stages(recipe, out, workers=workers)
    sites = None
    if recipe.protocol.design == "leave-one-site-out" and ledger.is_done(first[-1], keys_of(first)[first[-1].name]):
        sites = sorted(set(open_cohort(out / "real.cohort").table["site"].tolist()))
    return outline(recipe, out, sites, workers=workers)


def _runner(recipe: Recipe, out: Path, workers: int) -> Runner:
    protocol = recipe.protocol
    if protocol.runner == "ray":
        from synthoma.protocol.ray_runner import Cluster

        return Cluster(protocol.ray_address, cpus=protocol.cpus_per_stage or 1, gpus=protocol.gpus_per_stage)
    if workers == 1:
        return InProcess()
    return Workers(workers, out / "logs", threads=protocol.cpus_per_stage, gpus_per_stage=protocol.gpus_per_stage)
