"""Cohorts: write, read, split, guard, batches of arrays."""

from typing import TYPE_CHECKING, Any

from synthoma.cohort.augment import AUGMENTATIONS, AugmentOptions
from synthoma.cohort.batches import Batch, Batches
from synthoma.cohort.guard import check_augmentation, check_generator, check_splits, check_training, patient_of
from synthoma.cohort.split import SPLITS, PatientSummary, SplitOptions, assign_splits
from synthoma.cohort.store import describe_cohort, open_cohort, to_scanner_unit
from synthoma.cohort.writer import CohortWriter, create_cohort

if TYPE_CHECKING:
    from synthoma.cohort.dataset import CohortDataset

__all__ = [
    "AUGMENTATIONS",
    "SPLITS",
    "AugmentOptions",
    "Batch",
    "Batches",
    "CohortDataset",
    "CohortWriter",
    "PatientSummary",
    "SplitOptions",
    "assign_splits",
    "check_augmentation",
    "check_generator",
    "check_splits",
    "check_training",
    "create_cohort",
    "describe_cohort",
    "open_cohort",
    "patient_of",
    "to_scanner_unit",
]


def __getattr__(name: str) -> Any:
    if name == "CohortDataset":  # the only one that needs torch to be defined
        from synthoma.cohort.dataset import CohortDataset

        return CohortDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
