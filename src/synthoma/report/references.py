"""The works that a methods text cites: marks in a text, numbered lists, BibTeX. Only what a text cites is listed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from synthoma.report.latex import breakable, escape
from synthoma.report.works import WORKS, Work

__all__ = ["Cited", "bibtex", "cite", "reference", "without_marks"]

_MARK = re.compile(r"\s?⟦([^⟧]*)⟧")


def cite(*keys: str) -> str:
    """A mark in a text that stands for these works; :class:`Cited` turns it into numbers or a command.

    Raises:
        KeyError: a work that :data:`WORKS` does not hold.
    """
    for key in keys:
        WORKS[key]
    return f"⟦{','.join(keys)}⟧"


def without_marks(text: str) -> str:
    """A text of the user's that cannot be taken for a citation."""
    return text.replace("⟦", "[").replace("⟧", "]")


@dataclass(frozen=True)
class Cited:
    """Paragraphs with marks, and the works behind them in the order of their first mention."""

    paragraphs: tuple[tuple[str, str], ...]
    """(heading, text) each."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Works, the first mentioned first."""
        marks = (mark for _, text in self.paragraphs for mark in _MARK.findall(text))
        return tuple(dict.fromkeys(key for mark in marks for key in mark.split(",")))

    def numbered(self) -> list[tuple[str, str]]:
        """The paragraphs with numbers in brackets, as most journals print them."""
        numbers = {key: number for number, key in enumerate(self.keys, start=1)}

        def mark(found: re.Match[str]) -> str:
            return f" [{', '.join(str(n) for n in sorted(numbers[key] for key in found[1].split(',')))}]"

        return [(heading, _MARK.sub(mark, text)) for heading, text in self.paragraphs]

    def references(self) -> list[str]:
        """The works in full, in the order of their numbers."""
        return [reference(WORKS[key]) for key in self.keys]

    def markdown(self) -> str:
        """The text and its numbered list of references."""
        parts = [f"## {heading}\n\n{text}" for heading, text in self.numbered()]
        listed = "\n".join(f"{number}. {text}" for number, text in enumerate(self.references(), start=1))
        return "# Methods\n\n" + "\n\n".join(parts) + (f"\n\n## References\n\n{listed}" if listed else "") + "\n"

    def latex(self) -> str:
        r"""The text with ``\cite`` commands for ``references.bib``."""
        parts = []
        for heading, text in self.paragraphs:
            pieces = _MARK.split(text)  # text, keys, text, keys, …
            body = "".join(
                breakable(piece) if at % 2 == 0 else f"~\\cite{{{piece}}}" for at, piece in enumerate(pieces)
            )
            if r"\allowbreak" in body:  # hashes and paths: rather wide gaps than lines beyond the margin
                body = rf"{{\sloppy {body}\par}}"
            parts.append(f"\\subsection*{{{escape(heading)}}}\n{body}\n")
        return "\n".join(parts)


def reference(work: Work) -> str:
    """One work in full, as a line."""
    place = work.place + (f" {work.volume}" if work.volume else "") + (f":{work.pages}" if work.pages else "")
    names = work.authors.split(" and ")
    shown = [" ".join(reversed(name.split(", "))) for name in names]
    if shown[-1] == "others":
        shown = [*shown[:-2], f"{shown[-2]} et al"]
    end = f" doi:{work.doi}." if work.doi else f" arXiv:{work.arxiv}." if work.arxiv else ""
    return f"{', '.join(shown)}. {work.title}. {place}, {work.year}.{end}"


def bibtex(keys: Sequence[str]) -> str:
    """BibTeX of these works, sorted by key."""
    return "\n".join(_entry(key, WORKS[key]) for key in sorted(set(keys)))


def _entry(key: str, work: Work) -> str:
    where = {"article": "journal", "inproceedings": "booktitle", "book": "publisher", "misc": "howpublished"}
    fields = {
        "author": work.authors, "title": f"{{{escape(work.title)}}}", where[work.kind]: escape(work.place),
        "volume": work.volume,
        "pages": work.pages.replace("–", "--"), "year": str(work.year), "doi": work.doi, "eprint": work.arxiv,
        "archivePrefix": "arXiv" if work.arxiv else "",
    }  # fmt: skip
    lines = [f"  {name} = {{{text}}}" for name, text in fields.items() if text]
    return f"@{work.kind}{{{key},\n" + ",\n".join(lines) + "\n}\n"
