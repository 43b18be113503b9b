"""A claim, what a run says of it, and whether that bears it out."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from synthoma.records import Measurement
from synthoma.report import latex
from synthoma.report.printed import Number

__all__ = ["Claim", "at_least", "claims_csv", "claims_latex", "needed", "shown", "unmeasured"]

POWER = (1.959964 + 0.841621) / 1.959964
"""Half of a 95 % interval times this is the difference that is found with 80 % power."""
MOST = 10_000_000


@dataclass(frozen=True)
class Claim:
    """One claim of the study and what this run says of it."""

    claim: str
    number: str
    """What was measured here, with its interval."""
    verdict: str
    """Begins with *supported*, *not supported*, *cannot tell with n = …* or *not measured*."""
    because: str
    """A sentence; where nothing was measured, what to run."""

    @property
    def kind(self) -> str:
        """``yes``, ``no``, ``unknown`` or ``none``."""
        starts = {"supported": "yes", "not supported": "no", "cannot tell": "unknown", "not measured": "none"}
        return next(kind for start, kind in starts.items() if self.verdict.startswith(start))


def needed(distance: float, half: float, n: int) -> int | None:
    """How many units tell a value from a bound ``distance`` away with 80 % power, if value and spread stay as they are.

    The standard error falls as 1/√n. ``None`` where value and bound are equal, or more than ten million are asked for.

    Args:
        half: half the width of the 95 % interval at ``n`` units.
    """
    if distance == 0 or half <= 0 or n <= 0:
        return None
    count = n * (POWER * half / distance) ** 2
    return math.ceil(count) if count <= MOST else None


def at_least(
    claim: str, m: Measurement, bound: float, digits: int, *, unit: str = "", scale: float = 1, sign: bool = False,
    below: bool = False, units: tuple[int, str] | None = None,
) -> Claim:  # fmt: skip
    """Whether the interval lies above ``bound`` (``below``: under it), on the other side, or on both."""
    number = shown(m, digits, scale=scale, sign=sign, unit=unit)
    limit = f"{Number(scale * bound, digits=digits, sign=sign).text}{unit}"
    n, word = units or (m.n_patients, "patients")
    unclear = f"cannot tell with n = {n} {word}"
    if m.value is None or m.low is None or m.high is None:
        return Claim(claim, number, unclear, "The number has no interval.")
    turn: Callable[[float], float] = (lambda v: -v) if below else (lambda v: v)
    low, high = sorted((turn(m.low), turn(m.high)))
    if low >= turn(bound):
        return Claim(claim, number, "supported", f"The 95 % interval lies {'below' if below else 'above'} {limit}.")
    if high < turn(bound):
        return Claim(claim, number, "not supported", f"The 95 % interval lies {'above' if below else 'below'} {limit}.")
    could = needed(m.value - bound, (m.high - m.low) / 2, n)
    side = "above" if m.value >= bound else "below"
    because = f"The 95 % interval holds {limit}."
    because += (
        f" If value and spread stay as they are, about {could} {word} could tell that it is {side}." if could else ""
    )
    return Claim(claim, number, unclear, because)


def shown(m: Measurement, digits: int, *, scale: float = 1, sign: bool = False, unit: str = "") -> str:
    number = Number.of(m, digits=digits, scale=scale, sign=sign)
    assert number is not None  # noqa: S101 (for the type checker)
    return number.text + unit + (f" (95 % interval {number.interval})" if number.interval else "")


def unmeasured(claim: str, what: str) -> Claim:
    return Claim(claim, "—", "not measured", what)


def claims_csv(found: Sequence[Claim]) -> str:
    """One row a claim."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("claim", "number", "verdict", "because"))
    writer.writerows((one.claim, one.number, one.verdict, one.because) for one in found)
    return text.getvalue()


def claims_latex(found: Sequence[Claim]) -> str:
    """A table over pages."""
    rows = [(one.claim, one.number, one.verdict, one.because) for one in found]
    caption = "The study's claims and this run's numbers."
    columns = ("Claim of the study", "Here", "Verdict", "Because")
    return latex.longtable(columns, rows, caption=caption, label="tab:claims", widths=(0.24, 0.2, 0.15, 0.33))
