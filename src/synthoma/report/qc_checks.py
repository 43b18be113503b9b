"""What stands out among prepared cases: which are unlike the others, and what a person should look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthoma.records import Grid
from synthoma.report.qc_case import CaseQuality, centre_mm

__all__ = ["CaseRow", "Check", "checks", "outliers"]

FAR_MM = 50.0
"""So far from the middle of the others a scan's place is remarked, or further where they are scattered themselves."""
RATIO = 1.5
"""So many times larger or smaller than the middle a number is remarked, or more where the cases are scattered."""
SCATTER = 4 * 1.4826
"""Median absolute deviations beyond which a case is unlike the others: 4 standard deviations of a normal one."""
LESION_INSIDE, LESION_KEPT, CLIPPED = 0.98, (0.8, 1.25), 0.05
MOST_NAMES = 4


@dataclass(frozen=True)
class CaseRow:
    """A prepared case without its pictures."""

    name: str
    modality: str
    before: Grid
    after: Grid
    samples: int
    labels: Mapping[str, int]
    numbers: Mapping[str, float]
    notes: tuple[str, ...]
    missing: tuple[str, ...]

    @classmethod
    def of(cls, case: CaseQuality) -> CaseRow:
        """What is kept of every case."""
        return cls(
            case.name, case.modality, case.before.grid, case.after.grid, case.samples, case.labels, case.numbers,
            case.notes, case.missing,
        )  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was found."""

    good: bool
    title: str
    text: str


Odd = dict[str, dict[str, str]]
"""Case → what is unlike the others → in which way."""


def outliers(rows: Sequence[CaseRow]) -> Odd:
    """What of each case is unlike the others of its modality, or not as it should be."""
    odd: Odd = {}
    for modality in sorted({row.modality for row in rows}):
        group = [row for row in rows if row.modality == modality]
        known = [row for row in group if row.before.known]
        for what, found in (
            ("orientation", _orientation(known)),
            ("spacing", _spacing(known)),
            ("position", _position(known)),
            ("body_share", _unlike(group, "body_share")),
            ("lesion_inside", _where(group, "lesion_inside", lambda v: v < LESION_INSIDE)),
            ("lesion_kept", _where(group, "lesion_kept", lambda v: not LESION_KEPT[0] <= v <= LESION_KEPT[1])),
            ("clipped_share", _clipped(group)),
        ):
            for name, why in found.items():
                odd.setdefault(name, {})[what] = why
    return odd


def checks(rows: Sequence[CaseRow], rejected: int, odd: Odd) -> list[Check]:
    """The checks in the order of their weight, those that need a look first."""
    found = len(rows) + rejected
    left = f"{rejected} of {found} left out; their reasons are below." if rejected else f"All {found} were prepared."
    made = [Check(not rejected, "Cases", left)]
    known = [row for row in rows if row.before.known]
    if known:
        axes = _counted(row.before.orientation for row in known)
        after = _counted(row.after.orientation for row in rows)
        made.append(_check("Orientation", odd, "orientation", f"As read {axes}; prepared {after}."))
        edges = [mm for row in known for mm in row.before.spacing_mm]
        made.append(_check("Spacing", odd, "spacing", f"As read {_between(edges, '.3g')} mm."))
        reach = np.ptp([centre_mm(row.before) for row in known], axis=0)
        place = f"The scans' middles lie within {' × '.join(f'{mm:.0f}' for mm in reach)} mm (x × y × z)."
        made.append(_check("Place", odd, "position", place))
    else:
        made.append(Check(True, "Geometry", "The files carry none: spacing, orientation and place are unknown."))
    for what, title, text in (
        ("body_share", "Body mask", "The body mask fills {} % of the prepared scans."),
        ("lesion_inside", "Lesion inside the body", "{} % of a lesion lie inside the body mask."),
        ("lesion_kept", "Lesion volume", "A prepared lesion has {} % of its volume as read."),
        (
            "clipped_share",
            "Clipped values",
            "{} % of the body (or scan, without a body mask) lie at an end of the window.",
        ),
    ):
        shares = [100 * row.numbers[what] for row in rows if what in row.numbers]
        if shares:
            made.append(_check(title, odd, what, text.format(_between(shares, ".1f"))))
    lacking = _counted(name for row in rows for name in row.missing)
    if lacking:
        made.append(Check(False, "Channels", f"Some cases lack a channel: {lacking}."))
    return sorted(made, key=lambda check: check.good)


def _check(title: str, odd: Odd, what: str, text: str) -> Check:
    """Good where no case stands out; else the cases that do, and how the first does."""
    names = [name for name, found in odd.items() if what in found]
    if not names:
        return Check(True, title, text)
    shown = ", ".join(f"{name} ({odd[name][what]})" for name in names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return Check(False, title, f"To look at: {shown}{more}.")


def _orientation(rows: Sequence[CaseRow]) -> dict[str, str]:
    counts = Counter(row.before.orientation for row in rows)
    usual = counts.most_common(1)[0][0] if counts else ""
    return {row.name: f"{row.before.orientation}; most are {usual}" for row in rows if row.before.orientation != usual}


def _spacing(rows: Sequence[CaseRow]) -> dict[str, str]:
    if len(rows) < 3:
        return {}
    edges = np.array([sorted(row.before.spacing_mm) for row in rows])
    middle = np.median(edges, axis=0)
    far = np.abs(np.log(edges / middle))
    limit = np.maximum(math.log(RATIO), SCATTER * np.median(far, axis=0))
    usual = " × ".join(f"{value:.3g}" for value in middle)
    return {
        row.name: f"{' × '.join(f'{value:.3g}' for value in edges[at])} mm; the middle is {usual}"
        for at, row in enumerate(rows)
        if (far[at] > limit).any()
    }


def _position(rows: Sequence[CaseRow]) -> dict[str, str]:
    """Scans whose middle lies far from those of the others along a world axis."""
    if len(rows) < 2:
        return {}
    places = np.array([centre_mm(row.before) for row in rows])
    away = places - np.median(places, axis=0)
    limit = np.maximum(FAR_MM, SCATTER * np.median(np.abs(away), axis=0)) if len(rows) > 2 else np.full(3, FAR_MM)
    found = {}
    for at, row in enumerate(rows):
        axis = int(np.argmax(np.abs(away[at]) / limit))
        if abs(away[at, axis]) > limit[axis]:
            found[row.name] = f"{'xyz'[axis]} {away[at, axis]:+.0f} mm from the middle of all"
    return found


def _unlike(rows: Sequence[CaseRow], what: str) -> dict[str, str]:
    measured = [(row.name, row.numbers[what]) for row in rows if row.numbers.get(what, 0) > 0]
    if len(measured) < 3:
        return {}
    far = np.log([value for _, value in measured])
    far = np.abs(far - np.median(far))
    limit = max(math.log(RATIO), SCATTER * float(np.median(far)))
    return {name: f"{100 * value:.1f} %" for (name, value), d in zip(measured, far, strict=True) if d > limit}


def _where(rows: Sequence[CaseRow], what: str, bad: Callable[[float], bool]) -> dict[str, str]:
    measured = [(row.name, row.numbers[what]) for row in rows if what in row.numbers]
    return {name: f"{100 * value:.1f} %" for name, value in measured if bad(value)}


def _clipped(rows: Sequence[CaseRow]) -> dict[str, str]:
    """More clipped than the others by far; a window of CT clips air and bone of everyone."""
    values = np.array([row.numbers["clipped_share"] for row in rows])
    middle = float(np.median(values))
    limit = middle + max(CLIPPED, SCATTER * float(np.median(np.abs(values - middle))))
    return _where(rows, "clipped_share", lambda value: value > limit)


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names)
    return ", ".join(f"{name} ({n})" for name, n in counts.most_common(4))


def _between(values: Sequence[float], style: str) -> str:
    low, high = (f"{value:{style}}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
