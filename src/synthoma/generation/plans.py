"""What is to be drawn, decided before anything is: a plan a synthetic sample. Those of the conditional GAN are here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.gans import Gan
from synthoma.generation.lesions import fit_lesion
from synthoma.generation.options import GenerationOptions
from synthoma.records import TUMOUR, TUMOUR_FREE, Cohort
from synthoma.seeding import generator

__all__ = ["Plan", "reconstruct", "redraw", "remove", "transplant"]

DONORS_TRIED = 20


@dataclass(frozen=True)
class Plan:
    """One synthetic sample before it is drawn."""

    way: str
    """How the GAN draws it."""
    row: int
    """The real sample that it is made from, or (from noise) whose place in the table it takes."""
    lesion: NDArray[np.uint8]
    """(part, [z,] y, x)."""
    label: str
    reference: str = ""
    made_from: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What else differs from the real sample's: fields of :class:`~synthoma.records.Samples`."""
    noise: NDArray[np.float32] | None = None


def of_row(way: str, cohort: Cohort, row: int, *, reference: bool, **changes: Any) -> Plan:
    """A plan that keeps the lesion and the label of the real sample it is made from."""
    sample = str(cohort.table["id"][row])
    label = str(changes.pop("label", cohort.table["label"][row]))
    lesion = np.array(cohort.masks[row][1:])
    return Plan(way, row, lesion, label, sample if reference else "", (sample,), changes)


def reconstruct(_gan: Gan, cohort: Cohort, options: GenerationOptions) -> list[Plan]:
    """Every real sample of the split, from its own condition."""
    rows = cohort.rows(split=options.reconstruct_split, origin="real")
    return [of_row("reconstruct", cohort, int(row), reference=True) for row in rows]


def transplant(_gan: Gan, cohort: Cohort, options: GenerationOptions) -> list[Plan]:
    """Lesions of training patients, each put into a tumour-free sample of another training patient."""
    table = cohort.table
    donors = cohort.rows(split="train", origin="real", label=TUMOUR)
    targets = cohort.rows(split="train", origin="real", label=TUMOUR_FREE)
    count = options.samples or len(donors)
    plans: list[Plan] = []
    if len(donors) == 0 or len(targets) == 0:
        return plans
    for number in range(count):
        rng = generator(options.seed, "transplant", number)
        for _ in range(DONORS_TRIED):
            donor = int(donors[rng.integers(len(donors))])
            others = targets[table["patient"][targets] != table["patient"][donor]]
            if len(others) == 0:
                continue
            target = int(others[rng.integers(len(others))])
            lesion = fit_lesion(
                rng, cohort.masks[donor][1:], cohort.body(target), options.rotate_deg, options.scale, options.inside
            )
            if lesion is not None:
                sources = (str(table["id"][target]), str(table["id"][donor]))
                plans.append(Plan("transplant", target, lesion, TUMOUR, "", sources))
                break
    return plans


def remove(_gan: Gan, cohort: Cohort, options: GenerationOptions) -> list[Plan]:
    """Tumour samples of training patients with an empty mask, evenly spread when there are too many."""
    rows = cohort.rows(split="train", origin="real", label=TUMOUR)
    if options.samples is not None and len(rows) > options.samples:
        rows = rows[np.linspace(0, len(rows) - 1, options.samples).round().astype(int)]
    empty = np.zeros_like(cohort.masks[0][1:])
    return [Plan("remove", int(row), empty, TUMOUR_FREE, "", (str(cohort.table["id"][row]),)) for row in rows]


def redraw(_gan: Gan, cohort: Cohort, _options: GenerationOptions) -> list[Plan]:
    """Every training sample from its own condition, of either class. It is not to be compared with its original (the
    generator was trained on that), so it names no reference."""
    rows = cohort.rows(split="train", origin="real")
    return [of_row("redraw", cohort, int(row), reference=False) for row in rows]
