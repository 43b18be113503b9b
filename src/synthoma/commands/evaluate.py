"""``synthoma evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthoma.commands.arguments import Out, Overwrite, Recipe, Set

__all__ = ["evaluate"]


def evaluate(
    real: Annotated[Path, typer.Argument(help="The real cohort.")],
    synthetic: Annotated[list[Path], typer.Argument(help="Synthetic cohorts.")],
    out: Out,
    recipe: Recipe = None,
    settings: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure synthetic cohorts against real.

    Settings evaluation.… say how. A cohort is called by its folder's name. The one called reconstruct, else the
    first whose samples stand for real ones, is compared with the baselines.
    """
    from synthoma.commands.info import evidence_lines
    from synthoma.verbs import evaluate

    evaluate(real, synthetic, out, recipe=recipe, settings=settings or (), overwrite=overwrite)
    typer.echo("\n".join(evidence_lines(out)))
    typer.echo(f"All measurements: {out / 'evidence.csv'}. A page of them: synthoma report {out} --out report.html")
