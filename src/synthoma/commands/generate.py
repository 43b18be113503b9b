"""``synthoma generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthoma.commands.arguments import Out, Overwrite, Recipe, Set

__all__ = ["generate"]


def generate(
    run: Annotated[Path, typer.Argument(help="What synthoma train wrote, or a checkpoint of it.")],
    cohort: Annotated[Path, typer.Argument(help="The real cohort that gives the conditions.")],
    out: Out,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="Of a conditional GAN: reconstruct, transplant, remove, redraw. Of a CycleGAN: translate, back, "
            "cycle, redraw. Of a WGAN-GP: sample. By default the first of these.",
        ),
    ] = None,
    recipe: Recipe = None,
    settings: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a synthetic cohort with a trained GAN.

    Settings generation.… say how."""
    from synthoma import open_cohort
    from synthoma.commands.info import cohort_lines
    from synthoma.verbs import generate

    generate(run, cohort, out, method=method, recipe=recipe, settings=settings or (), overwrite=overwrite)
    typer.echo("\n".join(cohort_lines(open_cohort(out))))
