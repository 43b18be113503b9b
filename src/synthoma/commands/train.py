"""``synthoma train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthoma.commands.arguments import Out, Overwrite, Recipe, Set

__all__ = ["train"]


def train(
    cohort: Annotated[Path, typer.Argument(help="A cohort with a split.")],
    out: Out,
    recipe: Recipe = None,
    settings: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a GAN on a cohort.

    On its training patients, with the settings gan.… and training.…; the defaults are the study's.
    Ctrl-C saves the state; --resume goes on from it, bit for bit.
    """
    from synthoma.verbs import train

    train(cohort, out, recipe=recipe, settings=settings or (), resume=resume, overwrite=overwrite)
    typer.echo(f"Trained: {out}")
