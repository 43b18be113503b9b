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
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Processes side by side.", show_default=False)
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show the stages and their cost; do nothing.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """A whole study: from scans to report, by a recipe.

    Repeated over folds and runs where it says so (protocol.…).

    Run again, it goes on where it stopped. With --overwrite, stages whose settings changed are done anew, and all
    after them.
    """
    if plan:
        from synthoma.verbs import plan as plan_study

        typer.echo("\n".join(plan_study(recipe, out, settings=settings or (), workers=workers)))
        return
    from synthoma.verbs import run

    path = run(recipe, out, settings=settings or (), workers=workers, overwrite=overwrite, say=typer.echo)
    typer.echo(f"The report: {path}")
