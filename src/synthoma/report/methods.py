"""The methods of a run as paragraphs that can be pasted into a paper: what was done, in its order, and nothing else.

Each sentence comes from the recipe, the lineages or the measurements. What they do not hold is not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from synthoma.records import Cohort
from synthoma.report.content import ReportContent
from synthoma.report.methods_evaluation import evaluated, statistics
from synthoma.report.methods_gan import generated, trained
from synthoma.report.methods_preparation import prepared, sampled, source
from synthoma.report.naming import recipe_of
from synthoma.report.references import Cited, cite, without_marks
from synthoma.report.shown import label
from synthoma.storage import text_sha256

__all__ = ["methods"]

SOFTWARE = {"torch": ("PyTorch", "paszke2019pytorch"), "numpy": ("NumPy", "harris2020numpy"),
            "scipy": ("SciPy", "virtanen2020scipy"),
            "scikit-image": ("scikit-image", "vanderwalt2014skimage")}  # fmt: skip


def methods(content: ReportContent) -> Cited:
    """The paragraphs, with marks of the works that they cite."""
    recipe = recipe_of(content)
    found = (
        ("Data", _data(content, recipe)),
        ("Preprocessing", _preprocessing(content.real, recipe)),
        ("Partition", _partition(content, recipe)),
        ("Generative model", trained(content, recipe)),
        ("Synthetic images", generated(content, recipe)),
        ("Evaluation", evaluated(content, recipe)),
        ("Statistics", statistics(content, recipe)),
        ("Software and reproducibility", _software(content)),
    )
    return Cited(tuple((heading, " ".join(text)) for heading, text in found if text))


def _data(content: ReportContent, recipe: Mapping[str, Any]) -> list[str]:
    real = content.real
    counts = _counts(real, "label", "images")
    sites = sorted(set(real.table["site"].tolist()) - {""})
    text = source(recipe.get("data") or {})
    text.append(
        f"{len(real)} images of {_many(len(real.patients), 'patient')} ({real.modality}; "
        f"{', '.join(label(name) for name in real.channels)}) were used"
        + (f" from {_many(len(sites), 'site')}" if sites else "")
        + (f": {counts}." if counts else ".")
    )
    masks = [without_marks(name) for name in real.mask_names]
    text += [f"Masks: {', '.join(masks)}."] if masks else []
    left = [note for note in real.notes if "left out" in note]
    text += (
        [f"{_many(len(left), 'remark')} of the preparation on what was left out stand in the report."] if left else []
    )
    digests = sorted(
        {one.parents[0] for one in real.lineages.values() if one.step == "prepare" and len(one.parents) == 1}
    )
    if digests:
        text.append(f"SHA-256 over those of all source files: {', '.join(digests)}.")
    return text


def _preprocessing(real: Cohort, recipe: Mapping[str, Any]) -> list[str]:
    block = recipe.get("preprocessing") or {}
    text = prepared(block.get("steps") or [])
    text += sampled(block.get("sampling") or {})
    shape = " × ".join(str(side) for side in real.images.shape[2:])
    return [
        *text,
        f"Every sample has {shape} {'voxels' if real.images.ndim == 5 else 'pixels'} with values in [−1, 1].",
    ]


def _partition(content: ReportContent, recipe: Mapping[str, Any]) -> list[str]:
    split, protocol = recipe.get("split") or {}, recipe.get("protocol") or {}
    design = protocol.get("design", "single")
    curve = content.curves.get("protocol") or {}
    strata = ", ".join(split.get("stratify") or ())
    how = f", stratified by {strata}" if strata else ""
    seed = f" (seed {split['seed']})" if "seed" in split else ""
    apart = "All samples of a patient stood on one side of every division."
    if curve:
        design, runs = curve["design"], int(curve["runs"])
        sizes = list(curve["patients"].values())
        mean = {side: float(np.mean([size[side] for size in sizes])) for side in ("train", "validation", "test")}
        within = f"on average {mean['train']:.4g} patients to train, {mean['validation']:.4g} to validate, "
        within += f"{mean['test']:.4g} to test"
        name = {
            "kfold": f"{len(curve['tested'])}-fold cross-validation by patient{how}{seed}, {_runs(runs)}",
            "holdout": f"{len(curve['tested'])} random divisions by patient{how}{seed}",
            "leave-one-site-out": f"Each of {len(curve['tested'])} sites was left out in turn {_runs(runs)}",
        }[design]
        return [f"{name}: {within}.", "In every fold of every run a generator of its own was trained, with other "
                                      "seeds, on "
                "patients that were not tested in it.", apart]  # fmt: skip
    patients = {
        side: len(set(content.real.table["patient"][rows].tolist()))
        for side in ("train", "validation", "test")
        if len(rows := content.real.rows(split=side))
    }
    if not patients:
        return []
    words = {"train": "to train", "validation": "to validate", "test": "to test"}
    listed = ", ".join(f"{count} {words[side]}" for side, count in patients.items())
    return [f"Patients were divided at random{how}{seed}: {listed}.", apart]


def _software(content: ReportContent) -> list[str]:
    cohorts = (content.real, *content.synthetic.values())
    lineages = {key: one for cohort in cohorts for key, one in cohort.lineages.items()}
    versions = sorted({one.version for one in lineages.values()})
    text = []
    if versions:
        text.append(f"All steps were carried out with synthoma {', '.join(versions)}.")
    used = [
        f"{name} {content.environment[key]}{cite(work)}"
        for key, (name, work) in SOFTWARE.items() if key in content.environment
    ]  # fmt: skip
    if used:
        text.append(f"When the report was written, it used {', '.join(used)}.")
    if content.recipe_yaml:
        text.append(f"The SHA-256 of the recipe, which holds every setting, is {text_sha256(content.recipe_yaml)}.")
    if lineages:
        listed = ", ".join(
            f"{one.step} {key}" for key, one in sorted(lineages.items(), key=lambda i: (i[1].step, i[0]))
        )
        text.append(f"Lineage of the cohorts: {listed}.")
    if content.checksums:
        listed = ", ".join(f"{name} {digest}" for name, digest in content.checksums.items())
        text.append(f"SHA-256 of the weights that drew the synthetic images: {listed}.")
    return text


def _counts(cohort: Cohort, column: str, noun: str) -> str:
    values, counts = np.unique(cohort.table[column].astype(str), return_counts=True)
    pairs = [f"{count} {noun} {without_marks(value)}" for value, count in zip(values, counts, strict=True) if value]
    return ", ".join(pairs)


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _runs(runs: int) -> str:
    return "in one run" if runs == 1 else f"in {runs} runs"
