"""Which samples a study shows, to whom and in which order: pure, and the same for one seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthoma.cohort import patient_of
from synthoma.errors import CohortError, describe, did_you_mean
from synthoma.records import Cohort
from synthoma.seeding import generator
from synthoma.study.options import StudyOptions

__all__ = ["Candidate", "Showing", "candidates_of", "common_labels", "draw_showings"]

Cell = tuple[str, str]
"""(label, origin)."""
ATTEMPTS = 30
"""Samples of several patients make the choice a hard problem; a few tries in other orders find what there is."""


@dataclass(frozen=True)
class Candidate:
    """A sample that could be shown."""

    origin: Literal["real", "synthetic"]
    row: int
    label: str
    patients: frozenset[str]
    """Whose images went into it: none of them is shown to a reader twice."""

    @property
    def cell(self) -> Cell:
        """What is balanced: as many of each."""
        return self.label, self.origin


@dataclass(frozen=True)
class Showing:
    """One place in the order of one reader."""

    candidate: Candidate
    phase: Literal["training", "main", "repeat"]


def candidates_of(cohort: Cohort, origin: Literal["real", "synthetic"], options: StudyOptions) -> list[Candidate]:
    """The samples of a cohort that a study could show: of the origin, split and modality that were asked for."""
    table = cohort.table
    found = []
    for row in cohort.rows(origin=origin):
        if options.split and table["split"][row] != options.split:
            continue
        if options.modality and table["modality"][row] != options.modality:
            continue
        patients = {str(table["patient"][row])}
        for text in (str(table["made_from"][row]), str(table["reference"][row])):
            patients |= {patient_of(sample) for sample in text.split(";") if sample}
        found.append(Candidate(origin, int(row), str(table["label"][row]), frozenset(patients)))
    return found


def common_labels(candidates: Iterable[Candidate], asked: Sequence[str]) -> tuple[str, ...]:
    """The classes to show: those asked for, else those that both origins have (another would tell the origin).

    Raises:
        CohortError: a class that was asked for, or any, is not in both cohorts.
    """
    of = {"real": set[str](), "synthetic": set[str]()}
    for candidate in candidates:
        of[candidate.origin].add(candidate.label)
    both = of["real"] & of["synthetic"]
    for label in asked:
        if label not in both:
            remedy = did_you_mean(label, both) if both else ""
            raise CohortError(describe("labels", "classes that both cohorts have", f"'{label}'", remedy))
    if not both:
        found = " and ".join(", ".join(sorted(names)) or "no sample" for names in of.values())
        raise CohortError(describe("labels", "a class that real and synthetic samples share", found))
    return tuple(sorted(asked or both))


def draw_showings(candidates: Sequence[Candidate], options: StudyOptions) -> list[list[Showing]]:
    """For each reader, what is shown in which order.

    Of the items a share is common to all readers; the rest, and how many of it are real, is drawn for each. Classes
    and origins of the common items are balanced as exactly as whole numbers can. No reader is shown a patient twice but
    in repeats, which come at least a third of the items later.

    Raises:
        CohortError: there are too few patients.
    """
    chosen = _choose(candidates, options)
    if chosen is None:
        raise CohortError(_too_few(candidates, options))
    training, common, own = chosen
    orders = []
    for reader, mine in enumerate(own, start=1):
        practice = [Showing(one, "training") for one in _shuffled(training, options.seed, "practice", reader)]
        items = _shuffled([*common, *mine], options.seed, "order", reader)
        orders.append([*practice, *_order(items, options, reader)])
    return orders


def _choose(
    candidates: Sequence[Candidate], options: StudyOptions
) -> tuple[list[Candidate], list[Candidate], list[list[Candidate]]] | None:
    """Practice images, common items, and each reader's own; ``None`` when there are too few patients."""
    labels = sorted({candidate.label for candidate in candidates})
    cells = [(label, origin) for label in labels for origin in ("real", "synthetic")]
    n_common = round(options.items * options.common)
    for attempt in range(ATTEMPTS):
        rng = generator(options.seed, "choice", attempt)
        used: set[str] = set()
        common = _pick(candidates, _evenly(cells, n_common, rng), used, rng)
        if common is None:
            continue
        training = _pick(candidates, _evenly(cells, options.training, rng), used, rng)
        if training is None:
            continue
        own = []
        for reader in range(1, options.readers + 1):
            by_reader = generator(options.seed, "own", reader, attempt)
            mine = _own(candidates, labels, options.items - n_common, set(used), by_reader)
            if mine is None:
                break
            own.append(mine)
        else:
            return training, common, own
    return None


def _own(
    candidates: Sequence[Candidate], labels: Sequence[str], count: int, used: set[str], rng: np.random.Generator
) -> list[Candidate] | None:
    """One reader's own items: classes balanced, origins by the toss of a coin."""
    need: dict[Cell, int] = {}
    for label, share in _evenly([(label, "") for label in labels], count, rng).items():
        real = int(rng.binomial(share, 0.5))
        need |= {(label[0], "real"): real, (label[0], "synthetic"): share - real}
    return _pick(candidates, need, used, rng)


def _evenly(cells: Sequence[Cell], count: int, rng: np.random.Generator) -> dict[Cell, int]:
    """``count`` divided among the cells; who gets one more is drawn."""
    share, rest = divmod(count, len(cells))
    lucky = set(rng.permutation(len(cells))[:rest].tolist())
    return {cell: share + (i in lucky) for i, cell in enumerate(cells)}


def _pick(
    candidates: Sequence[Candidate], need: Mapping[Cell, int], used: set[str], rng: np.random.Generator
) -> list[Candidate] | None:
    """As many samples of each cell as needed, no patient twice; adds theirs to ``used``.

    The cell with the least to spare goes first, and takes patients that fewest other cells could take.
    """
    left = {cell: count for cell, count in need.items() if count}
    open_: dict[Cell, list[Candidate]] = {cell: [] for cell in left}
    for candidate in candidates:
        if candidate.cell in left:
            open_[candidate.cell].append(candidate)
    for cell in open_:
        open_[cell] = [open_[cell][i] for i in rng.permutation(len(open_[cell]))]
    wanted: dict[str, set[Cell]] = {}
    for cell, those in open_.items():
        for candidate in those:
            for patient in candidate.patients:
                wanted.setdefault(patient, set()).add(cell)
    picked = []
    while left:
        for cell in left:
            open_[cell] = [candidate for candidate in open_[cell] if not candidate.patients & used]
        spare = {cell: len({min(c.patients) for c in open_[cell]}) - count for cell, count in left.items()}
        cell = min(left, key=lambda cell: spare[cell])
        if spare[cell] < 0:
            return None
        best = min(open_[cell], key=lambda c: (len(c.patients), sum(len(wanted[p] & left.keys()) for p in c.patients)))
        picked.append(best)
        used |= best.patients
        left[cell] -= 1
        if not left[cell]:
            del left[cell]
    return picked


def _order(items: list[Candidate], options: StudyOptions, reader: int) -> list[Showing]:
    """The items, with some of the first half again at least a third of the items later; as many real as synthetic."""
    rng = generator(options.seed, "repeats", reader)
    first = items[: (len(items) + 1) // 2]
    sides = [[i for i, item in enumerate(first) if item.origin == origin] for origin in ("real", "synthetic")]
    sides = [[side[i] for i in rng.permutation(len(side))] for side in sides]
    mixed = [place for pair in zip(*sides, strict=False) for place in pair]
    mixed += [place for side in sides for place in side if place not in mixed]
    again = mixed[: round(options.repeats * options.items)]
    at = [(float(i), Showing(item, "main")) for i, item in enumerate(items)]
    gap = len(items) / 3
    at += [(float(rng.uniform(place + gap, len(items))), Showing(items[place], "repeat")) for place in again]
    return [showing for _, showing in sorted(at, key=lambda pair: pair[0])]


def _shuffled(items: Sequence[Candidate], seed: int, *names: str | int) -> list[Candidate]:
    return [items[i] for i in generator(seed, *names).permutation(len(items))]


def _too_few(candidates: Sequence[Candidate], options: StudyOptions) -> str:
    """Which number of items would do."""
    low, high = 1, options.items
    while high - low > 1:
        middle = (low + high) // 2
        fits = _choose(candidates, options.model_copy(update={"items": middle})) is not None
        low, high = (middle, high) if fits else (low, middle)
    patients = len({patient for candidate in candidates for patient in candidate.patients})
    expected = f"patients for {options.items} items and {options.training} to practise on, none shown twice to a reader"
    remedy = f"--items {low} would do." if low > 1 else "Practise on fewer (--training 0), or take larger cohorts."
    return describe("study", expected, f"{patients} patients in the classes to show", remedy)
