"""Curves and interval plots as SVG. Matplotlib without pyplot: no state is shared with the caller's own figures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthoma.records import Measurement

__all__ = [
    "INK", "MAIN", "MUTED", "OTHERS", "RULE", "Chart", "Line", "chart", "curve_charts", "interval_chart", "plain_text",
    "plot", "svg_uri",
]  # fmt: skip

MAIN, INK, MUTED, RULE = "#0b5563", "#1b2226", "#55606a", "#c9d0d6"
OTHERS = ("#b4581a", "#6a4c93", "#5b7a1e", "#9b2c4a", "#4a6fa5", "#7a6a3a")
DASHES = ((0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (3, 1.5)), (0, (8, 3)), (0, (2, 2)))
FONTS = '"Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif'


@dataclass(frozen=True)
class Chart:
    """A figure as a data URI."""

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    best: int | None = None
    """Position of the point to mark."""


def curve_charts(curves: Mapping[str, Any]) -> tuple[list[Chart], list[str]]:
    """The curves that can be drawn, and the names of the others.

    A curve is ``{axis: values, arm: values, …}``, its first entry the horizontal axis; the axis may also stand beside
    it, under the curve's name and the axis' (``spectrum`` and ``spectrum_frequency``).
    """
    axes = {name: values for name, values in curves.items() if _is_numbers(values)}
    charts, left = [], []
    for name, curve in curves.items():
        if name in axes or not isinstance(curve, Mapping):
            continue
        beside = {key.removeprefix(f"{name}_"): x for key, x in axes.items() if key.startswith(f"{name}_")}
        drawn = _curve_chart(name, {**beside, **curve})
        if drawn is None:
            left.append(name)
        else:
            charts.append(drawn)
    left += [name for name, values in curves.items() if name not in axes and not isinstance(values, Mapping)]
    return charts, left


def _curve_chart(name: str, curve: Mapping[str, Any]) -> Chart | None:
    if len(curve) < 2:
        return None
    (axis, x), *arms = curve.items()
    if not all(_is_numbers(y) and len(y) == len(x) for y in (x, *(y for _, y in arms))):
        return None
    lines = [Line(str(arm), x, y) for arm, y in arms]
    values = [v for line in lines for v in line.y if v is not None and v > 0]
    wide = bool(values) and max(values) > 100 * min(values)
    title, words = name.replace("-", " ").replace("_", " "), str(axis).replace("_", " ")
    y_label = f"{title} (log scale)" if wide else title
    return chart(lines, title[:1].upper() + title[1:], words, y_label, log_scale=wide, width=4.2)


def interval_chart(measurements: Sequence[Measurement], main: str, title: str, unit: str) -> Chart | None:
    """One row an arm, the value as a dot and its 95 % interval as a bar; the arm ``main`` in colour, on top."""
    rows = [(m, m.value) for m in measurements if m.value is not None]
    if not rows:
        return None
    figure, axes = plot(height=0.62 + 0.24 * len(rows), left=1.3, width=4.2)
    for at, (m, value) in enumerate(rows):
        colour = MAIN if m.arm == main else MUTED
        if m.low is not None and m.high is not None:
            axes.plot([m.low, m.high], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([value], [at], "o" if m.arm == main else "s", color=colour, markersize=5.5 if m.arm == main else 4)
        if m.arm == main:
            axes.axvline(value, color=MAIN, linewidth=0.6, alpha=0.45)
    axes.set_yticks(range(len(rows)), [plain_text(m.arm, 24) for m, _ in rows])
    for text, (m, _) in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_color(MAIN if m.arm == main else INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=True, axis="x", color=RULE, linewidth=0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit)
    said = "; ".join(f"{m.arm} {value:.3g}" for m, value in rows)
    return Chart(svg_uri(figure), f"{title}, value and 95 % interval by arm: {said}", title)


def chart(
    lines: Sequence[Line | None],
    title: str,
    x_label: str,
    y_label: str,
    *,
    log_scale: bool = False,
    zero: bool = False,
    width: float = 3.5,
) -> Chart | None:
    """Lines over one horizontal axis; those without a value are left out, and without any there is no chart.

    Args:
        log_scale: where all values are positive.
        zero: whether the vertical axis begins at 0.
        width: inches.
    """
    drawn = [line for line in lines if line is not None and len(line.x)]
    if not drawn:
        return None
    named = len(drawn) > 1 or drawn[0].best is not None
    wide = any(line.best is not None or len(line.name) > 13 for line in drawn)
    columns = 2 if wide else 3
    figure, axes = plot(height=2.15 + (0.2 * math.ceil(len(drawn) / columns) if named else 0.0), left=0.62, width=width)
    for at, line in enumerate(drawn):
        colour = MAIN if at == 0 else OTHERS[(at - 1) % len(OTHERS)]
        style: Any = "-" if at == 0 else DASHES[(at - 1) % len(DASHES)]
        y = [math.nan if value is None else value for value in line.y]
        marker = "o" if len(line.x) < 3 else ""
        axes.plot(
            line.x, y, color=colour, linestyle=style, linewidth=1.4, label=_named(line), marker=marker, markersize=3
        )
        if line.best is not None:
            axes.plot([line.x[line.best]], [y[line.best]], "o", color=colour, markersize=5, markerfacecolor="white")
    positive = all(value > 0 for line in drawn for value in line.y if value is not None and math.isfinite(value))
    if log_scale and positive:
        axes.set_yscale("log")
        _plain_log_ticks(axes)
    if zero:
        axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], 1e-12))
    axes.margins(y=0.12)
    axes.grid(visible=True, color=RULE, linewidth=0.5)
    axes.set_xlabel(plain_text(x_label, 60))
    axes.set_ylabel(plain_text(y_label if positive or not log_scale else y_label.replace(" (log scale)", ""), 40))
    if named:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.03, 1.0), ncols=columns, frameon=False, fontsize=7.5,
            borderaxespad=0.1, handlelength=2.0, columnspacing=1.2,
        )  # fmt: skip
    said = "; ".join(_said(line) for line in drawn)
    return Chart(svg_uri(figure), f"{title}. {said}", title)


def _plain_log_ticks(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = axes.get_ylim()
    if high / low < 1e4:
        steps = (1.0, 2.0, 5.0) if high / low < 60 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _named(line: Line) -> str:
    name = plain_text(line.name, 40)
    return name if line.best is None else f"{name}, best {line.y[line.best]:.4g}"


def _said(line: Line) -> str:
    finite = [value for value in line.y if value is not None and math.isfinite(value)]
    if not finite:
        return f"{line.name}: no finite value"
    best = "" if line.best is None else f", best {line.y[line.best]:.3g} at epoch {line.x[line.best]:g}"
    return f"{line.name or 'line'} from {finite[0]:.3g} to {finite[-1]:.3g}{best}"


def _is_numbers(values: Any) -> bool:
    return (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and all(value is None or isinstance(value, int | float) for value in values)
    )


def plain_text(text: str, length: int) -> str:
    """A name of the user's as Matplotlib shall write it: no longer than ``length``, no dollar sign a formula."""
    return (text if len(text) <= length else text[: length - 1] + "…").replace("$", r"\$")


def plot(height: float, left: float, width: float) -> tuple[Any, Any]:
    """A figure of ``width`` × ``height`` inches with one plain plot, its margins in inches."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    top = 0.08 if height < 2.2 else height - 2.05
    axes = figure.add_axes((left / width, 0.42 / height, 1 - (left + 0.14) / width, (height - 0.42 - top) / height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=8, length=3, color=MUTED)
    axes.xaxis.label.set(fontsize=8, color=INK)
    axes.yaxis.label.set(fontsize=8, color=INK)
    axes.set_axisbelow(True)
    return figure, axes


def svg_uri(figure: Any) -> str:
    """The figure as a data URI: the same bytes for the same figure (fixed salt, no date), its text kept as text."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "synthoma", "font.family": "DejaVu Sans"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue().decode().replace("'DejaVu Sans'", FONTS.replace('"', "'"))
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()
