"""A table as a paper prints it, and the same as CSV, LaTeX and for the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from synthoma.records import Measurement
from synthoma.report import latex
from synthoma.report.tables import Cell, Table

__all__ = ["Number", "PaperTable", "to_csv", "to_html", "to_latex"]


@dataclass(frozen=True)
class Number:
    """A value with what is known of its spread; all of it already in the unit that is printed."""

    value: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    """Over runs."""
    digits: int = 3
    sign: bool = False
    """Whether a gain is printed with its plus."""
    p: bool = False
    """Whether it is a p value."""

    @classmethod
    def of(cls, m: Measurement | None, sd: Measurement | None = None, *, digits: int = 3, scale: float = 1,
           sign: bool = False) -> Number | None:  # fmt: skip
        """Of a measurement and that of its spread over runs; ``None`` where there is none."""
        if m is None:
            return None
        value, low, high = (None if end is None else scale * end for end in (m.value, m.low, m.high))
        spread = None if sd is None or sd.value is None else scale * sd.value
        return cls(value, low, high, spread, digits, sign)

    @property
    def text(self) -> str:
        """``0.953 ± 0.004``."""
        if self.value is None:
            return "undefined"
        if self.p and self.value < 0.001:
            return "< 0.001"
        return self._shown(self.value, self.sign) + (f" ± {self._shown(self.sd)}" if self.sd is not None else "")

    @property
    def interval(self) -> str:
        """``0.941 to 0.962``, or empty."""
        if self.low is None or self.high is None:
            return ""
        return f"{self._shown(self.low, self.sign)} to {self._shown(self.high, self.sign)}"

    def _shown(self, number: float, sign: bool = False) -> str:
        text = f"{abs(number):.{self.digits}f}"
        below = number < 0 and float(text) != 0
        return ("−" if below else "+" if sign and number > 0 else "") + text


@dataclass(frozen=True)
class PaperTable:
    """A table as a paper prints it."""

    name: str
    """Of its files."""
    caption: str
    columns: Mapping[str, str]
    """Name in the CSV → heading."""
    words: tuple[str, ...]
    """The columns that hold words; they come first."""
    rows: tuple[Mapping[str, str | Number | None], ...]
    notes: tuple[str, ...]


def to_csv(table: PaperTable) -> str:
    """One row a row; every number with its spread over runs and both ends of its interval, unrounded."""
    names = [
        key if end is None else f"{key}_{end}"
        for key in table.columns
        for end in (None, *(e for e in ("sd", "low", "high") if any(_end(row[key], e) for row in table.rows)))
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        line: dict[str, str] = {}
        for key in table.columns:
            cell = row[key]
            line[key] = _end(cell, "value") if isinstance(cell, Number) else _inert(cell or "")
            line |= {f"{key}_{end}": _end(cell, end) for end in ("sd", "low", "high") if f"{key}_{end}" in names}
        writer.writerow(line)
    return text.getvalue()


def to_html(table: PaperTable) -> Table:
    """For the page."""
    rows = tuple(
        tuple(_cell(cell) if isinstance(cell, Number) else cell or "—" for cell in (row[key] for key in table.columns))
        for row in table.rows
    )
    return Table(table.caption, tuple(table.columns.values()), rows, text_columns=len(table.words))


def to_latex(table: PaperTable) -> str:
    """A floating table of booktabs."""
    rows = [
        [(c.text, c.interval) if isinstance(c, Number) else (c or "—", "") for c in (row[key] for key in table.columns)]
        for row in table.rows
    ]
    return latex.tabular(
        list(table.columns.values()), rows, caption=table.caption, label=f"tab:{table.name}", notes=table.notes,
        words=range(len(table.words)),
    )  # fmt: skip


def _cell(number: Number) -> Cell:
    return Cell(number.text, number.interval)


def _end(cell: str | Number | None, end: str) -> str:
    number = getattr(cell, end) if isinstance(cell, Number) else None
    return "" if number is None else f"{number:.6g}"


def _inert(text: str) -> str:
    """A text that a spreadsheet does not take for a formula: sites and labels are the user's files'."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
