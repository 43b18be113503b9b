"""``synthoma prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthoma.commands.arguments import Out, Overwrite, Recipe, Set

__all__ = ["prepare"]


def prepare(
    source: Annotated[str, typer.Argument(help="brats, tcga-lgg, nifti, images or lidc-nodules.")],
    path: Annotated[Path, typer.Argument(help="The folder of the scans.")],
    out: Out,
    recipe: Recipe = None,
    settings: Set = None,
    split: Annotated[
        bool, typer.Option("--split/--no-split", help="Divide the patients into train, validation, test.")
    ] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a scan that cannot be used.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Processes side by side.", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn a folder of scans into a cohort.

    Reads, preprocesses, chooses slices, splits by patient (settings data.…, preprocessing.…, split.…).
    What is left out is said with its reason.
    """
    from synthoma import open_cohort
    from synthoma.commands.info import cohort_lines
    from synthoma.verbs import prepare

    prepare(
        source,
        path,
        out,
        recipe=recipe,
        settings=settings or (),
        split=split,
        strict=strict,
        workers=workers,
        overwrite=overwrite,
    )
    typer.echo("\n".join(cohort_lines(open_cohort(out))))
