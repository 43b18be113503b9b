"""What an analysis is written to: JSON, CSV, figures, a page; and its part of an evaluation's evidence.

::

    x.study/analysis/
    ├── analysis.json   everything: measurements, verdicts, notes, distribution of ratings, points of the figures
    ├── tables.csv      the measurements, one a row
    ├── readers.html    tables and figures on one page that loads nothing
    └── *.svg, *.png    the figures
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from synthoma import __version__
from synthoma.errors import InputError, describe
from synthoma.records import Measurement
from synthoma.storage import check_new, file_sha256, new_folder, read_json, write_bytes, write_json
from synthoma.study.analysis import Analysis
from synthoma.study.analysis_figures import figures
from synthoma.study.folder import Key

__all__ = ["add_to_report", "evaluated_cohort", "write_analysis"]

COLUMNS = (
    "name", "arm", "compared", "value", "low", "high", "n_images", "n_patients", "unit", "method",
)  # fmt: skip
SECTIONS = (
    ("Ratings, real and synthetic",
     ("reader-realism", "reader-anatomy", "reader-lesion", "reader-odds-ratio")),
    ("The call: real or synthetic",
     ("reader-accuracy", "reader-sensitivity", "reader-specificity", "reader-equivalence")),
    ("Agreement between readers", ("reader-icc", "reader-equal-ratings")),
    ("Agreement of readers with themselves", ("reader-kappa", "reader-same-call")),
    ("Ratings and measures of the images", ("reader-pearson", "reader-spearman")),
    ("Reading time", ("reader-seconds", "reader-accuracy-difference", "reader-pace")),
)  # fmt: skip
"""Heading → how the names below it begin; the longest beginning wins."""


def write_analysis(folder: Path, analysis: Analysis, *, overwrite: bool = False) -> Path:
    """Write the folder of an analysis.

    Raises:
        OutputError: it exists and ``overwrite`` is false, or the disk is full or closed.
    """
    check_new(folder, overwrite=overwrite)  # before the figures are drawn
    drawn = figures(analysis)
    with new_folder(folder, overwrite=overwrite) as new:
        write_json(new / "analysis.json", analysis.to_json())
        write_bytes(new / "tables.csv", _csv(COLUMNS, (m.to_json() for m in analysis.measurements)).encode())
        for name, (svg, png, _) in drawn.items():
            write_bytes(new / f"{name}.svg", svg)
            write_bytes(new / f"{name}.png", png)
        write_bytes(
            new / "readers.html", _page(analysis, {n: (svg, alt) for n, (svg, _, alt) in drawn.items()}).encode()
        )
    return folder


def evaluated_cohort(report: Path, key: Key) -> str:
    """What the study's synthetic cohort is called in the folder of an evaluation.

    Raises:
        InputError: the folder is none of an evaluation, or of one of other cohorts.
    """
    path = Path(report) / "compared.json"
    if not path.is_file():
        remedy = "Make one with synthoma run or synthoma evaluate."
        raise InputError(
            describe(report, "the folder of a study or an evaluation", "nothing that was evaluated", remedy)
        )
    for name, place in read_json(path)["synthetic"].items():
        cohort = Path(report) / place / "cohort.json"
        if cohort.is_file() and file_sha256(cohort) == key.synthetic.sha256:
            return str(name)
    expected = "an evaluation of the synthetic cohort that the readers saw"
    raise InputError(describe(report, expected, "one of other cohorts", "Evaluate that cohort first."))


def add_to_report(report: Path, analysis: Analysis, key: Key, *, overwrite: bool = False) -> Path:
    """Put an analysis beside the evidence of an evaluation, as the family ``readers``, and into ``evidence.csv``;
    ``synthoma report`` shows it from then on.

    Raises:
        InputError: see :func:`evaluated_cohort`.
        OutputError: there are readers already and ``overwrite`` is false.
    """
    name = evaluated_cohort(report, key)
    path = Path(report) / "evidence" / "readers.json"
    check_new(path, overwrite=overwrite)
    shares = {
        origin: [count / max(sum(counts), 1) for count in counts]
        for origin, counts in analysis.distribution["realism"].items()
    }
    write_json(
        path,
        {
            "measurements": [m.to_json() for m in analysis.measurements],
            "verdicts": [{**verdict, "claim": f"{verdict['claim']} ({name})"} for verdict in analysis.verdicts],
            "warnings": [f"readers: {note}" for note in analysis.notes],
            "definitions": analysis.definitions,
            "curves": {"share-of-realism-ratings": {"rating": [1, 2, 3, 4, 5], **shares}},
        },
    )
    _into_table(Path(report) / "evidence.csv", analysis.measurements)
    return path


def _into_table(path: Path, measurements: Sequence[Measurement]) -> None:
    """The readers' rows of ``evidence.csv``, in place of earlier ones."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        columns = tuple(table.fieldnames or ())
        rows = [row for row in table if not row["name"].startswith("reader-")]
    write_bytes(path, _csv(columns, [*rows, *(m.to_json() for m in measurements)]).encode())


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _page(analysis: Analysis, drawn: dict[str, tuple[bytes, str]]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("synthoma.study", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pictures = {
        name: (f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}", alt) for name, (svg, alt) in drawn.items()
    }
    methods = {text: at for at, text in enumerate(dict.fromkeys(m.method for m in analysis.measurements), start=1)}
    sections = []
    for title, _ in SECTIONS:
        rows = [m for m in analysis.measurements if _section(m.name) == title]
        own = [name for name in pictures if _section(_FIGURES.get(name, "reader-pearson")) == title]
        if rows:
            table = [
                (*_words(m), _number(m.value), _ends(m), m.n_images, m.n_patients, methods[m.method]) for m in rows
            ]
            sections.append((title, table, [pictures[name] for name in own]))
    page = environment.get_template("analysis.html.j2")
    return page.render(analysis=analysis, sections=sections, methods=methods, version=__version__) + "\n"


_FIGURES = {"ratings": "reader-realism", "calls": "reader-accuracy"}


def _section(name: str) -> str:
    return max((len(start), title) for title, starts in SECTIONS for start in starts if name.startswith(start))[1]


def _words(m: Measurement) -> tuple[str, str]:
    """What was measured, and of whom."""
    text = m.name.removeprefix("reader-").replace("-", " ").replace("icc", "ICC")
    unit = f" ({m.unit})" if m.unit else ""
    return f"{text[:1].upper()}{text[1:]}{unit}", f"{m.arm}; {m.compared}" if m.compared else m.arm


def _number(value: float | None) -> str:
    if value is None:
        return "undefined"
    return (f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}").replace("-", "−")


def _ends(m: Measurement) -> str:
    return "—" if m.low is None or m.high is None else f"{_number(m.low)} to {_number(m.high)}"
