"""Stages one after another or side by side: begun when nothing is missing, begun again when killed, timed, stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from synthoma.errors import Interrupted, ProcessError, describe
from synthoma.protocol.clock import Clock, in_words
from synthoma.protocol.graph import Stage, keys_of, ready
from synthoma.protocol.ledger import Ledger
from synthoma.protocol.runners import Ended, InProcess, Runner

__all__ = ["execute"]

Say = Callable[[str], None]


def execute(stages: Sequence[Stage], ledger: Ledger, runner: Runner, *, retries: int = 0, say: Say = print) -> None:
    """Do what is not done, parents first.

    A stage whose process is killed is begun again, ``retries`` times; what does not depend on it goes on meanwhile.
    What a stage raises ends all: the others save their state, and it is raised here.

    Raises:
        ProcessError: a stage was killed too often.
        Interrupted: Ctrl-C or SIGTERM; trainings saved their state.
    """
    study = _Study(stages, ledger, runner, retries, say)
    if isinstance(runner, InProcess):
        study.do_all()
        return
    with _terminated_is_interrupted(), study.clock.shown(runner.most):
        try:
            study.do_all()
            runner.stop()
        except KeyboardInterrupt:
            _stop(runner)
            raise Interrupted(
                f"Stopped with {len(study.done)} of {len(stages)} stages done; trainings saved their state.\n"
                "Go on with the same command."
            ) from None
        except BaseException:
            _stop(runner)
            raise


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM, as clusters send it, ends a study like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(runner: Runner) -> None:
    try:
        runner.stop()
    except KeyboardInterrupt:  # a second Ctrl-C does not wait for states to be saved
        runner.stop(at_once=True)


class _Study:
    """A study on its way: which stages are done, which are under way, which were lost."""

    def __init__(self, stages: Sequence[Stage], ledger: Ledger, runner: Runner, retries: int, say: Say) -> None:
        self.stages, self.ledger, self.runner, self.retries, self.say = stages, ledger, runner, retries, say
        self.keys = keys_of(stages)
        self.place = {stage.name: f"[{i}/{len(stages)}] {stage.name}" for i, stage in enumerate(stages, start=1)}
        self.by_name = {stage.name: stage for stage in stages}
        self.done = {stage.name for stage in stages if ledger.is_done(stage, self.keys[stage.name])}
        self.begun: dict[str, float] = {}
        self.attempts: dict[str, int] = {}
        self.lost: dict[str, Ended] = {}
        self.clock = Clock(stages, ledger, self.done, self.begun)

    def do_all(self) -> None:
        """Until nothing can be begun any more."""
        for stage in self.stages:
            if stage.name in self.done:
                self.say(f"{self.place[stage.name]}: done before")
        while True:
            waiting = ready(self.stages, self.done, {*self.begun, *self.lost})
            if not waiting and not self.begun:
                break
            here = next((stage for stage in waiting if stage.here), None)
            if here is not None:
                self._begin(here, InProcess())
                continue
            for stage in waiting[: self.runner.most - len(self.begun)]:
                self._begin(stage, self.runner)
            self._collect(self.runner)
        if self.lost:
            raise self._loss()

    def _begin(self, stage: Stage, runner: Runner) -> None:
        self.ledger.begin(self.stages, self.keys, stage)
        self.attempts[stage.name] = self.attempts.get(stage.name, 0) + 1
        self.begun[stage.name] = time.monotonic()
        self.say(f"{self.place[stage.name]} …")
        try:
            runner.start(stage)
        except BaseException:
            self._time(stage.name)
            raise
        if runner is not self.runner or isinstance(runner, InProcess):
            self._collect(runner)

    def _collect(self, runner: Runner) -> None:
        """Take note of what ended."""
        try:
            ended = runner.wait()
        except BaseException:
            for name in list(self.begun):
                self._time(name)
            raise
        for one in ended:
            seconds = self._time(one.name)
            if one.error is not None:
                raise one.error
            if one.killed:
                self._killed(one)
                continue
            self.done.add(one.name)
            self.say(f"{self.place[one.name]}: done in {in_words(seconds)}{self.clock.left(self.runner.most)}")

    def _time(self, name: str) -> float:
        seconds = time.monotonic() - self.begun.pop(name)
        self.ledger.add_seconds(name, seconds)
        return seconds

    def _killed(self, ended: Ended) -> None:
        again = self.attempts[ended.name] <= self.retries
        what = f"begun again ({self.attempts[ended.name]} of {self.retries})" if again else "given up"
        self.say(f"{self.place[ended.name]}: its process was ended by {ended.killed}; {what}")
        for line in ended.tail.splitlines():
            self.say(f"    {line}")
        if not again:
            self.lost[ended.name] = ended

    def _loss(self) -> ProcessError:
        ended = next(iter(self.lost.values()))
        times = self.attempts[ended.name]
        by = f"that {ended.killed} ended its process" + (f" {times} times" if times > 1 else "")
        more = f", and those of {len(self.lost) - 1} other stages" * (len(self.lost) > 1)
        remedy = "Too little memory? Go on with the same command and --set protocol.workers=1."
        return ProcessError(describe(ended.name, "the end of its work", by + more, remedy))
