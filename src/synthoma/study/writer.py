"""One thread that writes: whatever is waiting goes into one transaction, so that many readers share one wait for the
disk. Nobody is answered before that transaction is on the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlmodel import Session

__all__ = ["Writer"]

MOST = 64
"""Pieces of work in one transaction."""
Result = TypeVar("Result")
Work = Callable[[Session], Any]


class Writer:
    """Takes work that changes the database; a context manager that ends when all of it is done."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine.execution_options(writes=True)
        self._waiting: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()

    def __enter__(self) -> Writer:
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()

    def submit(self, work: Callable[[Session], Result]) -> Future[Result]:
        """``work(session)`` in a transaction; the future is done when the transaction is committed."""
        future: Future[Result] = Future()
        self._waiting.put((work, future))
        return future

    def _run(self) -> None:
        stop = False
        while not stop:
            taken = [self._waiting.get()]
            while len(taken) < MOST and not self._waiting.empty():
                taken.append(self._waiting.get())
            stop = None in taken
            # whoever hung up before is not waited for; from here on nothing can be called off
            batch = [one for one in taken if one is not None and one[1].set_running_or_notify_cancel()]
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[tuple[Work, Future[Any]]]) -> None:
        try:
            with Session(self.engine) as session:
                results = [work(session) for work, _ in batch]
                session.commit()
        except Exception as error:  # handed to whoever waits for it
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for one in batch:  # one piece of work must not take the others with it
                self._commit([one])
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
