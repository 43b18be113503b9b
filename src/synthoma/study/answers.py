"""Recording answers and reading them back. What may be answered is decided here, inside the transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import func
from sqlmodel import Session, col, select

from synthoma.study.database import Answer, Draft
from synthoma.study.folder import Study
from synthoma.study.tokens import Visit

__all__ = ["AnswerGiven", "DraftGiven", "Outcome", "Standing", "drafted", "record", "save_draft", "standing"]

Score = int | None
LONGEST_NOTE = 2000
RATED = ("realism", "anatomy", "lesion", "call", "confidence", "note")


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    item: str = Field(pattern=r"^[0-9a-f]{16}$")
    """The presentation."""
    note: str = Field("", max_length=LONGEST_NOTE)
    """In the reader's own words."""
    seconds: float = Field(ge=0, le=7 * 86400, allow_inf_nan=False)
    """How long the image was visible."""

    @field_validator("note")
    @classmethod
    def _printable(cls, text: str) -> str:
        """Control characters have no meaning in a note, and PostgreSQL stores no NUL."""
        return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


class AnswerGiven(_Given):
    """What the browser sends when an item is done."""

    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Made by the browser for this submission."""
    realism: int = Field(ge=1, le=5)
    """Does it look like a patient's scan? 5 fully."""
    anatomy: int = Field(ge=1, le=5)
    """Is the anatomy right? 5 fully."""
    lesion: int | None = Field(ge=1, le=5)
    """Is the lesion's border as it should be? ``null`` where there is no lesion."""
    call: Literal["real", "synthetic"]
    """What the reader takes it for."""
    confidence: int = Field(ge=1, le=5)
    """1 a guess, 5 certain."""


class DraftGiven(_Given):
    """What the browser sends while an item is not done."""

    edits: int = Field(ge=0, le=1_000_000)
    """Counts the changes of this item, so that the newer of two drafts is known."""
    realism: Score = Field(None, ge=1, le=5)
    anatomy: Score = Field(None, ge=1, le=5)
    lesion: Score = Field(None, ge=0, le=5)
    """0: no lesion to be seen."""
    call: Literal["real", "synthetic"] | None = None
    confidence: Score = Field(None, ge=1, le=5)


class Outcome(Enum):
    """What became of an answer."""

    STORED = "stored"
    AGAIN = "stored before"
    OTHER = "another answer has this key"
    UNKNOWN = "no such item"
    AHEAD = "an item before it is not answered"
    CLOSED = "answered in an earlier session"


@dataclass(frozen=True)
class Standing:
    """How far a reader is."""

    answers: dict[str, Answer]
    """Presentation → the answer that holds."""
    next_place: int
    """The first place (from 0) without an answer; the number of places when all are answered."""


def standing(session: Session, study: Study, reader: int) -> Standing:
    """How far a reader is, and what holds so far."""
    latest = (
        select(func.max(Answer.id))
        .where(Answer.study == study.design.study, Answer.reader == reader)
        .group_by(Answer.presentation)
    )
    rows = session.exec(select(Answer).where(col(Answer.id).in_(latest))).all()
    answers = {row.presentation: row for row in rows}
    return Standing(answers, _next_place(study, reader, answers))


def record(session: Session, study: Study, visit: Visit, given: AnswerGiven) -> Outcome:
    """Add an answer to the transaction, if it may be given; the caller commits before it tells anybody."""
    place = study.places[visit.reader - 1].get(given.item)
    if place is None:
        return Outcome.UNKNOWN
    mine = (Answer.study == study.design.study, Answer.reader == visit.reader)
    before = session.exec(select(Answer).where(*mine, Answer.key == given.key)).first()
    if before is not None:
        return Outcome.AGAIN if _same(before, given) else Outcome.OTHER
    query = select(Answer.presentation, Answer.session).where(*mine).order_by(col(Answer.id))
    last_session = dict(session.exec(query).all())
    if place > _next_place(study, visit.reader, last_session):
        return Outcome.AHEAD
    if last_session.get(given.item, visit.session) != visit.session:
        return Outcome.CLOSED
    session.add(
        Answer(
            study=study.design.study,
            reader=visit.reader,
            presentation=given.item,
            session=visit.session,
            answered_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            **given.model_dump(exclude={"item"}),
        )
    )
    session.flush()
    return Outcome.STORED


def save_draft(session: Session, study: Study, visit: Visit, given: DraftGiven) -> Outcome:
    """Keep what was entered so far, for the next machine."""
    place = study.places[visit.reader - 1].get(given.item)
    if place is None:
        return Outcome.UNKNOWN
    if place > standing(session, study, visit.reader).next_place:
        return Outcome.AHEAD
    content = json.dumps(given.model_dump(exclude={"item"}))
    session.add(Draft(study=study.design.study, reader=visit.reader, presentation=given.item, content=content))
    session.flush()
    return Outcome.STORED


def drafted(session: Session, study: Study, reader: int, presentation: str) -> dict[str, Any] | None:
    """The latest draft of an item."""
    place = (Draft.study == study.design.study, Draft.reader == reader, Draft.presentation == presentation)
    row = session.exec(select(Draft).where(*place).order_by(col(Draft.id).desc())).first()
    return dict(json.loads(row.content)) if row else None


def _next_place(study: Study, reader: int, answered: Any) -> int:
    order = study.order(reader)
    return next((place for place, shown in enumerate(order) if shown.id not in answered), len(order))


def _same(row: Answer, given: AnswerGiven) -> bool:
    fields: Sequence[str] = RATED
    return row.presentation == given.item and all(getattr(row, name) == getattr(given, name) for name in fields)
