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
    devices: Annotated[int, typer.Option("--devices", min=1, help="Processes: a GPU each, or a share of cores.")] = 1,
    overwrite: Overwrite = False,
) -> None:
    """Train a GAN on a cohort.

    On its training patients, with the settings gan.… and training.…; the defaults are the study's.
    Ctrl-C saves the state; --resume goes on from it, bit for bit.
    """
    from synthoma.training.launch import has_voice, one_voice
    from synthoma.verbs import train

    with one_voice():
        train(cohort, out, recipe=recipe, settings=settings or (), resume=resume, overwrite=overwrite, devices=devices)
    if has_voice():
        typer.echo(f"Trained: {out}")
