"""The progress bar of a training run: losses, images/s, time left. Plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["Update", "training_progress"]

Update = Callable[[int, Mapping[str, float], float], None]
"""Called with the steps done, the latest losses, and images per second."""

LINE_EVERY_SECONDS = 30.0


@contextmanager
def training_progress(title: str, steps: int, done: int = 0, *, quiet: bool = False) -> Iterator[Update]:
    """Show the progress of ``steps`` optimiser steps, ``done`` of which lie behind; nothing when ``quiet``."""
    if quiet:
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain(title, steps)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}  {task.fields[losses]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=steps, completed=done, speed="", losses="")

        def update(step: int, losses: Mapping[str, float], images_per_second: float) -> None:
            bar.update(task, completed=step, speed=f"{images_per_second:.1f} images/s", losses=_words(losses))

        yield update


def _plain(title: str, steps: int) -> Update:
    begun = last = time.monotonic()
    first: int | None = None

    def update(step: int, losses: Mapping[str, float], images_per_second: float) -> None:
        nonlocal last, first
        now = time.monotonic()
        first = step if first is None else first
        if now - last < LINE_EVERY_SECONDS and step < steps:
            return
        last = now
        rate = (step - first) / (now - begun) if step > first else 0.0
        left = f"{(steps - step) / rate / 60:.1f} min left" if rate else ""
        line = f"{title}: {step}/{steps}  {images_per_second:.1f} images/s  {_words(losses)}  {left}"
        print(line, file=sys.stderr, flush=True)

    return update


def _words(losses: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
