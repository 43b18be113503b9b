"""How far everybody is, and the answers as a table without origins: all that the server can tell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlmodel import Session, col, select

from synthoma.study.answers import standing
from synthoma.study.database import Answer
from synthoma.study.folder import Study

__all__ = ["BLIND_COLUMNS", "Progress", "answer_rows", "answers_csv", "as_csv", "progress"]

BLIND_COLUMNS = (
    "reader", "place", "phase", "image", "realism", "anatomy", "lesion", "call", "confidence", "seconds", "changes",
    "answered_at", "note",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run a note that begins so."""


@dataclass(frozen=True)
class Progress:
    """How far one reader is."""

    reader: int
    done: int
    total: int
    median_seconds: float | None
    last: str
    """UTC, ISO 8601; empty before the first answer."""


def progress(session: Session, study: Study) -> list[Progress]:
    """How far each reader is."""
    found = []
    for reader, order in enumerate(study.design.readers, start=1):
        answers = standing(session, study, reader).answers.values()
        seconds = [answer.seconds for answer in answers]
        last = max((answer.answered_at for answer in answers), default="")
        found.append(Progress(reader, len(seconds), len(order), median(seconds) if seconds else None, last))
    return found


def answer_rows(session: Session, study: Study, *, history: bool = False) -> list[dict[str, Any]]:
    """The answers that hold, by reader and place, or with ``history`` every change in order of time."""
    shown = {one.id: (place, one) for order in study.design.readers for place, one in enumerate(order, start=1)}
    rows: list[dict[str, Any]] = []
    at: dict[tuple[int, str], int] = {}
    query = select(Answer).where(Answer.study == study.design.study).order_by(col(Answer.id))
    for answer in session.exec(query):
        place, presentation = shown[answer.presentation]
        where = (answer.reader, answer.presentation)
        changes = rows[at[where]]["changes"] + 1 if where in at else 0
        row = {name: getattr(answer, name) for name in BLIND_COLUMNS if hasattr(answer, name)} | {
            "place": place,
            "phase": presentation.phase,
            "image": presentation.image,
            "changes": changes,
        }
        if where in at and not history:
            rows[at[where]] = row
        else:
            at[where] = len(rows)
            rows.append(row)
    return rows if history else sorted(rows, key=lambda row: (row["reader"], row["place"]))


def answers_csv(session: Session, study: Study) -> str:
    """The answers that hold, as CSV."""
    return as_csv(BLIND_COLUMNS, answer_rows(session, study))


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as CSV; texts that a spreadsheet would take for a formula are quoted by an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="raise")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(row[name]) for name in columns})
    return text.getvalue()


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value
