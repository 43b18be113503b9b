"""The verbs of the command line for Python. Each checks its arguments, calls one stage, and returns what it wrote.

Paths may be texts. ``settings`` is what ``--set`` is on the command line: ``{"training.epochs": 20}``. Every verb
raises the errors of :mod:`synthoma.errors`, and overwrites nothing unless ``overwrite`` is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthoma.errors import InputError, SettingError, describe

if TYPE_CHECKING:
    from synthoma.recipes import Changes

__all__ = ["demo", "evaluate", "export", "generate", "plan", "prepare", "run", "train", "write_report"]

Say = Callable[[str], None]


def prepare(
    source: str,
    path: str | Path,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    settings: Changes = (),
    split: bool = True,
    strict: bool = False,
    workers: int | None = None,
    cache: str | Path | None = None,
    overwrite: bool = False,
    debug: Say | None = None,
) -> Path:
    """Turn a folder of scans into a cohort folder; ``qc.html`` in it shows how well that went.

    Args:
        source: how the scans are stored: a name of :data:`synthoma.scans.FOLDER_SOURCES`, as ``brats`` or ``dicom``.
        path: their folder.
        out: the cohort folder to write.
        recipe: a ready recipe or a file, whose blocks ``data``, ``preprocessing`` and ``split`` are used. Without one,
            the defaults, and patients without a segmentation are kept.
        settings: settings that differ, such as ``{"preprocessing.steps.resize.size": 128}``.
        split: divide the patients into train, validation and test, and folds.
        strict: a scan that cannot be used is an error; otherwise it is left out and ``rejected.csv`` says why.
        workers: processes that work on patients side by side; by default what the recipe says, else as many as there
            are cores, memory and work for.
        cache: a folder that keeps scans between steps: prepared again with another last step, no file is read again.
        overwrite: replace a folder of this name.
        debug: told where an exception came from that nobody foresaw.

    Raises:
        ScanError: nothing in the folder can be used.
        SettingError: an unknown setting or a bad value.
        CohortError: too few patients to split.
        OutputError: ``out`` exists and ``overwrite`` is false.
        LeakError: one image belongs to two patients.
        MissingPartError: a step needs a package or program that is not there.
    """
    from synthoma.protocol.prepare import prepare as prepare_stage
    from synthoma.recipes.preparation import load_preparation

    chosen = load_preparation(source, path, recipe, settings)
    return prepare_stage(
        chosen.data,
        chosen.preprocessing,
        chosen.split if split else None,
        Path(out),
        overwrite=overwrite,
        strict=strict,
        workers=workers or (chosen.protocol.workers if "workers" in chosen.protocol.model_fields_set else None),
        cache=None if cache is None else Path(cache),
        debug=debug,
    )


def train(
    cohort: str | Path,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    settings: Changes = (),
    resume: bool = False,
    overwrite: bool = False,
    devices: int = 1,
) -> Path:
    """Train a GAN on the training patients of a cohort folder; returns the run folder.

    Args:
        cohort: the cohort folder.
        out: the run folder to write.
        recipe: whose blocks ``gan`` and ``training`` are used; the study's settings without one.
        settings: settings that differ, such as ``{"training.epochs": 20}``.
        resume: go on with a run that was stopped; its settings must be the same.
        overwrite: replace another run.
        devices: processes that share the work, a GPU each, or an equal share of the cores.

    Raises:
        SettingError: a setting that is unknown, wrong, or not that of the run to resume.
        OutputError: ``out`` exists and neither ``resume`` nor ``overwrite`` is true.
        Interrupted: Ctrl-C; the state is saved.
    """
    from synthoma.protocol.stages import train_stage
    from synthoma.recipes import read_blocks

    if resume and overwrite:
        raise InputError(describe("train", "either resume or overwrite", "both"))
    blocks = read_blocks(("gan", "training"), recipe, settings)
    return train_stage(
        Path(cohort), Path(out), blocks.gan, blocks.training, resume=resume, overwrite=overwrite, devices=devices
    )


def generate(
    run: str | Path,
    cohort: str | Path,
    out: str | Path,
    *,
    method: str | None = None,
    recipe: str | Path | None = None,
    settings: Changes = (),
    overwrite: bool = False,
) -> Path:
    """Write a synthetic cohort.

    Args:
        run: the run folder of a trained GAN, or one of its checkpoints.
        cohort: the real cohort that gives conditions and lesions.
        out: the synthetic cohort to write.
        method: of a conditional GAN ``reconstruct``, ``transplant``, ``remove`` or ``redraw``; of a CycleGAN
            ``translate``, ``back``, ``cycle`` or ``redraw``; of a WGAN-GP ``sample``. The first of these when ``None``.
        recipe: whose block ``generation`` is used.
        settings: settings that differ, such as ``{"generation.samples": 50}``.
        overwrite: replace a folder of this name.

    Raises:
        SettingError: an unknown method or setting.
        CheckpointError: no checkpoint, a damaged one, or one for another layout of samples.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    from synthoma.protocol.stages import checkpoint_of, generate_stage
    from synthoma.recipes import read_blocks

    blocks = read_blocks(("generation",), recipe, settings)
    checkpoint = checkpoint_of(Path(run), blocks.generation.use)
    return generate_stage(checkpoint, Path(cohort), Path(out), method, blocks.generation, overwrite=overwrite)


def evaluate(
    real: str | Path,
    synthetic: Mapping[str, str | Path] | Sequence[str | Path],
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    settings: Changes = (),
    overwrite: bool = False,
) -> Path:
    """Measure synthetic cohorts against a real one; writes ``evidence/*.json`` and ``evidence.csv`` to ``out``.

    Args:
        real: the real cohort folder.
        synthetic: name → cohort folder, or the folders alone, whose names are then theirs without ``.cohort``. The one
            called ``reconstruct`` (else the first with references) is compared with the baselines.
        out: the folder to write.
        recipe: whose block ``evaluation`` is used.
        settings: settings that differ, such as ``{"evaluation.bootstrap_draws": 500}``.
        overwrite: replace the evidence that is there.

    Raises:
        CohortError: cohorts that cannot be compared.
        LeakError: a generator saw a patient of the evaluation set (exit code 4).
        OutputError: there is evidence in ``out`` and ``overwrite`` is false.
    """
    from synthoma.protocol.stages import by_folder_name, evaluate_stage
    from synthoma.recipes import read_blocks

    blocks = read_blocks(("evaluation",), recipe, settings)
    named = synthetic if isinstance(synthetic, Mapping) else by_folder_name(synthetic)
    paths = {name: Path(path) for name, path in named.items()}
    return evaluate_stage(Path(real), paths, Path(out), blocks.evaluation, overwrite=overwrite)


def export(
    what: str | Path,
    out: str | Path,
    *,
    kind: str = "nifti",
    settings: Mapping[str, Any] | None = None,
    evidence: str | Path | None = None,
    accept_privacy_risk: str = "",
    overwrite: bool = False,
    say: Say = print,
) -> Path:
    """Write a cohort as files for other programs, or a trained generator for other people; returns their folder.

    What is synthetic, and what draws it, leaves the house only after its privacy audit; ``docs/release.md``.

    Args:
        what: the cohort folder; of a generator the folder of its study or run.
        out: the folder to write.
        kind: of a cohort ``nifti``, ``dicom``, ``nnunet``, ``brats`` or ``png``; of a generator ``bundle``,
            ``safetensors`` or ``torch-export``.
        settings: of a cohort's format, such as ``{"slices": "single"}``: the fields of
            :data:`synthoma.exports.EXPORT_OPTIONS`.
        evidence: the folder that holds ``evidence/``; by default the nearest above ``what``.
        accept_privacy_risk: the reason to release what did not pass the audit; it is written into the export.
        overwrite: replace a folder of this name.
        say: told what should be known of an export of patients' images.

    Raises:
        SettingError: an unknown format, or a setting that it has not.
        CohortError: no cohort, or one that does not fit the format.
        CheckpointError: no generator, or a damaged one.
        OutputError: ``out`` exists and ``overwrite`` is false.
        PrivacyError: no privacy audit, or one that found a near-duplicate (exit code 4).
    """
    from synthoma.exports import EXPORTS, RUN_EXPORTS, export_options
    from synthoma.protocol.release import export_cohort, export_generator

    if kind not in {*EXPORTS, *RUN_EXPORTS}:
        raise SettingError(describe("kind", "one of " + ", ".join((*EXPORTS, *RUN_EXPORTS)), f"'{kind}'"))
    place, known = Path(what), None if evidence is None else Path(evidence)
    more = export_options(kind, settings or {})
    if kind in RUN_EXPORTS:
        return export_generator(place, Path(out), kind, known, accept_privacy_risk, overwrite=overwrite)
    return export_cohort(place, Path(out), kind, known, accept_privacy_risk, overwrite=overwrite, say=say, **more)


def write_report(folder: str | Path, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the report of a study, or of an evaluation alone, as one HTML file.

    A folder beside it (``report-tables`` beside ``report.html``) holds its tables, methods and check-lists as files.

    Args:
        folder: what :func:`run`, :func:`demo` or :func:`evaluate` wrote.
        out: the file to write.
        overwrite: replace a file of this name.
    """
    from synthoma.protocol.stages import report_stage

    return report_stage(Path(folder), Path(out), overwrite=overwrite)


def run(
    recipe: str | Path,
    out: str | Path,
    *,
    settings: Changes = (),
    workers: int | None = None,
    overwrite: bool = False,
    say: Say = print,
) -> Path:
    """Take a recipe through all stages, from scans to report; returns the report. Called again, it goes on.

    Args:
        recipe: a ready recipe by name, or a file.
        out: the folder of the study.
        settings: settings that differ, such as ``{"data.path": "scans"}``.
        workers: processes that work side by side; by default what the recipe says.
        overwrite: do the stages anew whose settings changed, and all after them.
        say: told what is being done.
    """
    from synthoma.protocol.run import run as run_study
    from synthoma.recipes import load_recipe

    return run_study(load_recipe(recipe, settings), Path(out), workers=workers, overwrite=overwrite, say=say)


def plan(recipe: str | Path, out: str | Path, *, settings: Changes = (), workers: int | None = None) -> list[str]:
    """What :func:`run` would do, in lines: its stages, which are done, the estimated cost. Nothing is written."""
    from synthoma.protocol.plan import plan as plan_study
    from synthoma.recipes import load_recipe

    return plan_study(load_recipe(recipe, settings), Path(out), workers=workers)


def demo(
    out: str | Path = "demo",
    *,
    anatomy: str = "brain",
    settings: Changes = (),
    overwrite: bool = False,
    say: Say = print,
) -> Path:
    """The whole path on phantoms, in minutes: :func:`run` with the recipe ``demo``, ``demo-lung`` or ``demo-liver``.

    Raises:
        SettingError: ``anatomy`` is none of brain, lung and liver.
    """
    recipes = {"brain": "demo", "lung": "demo-lung", "liver": "demo-liver"}
    if anatomy not in recipes:
        raise SettingError(describe("anatomy", "brain, lung or liver", f"'{anatomy}'"))
    return run(recipes[anatomy], out, settings=settings, overwrite=overwrite, say=say)
