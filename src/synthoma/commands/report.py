"""``synthoma report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthoma.commands.arguments import Out, Overwrite

__all__ = ["report"]


def report(
    folder: Annotated[Path, typer.Argument(help="Of a study (run, demo) or an evaluation.")],
    out: Out = Path("report.html"),
    overwrite: Overwrite = False,
) -> None:
    """Write the report as one HTML file, its tables beside it."""
    from synthoma.verbs import write_report

    typer.echo(f"The report: {write_report(folder, out, overwrite=overwrite)}")
