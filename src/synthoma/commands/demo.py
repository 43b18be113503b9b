"""``synthoma demo``."""

from __future__ import annotations

from pathlib import Path

import typer

from synthoma.commands.arguments import Out, Overwrite, Set

__all__ = ["demo"]


def demo(out: Out = Path("demo"), settings: Set = None, overwrite: Overwrite = False) -> None:
    """The whole path on phantom brains, in minutes. Run again, it goes on where it stopped."""
    from synthoma.verbs import demo

    path = demo(out, settings=settings or (), overwrite=overwrite, say=typer.echo)
    typer.echo(f"The report: {path}")
