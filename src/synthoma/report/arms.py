"""What kind of cohort a synthetic one is, as its columns say: the page never asks which GAN made it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synthoma.records import Cohort

__all__ = ["changes", "main_cohort", "sources"]

MAIN = ("reconstruct", "translate", "sample")
"""The cohorts that the summary speaks of: the first of these that is there."""
CLASSES = ("label", "modality", "site")


def main_cohort(synthetic: Mapping[str, Cohort]) -> tuple[str, Cohort] | None:
    """The cohort that the page is about, and its name."""
    name = next((name for name in (*MAIN, *synthetic) if name in synthetic), None)
    return None if name is None else (name, synthetic[name])


def sources(real: Cohort, cohort: Cohort) -> dict[int, int]:
    """Row of ``cohort`` → row of the one real sample that it was made from."""
    where = {str(name): row for row, name in enumerate(real.table["id"].tolist())}
    return {i: where[str(name)] for i, name in enumerate(cohort.table["made_from"].tolist()) if str(name) in where}


def changes(real: Cohort, cohort: Cohort) -> list[tuple[str, str]]:
    """(before, after) of the label, modality or site that all samples have and none of their sources had."""
    rows = np.array(list(sources(real, cohort).values()), dtype=np.intp)
    found = []
    for column in CLASSES if len(rows) else ():
        before, after = set(real.table[column][rows].tolist()), set(cohort.table[column].tolist())
        if len(before) == len(after) == 1 and before != after:
            found.append((str(before.pop()), str(after.pop())))
    return found
