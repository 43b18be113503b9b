"""The CycleGAN's plans: samples of one domain made to look like the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.gans import CycleOptions, Domain, Gan
from synthoma.generation.options import GenerationOptions
from synthoma.generation.plans import Plan, of_row
from synthoma.records import TUMOUR_FREE, Cohort

__all__ = ["back", "cycle", "redraw", "translate"]

Rows = NDArray[np.intp]


def translate(gan: Gan, cohort: Cohort, options: GenerationOptions) -> list[Plan]:
    """The split's samples of the source domain, as the target domain would show them."""
    source, target = _domains(gan)
    return _plans("translate", gan, cohort, _rows(cohort, source, options.reconstruct_split), target, paired=True)


def back(gan: Gan, cohort: Cohort, options: GenerationOptions) -> list[Plan]:
    """The split's samples of the target domain, the other way."""
    source, target = _domains(gan)
    return _plans("back", gan, cohort, _rows(cohort, target, options.reconstruct_split), source, paired=True)


def cycle(gan: Gan, cohort: Cohort, options: GenerationOptions) -> list[Plan]:
    """The split's samples of the source domain there and back: each should equal itself."""
    rows = _rows(cohort, _domains(gan)[0], options.reconstruct_split)
    return [of_row("cycle", cohort, int(row), reference=True) for row in rows]


def redraw(gan: Gan, cohort: Cohort, _options: GenerationOptions) -> list[Plan]:
    """Training samples of the source domain, and, where both domains have the same channels, those of the target."""
    source, target = _domains(gan)
    plans = _plans("redraw", gan, cohort, _rows(cohort, source, "train"), target, paired=False)
    if gan.channels("translate")[1] == gan.channels("back")[1]:
        plans += _plans("back", gan, cohort, _rows(cohort, target, "train"), source, paired=False)
    return plans


def _domains(gan: Gan) -> tuple[Domain, Domain]:
    options: CycleOptions = gan.options
    return options.source, options.target


def _rows(cohort: Cohort, domain: Domain, split: str) -> Rows:
    return cohort.rows(split=split, origin="real", **domain.columns)


def _plans(way: str, gan: Gan, cohort: Cohort, rows: Rows, to: Domain, *, paired: bool) -> list[Plan]:
    """A plan a row; its true pair is its reference where the same sample belongs to the other domain, too."""
    changes = {kind: _changes(gan, way, cohort, to, kind) for kind in set(cohort.table["modality"][rows].tolist())}
    plans = []
    for row in rows.tolist():
        same = all(cohort.table[name][row] == value for name, value in to.columns.items())
        kind = str(cohort.table["modality"][row])
        plan = of_row(way, cohort, row, reference=paired and same, **({} if same else changes[kind]))
        if plan.label == TUMOUR_FREE and plan.lesion.any():  # the lesion is gone
            plan = Plan(way, row, np.zeros_like(plan.lesion), plan.label, plan.reference, plan.made_from, plan.changes)
        plans.append(plan)
    return plans


def _changes(gan: Gan, way: str, cohort: Cohort, to: Domain, modality: str) -> Mapping[str, Any]:
    """What a sample of another domain becomes: its label, site and modality; and, of another scanner, the unit and the
    scanner's values of −1 and +1, which are the median of the real training samples there.

    Raises:
        CohortError: the cohort has no training samples of the other domain.
    """
    changes: dict[str, Any] = dict(to.columns)
    if not (to.modality or to.site):
        return changes
    there = to.rows(cohort, cohort.rows(split="train", origin="real"), "source" if way == "back" else "target")
    there = there[cohort.table["modality"][there] == (to.modality or modality)]
    if len(there):
        changes["unit"] = str(cohort.table["unit"][there[0]])
        changes["intensity"] = {
            name: (
                float(np.median(cohort.table[f"low_{name}"][there])),
                float(np.median(cohort.table[f"high_{name}"][there])),
            )
            for name in gan.channels(way)[1]
        }
    return changes
