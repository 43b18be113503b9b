"""LaTeX that compiles whatever the user's names hold: escaped text, and tables in the style of booktabs.

Letters of other scripts want LuaLaTeX or XeLaTeX and a font that has them; all else is for pdfLaTeX, too.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["breakable", "escape", "longtable", "tabular"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\symbol{34}",
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$",
    "∞": r"$\infty$", "√": r"$\surd$", "Δ": r"$\Delta$", "Σ": r"$\Sigma$", "σ": r"$\sigma$", "λ": r"$\lambda$",
    "κ": r"$\kappa$", "μ": r"$\mu$", "β": r"$\beta$", "·": r"$\cdot$", "²": r"$^2$", "³": r"$^3$", "½": r"$\frac12$",
    "ρ": r"$\rho$", "∈": r"$\in$", "–": "--", "—": "---", "…": r"\ldots{}", "\u00a0": "~", "“": "``", "”": "''",
    "’": "'", "‘": "`", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "°": r"$^\circ$", "₁": "$_1$", "₂": "$_2$",
    "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
"""Brackets and stars stand in braces: at the beginning of a line they would be taken for options of the one before."""


def escape(text: str) -> str:
    """``text`` as LaTeX prints it. Letters of any script stay as they are; control characters become blanks."""
    return "".join(_SPECIAL.get(c, " " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c) for c in text)


def breakable(text: str) -> str:
    r"""Escaped text in which a line may end within a hash, and within the name of a setting or a file."""
    hashes = re.sub(r"\b[0-9a-f]{16,}\b", lambda found: r"\allowbreak ".join(textwrap.wrap(found[0], 8)), escape(text))
    return re.sub(r"(?<=[a-z])([.=/]|\\_)(?=[a-z])", r"\1\\allowbreak ", hashes)


def tabular(
    columns: Sequence[str],
    rows: Sequence[Sequence[tuple[str, str]]],
    *,
    caption: str,
    label: str,
    notes: Sequence[str] = (),
    words: Sequence[int] = (0,),
) -> str:
    r"""A floating table of numbers, made narrower where the line is shorter than it; needs booktabs and graphicx.

    Args:
        columns: headings, broken into lines.
        rows: of each cell its text and what stands below it in small type, or "".
        words: columns that hold words: set flush left and broken into lines; the others flush right.
        notes: sentences below the table.
    """
    sides = ["l" if at in words else "r" for at in range(len(columns))]
    lines = [
        r"% Needs \usepackage{booktabs,graphicx}",
        r"\begin{table}[htbp]", r"\centering", r"\small", r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(caption)}}}", rf"\label{{{label}}}",
        rf"\sbox0{{\begin{{tabular}}{{@{{}}{''.join(sides)}@{{}}}}", r"\toprule",
        _row(_cell(text, side, letters=12, top="b") for text, side in zip(columns, sides, strict=True)),
        r"\midrule",
    ]  # fmt: skip
    for number, row in enumerate(rows):
        lines += [r"\addlinespace"] if number else []
        cells = zip(row, sides, strict=True)
        lines.append(_row(_cell(text, side, below, letters=20 if side == "l" else 0) for (text, below), side in cells))
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"]
    if notes:
        text = " ".join(escape(note) for note in notes)
        lines += ["", r"\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {text}}}"]
    return "\n".join([*lines, r"\end{table}", ""])


def longtable(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, label: str, widths: Sequence[float]
) -> str:
    r"""A table of sentences over as many pages as it takes; needs booktabs, array and longtable.

    Args:
        columns: headings, repeated on each page.
        rows: the text of each cell.
        widths: of each column as a share of the line.
    """
    preamble = "".join(rf">{{\raggedright\arraybackslash}}p{{{width:.2f}\linewidth}}" for width in widths)
    head = [r"\toprule", _row(escape(text) for text in columns), r"\midrule"]
    lines = [
        r"% Needs \usepackage{booktabs,array,longtable}",
        r"\begingroup", r"\small", r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{longtable}}{{@{{}}{preamble}@{{}}}}",
        rf"\caption{{{escape(caption)}}}\label{{{label}}}\tabularnewline",
        *head, r"\endfirsthead", *head, r"\endhead",
    ]  # fmt: skip
    for number, row in enumerate(rows):
        lines += [r"\addlinespace"] if number else []
        lines.append(_row(breakable(text) for text in row))
    return "\n".join([*lines, r"\bottomrule", r"\end{longtable}", r"\endgroup", ""])


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(text: str, side: str, below: str = "", *, letters: int = 0, top: str = "t") -> str:
    """One cell: the text in lines of so many letters (0: in one), and below it another in small type."""
    lines = textwrap.wrap(text, letters, break_long_words=False, break_on_hyphens=False) if letters else [text]
    shown = [escape(line) for line in lines] + ([rf"{{\footnotesize {escape(below)}}}"] if below else [])
    if len(shown) < 2:
        return "".join(shown)
    return rf"\begin{{tabular}}[{top}]{{@{{}}{side}@{{}}}}" + r"\\ ".join(shown) + r"\end{tabular}"
