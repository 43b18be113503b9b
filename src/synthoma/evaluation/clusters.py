"""How far sets of feature vectors lie apart: the silhouette, with intervals over patients, and maps in the plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.options import EmbeddingOptions
from synthoma.evaluation.statistics import MIN_PATIENTS, patient_groups

__all__ = ["Plane", "distances", "in_the_plane", "one_set_jackknife", "silhouette"]

Float = NDArray[np.float64]
COMPONENTS = 50
"""Principal components that t-SNE starts from (van der Maaten & Hinton 2008, section 4.2: 30)."""


@dataclass(frozen=True)
class Plane:
    """Points of one embedding of several sets together."""

    tsne: Float
    """(n, 2)"""
    pca: Float
    """(n, 2) the first two principal components."""
    explained: tuple[float, float]
    """Share of the variance that they hold."""
    perplexity: float
    seed: int


def distances(vectors: NDArray[Any]) -> Float:
    """(n, n) Euclidean distances of (n, d) vectors."""
    from scipy.spatial.distance import pdist, squareform

    return np.asarray(squareform(pdist(np.asarray(vectors, dtype=np.float64))))


def silhouette(between: Float, labels: NDArray[Any]) -> float:
    """Mean over points of (b − a) / max(a, b): a, the mean distance to the others of its label, b, that to the nearest
    other label (Rousseeuw 1987). 1: compact and apart; 0: one cloud; NaN where a label is absent or has all points.

    Args:
        between: (n, n) distances.
        labels: (n,)
    """
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(between, labels, metric="precomputed"))


def one_set_jackknife(
    statistic: Callable[[NDArray[np.intp]], Float], patients: NDArray[Any], most: int, seed: int
) -> tuple[Float, Float, Float, str]:
    """Values of a statistic of one set, low, high and the method: patients left out in turn.

    SE² = (P−1)/P Σ (θ₍ᵢ₎ − θ̄)²; interval θ ± t(P−1) SE. A bootstrap would repeat images, and a repeated image lies at
    distance 0 of itself: clusters would look tighter than they are.

    Args:
        statistic: image indices → values (k,).
        patients: (n,)
    """
    from scipy.stats import t

    everything = np.arange(len(patients))
    values = statistic(everything)
    groups = patient_groups(patients, most, seed)
    count, nothing = len(groups), np.full_like(values, np.nan)
    if count < MIN_PATIENTS:
        return values, nothing, nothing, f"no interval: {count} patients, fewer than {MIN_PATIENTS}"
    left = np.stack([statistic(np.delete(everything, group)) for group in groups])
    if not np.isfinite(left).all():
        return values, nothing, nothing, "no interval: a label is of one patient alone"
    error = np.sqrt((count - 1) / count * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    half = float(t.ppf(0.975, count - 1)) * error
    kind = "delete-group jackknife over patients" if len(np.unique(patients)) > most else "delete-one-patient jackknife"
    return values, values - half, values + half, f"95 % {kind} ({count} groups)"


def in_the_plane(vectors: NDArray[Any], options: EmbeddingOptions, seed: int) -> Plane:
    """t-SNE (van der Maaten & Hinton 2008; scikit-learn's, begun at the principal components) and PCA of (n, d)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    vectors = np.asarray(vectors, dtype=np.float64)
    n, width = vectors.shape
    pca = PCA(n_components=min(COMPONENTS, n, width), svd_solver="full")
    reduced = pca.fit_transform(vectors)
    perplexity = min(options.perplexity, n / 3)
    tsne = TSNE(perplexity=perplexity, init=reduced[:, :2] / max(reduced[:, 0].std(), 1e-12) * 1e-4, random_state=seed)
    first, second = [*pca.explained_variance_ratio_.tolist(), 0.0][:2]
    return Plane(np.asarray(tsne.fit_transform(reduced)), reduced[:, :2], (first, second), perplexity, seed)
