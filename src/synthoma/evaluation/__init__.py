"""Evaluation: is a synthetic cohort like the real one, image by image, as a set, in its details, and in its use?"""

from __future__ import annotations

from synthoma.evaluation.evidence import CSV_COLUMNS, Evidence, Verdict, read_evidence, write_evidence
from synthoma.evaluation.families import METRICS, evaluate
from synthoma.evaluation.options import FAMILIES, ClassifierOptions, EvaluationOptions
from synthoma.evaluation.release import release_problems

__all__ = [
    "CSV_COLUMNS",
    "FAMILIES",
    "METRICS",
    "ClassifierOptions",
    "EvaluationOptions",
    "Evidence",
    "Verdict",
    "evaluate",
    "read_evidence",
    "release_problems",
    "write_evidence",
]
