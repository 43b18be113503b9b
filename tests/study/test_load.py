"""Many readers at once, and a server that is killed under them: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlmodel import Session, select

from synthoma.study.database import Answer, open_database
from synthoma.study.tokens import Visit, csrf_token, write_cookie

pytestmark = pytest.mark.slow

READERS = 50


@dataclass
class Ledger:
    """What readers sent, and what the server acknowledged."""

    sent: dict[str, tuple[int, str]] = field(default_factory=dict)
    """key → (reader, presentation)."""
    acknowledged: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)


class Reader:
    """Answers one item after the other, each until it is acknowledged; goes on after the server was killed."""

    def __init__(self, study: Any, number: int, ledger: Ledger, again: float = 0.0) -> None:
        self.study, self.number, self.ledger, self.again = study, number, ledger, again
        visit = Visit(number, f"session-{number}")
        cookie = write_cookie(study.secret(), study.design.study, number, visit.session)
        self.headers = {"X-CSRF-Token": csrf_token(study.secret(), visit), "Cookie": f"synthoma_reader={cookie}"}
        self.place, self.key = 0, ""

    async def read(self, client: httpx2.AsyncClient) -> None:
        """Until all is answered, or the server is gone."""
        order = self.study.order(self.number)
        while self.place < len(order):
            item = order[self.place].id
            self.key = self.key or secrets.token_hex(16)
            self.ledger.sent[self.key] = (self.number, item)
            fields = {
                "item": item, "key": self.key, "realism": 1 + self.place % 5, "anatomy": 3, "lesion": 2,
                "call": "real", "confidence": 4, "note": f"{self.number}/{self.place}", "seconds": 2.0,
            }  # fmt: skip
            try:
                answers = [await client.post("/api/answers", json=fields, headers=self.headers)]
                if self.again and self.place % round(1 / self.again) == 0:
                    answers.append(await client.post("/api/answers", json=fields, headers=self.headers))
            except httpx2.TransportError:
                return  # the same key again at the next server
            for answer in answers:
                if answer.status_code != 200:
                    self.ledger.refused.append(f"{answer.status_code} {answer.text}")
                    return
            self.ledger.acknowledged.add(self.key)
            self.place, self.key = self.place + 1, ""


async def all_read(readers: list[Reader], base: str, kill: Any = None, after: int = 0) -> None:
    """Everybody reads; with ``kill``, the server dies once so many more answers are acknowledged."""

    async def watch() -> None:
        ledger = readers[0].ledger
        enough = len(ledger.acknowledged) + after
        while len(ledger.acknowledged) < enough:
            await asyncio.sleep(0.002)
        kill()

    limits = httpx2.Limits(max_connections=len(readers), max_keepalive_connections=len(readers))
    async with httpx2.AsyncClient(base_url=base, limits=limits, timeout=120) as client:
        await asyncio.gather(*(reader.read(client) for reader in readers), *([watch()] if kill else []))


def stored(url: str) -> list[tuple[str, int, str]]:
    engine = open_database(url)
    with Session(engine) as session:
        rows = session.exec(select(Answer.key, Answer.reader, Answer.presentation)).all()
    engine.dispose()
    return [tuple(row) for row in rows]


def check(ledger: Ledger, url: str) -> None:
    """Every acknowledged answer is there once, nothing is there twice, nothing is there that nobody sent."""
    rows = stored(url)
    keys = [key for key, _, _ in rows]
    assert ledger.refused == []
    assert len(set(keys)) == len(keys)
    assert ledger.acknowledged <= set(keys)
    assert all(ledger.sent[key] == (reader, item) for key, reader, item in rows)


@pytest.fixture
def large(write, tmp_path, create):
    """50 readers of 44 items each."""
    real, synthetic = write(tmp_path, patients=60, shape=(8, 8))
    return create(real, synthetic, items=40, readers=READERS, training=0, repeats=0.1, common=1)


def processor_seconds(process: int) -> float:
    """Of a process, all its threads together (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_fifty_readers_at_once(large, serve, record_property):
    """None lost, none doubled; the rate is printed, and decides nothing."""
    ledger = Ledger()
    readers = [Reader(large, number, ledger, again=0.1) for number in range(1, READERS + 1)]
    with serve(large) as server:
        began, ours = time.perf_counter(), time.process_time()
        asyncio.run(all_read(readers, server.base))
        seconds = time.perf_counter() - began
        busy, ours = processor_seconds(server.process.pid), time.process_time() - ours
    check(ledger, large.database)
    rate = len(ledger.acknowledged) / seconds
    record_property("answers_per_second", round(rate))
    share = 1000 / len(ledger.acknowledged)
    print(
        f"\n{len(ledger.acknowledged)} answers, {rate:.0f} a second; "
        f"{share * busy:.1f} ms of a processor each by the server, {share * ours:.1f} by the readers"
    )
    assert len(ledger.acknowledged) == len(stored(large.database)) == READERS * 44


def killed_ten_times(study: Any, serve: Any, url: str, *words: str) -> None:
    ledger = Ledger()
    readers = [Reader(study, number, ledger) for number in range(1, READERS + 1)]
    for time_ in range(10):
        with serve(study, *words) as server:
            asyncio.run(all_read(readers, server.base, server.kill, after=20 + 7 * time_))
        check(ledger, url)
    assert len(ledger.acknowledged) < sum(len(order) for order in study.design.readers)  # it was under load to the end
    with serve(study, *words) as server:
        asyncio.run(all_read(readers, server.base))
    check(ledger, url)
    assert len(stored(url)) == len(ledger.acknowledged) == sum(len(order) for order in study.design.readers)


@pytest.fixture
def endless(write, tmp_path, create):
    """More than is answered between ten kills."""
    real, synthetic = write(tmp_path, patients=32, shape=(4, 4))
    return create(real, synthetic, items=20, readers=READERS, training=0, repeats=0, common=1)


def test_killed_under_load_on_sqlite(endless, serve):
    killed_ten_times(endless, serve, endless.database)


@pytest.fixture
def postgresql() -> Iterator[str]:
    """A PostgreSQL of its own, from Debian's package; the URL of an empty database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    bin_ = programs[-1].parent
    user = None
    if os.geteuid() == 0:  # it does not run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="synthoma-pg-"))
    try:
        if user:
            shutil.chown(folder, user)

        def run(*words: str) -> None:
            subprocess.run(words, check=True, capture_output=True, user=user, cwd=folder, timeout=60)

        data = folder / "data"
        run(str(bin_ / "initdb"), "-D", str(data), "-U", "synthoma", "--auth=trust", "-E", "UTF8", "--locale=C")
        settings = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c max_connections=30"
        run(str(bin_ / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", settings, "start")
        try:
            run(str(bin_ / "createdb"), "-h", str(folder), "-U", "synthoma", "study")
            yield f"postgresql://synthoma@/study?host={folder}"
        finally:
            with contextlib.suppress(subprocess.SubprocessError):
                run(str(bin_ / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_killed_under_load_on_postgresql(endless, serve, postgresql):
    killed_ten_times(endless, serve, postgresql, "--database", postgresql)


def test_postgresql_refuses_to_change_an_answer(postgresql, create, serve):
    from sqlalchemy import text
    from sqlalchemy.exc import DatabaseError

    study = create()
    ledger = Ledger()
    with serve(study, "--database", postgresql) as server:
        asyncio.run(all_read([Reader(study, 1, ledger)], server.base))
    check(ledger, postgresql)
    engine = open_database(postgresql)
    for statement in ("UPDATE synthoma_answer SET realism = 5", "DELETE FROM synthoma_answer"):
        with engine.connect() as connection, pytest.raises(DatabaseError, match="only ever added"):
            connection.execute(text(statement))
    engine.dispose()
    assert not (study.path / "answers.sqlite").exists()


def test_two_servers_on_one_database_agree(create, serve, postgresql):
    """The same answer sent to both at once is stored once."""
    study = create()
    words = ("--database", postgresql)
    ledgers = [Ledger(), Ledger()]
    with serve(study, *words) as one, serve(study, *words) as two:
        readers = [Reader(study, 1, ledger) for ledger in ledgers]
        for reader in readers:
            reader.key = "0" * 32
        barrier = threading.Barrier(2)

        def first(reader: Reader, base: str) -> None:
            barrier.wait()
            client = httpx2.Client(base_url=base, headers=reader.headers)
            fields = {
                "item": study.order(1)[0].id, "key": reader.key, "realism": 1, "anatomy": 3, "lesion": 2,
                "call": "real", "confidence": 4, "note": "", "seconds": 2.0,
            }  # fmt: skip
            codes = []
            while not codes or codes[-1] == 503:
                codes.append(client.post("/api/answers", json=fields).status_code)
            assert codes[-1] == 200

        threads = [threading.Thread(target=first, args=(r, s.base)) for r, s in zip(readers, (one, two), strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert [key for key, _, _ in stored(postgresql)] == ["0" * 32]
