"""The section of pictures of the evidence: embeddings, neighbours, the classifier, what networks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from synthoma.records import Cohort
from synthoma.report import evidence_figures, panels
from synthoma.report.content import ReportContent
from synthoma.report.figures import Chart
from synthoma.report.gallery import Gallery

__all__ = ["DRAWN", "Part", "pictured"]

DRAWN = (
    "embedding", "neighbours", "roc", "reliability", "classifier", "classifier_embedding", "ratio_curve",
    "learning_curve", "heat", "privacy", "predictions", "utility_comparisons",
)  # fmt: skip
"""Curves that this section draws, or that others of these hold in another form."""
MOST_ARMS = 2
"""Cohorts whose neighbours are open; those of others are folded away."""


@dataclass
class Part:
    """A heading of the section and what stands below it."""

    title: str
    absent: str
    """What to say where there is nothing."""
    charts: list[tuple[str, list[Chart], str]] = field(default_factory=list)
    """(class of the grid, charts, rule)"""
    galleries: list[Gallery] = field(default_factory=list)
    folded: list[Gallery] = field(default_factory=list)


def pictured(content: ReportContent) -> list[Part]:
    """The parts in order; each says what is absent."""
    curves = content.curves
    return [
        _embedding(curves.get("embedding") or {}),
        _neighbours(content),
        _classifier(curves),
        _heat(content),
    ]


def _embedding(curve: Mapping[str, Any]) -> Part:
    part = Part("Real and synthetic images in one embedding", "the family embedding was not measured")
    for channels, one in curve.items():
        said = ", ".join(
            f"{name} {len(s['tsne'])} of {s['of']} images ({s['patients']} patients)" for name, s in one["sets"].items()
        )
        rule = (
            f"All sets together in one t-SNE (perplexity {one['perplexity']:g}, seed {one['seed']}, begun at the "
            f"principal components) and one PCA of {one['features']}. Points: {said}; evenly over patients; far "
            "ones at the frame. Distances between clusters of a t-SNE mean nothing: measured is the silhouette in "
            "feature space, of held-out images."
        )
        part.charts.append(("two", evidence_figures.embedding_charts(channels, one), rule))
    return part


def _neighbours(content: ReportContent) -> Part:
    part = Part("Nearest neighbours", "neither neighbours nor a privacy audit were computed")
    curves = content.curves
    near, audit = curves.get("neighbours") or {}, curves.get("privacy") or {}
    for at, name in enumerate(dict.fromkeys([*near, *audit])):
        cohort = _cohort(content.synthetic, name)
        if cohort is None:
            continue
        shown = [panels.neighbour_gallery(content.real, cohort, name, near[name])] if name in near else []
        shown += [panels.audit_gallery(content.real, cohort, name, audit[name])] if name in audit else []
        (part.galleries if at < MOST_ARMS else part.folded).extend(one for one in shown if one is not None)
    return part


def _classifier(curves: Mapping[str, Any]) -> Part:
    part = Part("The classifier: ROC, calibration, confusion, embedding", "no classifier was trained and judged")
    if curves.get("roc") and curves.get("reliability"):
        any_arm = next(iter(curves["roc"].values()))
        groups = len(next(iter(curves["reliability"].values()))["images"])
        rule = (
            f"{any_arm['images']} real test images of {any_arm['patients']} patients. ROC: in brackets DeLong's 95 % "
            "interval, images of a patient together. Calibration: the classifier's own probabilities, before the cut "
            f"was moved to ½, in {groups} groups of equal size; the bars of the first arm are exact 95 % intervals "
            "that take images for independent. Trained on classes in balance, it is calibrated for classes in balance."
        )
        charts = [evidence_figures.roc_chart(curves["roc"]), evidence_figures.calibration_chart(curves["reliability"])]
        part.charts.append(("two", charts, rule))
    if matrices := evidence_figures.confusion_charts(curves.get("classifier") or {}):
        part.charts.append(("small", matrices, "Confusion matrices at the cut chosen on validation patients: counts of "
                            "real test images, and their share of the row."))  # fmt: skip
    embedded: list[Chart] = []
    for arm, one in (curves.get("classifier_embedding") or {}).items():
        embedded += evidence_figures.classifier_embedding_charts(arm, one)
    if embedded:
        one = next(iter(curves["classifier_embedding"].values()))
        rule = (
            f"{len(one['positive'])} test images of {one['patients']} patients by what the classifier's last layer "
            f"reads, each feature times its weight, without and with synthetic training images (t-SNE: perplexity "
            f"{one['perplexity']:g}, seed {one['seed']}). Far points lie at the frame."
        )
        part.charts.append(("two", embedded, rule))
    part.charts += _curves(curves)
    return part


def _curves(curves: Mapping[str, Any]) -> list[tuple[str, list[Chart], str]]:
    """The ratio curve and the learning curve, where they were asked for."""
    found = []
    named = (
        ("ratio_curve", "Synthetic images for each real one", "synthetic images for each real one"),
        ("learning_curve", "Share of the real training patients", "share of the real training patients"),
    )
    for name, title, axis in named:
        curve = curves.get(name) or {}
        charts = [
            evidence_figures.curve_with_intervals(curve, measure, axis, title)
            for measure in ("balanced-accuracy", "auc") if curve
        ]  # fmt: skip
        if any(charts):
            rule = "Bands: 95 % intervals, test patients redrawn; one training run a point."
            if name == "learning_curve":
                rule += " With synthetic images it flatters small shares: their generator saw all training patients."
            found.append(("two", [chart for chart in charts if chart is not None], rule))
    return found


def _heat(content: ReportContent) -> Part:
    part = Part("What the networks look at (Grad-CAM)", "no network was looked into")
    part.galleries = panels.heat_galleries(content.real, content.synthetic, content.curves.get("heat") or {})
    return part


def _cohort(synthetic: Mapping[str, Cohort], arm: str) -> Cohort | None:
    """The cohort of an arm; ``synthetic`` is the headline."""
    return synthetic.get("reconstruct" if arm == "synthetic" and "reconstruct" in synthetic else arm)
