"""Where stages are done: in this process, or by others on this machine. A cluster is in :mod:`.ray_runner`."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from synthoma import errors
from synthoma.errors import Interrupted, SynthomaError
from synthoma.protocol import worker as worker_file
from synthoma.protocol.graph import Stage

__all__ = ["Ended", "InProcess", "Runner", "Workers", "as_error", "environment_of", "last_lines"]

LOOK_EVERY_S = 0.5
LINES = 8
"""So many last lines of a failed stage are shown."""


@dataclass(frozen=True)
class Ended:
    """How a stage came to its end."""

    name: str
    error: BaseException | None = None
    """What it raised."""
    killed: str = ""
    """What killed its process, such as ``SIGKILL``: it had no time to say anything."""
    tail: str = ""
    """The last lines that it printed."""


class Runner(Protocol):
    """What does stages."""

    @property
    def most(self) -> int:
        """So many stages may be given to it at the same time."""

    def start(self, stage: Stage) -> None:
        """Begin a stage."""

    def wait(self) -> list[Ended]:
        """Those that ended, after a short while at most."""

    def stop(self, *, at_once: bool = False) -> None:
        """End all that was begun, and every process: trainings save their state first, unless ``at_once``."""


class InProcess:
    """One stage after the other in this process; what they raise is raised here."""

    most = 1

    def __init__(self) -> None:
        self._ended: list[Ended] = []

    def start(self, stage: Stage) -> None:
        """Do a stage."""
        stage.work()
        self._ended.append(Ended(stage.name))

    def wait(self) -> list[Ended]:
        """The one that was done."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self, *, at_once: bool = False) -> None:
        """Nothing is under way between two stages."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    stage: str = ""
    """What it does; empty while it waits."""
    log: Path = Path()
    start: int = 0
    """Size of the log before: it holds earlier attempts, too."""


class Workers:
    """Up to ``most`` processes, each of which does one stage after another and prints to ``logs/<stage>.log``.

    They stand in sessions of their own, so that Ctrl-C on the terminal reaches this process alone, which passes it on
    once. They end when this process does, however it ends.
    """

    def __init__(self, most: int, logs: Path, *, threads: int = 0, gpus_per_stage: float = 0) -> None:
        self.logs, self.threads, self.gpus_per_stage = logs, threads, gpus_per_stage
        self.gpus = _visible_gpus()
        fit = int(len(self.gpus) / gpus_per_stage) if self.gpus and gpus_per_stage else most
        self.most = max(1, min(most, fit))
        self._workers: dict[int, _Worker] = {}

    def start(self, stage: Stage) -> None:
        """Give a stage to a process that waits, or to a new one."""
        place = min(set(range(self.most)) - {i for i, one in self._workers.items() if one.stage})
        if place not in self._workers:
            self._workers[place] = _Worker(self._process(place))
        worker = self._workers[place]
        self.logs.mkdir(parents=True, exist_ok=True)
        worker.log = self.logs / f"{''.join(c if c.isalnum() else '-' for c in stage.name)}.log"
        worker.start = worker.log.stat().st_size if worker.log.is_file() else 0
        worker.stage = stage.name
        content = pickle.dumps((str(worker.log), stage.work))
        with contextlib.suppress(BrokenPipeError):  # killed already: wait() says so
            _input(worker).write(len(content).to_bytes(8, "big") + content)
            _input(worker).flush()

    def wait(self) -> list[Ended]:
        """Those that ended, after a short while at most."""
        busy = {_output(one): place for place, one in self._workers.items() if one.stage}
        found, _, _ = select.select(list(busy), [], [], LOOK_EVERY_S)
        return [self._end(busy[pipe]) for pipe in found]

    def stop(self, *, at_once: bool = False) -> None:
        """SIGTERM, or SIGKILL, to those that work; then wait for them."""
        busy = [place for place, one in self._workers.items() if one.stage]
        for place in busy:
            self._workers[place].process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
        for place in busy:
            self._end(place)
        for place in list(self._workers):
            self._leave(place)

    def _process(self, place: int) -> subprocess.Popen[bytes]:
        environment = environment_of(place, self.most, self.threads, self.gpus, self.gpus_per_stage)
        return subprocess.Popen(  # noqa: S603 (our own file)
            [sys.executable, "-P", worker_file.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | environment, start_new_session=True,
        )  # fmt: skip

    def _end(self, place: int) -> Ended:
        """What the process says of its stage, or what ended it before it could."""
        worker = self._workers[place]
        said = _output(worker).readline()
        name, worker.stage = worker.stage, ""
        tail = last_lines(worker.log, worker.start)
        if said.endswith(b"\n"):
            words: dict[str, Any] = json.loads(said)
            if words and words["kind"] in (KeyboardInterrupt.__name__, Interrupted.__name__):
                return Ended(name, killed=signal.SIGTERM.name, tail=tail)  # by somebody else, or nobody asks any more
            return Ended(name, as_error(name, words) if words else None, tail=tail)
        with contextlib.suppress(ProcessLookupError):  # what it had started goes with it
            os.killpg(worker.process.pid, signal.SIGKILL)
        code = self._leave(place)
        return Ended(name, killed=signal.Signals(-code).name if code < 0 else f"exit code {code}", tail=tail)

    def _leave(self, place: int) -> int:
        """Let a process go; its exit code."""
        worker = self._workers.pop(place)
        with contextlib.suppress(BrokenPipeError):
            _input(worker).close()
        code = worker.process.wait()
        _output(worker).close()
        return code


def _input(worker: _Worker) -> IO[bytes]:
    assert worker.process.stdin is not None  # noqa: S101 (for the type checker)
    return worker.process.stdin


def _output(worker: _Worker) -> IO[bytes]:
    assert worker.process.stdout is not None  # noqa: S101 (for the type checker)
    return worker.process.stdout


def as_error(name: str, words: Mapping[str, str]) -> BaseException:
    """What another process raised, as an exception of this one that names the stage."""
    kind = getattr(errors, words["kind"], None)
    if isinstance(kind, type) and issubclass(kind, SynthomaError):
        error: BaseException = kind(f"{name}: {words['message']}")
    else:
        error = RuntimeError(f"{name}: {words['kind']}: {words['message']}")
    error.add_note(words["traceback"])
    return error


def environment_of(slot: int, workers: int, threads: int, gpus: Sequence[str], gpus_per_stage: float) -> dict[str, str]:
    """What a worker's environment adds: its share of the cores, and the GPU that it may see."""
    from joblib import cpu_count

    found = {}
    if threads or "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(threads or max(1, cpu_count() // workers))
    if gpus:
        place = int(slot * gpus_per_stage + 1e-9) if gpus_per_stage else slot
        found["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
    return found


def last_lines(path: Path, start: int = 0) -> str:
    """The last lines of a text after byte ``start`` that say something."""
    try:
        text = path.read_bytes()[start:].decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-LINES:])


def _visible_gpus() -> list[str]:
    """Names of the CUDA devices of this machine that this process may use."""
    import torch

    if "CUDA_VISIBLE_DEVICES" in os.environ:
        named = [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
        return named if torch.cuda.is_available() else []
    return [str(number) for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
