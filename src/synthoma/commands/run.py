"""``synthoma run``."""

from __future__ import annotations

from typing import Annotated

import typer

from synthoma.commands.arguments import Out, Overwrite, Set

__all__ = ["run"]


def run(
    recipe: Annotated[str, typer.Argument(help="A ready recipe (synthoma recipes list) or a file.")],
    out: Out,
    settings: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """A whole study: from scans to report by a recipe.

    Run again, it goes on where it stopped. With --overwrite, stages whose settings changed are done anew, and all
    after them.
    """
    from synthoma.verbs import run

    path = run(recipe, out, settings=settings or (), overwrite=overwrite, say=typer.echo)
    typer.echo(f"The report: {path}")
