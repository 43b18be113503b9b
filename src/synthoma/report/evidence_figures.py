"""Figures of the evidence: embeddings, ROC and calibration curves, confusion matrices, ratio and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthoma.report.figures import INK, MAIN, MUTED, OTHERS, RULE, Chart, plain_text, plot, svg_uri
from synthoma.report.measures import measure_label
from synthoma.report.shown import label as channel_label

__all__ = [
    "calibration_chart",
    "classifier_embedding_charts",
    "confusion_charts",
    "curve_with_intervals",
    "embedding_charts",
    "point_chart",
    "roc_chart",
]

SHAPES = ("o", "^", "s", "D", "v")
"""Of the labels, in their order."""
GREY = "#9aa4ac"
Curve = Mapping[str, Any]


def embedding_charts(channels: str, content: Curve) -> list[Chart]:
    """t-SNE and PCA of the sets of one embedding: a colour a set, a shape a label."""
    sets = content["sets"]
    labels = sorted({label for one in sets.values() for label in one["label"]})
    colours = {"real train": GREY, "real held-out": MAIN}
    others = [name for name in sets if name not in colours]
    colours |= {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(others)}
    first, second = (100 * share for share in content["explained"])
    shown = ", ".join(channel_label(name) for name in channels.split(", "))
    named = {
        "tsne": (f"t-SNE, {shown}", "", ""),
        "pca": (f"PCA, {shown}", f"first component ({first:.0f} %)", f"second component ({second:.0f} %)"),
    }
    charts = []
    for kind, (title, x_label, y_label) in named.items():
        groups = [
            (name, colours[name], SHAPES[labels.index(label) % len(SHAPES)],
             [point for point, own in zip(one[kind], one["label"], strict=True) if own == label])
            for name, one in sets.items() for label in labels
        ]  # fmt: skip
        key = [(name, colours[name], "o") for name in sets]
        key += [(label, INK, SHAPES[i % len(SHAPES)]) for i, label in enumerate(labels)] if len(labels) > 1 else []
        said = "; ".join(f"{name}, {len(one[kind])} points" for name, one in sets.items())
        charts.append(point_chart(groups, key, title, x_label, y_label, said))
    return charts


def point_chart(
    groups: Sequence[tuple[str, str, str, Sequence[Sequence[float]]]],
    key: Sequence[tuple[str, str, str]],
    title: str,
    x_label: str,
    y_label: str,
    said: str,
) -> Chart:
    """Points in the plane.

    Args:
        groups: (name, colour, marker, points) drawn one above the other.
        key: (text, colour, marker) of the legend.
        said: what the picture shows, for those who do not see it.
    """
    import numpy as np
    from matplotlib.lines import Line2D

    height = 2.95 + 0.17 * -(-len(key) // 3)
    figure, axes = plot(height=height, left=0.3, width=4.2)
    axes.set_position([0.3 / 4.2, 0.28 / height, 1 - 0.4 / 4.2, 2.6 / height])
    everything = np.array([point for *_, points in groups for point in points])
    low, high = np.quantile(everything, [0.02, 0.98], axis=0)
    room = 0.3 * np.maximum(high - low, 1e-9)  # a few far points must not press all others into one
    for _, colour, marker, points in groups:
        if points:
            x, y = np.clip(np.array(points), low - room, high + room).T
            axes.plot(x, y, marker, color=colour, markersize=3.6, alpha=0.75, markeredgewidth=0)
    axes.set(xticks=[], yticks=[], xlabel=x_label or "no unit, no scale: only who is near whom", ylabel=y_label)
    axes.margins(0.04)
    axes.legend(
        handles=[Line2D([], [], linestyle="", marker=m, color=c, label=plain_text(t, 24)) for t, c, m in key],
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False, fontsize=7.5, borderaxespad=0.1,
        handlelength=1.0, handletextpad=0.3, columnspacing=1.0, markerscale=0.7,
    )  # fmt: skip
    return Chart(svg_uri(figure), f"{title}. {said}", title)


def roc_chart(content: Mapping[str, Curve]) -> Chart:
    """Every arm's ROC curve, its area with DeLong's interval in the legend."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    said = []
    for i, (arm, one) in enumerate(content.items()):
        ends = f" ({one['low']:.3f} to {one['high']:.3f})" if one["low"] is not None else " (no interval)"
        text = f"{arm}: {one['auc']:.3f}{ends}"
        said.append(text)
        axes.plot(
            one["false_positive_rate"], one["true_positive_rate"], color=_colour(i), linewidth=1.5, label=_short(text)
        )
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    _legend(axes)
    return Chart(svg_uri(figure), f"ROC curves, area and interval: {'; '.join(said)}", "ROC curves on real test images")


def calibration_chart(content: Mapping[str, Curve]) -> Chart:
    """Share of positive images over the classifier's own probability, arm by arm, in groups of equal size."""
    figure, axes = _square(top=0.42)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    said = []
    for i, (arm, one) in enumerate(content.items()):
        x, y = one["predicted"], one["observed"]
        below = [value - low for value, low in zip(y, one["low"], strict=True)]
        above = [high - value for value, high in zip(y, one["high"], strict=True)]
        style: Any = {"yerr": [below, above], "elinewidth": 0.8} if i == 0 else {}
        axes.errorbar(
            x, y, color=_colour(i), linewidth=1.3, marker="o", markersize=3.2, label=_short(arm), **style
        )  # fmt: skip
        pairs = ", ".join(f"{a:.2f}: {b:.2f}" for a, b in zip(x, y, strict=True))
        said.append(f"{arm} {pairs}")
    axes.set(
        xlabel="own probability of positive", ylabel="share that is positive", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
    )
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False, fontsize=7.5, handlelength=1.6,
        columnspacing=1.2, borderaxespad=0.1,
    )  # fmt: skip
    return Chart(
        svg_uri(figure), f"Calibration, mean probability and observed share by group: {'; '.join(said)}",
        "Calibration on real test images",
    )  # fmt: skip


def confusion_charts(content: Mapping[str, Curve]) -> list[Chart]:
    """A matrix an arm: the truth in rows, what the image was called in columns; counts, and shares of the row."""
    charts = []
    for arm, one in content.items():
        if "confusion" not in one:
            continue
        c = one["confusion"]
        table = [[c["true_positive"], c["false_negative"]], [c["false_positive"], c["true_negative"]]]
        figure, axes = plot(height=1.75, left=0.78, width=2.3)
        axes.set_position([0.33, 0.04, 0.64, 0.78])
        axes.axis("off")
        for y, row in enumerate(table):
            for x, count in enumerate(row):
                share = count / max(sum(row), 1)
                axes.add_patch(_box(x, y, share, right=x == y))
                colour = "white" if share > 0.55 else INK
                axes.text(x + 0.5, y + 0.44, f"{count}", ha="center", va="center", fontsize=12, color=colour)
                axes.text(x + 0.5, y + 0.72, f"{100 * share:.0f} %", ha="center", va="center", fontsize=8, color=colour)
        for at, name in enumerate(("positive", "negative")):
            axes.text(at + 0.5, -0.08, f"called\n{name}", ha="center", va="bottom", fontsize=7.5, color=INK)
            axes.text(-0.06, at + 0.5, f"is\n{name}", ha="right", va="center", fontsize=7.5, color=INK)
        axes.set(xlim=(0, 2), ylim=(2, 0))
        said = (
            f"{c['true_positive']} true positive, {c['false_negative']} false negative, {c['false_positive']} false "
            f"positive, {c['true_negative']} true negative"
        )
        charts.append(Chart(svg_uri(figure), f"Confusion matrix of {arm}: {said}", f"{arm}"))
    return charts


def curve_with_intervals(
    content: Mapping[str, Sequence[Curve]], measure: str, x_label: str, title: str
) -> Chart | None:
    """One measure over the ratio or over the real patients, arm by arm, with its interval as a band."""
    figure, axes = plot(height=2.15, left=0.62, width=4.2)
    said = []
    for i, (arm, points) in enumerate(content.items()):
        known = [point for point in points if point[measure]["value"] is not None]
        if not known:
            continue
        x = [point["at"] for point in known]
        value, low, high = ([point[measure][end] for point in known] for end in ("value", "low", "high"))
        axes.plot(x, value, color=_colour(i), linewidth=1.5, marker="o", markersize=3.5, label=_short(arm))
        if all(end is not None for end in (*low, *high)):
            axes.fill_between(x, low, high, color=_colour(i), alpha=0.14, linewidth=0)
        said.append(f"{arm} " + ", ".join(f"{a:g}: {b:.3f}" for a, b in zip(x, value, strict=True)))
    if not said:
        return None
    axes.grid(visible=True, color=RULE, linewidth=0.5)
    axes.set(xlabel=x_label, ylabel=measure_label(measure))
    axes.margins(y=0.1)
    _legend(axes, "best")
    return Chart(
        svg_uri(figure), f"{title}, {measure_label(measure)}: {'; '.join(said)}", f"{title}: {measure_label(measure)}"
    )


def _square(top: float = 0.1) -> tuple[Any, Any]:
    figure, axes = plot(height=3.6, left=0.5, width=4.2)
    axes.set_position([0.5 / 4.2, 0.45 / 3.6, 1 - 0.6 / 4.2, 1 - (0.45 + top) / 3.6])
    axes.grid(visible=True, color=RULE, linewidth=0.5)
    return figure, axes


def _box(x: int, y: int, share: float, *, right: bool) -> Any:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    strong = to_rgb(MAIN if right else OTHERS[0])
    colour = tuple(1 - share * (1 - part) for part in strong)
    return Rectangle((x + 0.02, y + 0.02), 0.96, 0.96, facecolor=colour, edgecolor=RULE, linewidth=0.6)


def _legend(axes: Any, where: str = "lower right") -> None:
    axes.legend(loc=where, fontsize=7.5, frameon=True, framealpha=0.85, edgecolor="none", handlelength=1.6)


def _colour(at: int) -> str:
    return MAIN if at == 0 else OTHERS[(at - 1) % len(OTHERS)]


def _short(text: str) -> str:
    return plain_text(text, 48)


def classifier_embedding_charts(arm: str, content: Curve) -> list[Chart]:
    """t-SNE and PCA of the test images as one arm's classifier sees them, the classes in two colours."""
    first, second = (100 * share for share in content["explained"])
    positive, named = content["positive"], str(content["label"])
    charts = []
    for kind, x_label, y_label in (
        ("tsne", "", ""),
        ("pca", f"first component ({first:.0f} %)", f"second component ({second:.0f} %)"),
    ):
        sides = [
            (text, colour, marker, [p for p, own in zip(content[kind], positive, strict=True) if own == side])
            for text, colour, marker, side in ((f"not {named}", MAIN, "o", False), (named, OTHERS[0], "^", True))
        ]
        title = f"{'t-SNE' if kind == 'tsne' else 'PCA'}, classifier trained on {arm}"
        said = "; ".join(f"{text}, {len(points)} points" for text, _, _, points in sides)
        charts.append(point_chart(sides, [side[:3] for side in sides], title, x_label, y_label, said))
    return charts
