"""Figures of a reader study's analysis, each as SVG and PNG. Matplotlib without pyplot."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from synthoma.study.analysis import Analysis
from synthoma.study.analysis_calls import ALL

__all__ = ["figures"]

MAIN, OTHER, INK, MUTED, RULE = "#0b5563", "#b4581a", "#1b2226", "#55606a", "#c9d0d6"
SHADES = ("#8c3b12", "#cf8a5b", "#d5d9dc", "#6fa3ad", "#0b5563")
"""Of the ratings 1 to 5: told apart by lightness too, away from the middle."""


def figures(analysis: Analysis) -> dict[str, tuple[bytes, bytes, str]]:
    """Name → (SVG, PNG, what it shows in words)."""
    made = {"ratings": _ratings(analysis), "calls": _calls(analysis)}
    for measure, by_scale in analysis.points.items():
        made[f"ratings-{measure.lower().replace(' ', '-')}"] = _scatter(analysis, measure, by_scale)
    return {name: (_saved(figure, "svg"), _saved(figure, "png"), alt) for name, (figure, alt) in made.items()}


def _ratings(analysis: Analysis) -> tuple[Any, str]:
    """Shares of each rating, a bar for each scale and origin."""
    bars = [(s, o, np.array(c)) for s, by in analysis.distribution.items() for o, c in by.items() if sum(c)]
    figure, axes = _axes(6.4, 1.05 + 0.32 * len(bars))
    said = []
    for at, (scale, origin, counts) in enumerate(bars):
        share, left = counts / counts.sum(), 0.0
        for rating, width in enumerate(share, start=1):
            axes.barh(
                at, width, left=left, height=0.72, color=SHADES[rating - 1], label=str(rating) if not at else None
            )
            if width >= 0.06:
                ink = "white" if rating in (1, 5) else INK
                axes.text(left + width / 2, at, f"{100 * width:.0f}", ha="center", va="center", fontsize=8, color=ink)
            left += width
        said.append(f"{scale}, {origin}: " + ", ".join(f"{n} times {r}" for r, n in enumerate(counts.tolist(), 1)))
    axes.set_yticks(range(len(bars)), [f"{scale}, {origin}" for scale, origin, _ in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    axes.legend(title=None, ncols=5, frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), handlelength=1)
    return figure, "Share of the ratings 1 to 5. " + "; ".join(said)


def _calls(analysis: Analysis) -> tuple[Any, str]:
    """Accuracy of each reader and over all, with intervals, and the margin around chance."""
    rows = [m for m in analysis.measurements if m.name == "reader-accuracy" and m.value is not None]
    figure, axes = _axes(6.4, 0.95 + 0.27 * len(rows))
    low, high = 0.5 - analysis.margin, 0.5 + analysis.margin
    axes.axvspan(low, high, color=RULE, alpha=0.45, lw=0, label=f"0.5 ± {analysis.margin:g}")
    axes.axvline(0.5, color=MUTED, lw=0.8)
    for at, m in enumerate(rows):
        colour = MAIN if m.arm == ALL else MUTED
        if m.low is not None and m.high is not None:
            axes.plot([m.low, m.high], [at, at], color=colour, lw=2 if m.arm == ALL else 1.4, solid_capstyle="butt")
        axes.plot([m.value], [at], "o", color=colour, markersize=6 if m.arm == ALL else 4.5)
    axes.set_yticks(range(len(rows)), [m.arm for m in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("accuracy of the call real or synthetic, 95 % interval")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    said = "; ".join(f"{m.arm} {m.value:.2f}" for m in rows)
    return figure, f"Accuracy of the call. {said}"


def _scatter(analysis: Analysis, measure: str, by_scale: Mapping[str, Any]) -> tuple[Any, str]:
    """Mean rating against a measure, a panel for each scale, with r: as the study that claimed r = 0.84 showed it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.5 + 2.3 * len(by_scale), 2.6), layout="constrained")
    panels = figure.subplots(1, len(by_scale), sharey=True, squeeze=False)[0]
    said = []
    for axes, (scale, pairs) in zip(panels, by_scale.items(), strict=True):
        x, y = np.array(pairs).T
        axes.plot(x, y, "o", color=MAIN, alpha=0.65, markersize=4, markeredgewidth=0)
        r = next(m for m in analysis.measurements if (m.name, m.arm, m.compared) == ("reader-pearson", scale, measure))
        text = "r undefined" if r.value is None else f"r = {r.value:.2f}"
        if r.value is not None:
            slope, start = np.polyfit(x, y, 1)
            ends = np.array([x.min(), x.max()])
            axes.plot(ends, start + slope * ends, color=OTHER, lw=1.3)
        if r.low is not None and r.high is not None:
            text += f" ({r.low:.2f} to {r.high:.2f})"
        axes.set_title(f"{scale}\n{text}, n = {len(x)}".replace("-", "−"), fontsize=8.5, color=INK)
        axes.set_xlabel(measure)
        axes.set_ylim(0.8, 5.2)
        axes.set_yticks(range(1, 6))
        axes.locator_params(axis="x", nbins=4)
        _plain(axes)
        said.append(f"{scale}: {text}")
    panels[0].set_ylabel("mean rating")
    return figure, f"Mean rating of each synthetic image against {measure}. " + "; ".join(said)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=8, length=3, color=MUTED)
    axes.xaxis.label.set(fontsize=8.5, color=INK)
    axes.yaxis.label.set(fontsize=8.5, color=INK)


def _saved(figure: Any, kind: str) -> bytes:
    """The same bytes for the same figure."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "synthoma", "svg.fonttype": "none"}):
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()
