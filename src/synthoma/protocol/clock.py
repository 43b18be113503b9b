"""How long what is left will take, from the times of stages of the same kind."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from synthoma.protocol.graph import Stage
from synthoma.protocol.ledger import Ledger

__all__ = ["QUICK", "Clock", "expected_seconds", "in_words"]

QUICK = ("divide", "pool", "report")
"""Kinds of stages that take seconds: no estimate waits for them."""


def expected_seconds(stages: Sequence[Stage], ledger: Ledger, done: Collection[str]) -> dict[str, float]:
    """Kind of stage → mean seconds of those that are done and were timed."""
    times: dict[str, list[float]] = {}
    for stage in stages:
        seconds = ledger.seconds(stage.name) if stage.name in done else None
        if seconds is not None:
            times.setdefault(stage.kind, []).append(seconds)
    return {kind: sum(own) / len(own) for kind, own in times.items()}


class Clock:
    """Watches a study; ``done`` and ``begun`` (name → when, monotonic) are its own and change."""

    def __init__(
        self, stages: Sequence[Stage], ledger: Ledger, done: Collection[str], begun: Mapping[str, float]
    ) -> None:
        self.stages, self.ledger, self.done, self.begun = stages, ledger, done, begun

    def left(self, workers: int) -> str:
        """``; about 12 min left``; empty where nothing like it was timed, or nothing is left."""
        expected = expected_seconds(self.stages, self.ledger, self.done)
        rest = [stage for stage in self.stages if stage.name not in self.done]
        known = [stage for stage in rest if stage.kind in expected]
        if not known:
            return ""
        now = time.monotonic()
        each = [max(0.0, expected[s.kind] - (now - self.begun.get(s.name, now))) for s in known]
        seconds = max(sum(each) / min(workers, len(each)), max(each))
        whole = all(stage.kind in expected or stage.kind in QUICK for stage in rest)
        return f"; {'about' if whole else 'at least'} {in_words(seconds)} left"

    @contextmanager
    def shown(self, workers: int) -> Iterator[None]:
        """A bar on a terminal: stages done, those under way, time left."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(stderr=True)
        if not console.is_terminal:
            yield
            return

        def line() -> Text:
            under_way = ", ".join(list(self.begun))
            return Text(f"{len(self.done)} of {len(self.stages)} stages done{self.left(workers)}: {under_way}")

        with Live(get_renderable=line, console=console, refresh_per_second=1, transient=True):
            yield


def in_words(seconds: float) -> str:
    """``12 s``, ``7 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
