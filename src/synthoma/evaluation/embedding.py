"""Real and synthetic images in one embedding: t-SNE and PCA to look at, the silhouette to measure, and neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.clusters import distances, in_the_plane, one_set_jackknife, silhouette
from synthoma.evaluation.comparisons import LEAST, Comparison, comparisons
from synthoma.evaluation.evidence import Evidence
from synthoma.evaluation.feature_sets import halves
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.statistics import jackknife, spread_over_patients
from synthoma.records import Cohort, Measurement

__all__ = ["DEFINITIONS", "evaluate_embedding"]

Float = NDArray[np.float64]
Rows = NDArray[np.intp]
SHOWN = 6
"""Synthetic images whose neighbours are named for a panel."""
DEFINITIONS = {
    "silhouette-origin": "Silhouette of real against synthetic images in feature space: 0, one cloud; 1, two clusters "
    "apart. Its floor is that of real images of other patients. Never of t-SNE's coordinates.",
    "silhouette-label": "Silhouette of the labels in feature space: 1, a compact cluster a label; 0, one cloud. To be "
    "read beside that of real held-out images.",
}


@dataclass
class _Found:
    measurements: list[Measurement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    planes: dict[str, Any] = field(default_factory=dict)
    neighbours: dict[str, Any] = field(default_factory=dict)
    of_labels: set[tuple[Any, ...]] = field(default_factory=set)
    """Sets of real images whose silhouette by label is known."""


@dataclass(frozen=True)
class _Seen:
    """What features are taken with, and how many images."""

    real: Cohort
    options: EvaluationOptions
    features: Features

    def __call__(self, cohort: Cohort, rows: Rows, channels: tuple[str, ...]) -> Float:
        """(n, channel · width) features of some images."""
        order = [cohort.channels.index(name) for name in channels]
        return self.features(np.asarray(cohort.images[rows])[:, order]).reshape(len(rows), -1)

    def some(self, cohort: Cohort, rows: Rows, most: int, name: str) -> Rows:
        """At most so many of the rows, evenly over patients."""
        return rows[spread_over_patients(cohort.table["patient"][rows], most, self.options.seed, name)]


def evaluate_embedding(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """Silhouettes of every cohort against held-out real images, one map for all cohorts of the same channels, and the
    nearest training and held-out images of some synthetic ones. Round trips are passed over."""
    if real.images.ndim != 4:
        return Evidence(warnings=("embedding: features exist for 2D images only.",), definitions=DEFINITIONS)
    found, see = _Found(), _Seen(real, options, features)
    arms, found.warnings = comparisons(real, synthetic)
    arms = [arm for arm in arms if not arm.cohort.is_round_trip]
    for arm in arms:
        _silhouettes(arm, see, found)
        _neighbours(arm, see, found)
    for channels in dict.fromkeys(arm.cohort.channels for arm in arms):
        _plane([arm for arm in arms if arm.cohort.channels == channels], channels, see, found)
    curves = {"embedding": found.planes, "neighbours": found.neighbours}
    return Evidence(tuple(found.measurements), curves, tuple(found.warnings), (), DEFINITIONS)


def _silhouettes(arm: Comparison, see: _Seen, found: _Found) -> None:
    """Of origin, with its floor; of label, beside that of the real images."""
    real, options, channels = see.real, see.options, arm.cohort.channels
    n = min(len(arm.rows), len(arm.real_rows), options.max_images)
    if n < LEAST:
        found.warnings.append(f"{arm.arm}: {n} images a side, fewer than {LEAST}: no silhouette measured.")
        return
    # One draw for both, as for the distances: where images are paired, the same anatomy stands on either side.
    rows, real_rows = see.some(arm.cohort, arm.rows, n, "compared"), see.some(real, arm.real_rows, n, "compared")
    owners = (real.table["patient"][real_rows], arm.cohort.table["patient"][rows])
    vectors = np.concatenate([see(real, real_rows, channels), see(arm.cohort, rows, channels)])
    between, origin = distances(vectors), np.arange(2 * n) >= n
    values, low, high, how = jackknife(
        lambda i, j: np.array([_of(between, np.concatenate([i, n + j]), origin)]),
        *owners, options.jackknife_groups, options.seed,
    )  # fmt: skip
    patients = min(len(np.unique(side)) for side in owners)
    method = f"{see.features.description}; Euclidean; {n} images a side"
    empty = Measurement("silhouette-origin", None, None, None, n, patients, arm.arm, "frame", "", "lower", method,
                        arm.compared)  # fmt: skip
    found.measurements.append(_filled(empty, values[0], low[0], high[0], how))
    _floor(arm, n, empty, see, found)
    sides = [
        (arm.arm, arm.cohort, rows, between[n:, n:], owners[1]),
        ("real", real, real_rows, between[:n, :n], owners[0]),
    ]
    for name, cohort, own, table, patient in sides:
        labels = cohort.table["label"][own]
        key = (name, channels, own.tobytes())
        if len(np.unique(labels)) < 2 or key in found.of_labels:
            continue
        found.of_labels.add(key)
        value, below, above, how = one_set_jackknife(
            lambda at, table=table, labels=labels: np.array([_of(table, at, labels)]),  # type: ignore[misc]
            patient, options.jackknife_groups, options.seed,
        )  # fmt: skip
        against = f"labels {', '.join(sorted(set(labels.tolist())))}; {arm.compared}"
        base = replace(empty, name="silhouette-label", arm=name, better="higher", compared=against, n_images=len(own),
                       n_patients=len(np.unique(patient)))  # fmt: skip
        found.measurements.append(_filled(base, value[0], below[0], above[0], how))


def _of(between: Float, at: Rows, labels: NDArray[Any]) -> float:
    return silhouette(between[np.ix_(at, at)], labels[at])


def _floor(arm: Comparison, n: int, empty: Measurement, see: _Seen, found: _Found) -> None:
    """The same between real images of disjoint halves of the patients: mean of random halvings."""
    owners = see.real.table["patient"][arm.alike]
    parts = halves(owners, n, see.options.seed)
    if not parts:
        return
    values = []
    for pair in parts:
        rows = np.concatenate([arm.alike[half] for half in pair])
        labels = np.repeat([0, 1], [len(half) for half in pair])
        values.append(silhouette(distances(see(see.real, rows, arm.cohort.channels)), labels))
    size = len(parts[0][0])
    method = f"{see.features.description}; Euclidean; {size} images a side; mean of {len(parts)} random halvings"
    base = replace(empty, arm="real vs real", n_images=size, n_patients=len(np.unique(owners)) // 2, method=method,
                   compared=f"floor of {arm.arm}")  # fmt: skip
    found.measurements.append(_filled(base, float(np.mean(values)), math.nan, math.nan, "no interval"))


def _plane(arms: list[Comparison], channels: tuple[str, ...], see: _Seen, found: _Found) -> None:
    """Real training and held-out images and every cohort of these channels in one t-SNE and one PCA."""
    real, most = see.real, see.options.embedding.images
    kind = np.isin(real.table["modality"], np.unique(np.concatenate([a.cohort.table["modality"] for a in arms])))
    held_out = kind & np.isin(real.table["split"], ("test", "validation"))
    sets = {
        "real train": (real, np.flatnonzero(kind & (real.table["split"] == "train"))),
        "real held-out": (real, np.flatnonzero(held_out)),
    } | {arm.arm: (arm.cohort, arm.rows) for arm in arms}
    chosen = {name: (cohort, see.some(cohort, rows, most, "embedding")) for name, (cohort, rows) in sets.items()}
    chosen = {name: (cohort, rows) for name, (cohort, rows) in chosen.items() if len(rows)}
    plane = in_the_plane(
        np.concatenate([see(cohort, rows, channels) for cohort, rows in chosen.values()]),
        see.options.embedding, see.options.seed,
    )  # fmt: skip
    ends = np.cumsum([len(rows) for _, rows in chosen.values()])[:-1]
    places = zip(np.split(plane.tsne, ends), np.split(plane.pca, ends), strict=True)
    found.planes[", ".join(channels)] = {
        "perplexity": round(plane.perplexity, 1),
        "seed": plane.seed,
        "explained": [round(share, 4) for share in plane.explained],
        "features": see.features.description,
        "sets": {
            name: {
                "tsne": _points(tsne), "pca": _points(pca), "label": cohort.table["label"][rows].tolist(),
                "patients": len(np.unique(cohort.table["patient"][rows])), "of": len(sets[name][1]),
            }
            for (name, (cohort, rows)), (tsne, pca) in zip(chosen.items(), places, strict=True)
        },
    }  # fmt: skip


def _neighbours(arm: Comparison, see: _Seen, found: _Found) -> None:
    """Some synthetic images, at equal steps from the nearest to the furthest of their training image, with the nearest
    training and the nearest held-out image. An image that one was made from or stands for is no neighbour of it."""
    real, options, channels = see.real, see.options, arm.cohort.channels
    kind = np.isin(real.table["modality"], np.unique(arm.cohort.table["modality"]))
    split = real.table["split"]
    sides = {
        "train": np.flatnonzero(kind & (split == "train")),
        "held_out": np.flatnonzero(kind & np.isin(split, ("test", "validation"))),
    }
    rows = see.some(arm.cohort, arm.rows, options.max_images, "compared")
    sides = {name: see.some(real, side, options.max_images, "neighbours") for name, side in sides.items()}
    if any(not len(side) for side in sides.values()) or not len(rows):
        return
    from scipy.spatial.distance import cdist

    made = see(arm.cohort, rows, channels)
    vectors = {name: see(real, side, channels) for name, side in sides.items()}
    tables = {}
    for name, side in sides.items():
        own = np.array([np.isin(real.table["id"][side], list(_origins(arm.cohort, int(row)))) for row in rows])
        tables[name] = np.where(own, np.inf, cdist(made, vectors[name]))
    order = np.argsort(tables["train"].min(axis=1), kind="stable")
    ranks = np.unique(np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int))
    shown = []
    for rank in ranks.tolist():
        at = int(order[rank])
        nearest = {name: int(table[at].argmin()) for name, table in tables.items()}
        shown.append(
            {"row": int(rows[at]), "synthetic": str(arm.cohort.table["id"][rows[at]]), "rank": rank + 1}
            | {name: str(real.table["id"][sides[name][i]]) for name, i in nearest.items()}
            | {f"{name}_distance": round(float(tables[name][at, i]), 4) for name, i in nearest.items()}
        )
    reference = cdist(vectors["held_out"], vectors["train"]).min(axis=1)
    found.neighbours[arm.arm] = {
        "features": see.features.description, "images": len(rows), "shown": shown,
        "searched": {name: len(side) for name, side in sides.items()},
        "held_out_to_train": round(float(np.median(reference)), 4),
    }  # fmt: skip


def _origins(cohort: Cohort, row: int) -> set[str]:
    """Real samples that a synthetic one was made from or stands for."""
    made_from, reference = str(cohort.table["made_from"][row]), str(cohort.table["reference"][row])
    return {name for name in (*made_from.split(";"), reference) if name}


def _filled(empty: Measurement, value: float, low: float, high: float, how: str) -> Measurement:
    known = bool(np.isfinite([low, high]).all())
    return replace(
        empty, value=float(value) if math.isfinite(value) else None, low=float(low) if known else None,
        high=float(high) if known else None, method=f"{empty.method}; {how}; synthoma {__version__}",
    )  # fmt: skip


def _points(places: Float) -> list[list[float]]:
    return [[float(f"{x:.4g}"), float(f"{y:.4g}")] for x, y in places.tolist()]
