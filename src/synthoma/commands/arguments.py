"""Arguments that several verbs share, so that they are called the same and say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Out", "Overwrite", "Recipe", "Set"]

Out = Annotated[Path, typer.Option("--out", metavar="PATH", help="What to write.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists there.")]
Recipe = Annotated[
    str | None,
    typer.Option("--recipe", metavar="RECIPE", help="Settings of a recipe or a file.", show_default=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be given again.", show_default=False),
]
