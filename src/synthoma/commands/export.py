"""``synthoma export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from synthoma.commands.arguments import Out, Overwrite

__all__ = ["export"]


def export(
    cohort: Annotated[Path, typer.Argument(help="The cohort to write as files, real or synthetic.")],
    out: Out,
    kind: Annotated[Literal["nifti"], typer.Option("--as", help="The format.")] = "nifti",
    overwrite: Overwrite = False,
) -> None:
    """Write a cohort as files for other programs.

    NIfTI: a folder a volume, channels in the scanner's unit, masks, labels; slices at their place in their scan.
    """
    from synthoma.verbs import export

    export(cohort, out, kind=kind, overwrite=overwrite)
    volumes = sum(path.is_dir() for path in out.iterdir())
    typer.echo(f"{out}: {volumes} volumes; {out / 'samples.csv'} says which sample is where")
