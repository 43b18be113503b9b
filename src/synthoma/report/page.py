"""The page: everything gathered, put into the template and written as one file."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthoma.errors import OutputError, describe
from synthoma.report.content import ReportContent
from synthoma.report.paper import paper, paper_folder, write_paper
from synthoma.report.references import Cited
from synthoma.storage import check_new, text_sha256, write_bytes

__all__ = ["write_report"]

PAGE_WIDTH = 1040
"""Width of the page's content, in CSS pixels."""
ROW_HEADER = 132
"""Width of a gallery's row headings, and the gap between pictures."""
GAP = 6
MOST_VERDICTS = 12
"""With more, those on other cohorts than the one that the page is about are folded away."""
WIDEST = 220
"""No picture is made larger than this."""


def write_report(path: Path, content: ReportContent, *, overwrite: bool = False) -> Path:
    """Write ``content`` as one HTML file that loads nothing from elsewhere; equal content, equal bytes but the date.

    Beside it a folder (``report-tables``) holds the tables, the methods and the check-lists as files.

    Args:
        path: the file, for instance ``report.html``.
        overwrite: replace a file that exists.

    Returns:
        ``path``.

    Raises:
        CohortError: a synthetic cohort has images of another size than the real one.
        OutputError: ``path`` exists and ``overwrite`` is false, or the disk is full or closed.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(describe(path, "a name for a file", "a folder", "Add the file's name: report.html."))
    if path.exists() and not overwrite:
        raise OutputError(describe(path, "a new file", "one that exists", "Add --overwrite, or choose another --out."))
    folder = paper_folder(path)
    check_new(folder, overwrite=overwrite)
    page = _render(content, path)
    write_paper(folder, content, overwrite=overwrite)
    write_bytes(path, page.encode())
    return path


def _render(content: ReportContent, path: Path) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from synthoma import __version__

    environment = Environment(
        loader=PackageLoader("synthoma.report", "."),
        autoescape=True,  # names of patients and sites are the user's input
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["zoom"] = picture_width
    page = environment.get_template("page.html.j2")
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    shown = paper(content, path)
    parts = _parts(content, shown.text)
    return page.render(content=content, version=__version__, date=date, paper=shown, **parts) + "\n"


def _parts(content: ReportContent, text: Cited) -> dict[str, Any]:
    """What the template shows, ready made; it only arranges."""
    from synthoma.report import families, figures, gallery, learning, measures, pictured, sections, tables, terms, words
    from synthoma.report.pictures import DIFFERENCE_TOP, colour_bar

    real, measurements = content.real, content.measurements
    methods = measures.Methods.of(measurements)
    settings, settings_note = tables.settings_table(content.recipe_yaml)
    drawn_elsewhere = {name: curve for name, curve in content.curves.items() if name not in pictured.DRAWN}
    curves, curves_left = figures.curve_charts(drawn_elsewhere)
    verdicts, other_verdicts = _verdicts(content)
    of_families = {
        title: found
        for family, (title, _) in families.FAMILIES.items()
        if (found := measures.family_tables(family, measurements, methods))
    }
    # one numbering for the page: the works that the methods text cites, then those of the definitions alone
    cited = Cited((*text.paragraphs, *terms.definitions(content)))
    return {
        "recipe_hash": text_sha256(content.recipe_yaml)[:16] if content.recipe_yaml else "",
        "head_numbers": words.head_numbers(content),
        "unjudged": words.unjudged(content),
        "summary": words.summary(content),
        "standing_warnings": words.standing_warnings(content),
        "verdicts": verdicts,
        "other_verdicts": other_verdicts,
        "headline_charts": _headline_charts(content),
        "cohort_table": tables.cohort_table(real),
        "channel_table": tables.channel_table(real),
        "strip": gallery.real_strip(real),
        "settings": settings,
        "settings_note": settings_note,
        "lineage": tables.lineage_table({"real": real, **content.synthetic}),
        "galleries": sections.sections(real, content.synthetic),
        "colour_bar": colour_bar(),
        "difference_top": DIFFERENCE_TOP,
        "learning": learning.learning_charts(content.log, content.variants),
        "curves": curves,
        "curves_left": curves_left,
        "pictures": pictured.pictured(content),
        "families": of_families,
        "methods": methods.numbers,
        "every": measures.every_measurement(measurements, methods),
        "definitions": cited.numbered()[len(text.paragraphs) :],
        "references": cited.references(),
    }


def _headline_charts(content: ReportContent) -> list[Any]:
    """Every arm that was measured as the headline was, and its floor, for the measures that the page begins with."""
    from synthoma.report import families, figures, measures, words

    charts = []
    names = [(name, region) for name, region in words.headlines(content) if not name.startswith("recogni")]
    for name, region in dict.fromkeys([*names, ("frechet-distance", "frame")][:2]):
        main = words.headline(content, name, region)
        arm, compared = (main.arm, main.compared) if main else (families.main_arm(content.measurements), None)
        rows = [
            m
            for m in content.measurements
            if (m.name, m.region) == (name, region)
            and (compared is None or m.compared in (compared, f"{families.FLOOR_OF}{arm}"))
        ]
        rows.sort(key=lambda m: (m.arm != arm, families.is_baseline(m.arm)))
        short = {f"{families.SOURCE_OF}{arm}{families.UNTRANSLATED}": "untranslated source"}
        rows = [replace(m, arm=short.get(m.arm, m.arm)) for m in rows]
        unit = measures.measure_label(name) + (" (dB)" if name == "psnr" else "")
        place = " over the body, test patients" if region == "body" else ", whole images"
        charts.append(figures.interval_chart(rows, arm, measures.measure_label(name) + place, unit))
    return [chart for chart in charts if chart is not None]


def _verdicts(content: ReportContent) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """All verdicts; where there are many, apart from those on cohorts that the page is not about."""
    from synthoma.report.arms import main_cohort

    everything = [{**verdict, "kind": _verdict_kind(verdict.get("verdict", ""))} for verdict in content.verdicts]
    main = main_cohort(content.synthetic)
    if len(everything) <= MOST_VERDICTS or main is None:
        return everything, []
    others = tuple(f"{name} " for name in content.synthetic if name != main[0])
    aside = [verdict for verdict in everything if verdict.get("claim", "").startswith(others)] if others else []
    return [verdict for verdict in everything if verdict not in aside], aside


def _verdict_kind(verdict: str) -> str:
    """``yes``, ``no`` or ``unknown``, from the first words of the verdict."""
    text = verdict.strip().lower()
    if text.startswith("supported"):
        return "yes"
    return "no" if text.startswith("not supported") else "unknown"


def picture_width(columns: int, pixels: int, whole: bool = True) -> int:
    """Width of a gallery's pictures in CSS pixels: a whole multiple of their pixels if ``columns`` of them then fit."""
    room = (PAGE_WIDTH - ROW_HEADER) // max(columns, 1) - GAP
    if not whole:
        return min(room, WIDEST)
    return pixels * max(1, min(room, WIDEST) // max(pixels, 1)) if pixels <= room else room
