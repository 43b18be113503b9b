"""``synthoma demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from synthoma.commands.arguments import Out, Overwrite, Set

__all__ = ["demo"]

Anatomy = Literal["brain", "lung", "liver"]


def demo(
    out: Out = Path("demo"),
    anatomy: Annotated[Anatomy, typer.Option("--anatomy", help="What is scanned.")] = "brain",
    settings: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """The whole path on phantoms, in minutes.

    MR of the brain, CT of the chest or the liver. Run again, it goes on where it stopped.
    """
    from synthoma.verbs import demo

    path = demo(out, anatomy=anatomy, settings=settings or (), overwrite=overwrite, say=typer.echo)
    typer.echo(f"The report: {path}")
