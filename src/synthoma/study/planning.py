"""How many items and readers a study needs: ``synthoma study create --plan``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from synthoma.errors import SettingError, describe

__all__ = [
    "READERS",
    "Row",
    "accuracy_width",
    "calls_for_equivalence",
    "calls_for_width",
    "items_for_agreement",
    "items_for_width",
    "plan_lines",
    "plan_table",
]

READERS = (1, 2, 3, 5, 8, 12)
MOST_ITEMS = 5000
ALIKE = 0.2
"""Correlation of two readers' right and wrong answers on one image: some images are hard for all."""
READER_SD = 0.05
"""Standard deviation of readers' accuracies."""
AGREEMENT = 0.6
"""The ICC or kappa that is expected."""
LEVEL = 0.95


@dataclass(frozen=True)
class Row:
    """What a number of readers needs for the wished width; ``None`` where no number of items is enough."""

    readers: int
    these: int | None
    """Items, for the accuracy of these very readers."""
    others: int | None
    """Items, for the accuracy of readers in general, of whom these are a sample."""
    agreement: int | None
    """Common items, for ICC(2,1); ``None`` for one reader."""


def accuracy_width(items: int, readers: int, *, general: bool) -> float:
    """Width of the 95 % interval of an accuracy near ½ over readers and items.

    Variance ¼ (ρ + (1 − ρ) / R) / n with ρ = :data:`ALIKE`; for readers in general plus :data:`READER_SD`² / R, and the
    quantile of Student's t with R − 1 degrees of freedom in place of the normal one.
    """
    from scipy.stats import norm, t

    variance = 0.25 * (ALIKE + (1 - ALIKE) / readers) / items
    tail = (1 + LEVEL) / 2
    if not general:
        return float(2 * norm.ppf(tail) * math.sqrt(variance))
    if readers == 1:
        return math.inf
    return float(2 * t.ppf(tail, readers - 1) * math.sqrt(variance + READER_SD**2 / readers))


def items_for_width(width: float, readers: int, *, general: bool) -> int | None:
    """Items for :func:`accuracy_width`; ``None`` where more than 5000 would not do."""
    low, high = 2, MOST_ITEMS
    if accuracy_width(high, readers, general=general) > width:
        return None
    while low < high:
        middle = (low + high) // 2
        if accuracy_width(middle, readers, general=general) <= width:
            high = middle
        else:
            low = middle + 1
    return low


def calls_for_width(width: float) -> int:
    """Calls of one reader, half of them right, whose exact interval is no wider."""
    from synthoma.study.agreement import accuracy

    low, high = 2, math.ceil(8 / width**2)
    while low < high:
        middle = (low + high) // 2
        found = accuracy(middle // 2, middle)
        if (found.high or 1) - (found.low or 0) <= width:
            high = middle
        else:
            low = middle + 1
    return low


def items_for_agreement(width: float, readers: int, expected: float = AGREEMENT) -> int | None:
    """Items rated by all readers, for an ICC's interval of this width: Bonett, Stat. Med. 21:1331–1335, 2002.

    n = 8 z² (1 − ρ)² (1 + (k − 1) ρ)² / (k (k − 1) w²) + 1. A quadratic kappa behaves as an ICC of two ratings (Fleiss
    & Cohen, Educ. Psychol. Meas. 33:613–619, 1973).
    """
    from scipy.stats import norm

    if readers < 2:
        return None
    z, k = float(norm.ppf((1 + LEVEL) / 2)), readers
    spread = (1 - expected) ** 2 * (1 + (k - 1) * expected) ** 2 / (k * (k - 1))
    return math.ceil(8 * z**2 * spread / width**2 + 1)


def calls_for_equivalence(margin: float, power: float = 0.8) -> int:
    """Independent calls of a reader who guesses, for :func:`~synthoma.study.agreement.equivalence_to_chance` to show it
    with this power: the smallest number whose exact power is reached."""
    import numpy as np
    from scipy.stats import binom

    n = 2
    while True:
        right = np.arange(n + 1)
        p = np.maximum(binom.sf(right - 1, n, 0.5 - margin), binom.cdf(right, n, 0.5 + margin))
        if np.asarray(binom.pmf(right, n, 0.5))[p < 0.05].sum() >= power:
            return n
        n += 1


def plan_table(width: float) -> list[Row]:
    """One row for each of :data:`READERS`.

    Raises:
        SettingError: a width that is not between 0.02 and 1.
    """
    if not 0.02 <= width < 1:
        raise SettingError(describe("--plan", "a width of an interval, from 0.02 to 1", f"{width:g}", "0.2 is ±0.1."))
    return [
        Row(
            readers,
            items_for_width(width, readers, general=False),
            items_for_width(width, readers, general=True),
            items_for_agreement(width, readers),
        )
        for readers in READERS
    ]


def plan_lines(width: float, margin: float) -> list[str]:
    """The table as it is printed, and what it assumes."""
    rows = plan_table(width)
    lines = [
        f"For 95 % intervals {width:g} wide (±{width / 2:g}), items for each reader:",
        "",
        "readers   accuracy,        accuracy,            ICC(2,1),",
        "          these readers    readers in general   common items",
    ]
    lines += [
        f"{row.readers:>7}   {_count(row.these):<16} {_count(row.others):<20} {_count(row.agreement)}" for row in rows
    ]
    return [
        *lines,
        "",
        f"One reader alone, exact interval of the accuracy: {calls_for_width(width)} items.",
        f"A reader with themselves, quadratic kappa: {items_for_agreement(width, 2)} repeats.",
        f"To show that a reader who guesses is within ±{margin:g} of chance (power 80 %): "
        f"{calls_for_equivalence(margin)} items.",
        f"Assumed: accuracy near 0.5; answers of two readers on one image correlate by {ALIKE:g};",
        f"readers' accuracies differ by an SD of {READER_SD:g}; ICC and kappa near {AGREEMENT:g}.",
    ]


def _count(number: int | None) -> str:
    return "—" if number is None else str(number)
