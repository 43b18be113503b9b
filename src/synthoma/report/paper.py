"""What a paper takes from a run: the study's tables and claims, methods, check-lists; on the page and as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synthoma.report.checklist import checklist_markdown, checklist_tables
from synthoma.report.claims import claims
from synthoma.report.content import ReportContent
from synthoma.report.methods import methods
from synthoma.report.paper_tables import centres, classification, image_quality
from synthoma.report.printed import PaperTable, to_csv, to_html, to_latex
from synthoma.report.references import Cited, bibtex
from synthoma.report.tables import Table
from synthoma.report.verdicts import Claim, claims_csv, claims_latex
from synthoma.storage import new_folder, write_bytes

__all__ = ["Paper", "paper", "paper_folder", "write_paper"]


@dataclass(frozen=True)
class Paper:
    """All of it, ready made."""

    tables: tuple[tuple[Table, tuple[str, ...]], ...]
    """For the page, each with its notes."""
    claims: tuple[Claim, ...]
    text: Cited
    checklists: tuple[Table, ...]
    folder: str
    """Name of the folder beside the page that holds the same as files."""

    @property
    def plain(self) -> str:
        """The methods as a text to copy; its numbers are those of the page's list of references."""
        return "\n\n".join(f"{heading}\n{text}" for heading, text in self.text.numbered())


def paper_folder(page: Path) -> Path:
    """The folder that belongs to a page: ``report-tables`` beside ``report.html``."""
    return page.with_name(f"{page.stem}-tables")


def paper(content: ReportContent, page: Path) -> Paper:
    """What the page shows."""
    text = methods(content)
    shown = tuple((to_html(table), table.notes) for table in _tables(content))
    lists = tuple(checklist_tables(content, text))
    return Paper(shown, tuple(claims(content)), text, lists, paper_folder(page).name)


def write_paper(folder: Path, content: ReportContent, *, overwrite: bool = False) -> Path:
    """Write CSV and LaTeX of every table, ``methods.md`` and ``.tex``, ``references.bib`` and ``checklists.md``.

    The same content gives the same bytes.

    Raises:
        OutputError: the folder exists and ``overwrite`` is false, or the disk is full or closed.
    """
    text, found = methods(content), claims(content)
    files = {"claims.csv": claims_csv(found), "claims.tex": claims_latex(found), "methods.md": text.markdown(),
             "methods.tex": text.latex(), "references.bib": bibtex(text.keys),
             "checklists.md": checklist_markdown(content, text)}  # fmt: skip
    for table in _tables(content):
        files |= {f"{table.name}.csv": to_csv(table), f"{table.name}.tex": to_latex(table)}
    with new_folder(folder, overwrite=overwrite) as place:
        for name, written in sorted(files.items()):
            write_bytes(place / name, written.encode())
    return folder


def _tables(content: ReportContent) -> list[PaperTable]:
    found = (image_quality(content), classification(content), centres(content))
    return [table for table in found if table is not None]
