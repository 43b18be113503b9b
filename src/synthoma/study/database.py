"""The tables of a study, and the engine that holds them: SQLite in the folder, or PostgreSQL by URL.

Answers are only ever added: a change is a new row, and the database itself refuses to alter or delete one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import DDL, Engine, Index, UniqueConstraint, create_engine, event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlmodel import Field, SQLModel

from synthoma.errors import InputError, describe
from synthoma.study.parts import check_parts

__all__ = ["Answer", "Draft", "open_database"]


class Answer(SQLModel, table=True):
    """One answer, or a change of one: the row with the highest id of a presentation holds."""

    __tablename__ = "synthoma_answer"
    __table_args__ = (
        UniqueConstraint("study", "reader", "key", name="synthoma_answer_once"),
        Index("synthoma_answer_reader", "study", "reader"),
    )

    id: int | None = Field(default=None, primary_key=True)
    study: str
    reader: int
    presentation: str
    key: str
    """Made by the browser for one submission: sent again, it is not stored again."""
    session: str
    """The visit in which it was given."""
    realism: int
    anatomy: int
    lesion: int | None = None
    """``None``: no lesion to be seen."""
    call: str
    """``real`` or ``synthetic``."""
    confidence: int
    note: str
    seconds: float
    """How long the image was visible, all visits together."""
    answered_at: str
    """UTC, ISO 8601."""


class Draft(SQLModel, table=True):
    """What a reader had entered when the page was left; the latest holds until an answer is given."""

    __tablename__ = "synthoma_draft"
    __table_args__ = (Index("synthoma_draft_place", "study", "reader", "presentation"),)

    id: int | None = Field(default=None, primary_key=True)
    study: str
    reader: int
    presentation: str
    content: str
    """JSON."""


def _ddl(text: str) -> Any:
    return DDL(text)  # type: ignore[no-untyped-call]


_TABLE: Any = SQLModel.metadata.tables["synthoma_answer"]
for _verb in ("UPDATE", "DELETE"):
    event.listen(
        _TABLE,
        "after_create",
        _ddl(
            f"CREATE TRIGGER synthoma_no_{_verb.lower()} BEFORE {_verb} ON synthoma_answer "
            "BEGIN SELECT RAISE(ABORT, 'answers are only ever added'); END"
        ).execute_if(dialect="sqlite"),
    )
event.listen(
    _TABLE,
    "after_create",
    _ddl(
        "CREATE OR REPLACE FUNCTION synthoma_only_add() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'answers are only ever added'; END $$"
    ).execute_if(dialect="postgresql"),
)
event.listen(
    _TABLE,
    "after_create",
    _ddl(
        "CREATE TRIGGER synthoma_only_add BEFORE UPDATE OR DELETE ON synthoma_answer "
        "FOR EACH ROW EXECUTE FUNCTION synthoma_only_add()"
    ).execute_if(dialect="postgresql"),
)


def open_database(url: str) -> Engine:
    """The engine of a URL, its tables made where they are missing.

    Raises:
        MissingPartError: the driver is not installed.
        InputError: the URL is none, or nothing answers there.
    """
    check_parts(url)
    try:
        name = make_url(url)
        if name.drivername == "postgresql":
            name = name.set(drivername="postgresql+psycopg")
        if name.get_backend_name() not in ("sqlite", "postgresql"):
            expected = "sqlite:///FILE or postgresql://USER@HOST/NAME"
            raise InputError(describe("--database", expected, f"{name.get_backend_name()}://…"))
        if name.get_backend_name() == "sqlite" and name.database:
            Path(name.database).touch(mode=0o600)
        engine = create_engine(name, pool_pre_ping=True)
        if engine.dialect.name == "sqlite":
            _durable_sqlite(engine)
        SQLModel.metadata.create_all(engine, tables=[_TABLE, SQLModel.metadata.tables["synthoma_draft"]])
    except ArgumentError:
        remedy = "Such as postgresql://USER@HOST/NAME; the password may stand in PGPASSWORD."
        raise InputError(describe("--database", "a URL", "a text that is none", remedy)) from None
    except (SQLAlchemyError, OSError) as error:
        where = make_url(url).render_as_string(hide_password=True)
        found = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise InputError(describe(where, "a database that can be written", found)) from error
    return engine


def _durable_sqlite(engine: Engine) -> None:
    """WAL, so that readers and the one writer do not wait for each other; every commit reaches the disk."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is said below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=15000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # a transaction that reads first and writes then may find that another wrote in between
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
