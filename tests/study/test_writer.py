"""The one thread that writes, the limits, and the tokens."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest
from itsdangerous import TimestampSigner
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session, select

from synthoma.errors import InputError
from synthoma.study.database import Answer, open_database
from synthoma.study.limits import Limit
from synthoma.study.tokens import (
    ADMINISTRATOR,
    VISIT_SECONDS,
    Visit,
    csrf_token,
    link_token,
    read_cookie,
    read_link,
    write_cookie,
)
from synthoma.study.writer import Writer

SECRET = "0123456789abcdef" * 4


def answer(key: str, **changes) -> Answer:
    fields = {
        "study": "s", "reader": 1, "presentation": "p", "key": key, "session": "v", "realism": 1, "anatomy": 1,
        "call": "real", "confidence": 1, "note": "", "seconds": 1.0, "answered_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Answer(**(fields | changes))


@pytest.fixture
def engine(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    yield engine
    engine.dispose()


def test_the_disk_is_waited_for(engine, tmp_path):
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
    assert (tmp_path / "x.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("statement", ["UPDATE synthoma_answer SET realism = 5", "DELETE FROM synthoma_answer"])
def test_the_database_itself_refuses_to_change_an_answer(engine, statement):
    with Session(engine) as session:
        session.add(answer("a"))
        session.commit()
    with engine.connect() as connection, pytest.raises(DatabaseError, match="only ever added"):
        connection.execute(text(statement))
    with Session(engine) as session:
        assert session.exec(select(Answer.realism)).all() == [1]


def test_work_of_many_is_done_once_each_and_in_order(engine):
    with Writer(engine) as writer:
        futures = [writer.submit(lambda session, i=i: session.add(answer(str(i)))) for i in range(300)]
        wait(futures)
    with Session(engine) as session:
        assert session.exec(select(Answer.key).order_by(Answer.id)).all() == [str(i) for i in range(300)]


def test_waiting_work_shares_a_transaction_and_none_takes_the_others_with_it(engine):
    gate = threading.Event()
    with Writer(engine) as writer:
        first = writer.submit(lambda _: gate.wait(10))
        one, bad, two = (writer.submit(lambda session, key=key: session.add(answer(key))) for key in "aab")
        gate.set()
        wait([first, one, bad, two])
    assert one.exception() is None
    assert two.exception() is None
    assert "UNIQUE" in str(bad.exception())
    with Session(engine) as session:
        assert session.exec(select(Answer.key)).all() == ["a", "b"]


def test_who_hung_up_is_not_waited_for(engine):
    gate = threading.Event()
    with Writer(engine) as writer:
        first = writer.submit(lambda _: gate.wait(10))
        gone = writer.submit(lambda session: session.add(answer("gone")))
        assert gone.cancel()
        gate.set()
        assert first.result(10)
        writer.submit(lambda session: session.add(answer("here"))).result(10)
    with Session(engine) as session:
        assert session.exec(select(Answer.key)).all() == ["here"]


def test_what_was_taken_is_done_before_the_end(engine):
    with Writer(engine) as writer:
        futures = [writer.submit(lambda session, i=i: session.add(answer(str(i)))) for i in range(200)]
    assert all(future.done() and future.exception() is None for future in futures)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("not a url", "a URL, found a text that is none"),
        ("mysql://x@y/z", "postgresql://USER@HOST/NAME"),
        ("sqlite:////nowhere/at/all.sqlite", "a database that can be written"),
        ("postgresql://me:hidden@127.0.0.1:1/x", "a database that can be written"),
    ],
)
def test_a_database_that_is_none(url, message):
    with pytest.raises(InputError, match=message) as error:
        open_database(url)
    assert "hidden" not in str(error.value)


def test_a_limit_lets_so_many_through():
    now = [0.0]
    limit = Limit(2, 3, lambda: now[0])
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait("b") == 0
    now[0] = 0.5
    assert limit.wait("a") == 0
    assert limit.wait("a") == 0.5
    now[0] = 1000
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_limit_forgets_the_oldest():
    limit = Limit(1, 1, lambda: 0.0)
    for i in range(20_000):
        limit.wait(str(i))
    assert len(limit._buckets) == 10_000


def test_links_are_signed():
    token = link_token(SECRET, "study", 2)
    assert read_link(SECRET, "study", token) == 2
    assert read_link(SECRET, "other", token) is None
    assert read_link("f" * 64, "study", token) is None
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        found = read_link(SECRET, "study", token[:place] + other + token[place + 1 :])
        assert found in (None, 2)  # the last letter of base64 has bits that mean nothing
    assert read_link(SECRET, "study", "") is None
    assert read_link(SECRET, "study", "ü\x00") is None


def test_a_link_is_no_cookie_and_a_cookie_no_link():
    cookie = write_cookie(SECRET, "study", 2)
    assert read_cookie(SECRET, "study", link_token(SECRET, "study", 2)) is None
    assert read_link(SECRET, "study", cookie) is None


def test_a_cookie_ends(monkeypatch):
    cookie = write_cookie(SECRET, "study", ADMINISTRATOR, "here")
    assert read_cookie(SECRET, "study", cookie) == Visit(0, "here")
    now = TimestampSigner.get_timestamp
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: now(self) + VISIT_SECONDS + 2)
    assert read_cookie(SECRET, "study", cookie) is None


def test_the_token_against_forgery_is_of_one_visit():
    tokens = {csrf_token(SECRET, Visit(reader, session)) for reader in (1, 2) for session in ("a", "b")}
    assert len(tokens) == 4
