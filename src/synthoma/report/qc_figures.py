"""Figures of quality control, as SVG within the page, so that they follow its colours, light or dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from synthoma.records import Grid
from synthoma.report.pictures import Frame, Picture, grey_picture
from synthoma.report.qc_case import BINS, CaseQuality, Histogram, centre_mm
from synthoma.report.qc_thumbnails import Thumbnail
from synthoma.report.shown import label

__all__ = ["Panel", "histogram_panels", "lineup", "thumbnail_picture"]

WIDTH, HEIGHT, FOOT = 300, 96, 16
COLOURS = 6
"""Channels have so many colours, which then come again."""
FAR_ENDS = 4.0
"""A histogram's axis reaches no further than so many times the middle of the cases' ends."""
TALL, WIDE = 250.0, 1030.0
"""The line-up is no higher, and no wider where that leaves pictures of :data:`NARROW` pixels."""
NARROW = 44.0
LEFT, GAP, NAMES = 46.0, 12.0, 70.0


@dataclass(frozen=True)
class Panel:
    """The histograms of one channel at one stage."""

    title: str
    svg: str
    note: str


def thumbnail_picture(thumbnail: Thumbnail, alt: str) -> Picture:
    """A small picture with its outline, ready for the page."""
    height, width = thumbnail.pixels.shape
    frame = Frame(0, height, 0, width, thumbnail.aspect)
    return grey_picture(thumbnail.pixels / 127.5 - 1, frame, alt, thumbnail.lesion)


def as_read(name: str, channels: Container[str]) -> str:
    """The channel as read that a prepared one comes from: ``ct`` of the window ``ct-lung``, the neighbour ``ct@-1``."""
    while name not in channels and (shorter := re.sub("[-@]+[^-@]*$", "", name)) != name:
        name = shorter
    return name


def histogram_panels(cases: Sequence[CaseQuality]) -> list[tuple[Panel, Panel]]:
    """As read and prepared, of each channel (and modality); one line a case, the middle of all drawn strongly."""
    modalities = sorted({case.modality for case in cases})
    names = list(dict.fromkeys(name for case in cases for name in case.after.histograms))
    pairs = []
    for at, name in enumerate(names):
        for modality in modalities:
            here = [case for case in cases if case.modality == modality and name in case.after.histograms]
            if not here:
                continue
            title = label(name) + (f", {modality}" if len(modalities) > 1 else "")
            before = [case.before.histograms[as_read(name, case.before.histograms)] for case in here]
            after = [case.after.histograms[name] for case in here]
            pairs.append((_panel(f"{title} as read", before, at), _panel(f"{title} prepared", after, at)))
    return pairs


def _panel(title: str, histograms: Sequence[Histogram], colour: int) -> Panel:
    lows, highs = np.array([h.low for h in histograms]), np.array([h.high for h in histograms])
    span = FAR_ENDS * max(float(np.median(highs - lows)), 1e-12)
    low, high = max(lows.min(), np.median(lows) - span), min(highs.max(), np.median(highs) + span)
    beyond = int(((lows < low) | (highs > high)).sum())
    edges = np.linspace(low, high, BINS + 1)
    density = np.array([_density(h, edges) for h in histograms])
    inner = density[:, 1:-1] if BINS > 2 else density  # clipped values pile up in the first and the last bin
    top = max(float(np.percentile(inner.max(axis=1), 90)) * 1.25, 1e-30)
    x = np.linspace(0, WIDTH, BINS)
    lines = "".join(f'<polyline points="{_points(x, values, top)}"/>' for values in density)
    middle = _points(x, np.median(density, axis=0), top)
    svg = (
        f'<svg class="histogram colour{colour % COLOURS}" viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" role="img" '
        f'aria-label="{escape(title)}: values from {low:.4g} to {high:.4g}, {len(histograms)} cases">'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>'
        f'<g class="each">{lines}</g>'
        + (f'<polyline class="middle" points="{middle}"/>' if len(histograms) > 1 else "")
        + f'<text x="0" y="{HEIGHT + 13}">{low:.4g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 13}" text-anchor="end">{high:.4g}</text></svg>'
    )
    return Panel(title, svg, f"{beyond} of {len(histograms)} reach beyond" if beyond else "")


def _density(histogram: Histogram, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The histogram in other bins, by its cumulative sum; per unit of the axis."""
    own = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
    total = np.concatenate([[0.0], np.cumsum(histogram.counts, dtype=np.float64)])
    return np.asarray(np.diff(np.interp(edges, own, total)) / np.diff(edges))


def _points(x: NDArray[np.float64], values: NDArray[np.float64], top: float) -> str:
    y = HEIGHT - np.clip(values / top, 0, 1) * (HEIGHT - 4)
    return " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))


def lineup(cases: Sequence[CaseQuality], odd: Callable[[str], str]) -> str:
    """The scans' middle coronal planes side by side at their heights in the scanner's space; empty without geometry.

    Args:
        odd: case → in what its place is unlike the others'; empty where it is not.
    """
    drawn = [(case, case.before.upright) for case in cases if case.before.upright is not None]
    if not drawn:
        return ""
    boxes = [_box(case.before.grid) for case, _ in drawn]
    low, high = min(box[1] for box in boxes), max(box[2] for box in boxes)
    widest = max(box[0] for box in boxes)
    room = (WIDE - LEFT - NAMES) / len(drawn) - GAP
    scale = min(TALL / max(high - low, 1.0), max(room, NARROW) / widest)
    tall, column = (high - low) * scale, max(widest * scale, NARROW) + GAP
    parts = [_scale(low, high, scale)]
    for at, ((case, picture), (wide, bottom, top)) in enumerate(zip(drawn, boxes, strict=True)):
        width, height, y = wide * scale, (top - bottom) * scale, (high - top) * scale + 6
        x = LEFT + at * column + (column - width) / 2
        why = odd(case.name)
        title = f"{case.name}: z {bottom:.0f} to {top:.0f} mm" + (f"; {why}" if why else "")
        parts.append(
            f"<g{' class=odd' if why else ''}><title>{escape(title)}</title>"
            f'<image href="{_grey(picture)}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'preserveAspectRatio="none"/><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
            f'<text transform="translate({x + width / 2 - 4:.1f},{tall + 20:.1f}) rotate(32)">'
            f"{escape(_short(case.name))}</text></g>"
        )
    said = "; ".join(f"{case.name} z {b[1]:.0f} to {b[2]:.0f} mm" for (case, _), b in zip(drawn, boxes, strict=True))
    size = LEFT + len(drawn) * column + NAMES, tall + 90
    return (
        f'<svg class="lineup" width="{size[0]:.0f}" height="{size[1]:.0f}" viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" '
        f'role="img" aria-label="Where the scans lie: {escape(said)}">{"".join(parts)}</svg>'
    )


def _grey(thumbnail: Thumbnail) -> str:
    height, width = thumbnail.pixels.shape
    return grey_picture(thumbnail.pixels / 127.5 - 1, Frame(0, height, 0, width), "").uri


def _box(grid: Grid) -> tuple[float, float, float]:
    """Width along the axis nearest to left-right, lowest and highest z, in mm."""
    direction = np.abs(np.asarray(grid.direction))
    up = int(direction[:, 2].argmax())
    across = max((axis for axis in range(3) if axis != up), key=lambda axis: direction[axis, 0])
    extent = [n * mm for n, mm in zip(grid.shape, grid.spacing_mm, strict=True)]
    middle = float(centre_mm(grid)[2])
    return extent[across], middle - extent[up] / 2, middle + extent[up] / 2


def _scale(low: float, high: float, scale: float) -> str:
    steps = [step for step in (5, 10, 20, 50, 100, 200, 500, 1000) if (high - low) / step <= 7] or [2000]
    marks = np.arange(np.ceil(low / steps[0]), np.floor(high / steps[0]) + 1) * steps[0] + 0.0  # no −0
    heights = [(mark, (high - mark) * scale + 6) for mark in marks]
    return "".join(
        f'<line class="axis" x1="40" x2="4000" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="36" y="{y + 4:.1f}" text-anchor="end">{mark:.0f}</text>'
        for mark, y in heights
    )


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:8]}…{name[-8:]}"
