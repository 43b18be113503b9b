"""From cohorts to evidence: the families of measurements, one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from synthoma.cohort.guard import check_generator, check_splits
from synthoma.evaluation.distribution import evaluate_distribution
from synthoma.evaluation.embedding import evaluate_embedding
from synthoma.evaluation.evidence import Evidence
from synthoma.evaluation.explain import evaluate_explain
from synthoma.evaluation.features import LITE0, Features
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import check_fit, has_test_patients
from synthoma.evaluation.privacy import evaluate_privacy
from synthoma.evaluation.recognition import evaluate_recognition
from synthoma.evaluation.similarity import evaluate_similarity
from synthoma.evaluation.statistics import spread_over_patients
from synthoma.evaluation.structure import evaluate_structure
from synthoma.evaluation.utility import augmentation, evaluate_utility
from synthoma.records import Cohort

__all__ = ["METRICS", "Family", "evaluate"]

CALIBRATED_ON = 64
"""Real training images that the batch norms of the extractor ``random`` are calibrated on."""

Family = Callable[[Cohort, Mapping[str, Cohort], EvaluationOptions, Features], Evidence]

METRICS: Mapping[str, Family] = {
    "similarity": evaluate_similarity,
    "distribution": evaluate_distribution,
    "embedding": evaluate_embedding,
    "structure": evaluate_structure,
    "recognition": evaluate_recognition,
    "utility": evaluate_utility,
    "explain": evaluate_explain,
    "privacy": evaluate_privacy,
}


def evaluate(
    real: Cohort,
    synthetic: Mapping[str, Cohort],
    options: EvaluationOptions | None = None,
    *,
    cache: Path | None = None,
) -> Evidence:
    """Measure synthetic cohorts against a real one; which GAN made them is never asked.

    Args:
        real: a cohort with a split by patient; its test patients are what everything is judged on. Where there are
            none, nothing is measured, and every family says so.
        synthetic: name → cohort. ``reconstruct`` (samples with a ``reference``) is the headline and its arm is called
            ``synthetic``; other paired cohorts of its channels are rivals under their own names; paired cohorts of
            other channels are compared among themselves; cohorts without references enter all families but similarity.
        options: families, seed, sizes; the defaults when left out.
        cache: a folder for network features, keyed by content; safe to delete.

    Raises:
        InputError: nothing to compare, or cohorts that do not fit each other.
        LeakError: a generator saw a test patient, or synthetic training images owe anything to a held-out one.
    """
    options = options or EvaluationOptions()
    check_fit(real, synthetic)
    check_splits(real)
    test_patients = set(real.table["patient"][real.rows(split="test")].tolist())
    for cohort in synthetic.values():
        check_generator(cohort, test_patients)
    if not has_test_patients(real):
        return Evidence.join({name: Evidence(warnings=(_nobody(real, name),)) for name in options.families})
    if "utility" in options.families:
        augmentation(real, synthetic)  # a leak stops the evaluation before minutes of work, not after
    features = _extractor(real, options, cache)
    # The classifiers of these families learn on the embedded network, whichever describes the distributions.
    lite0 = features if features.extractor == LITE0 else Features(cache, options.device)
    learn = ("recognition", "utility", "explain")
    asked = {name: lite0 if name in learn else features for name in options.families}
    return Evidence.join({name: METRICS[name](real, synthetic, options, asked[name]) for name in options.families})


def _extractor(real: Cohort, options: EvaluationOptions, cache: Path | None) -> Features:
    """The network of the options; ``random`` is calibrated on real training images, evenly over their patients."""
    if options.extractor != "random" or real.images.ndim != 4:
        return Features(cache, options.device, options.extractor, options.extractor_weights)
    rows = real.rows(split="train")
    rows = rows[spread_over_patients(real.table["patient"][rows], CALIBRATED_ON, options.seed, "calibration")]
    return Features(cache, options.device, "random", calibration=np.asarray(real.images[rows]))


def _nobody(real: Cohort, family: str) -> str:
    return (
        f"{family}: no patient was held out ({len(real.patients)} in the cohort, none in its test split), so nothing "
        "is judged: this run shows that the path works, and no more."
    )
