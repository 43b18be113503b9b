"""The fuzz campaign: damaged files through the public door, :func:`synthoma.scans.find` and
:func:`~synthoma.scans.read`.

Cases run in processes of their own: a decoder in C that crashes takes only its worker with it. Case k of a format is
the same for every number of cases, workers and other formats.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mutations import damaged
from outcomes import outcome_of
from seed import Seed
from seeds import FORMATS

from synthoma.seeding import generator

__all__ = ["MOST_BYTES", "Outcome", "campaign", "cases_of", "replay"]

MOST_BYTES = 3 * 2**30
"""Address space of a worker."""
_PATIENCE_S = 90
"""Without an answer for so long a worker hangs outside Python."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    format: str
    number: int
    kind: str
    """``good``, ``rejected`` or ``violation``."""
    reasons: tuple[str, ...] = ()
    trace: str = ""
    seconds: float = 0
    """Of processor time."""


def cases_of(formats: Sequence[str], count: int) -> list[tuple[str, int]]:
    """``count`` cases, in turn of each format."""
    return [(formats[k % len(formats)], k // len(formats)) for k in range(count)]


def campaign(cases: Sequence[tuple[str, int]], seed: int, workers: int) -> Iterator[Outcome]:
    """The outcomes of all cases, as they come in."""
    waiting = list(cases)[::-1]
    chooser = selectors.DefaultSelector()
    with contextlib.ExitStack() as stack:
        for _ in range(min(workers, len(waiting))):
            _hire(stack.enter_context(_Worker(seed)), waiting, chooser)
        while chooser.get_map():
            ready = chooser.select(_PATIENCE_S)
            for key, _ in ready or [(key, 0) for key in list(chooser.get_map().values())]:
                worker: _Worker = key.data
                chooser.unregister(key.fileobj)
                line = worker.process.stdout.readline() if ready and worker.process.stdout else ""
                if line:
                    answer = json.loads(line)
                    yield Outcome(**{**answer, "reasons": tuple(answer["reasons"])})
                else:
                    how, code = "died" if ready else f"gave no answer for {_PATIENCE_S} s", worker.end()
                    if code == 1:
                        raise RuntimeError("the campaign itself failed, see above")
                    yield Outcome(*worker.busy_with, "violation", (f"the process {how}: exit code {code}",))
                    worker = stack.enter_context(_Worker(seed))
                _hire(worker, waiting, chooser)


class _Worker:
    """A process that is told the cases one by one."""

    busy_with: tuple[str, int]

    def __init__(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(seed), self.folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | threads,
        )

    def tell(self, case: tuple[str, int]) -> None:
        self.busy_with = case
        assert self.process.stdin is not None
        self.process.stdin.write(f"{case[0]} {case[1]}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        self.process.kill()
        self.process.communicate()
        return self.process.returncode

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.folder.cleanup()


def _hire(worker: _Worker, waiting: list[tuple[str, int]], chooser: selectors.BaseSelector) -> None:
    if waiting and worker.process.stdout is not None:
        worker.tell(waiting.pop())
        chooser.register(worker.process.stdout, selectors.EVENT_READ, worker)


def replay(seeds: Sequence[Seed], format_: str, number: int, seed: int) -> Outcome:
    """One case: a file of one of the seeds is damaged, the source reads the folder, the file is put back."""
    rng = generator(seed, "fuzz", format_, number)
    one = seeds[int(rng.integers(len(seeds)))]
    path = one.victims[int(rng.integers(len(one.victims)))]
    donors = [victim.read_bytes() for other in seeds for victim in other.victims[:2]]
    before = path.read_bytes()
    began = time.process_time()
    try:
        path.write_bytes(damaged(before, rng, donors))
        os.utime(path, (number + 1, number + 1))  # what is cached by time and size is not of another case
        kind, reasons, trace = outcome_of(one.options)  # type: ignore[arg-type]
    finally:
        path.write_bytes(before)
    if kind == "violation":
        reasons = tuple(f"{path}: {reason}" for reason in reasons)
    return Outcome(format_, number, kind, reasons, trace, time.process_time() - began)


def _work(seed: int, folder: Path) -> None:
    """Answer every line of the input (format and number) with an outcome in JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    os.chdir(folder)  # short relative paths: the files' contents, UIDs among them, depend on no folder's name
    seeds: dict[str, list[Seed]] = {}
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        format_, number = line.split()
        if format_ not in seeds:
            seeds[format_] = list(FORMATS[format_](Path(format_)))
            _check(seeds[format_])
        answers.write(json.dumps(asdict(replay(seeds[format_], format_, int(number), seed))) + "\n")
        answers.flush()


def _check(seeds: Sequence[Seed]) -> None:
    """Undamaged, no seed is a violation, and none is without victims."""
    for seed in seeds:
        kind, reasons, trace = outcome_of(seed.options)  # type: ignore[arg-type]
        if kind == "violation" or not seed.victims:
            raise AssertionError(f"a seed is bad: {seed.options} {reasons}\n{trace}")


if __name__ == "__main__":
    _work(int(sys.argv[1]), Path(sys.argv[2]))
