"""The page of quality control, put together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthoma.records import Grid
from synthoma.report import qc_words
from synthoma.report.pictures import Picture
from synthoma.report.qc_case import CaseQuality
from synthoma.report.qc_checks import CaseRow, Odd, checks, outliers
from synthoma.report.qc_figures import as_read, histogram_panels, lineup, thumbnail_picture
from synthoma.report.shown import label
from synthoma.report.tables import settings_table

if TYPE_CHECKING:
    from synthoma.report.qc import QualityControl, Shown

__all__ = ["render"]

MOST_ROWS = 40
"""So many rows of the geometry table are on the page, those that stand out first; all are in ``cases.csv``."""
MOST_REJECTED = 50
MOST_LINED_UP = 16
WIDTHS = {3: 102, 4: 112}
"""Number of channels → width of a picture, such that cards fill the page: three or two beside each other."""


@dataclass(frozen=True)
class _Picture:
    """One stage of a case: a heading and a picture a channel."""

    stage: str
    pictures: tuple[Picture | None, ...]


@dataclass(frozen=True)
class _Card:
    name: str
    why: str
    plane: str
    channels: tuple[str, ...]
    stages: tuple[_Picture, ...]
    width: int


def render(quality: QualityControl, title: str, patients: int, settings: Mapping[str, Any]) -> str:
    """The page as HTML. Equal cases, equal bytes: it has no date."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from synthoma import __version__

    environment = Environment(
        loader=PackageLoader("synthoma.report", "."),
        autoescape=True,  # names of cases are the user's input
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = sorted(quality.rows, key=lambda row: row.name)
    odd = outliers(rows)
    looked_at = checks(rows, len(quality.rejected), odd)
    extremes, random = quality.shown()
    notes, more_notes = qc_words.notes_by_text(rows)
    page = environment.get_template("qc.html.j2")
    return page.render(
        title=title,
        version=__version__,
        lead=qc_words.lead(rows, quality.rejected, looked_at, patients),
        numbers=_numbers(quality, rows),
        checks=looked_at,
        rejected=quality.rejected[:MOST_REJECTED],
        more_rejected=max(0, len(quality.rejected) - MOST_REJECTED),
        random=[_card(shown) for shown in random],
        extremes=[_card(shown) for shown in extremes],
        histograms=histogram_panels(quality.lines),
        lines=len(quality.lines),
        lineup=_lineup(random, extremes, odd),
        geometry=_geometry(rows, odd),
        rows=len(rows),
        notes=notes,
        more_notes=more_notes,
        settings=settings_table(json.dumps(settings))[0],
    )


def _numbers(quality: QualityControl, rows: Sequence[CaseRow]) -> list[tuple[str, str, str]]:
    """Name, figure and what is below it, of the first things to know."""
    labels: dict[str, int] = {}
    for row in rows:
        for name, count in row.labels.items():
            labels[name] = labels.get(name, 0) + count
    classes = ", ".join(f"{count} {name}" for name, count in sorted(labels.items()) if name)
    return [
        ("Found", str(len(rows) + len(quality.rejected)), "cases"),
        ("Prepared", str(len(rows)), "cases"),
        ("Left out", str(len(quality.rejected)), "cases"),
        ("Samples", str(sum(row.samples for row in rows)), classes),
    ]


def _card(shown: Shown) -> _Card:
    case = shown.case
    channels = tuple(case.after.thumbnails)
    stages = []
    for stage, thumbnails in (
        ("as read", case.before.thumbnails),
        ("prepared", case.after.thumbnails),
        ("a sample", case.cut),
    ):
        pictures = tuple(
            thumbnail_picture(thumbnails[source], f"{label(name)} of {case.name}, {stage}")
            if (source := as_read(name, thumbnails)) in thumbnails
            else None
            for name in (channels if stage != "a sample" else tuple(thumbnails))
        )
        if pictures:
            stages.append(_Picture(stage, pictures))
    plane = case.before.plane
    extra = len(case.after.histograms) - len(channels)
    if extra > 0:
        plane += f"; {extra} more channels are not shown"
    return _Card(
        case.name, "; ".join(shown.why), plane, tuple(label(name) for name in channels), tuple(stages),
        WIDTHS.get(len(channels), 144),
    )  # fmt: skip


def _lineup(random: Sequence[Shown], extremes: Sequence[Shown], odd: Odd) -> str:
    cases: dict[str, CaseQuality] = {shown.case.name: shown.case for shown in (*extremes, *random)}
    ordered = sorted(list(cases.values())[:MOST_LINED_UP], key=lambda case: case.name)
    return lineup(ordered, lambda name: odd.get(name, {}).get("position", ""))


def _geometry(rows: Sequence[CaseRow], odd: Odd) -> list[dict[str, Any]]:
    """Rows of the table; where there are many, those that stand out and then the first."""
    chosen = rows
    if len(rows) > MOST_ROWS:
        marked = [row for row in rows if {"orientation", "spacing", "position"} & odd.get(row.name, {}).keys()]
        others = [row for row in rows if row not in marked]
        chosen = (marked + others)[:MOST_ROWS]
    known = any(row.before.known for row in rows)
    return [
        {
            "name": row.name,
            "modality": row.modality,
            "before": _cells(row.before, known, odd.get(row.name, {})),
            "after": _cells(row.after, known, {})[:3],
        }
        for row in chosen
    ]


def _cells(grid: Grid, known: bool, found: Mapping[str, str]) -> list[tuple[str, str]]:
    """Text and remark of each cell of a grid: shape, and where geometry is known spacing, axes, origin, extent."""
    shape = (" × ".join(map(str, grid.shape)), "")
    if not grid.known:
        return [shape, *[("unknown", "")] * 4] if known else [shape]
    extent = " × ".join(f"{n * mm:.0f}" for n, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    return [
        shape,
        (" × ".join(f"{mm:.3g}" for mm in grid.spacing_mm), found.get("spacing", "")),
        (grid.orientation, found.get("orientation", "")),
        (", ".join(str(round(mm)) for mm in grid.origin_mm), found.get("position", "")),
        (extent, ""),
    ]
