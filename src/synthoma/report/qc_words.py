"""Sentences of the page of quality control."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from synthoma.report.qc_case import Rejected
from synthoma.report.qc_checks import CaseRow, Check

__all__ = ["amount", "lead", "notes_by_text"]

MOST_NOTES = 30
MOST_NAMES = 6
LONGEST = 90


def amount(what: str, value: float) -> str:
    """How much it is, to follow the name of an extreme: ``, 85.6 ml``."""
    if what == "lesion_ml":
        return f", {value:.3g} ml" if value < 1000 else f", {value:.0f} ml"
    if what in ("lesion_inside", "lesion_kept", "body_share", "clipped_share"):
        return f", {100 * value:.3g} %"
    if what == "voxel_mm":
        return f", {value:.3g} mm"
    return f", z {value:.0f} mm" if what == "height_mm" else ""


def lead(rows: Sequence[CaseRow], rejected: Sequence[Rejected], checks: Sequence[Check], patients: int) -> str:
    """The sentence that the page begins with."""
    found, samples = len(rows) + len(rejected), sum(row.samples for row in rows)
    text = (
        f"{_all(len(rows), found)} {'was' if len(rows) == 1 else 'were'} prepared: "
        f"{_count(samples, 'sample')} of {_count(patients, 'patient')}. "
    )
    if rejected:
        reasons = Counter(_kind(entry.reason) for entry in rejected)
        most = "; ".join(f"{reason} ({n})" if n > 1 else reason for reason, n in reasons.most_common(2))
        more = "; …" if len(reasons) > 2 else ""
        text += f"{len(rejected)} {'was' if len(rejected) == 1 else 'were'} left out: {most}{more}. "
    look = [check.title.lower() for check in checks if not check.good and check.title != "Cases"]
    if look:
        return f"{text}Worth a look: {', '.join(look)}."
    return text + ("Nothing else stands out." if rejected else "Nothing stands out.")


def notes_by_text(rows: Sequence[CaseRow]) -> tuple[list[tuple[str, str]], int]:
    """What is said of cases, each text once with the cases that it is said of; and how many texts are not shown."""
    names: dict[str, list[str]] = {}
    for row in rows:
        for note in dict.fromkeys(row.notes):
            names.setdefault(note, []).append(row.name)
    ordered = sorted(names.items(), key=lambda entry: -len(entry[1]))
    shown = [(text, _listed(cases)) for text, cases in ordered[:MOST_NOTES]]
    return shown, max(0, len(ordered) - MOST_NOTES)


def _kind(reason: str) -> str:
    """A reason without its case and without details: ``expected a lesion mask, found none``, ``only segmentations``."""
    at = reason.find("expected")
    text = reason[at:] if at >= 0 else re.split(r"; |: | \(", reason)[0]
    text = text.rstrip(".")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _all(count: int, found: int) -> str:
    if count == found:
        return "The one case found" if found == 1 else f"All {found} cases found"
    return f"{count} of {found} cases found"


def _count(number: int, name: str) -> str:
    return f"{number} {name}" + ("" if number == 1 else "s")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
