"""``synthoma study``: a blinded reader study, from two cohorts to what the readers' answers say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from synthoma.commands.arguments import Out, Overwrite

__all__ = ["app"]

app = typer.Typer(help="Reader study: create, serve, status, export, analyse.", rich_markup_mode=None)

Folder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
MARGIN = 0.1
Database = Annotated[
    str,
    typer.Option(
        "--database", envvar="SYNTHOMA_DATABASE", show_envvar=False, metavar="URL", show_default=False,
        help="Where answers are: postgresql://… instead of the folder's own (or SYNTHOMA_DATABASE).",
    ),
]  # fmt: skip


def _plan(width: float | None) -> None:
    """Print how many items and readers a study needs, and end."""
    if width is not None:
        from synthoma.study.planning import plan_lines

        typer.echo("\n".join(plan_lines(width, MARGIN)))
        raise typer.Exit


@app.command()
def create(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="The real cohort.")],
    synthetic: Annotated[Path, typer.Argument(metavar="SYNTHETIC", help="The synthetic cohort.")],
    out: Out,
    items: Annotated[int, typer.Option(help="Images for each reader, about half of them real.")] = 100,
    readers: Annotated[int, typer.Option(help="How many readers.")] = 3,
    common: Annotated[float, typer.Option(help="Share of the items that all readers see.")] = 0.8,
    repeats: Annotated[float, typer.Option(help="Share of the items shown a second time.")] = 0.1,
    training: Annotated[int, typer.Option(help="Images to practise on first.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the choice and the order.")] = 1,
    channel: Annotated[str, typer.Option(help="The channel to show.", show_default="the first")] = "",
    modality: Annotated[str, typer.Option(help="MR or CT, of cohorts that hold both.", show_default=False)] = "",
    split: Annotated[str, typer.Option(help="Only train, validation or test samples.", show_default=False)] = "",
    label: Annotated[
        list[str] | None, typer.Option(help="A class to show; may be given again.", show_default=False)
    ] = None,
    trim: Annotated[float, typer.Option(help="Cut off each end of the intensities, real and synthetic.")] = 0.01,
    title: Annotated[str, typer.Option(help="What the readers see at the top.")] = "Reader study",
    notice: Annotated[
        Path | None, typer.Option(help="A text file for the readers' first page.", show_default=False)
    ] = None,
    plan: Annotated[  # noqa: ARG001 (its callback prints the table and ends)
        float | None,
        typer.Option(
            metavar="WIDTH",
            callback=_plan,
            is_eager=True,
            show_default=False,
            help="Say how many items and readers intervals of this width need (0.2 is ±0.1), and end.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a study from a real and a synthetic cohort.

    Every reader gets images of their own order, each patient once, and a private link."""
    from synthoma.study import StudyOptions, check_parts, open_key, open_study

    check_parts()
    options = _options(
        StudyOptions, items=items, readers=readers, common=common, repeats=repeats, training=training, seed=seed,
        channel=channel, modality=modality, split=split, labels=tuple(label or ()), trim=trim, title=title,
        notice=_text(notice),
    )  # fmt: skip
    from synthoma.study.create import create_study

    create_study(real, synthetic, out, options, overwrite=overwrite)
    study = open_study(out)
    order = study.order(1)
    counts = {phase: sum(shown.phase == phase for shown in order) for phase in ("training", "main", "repeat")}
    typer.echo(
        f"{out}: {counts['main']} items for each of {readers} readers, {counts['repeat']} of them twice, "
        f"{counts['training']} to practise on"
    )
    for note in open_key(study).notes:
        typer.echo(f"  {note}")
    typer.echo(f"The private links are in {out / 'links.txt'}. Next: synthoma study serve {out}")


@app.command()
def serve(
    study: Folder,
    host: Annotated[
        str, typer.Option(help="The address to listen on; others can reach all but 127.0.0.1.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    url: Annotated[str, typer.Option(help="How readers reach it through a proxy: https://….", show_default=False)] = "",
    database: Database = "",
) -> None:
    """Serve the readers' pages until Ctrl-C.

    Prints each reader's private link, and the administrator's."""
    from synthoma.study import check_parts, open_study

    check_parts(database)
    from synthoma.study.server import serve

    serve(open_study(study), host=host, port=port, url=url, database=database, say=typer.echo)


@app.command()
def status(study: Folder, database: Database = "") -> None:
    """How far every reader is."""
    from synthoma.study import check_parts, open_study

    check_parts(database)
    from sqlmodel import Session

    from synthoma.study.database import open_database
    from synthoma.study.progress import progress

    opened = open_study(study)
    with Session(open_database(database or opened.database)) as session:
        rows = progress(session, opened)
    for row in rows:
        pace = f"{row.median_seconds:.0f} s an image" if row.median_seconds is not None else ""
        last = f"last {row.last[:16].replace('T', ' ')} UTC" if row.last else "not begun"
        typer.echo(f"reader {row.reader:<3} {row.done:>4} of {row.total}  {last}  {pace}".rstrip())


@app.command()
def export(
    study: Folder,
    out: Out,
    exclude_below: Annotated[
        float | None,
        typer.Option(min=1, max=5, help="Write the synthetic cohort without what is rated lower.", show_default=False),
    ] = None,
    scale: Annotated[str, typer.Option(help="The rating that excludes: realism, anatomy or lesion.")] = "realism",
    rated_only: Annotated[bool, typer.Option("--rated-only", help="Exclude what nobody rated, too.")] = False,
    synthetic: Annotated[
        Path | None, typer.Option(help="The synthetic cohort, if it was moved.", show_default=False)
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Every change of an answer, not the last alone.")] = False,
    database: Database = "",
    overwrite: Overwrite = False,
) -> None:
    """Write the answers as CSV, or the synthetic cohort without what readers rejected."""
    from synthoma.errors import SettingError, describe, did_you_mean
    from synthoma.study import SCALES, check_parts, open_key, open_study

    check_parts(database)
    from synthoma.study.export import export_answers, export_cohort

    opened = open_study(study)
    key = open_key(opened)
    if exclude_below is None:
        count = export_answers(opened, key, out, database=database, history=history, overwrite=overwrite)
        typer.echo(f"{out}: {count} answers")
        return
    if scale not in SCALES:
        raise SettingError(describe("--scale", "a rating", f"'{scale}'", did_you_mean(scale, SCALES)))
    told = export_cohort(
        opened, key, out, below=exclude_below, scale=scale, rated_only=rated_only, synthetic=synthetic,  # type: ignore[arg-type]
        database=database, overwrite=overwrite,
    )  # fmt: skip
    typer.echo(f"{out}: {told.kept} samples; of {told.rated} rated, {len(told.excluded)} are left out")


@app.command()
def analyse(
    study: Folder,
    margin: Annotated[
        float, typer.Option(min=0.01, max=0.49, help="How far from 0.5 an accuracy is still chance.")
    ] = MARGIN,
    report: Annotated[
        Path | None,
        typer.Option(help="The folder of an evaluation whose report shall show the readers.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PATH", help="What to write.", show_default="STUDY/analysis")
    ] = None,
    real: Annotated[Path | None, typer.Option(help="The real cohort, if it was moved.", show_default=False)] = None,
    synthetic: Annotated[
        Path | None, typer.Option(help="The synthetic cohort, if it was moved.", show_default=False)
    ] = None,
    features: Annotated[bool, typer.Option(help="Measure the distance in features, too.")] = True,
    database: Database = "",
    overwrite: Overwrite = False,
) -> None:
    """Analyse the answers: ratings by origin, agreement, the call, and how they go with measures of the images."""
    from synthoma.study import check_parts, open_key, open_study

    check_parts(database)
    from synthoma.storage import check_new
    from synthoma.study.analysis import analyse_study
    from synthoma.study.analysis_files import add_to_report, evaluated_cohort, write_analysis
    from synthoma.study.analysis_images import lite0

    opened = open_study(study)
    key = open_key(opened)
    folder = out or study / "analysis"
    check_new(folder, overwrite=overwrite)
    if report is not None:  # refused before seconds of work
        evaluated_cohort(report, key)
        check_new(report / "evidence" / "readers.json", overwrite=overwrite)
    found = analyse_study(
        opened, key, margin=margin, database=database, real=real, synthetic=synthetic,
        features=lite0() if features else None,
    )  # fmt: skip
    write_analysis(folder, found, overwrite=overwrite)
    for verdict in found.verdicts:
        typer.echo(f"{verdict['claim']}: {verdict['verdict']}. {verdict['because']}")
    for note in found.notes:
        typer.echo(f"  {note}")
    typer.echo(f"{folder}: {len(found.measurements)} measurements; see {folder / 'readers.html'}")
    if report is not None:
        add_to_report(report, found, key, overwrite=overwrite)
        typer.echo(f"Beside the evidence in {report}. Next: synthoma report {report}")


def _options(kind: Any, **values: Any) -> Any:
    """The settings, or the first that is wrong in two lines."""
    from pydantic import ValidationError

    from synthoma.errors import SettingError, describe

    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise SettingError(
            describe(f"--{name}", first["msg"].removeprefix("Input should be "), repr(values[name]))
        ) from None


def _text(path: Path | None) -> str:
    """A text file's content."""
    from synthoma.errors import InputError, describe

    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(describe(path, "a text file in UTF-8", error)) from error
