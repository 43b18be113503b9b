"""The stages after preparation as functions of a recipe and an output folder; between them are only files."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from synthoma.cohort import open_cohort
from synthoma.errors import InputError, describe
from synthoma.evaluation import EvaluationOptions, evaluate, read_evidence, write_evidence
from synthoma.gans import GanOptions
from synthoma.generation import GenerationOptions
from synthoma.report import ReportContent, read_log, write_report
from synthoma.training import RunFolder, TrainingOptions

__all__ = ["checkpoint_of", "environment", "evaluate_stage", "generate_stage", "report_stage", "train_stage"]


def train_stage(
    cohort: Path,
    out: Path,
    gan: GanOptions,
    training: TrainingOptions,
    *,
    resume: bool = False,
    title: str = "training",
) -> Path:
    """Train on a cohort folder; see :func:`synthoma.training.loop.train`."""
    from synthoma.training.loop import train

    return train(open_cohort(cohort), out, gan, training, resume=resume, title=title)


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
    checkpoint: Path, cohort: Path, out: Path, method: str, options: GenerationOptions, *, overwrite: bool = False
) -> Path:
    """Write the synthetic cohort of one method; see :func:`synthoma.generation.generate.generate`."""
    from synthoma.generation.generate import generate

    return generate(checkpoint, open_cohort(cohort), out, method, options, overwrite=overwrite)


def evaluate_stage(
    real: Path, synthetic: Mapping[str, Path], out: Path, options: EvaluationOptions, *, overwrite: bool = False
) -> Path:
    """Measure synthetic cohorts against the real one; writes ``out/evidence/*.json`` and ``out/evidence.csv``."""
    if not synthetic:
        raise InputError(describe("synthetic cohorts", "at least one", "none"))
    evidence = evaluate(
        open_cohort(real), {name: open_cohort(path) for name, path in synthetic.items()}, options, cache=out / "cache"
    )
    write_evidence(out, evidence, overwrite=overwrite)
    return out


def report_stage(
    path: Path,
    *,
    title: str,
    real: Path,
    synthetic: Mapping[str, Path],
    run: Path | None,
    variants: Mapping[str, Path],
    evidence: Path,
    recipe_yaml: str,
    overwrite: bool = False,
) -> Path:
    """Gather what the stages left on disk and write the report to ``path``."""
    found = read_evidence(evidence)
    content = ReportContent(
        title=title,
        real=open_cohort(real),
        synthetic={name: open_cohort(folder) for name, folder in synthetic.items()},
        log=read_log(run / "log.jsonl") if run else (),
        variants={name: read_log(folder / "log.jsonl") for name, folder in variants.items()},
        measurements=found.measurements,
        curves=found.curves,
        warnings=found.warnings,
        verdicts=[{"claim": v.claim, "verdict": v.verdict, "because": v.because} for v in found.verdicts],
        recipe_yaml=recipe_yaml,
        environment=environment(),
        definitions=found.definitions,
    )
    return write_report(path, content, overwrite=overwrite)


def environment() -> dict[str, str]:
    """Versions and machine, for the report."""
    from importlib.metadata import version

    import torch

    names = ("synthoma", "torch", "numpy", "scipy", "scikit-image", "scikit-learn", "nibabel", "SimpleITK")
    return {name: version(name) for name in names} | {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(0)
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
    }
