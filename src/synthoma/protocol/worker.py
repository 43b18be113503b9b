"""A process that does stages: ``python -P worker.py``, started by :mod:`.runners`; it imports what they need.

Through its standard input come pieces of work, each with its length before it, and through its standard output goes a
line of JSON for each: its last words, or nothing. What is printed meanwhile goes to the stage's log. When the input
closes, nobody waits for the work any more, and the process ends at once: what it writes is whole or not there.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from typing import Any

__all__ = ["last_words", "main"]

LONGEST = 20_000
"""Characters of a traceback that are passed on: a pipe holds 64 KiB without a reader."""


def main() -> None:
    """Do what comes, one piece after the other."""
    words = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    busy = threading.Event()

    def interrupt(_number: int, _frame: object) -> None:
        if not busy.is_set():
            os._exit(130)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt)
    threading.Thread(target=_read, args=(waiting,), daemon=True).start()
    while True:
        content = waiting.get()
        busy.set()
        said = _do(content)
        busy.clear()
        words.write(json.dumps(said) + "\n")


def _do(content: bytes) -> dict[str, str]:
    """Do one piece; its last words, or nothing."""
    try:
        log, work = pickle.loads(content)  # noqa: S301 (from the process that started this one)
        with open(log, "ab") as file:  # noqa: PTH123 (pathlib is not needed for anything else)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        work()
    except (Exception, KeyboardInterrupt) as error:
        said = last_words(error)
        print(said["traceback"], file=sys.stderr, flush=True)
        return said
    return {}


def last_words(error: BaseException) -> dict[str, str]:
    """What an exception says, for another process."""
    text = "".join(traceback.format_exception(error))
    return {"kind": type(error).__name__, "message": str(error), "traceback": text[-LONGEST:]}


def _read(waiting: Any) -> None:
    """Take in work; leave when whoever gives it is gone."""
    while size := sys.stdin.buffer.read(8):
        content = sys.stdin.buffer.read(int.from_bytes(size, "big"))
        waiting.put(content)
    os._exit(0)


if __name__ == "__main__":
    main()
