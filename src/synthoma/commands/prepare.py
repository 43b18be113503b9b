"""``synthoma prepare``."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from synthoma.commands.arguments import Out, Overwrite, Recipe, Set

__all__ = ["prepare"]

SOURCES_HELP = (
    "brats, tcga-lgg, nifti, images, lidc-nodules, dicom, lidc, ircadb, tcia-liver, lits, decathlon or nnunet."
)


def prepare(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help=SOURCES_HELP)],
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
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", metavar="FOLDER", help="Keep scans between steps, for the next time.", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn a folder of scans into a cohort.

    Reads, preprocesses, chooses slices, splits by patient (settings data.…, preprocessing.…, split.…).
    qc.html in its folder shows how well that went, rejected.csv what was left out and why.
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
        cache=cache,
        overwrite=overwrite,
        debug=partial(typer.echo, err=True) if context.obj else None,
    )
    typer.echo("\n".join([*cohort_lines(open_cohort(out)), "", *_look_at(out)]))


def _look_at(out: Path) -> list[str]:
    """Where the user finds what was left out, and how the others look."""
    from synthoma.report.qc import PAGE, REJECTED

    rejected = sum(1 for _ in csv.DictReader((out / REJECTED).read_text(encoding="utf-8").splitlines()))
    lines = [f"Look at {out / PAGE}"]
    return lines + [f"{rejected} left out, with what to do: {out / REJECTED}"] * bool(rejected)
