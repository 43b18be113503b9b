"""LaTeX that compiles whatever the user's names hold: escaped text, and tables in the style of booktabs."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["escape", "tabular"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$",
    "∞": r"$\infty$", "√": r"$\surd$", "Δ": r"$\Delta$", "Σ": r"$\Sigma$", "σ": r"$\sigma$", "λ": r"$\lambda$",
    "κ": r"$\kappa$", "μ": r"$\mu$", "β": r"$\beta$", "·": r"$\cdot$", "²": r"$^2$", "³": r"$^3$", "½": r"$\frac12$",
    "ρ": r"$\rho$", "∈": r"$\in$", "–": "--", "—": "---", "…": r"\ldots{}", "\u00a0": "~", "“": "``", "”": "''",
    "’": "'", "‘": "`", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "°": r"$^\circ$", "₁": "$_1$", "₂": "$_2$",
    "[": "{[}", "]": "{]}",
}  # fmt: skip
"""Brackets stand in braces: at the beginning of a table's row they would be taken for an option of the one before."""


def escape(text: str) -> str:
    """``text`` as LaTeX prints it. Letters of any script stay as they are; control characters become blanks."""
    return "".join(_SPECIAL.get(c, " " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c) for c in text)


def tabular(
    columns: Sequence[str],
    rows: Sequence[Sequence[tuple[str, str]]],
    *,
    caption: str,
    label: str,
    notes: Sequence[str] = (),
    words: Sequence[int] = (0,),
    widths: Sequence[float] = (),
) -> str:
    r"""A floating table; needs ``\usepackage{booktabs}`` and nothing else.

    Args:
        columns: headings.
        rows: of each cell its text and what stands below it in small type, or "".
        words: columns that hold words: set flush left; the others flush right.
        widths: of each column as a share of the line, where text is to be broken into lines.
        notes: sentences below the table.
    """
    if widths:
        preamble = "".join(rf">{{\raggedright\arraybackslash}}p{{{width:.2f}\linewidth}}" for width in widths)
    else:
        preamble = "".join("l" if at in words else "r" for at in range(len(columns)))
    lines = [
        r"% Needs \usepackage{booktabs}" + (r" and \usepackage{array}" if widths else ""),
        r"\begin{table}[htbp]", r"\centering", r"\small", r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(caption)}}}", rf"\label{{{label}}}", rf"\begin{{tabular}}{{@{{}}{preamble}@{{}}}}",
        r"\toprule", _row(columns), r"\midrule",
    ]  # fmt: skip
    for number, row in enumerate(rows):
        lines += [r"\addlinespace"] if number else []
        lines.append(_row([text for text, _ in row]))
        if any(below for _, below in row):
            lines.append(_row([below for _, below in row], small=True))
    lines += [r"\bottomrule", r"\end{tabular}"]
    if notes:
        text = " ".join(escape(note) for note in notes)
        lines += ["", r"\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {text}}}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _row(cells: Sequence[str], *, small: bool = False) -> str:
    shown = [escape(cell) for cell in cells]
    return " & ".join(rf"{{\footnotesize {cell}}}" if small and cell else cell for cell in shown) + r" \\"
