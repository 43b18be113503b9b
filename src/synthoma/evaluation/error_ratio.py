"""Are the patients that a generator was trained on drawn closer to the truth than others? The test, and the margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.seeding import generator

__all__ = ["ALPHA", "EACH", "LEAST_RATIO", "ErrorRatio", "compare"]

ALPHA = 0.05
"""At most so many of the generators that know nobody better than strangers are called memorising."""
EACH = ALPHA / 2
"""Of either question: whether the training patients together are known, and whether one alone is."""
LEAST_RATIO = 2.0
"""Half the error on training patients, 6 dB of PSNR. Less is a generalisation gap, which every training leaves."""
LABELLINGS = 20_000
"""Up to so many ways to say who was trained on, all are looked at; beyond, as many random ones."""

Float = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ErrorRatio:
    """Error on held-out over error on training patients, the patient being the unit."""

    ratio: float
    low: float | None
    high: float | None
    """95 % interval, by inverting the test; ``None`` where it has no end, as so few patients have."""
    p: float
    """One-sided: how often the ratio is as large when the patients of each site are divided anew."""
    alone: tuple[str, ...]
    """Training patients whose error is small by itself, whatever the others' is."""
    trained: int
    held_out: int
    labellings: int
    """In how many ways the patients could have been divided; 1 / this is the smallest p there can be."""

    @property
    def decidable(self) -> bool:
        """Whether so few patients could show anything at all."""
        return self.labellings * EACH >= 1

    @property
    def memorised(self) -> bool:
        """Significant, and large enough to matter."""
        return bool(self.alone) or (self.decidable and self.p <= EACH and self.ratio >= LEAST_RATIO)

    @property
    def cleared(self) -> bool:
        """Whether memory was looked for and not found; where too few patients leave a large ratio open, neither."""
        return self.decidable and not self.alone and self.ratio < LEAST_RATIO


def compare(
    log_errors: Float, trained: Bools, sites: NDArray[Any], names: NDArray[Any], seed: int
) -> ErrorRatio | None:  # fmt: skip
    """Compare training with held-out patients of the same sites; ``None`` where no site has both.

    *Together*: the held-out mean minus the training mean (within sites, pooled as least squares would), and its p by
    dividing the patients of each site anew, in all ways or in 20,000 random ones, the true one among them. It assumes
    nothing but that patients of a site could be exchanged. *Alone*: a training patient below the prediction limit
    (Student's t, Bonferroni over the training patients) of what held-out patients of its site would have if all their
    errors were divided by :data:`LEAST_RATIO`.

    Args:
        log_errors: (patients,) natural logarithm of each patient's error.
        trained: (patients,) whether the generator was trained on the patient.
        sites, names: (patients,).
        seed: of the random labellings.
    """
    both = np.isin(sites, sites[trained]) & np.isin(sites, sites[~trained])
    if not both.any():
        return None
    values, trained, sites, names = log_errors[both], trained[both], sites[both], names[both]
    labels, count = _labellings(trained, sites, seed)
    effect, others = float(_effect(values, sites, trained[None])[0]), _effect(values, sites, labels)
    low, high = _interval(effect, others, _effect(trained.astype(np.float64), sites, labels))
    alone = tuple(str(name) for name in names[_alone(values, sites, trained)])
    return ErrorRatio(
        math.exp(effect), low, high, float(np.mean(others >= effect - 1e-12)), alone, int(trained.sum()),
        int((~trained).sum()), count,
    )  # fmt: skip


def _interval(effect: float, others: Float, slopes: Float) -> tuple[float | None, float | None]:
    """95 % interval of a ratio: all shifts d of the training patients that neither side of the test rejects at 2.5 %.

    With d added to the training patients the effect is ``effect`` − d, and that of a labelling ``others`` + d
    ``slopes`` (which is −1 of the true one): each labelling is as large from one d on.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        turns = np.where(slopes > -1 + 1e-9, (effect - others) / (1 + slopes), np.nan)
    at = int(0.025 * len(turns))
    ends = np.sort(np.nan_to_num(turns, nan=-np.inf))[at], np.sort(np.nan_to_num(turns, nan=np.inf))[::-1][at]
    low, high = (math.exp(end) if np.isfinite(end) else None for end in ends)
    return low, high


def _effect(values: Float, sites: NDArray[Any], labels: Bools) -> Float:
    """Held-out minus training mean within sites, of each labelling: (m, patients) → (m,)."""
    total, weights = np.zeros(len(labels)), 0.0
    for site in np.unique(sites):
        own = sites == site
        n, k = int(own.sum()), int(labels[0, own].sum())
        inside = labels[:, own] @ values[own]
        weight = k * (n - k) / n
        total += weight * ((values[own].sum() - inside) / (n - k) - inside / k)
        weights += weight
    return np.asarray(total / weights)


def _labellings(trained: Bools, sites: NDArray[Any], seed: int) -> tuple[Bools, int]:
    """Ways to say which patients of each site were trained on (m, patients), and how many there could be."""
    groups = [np.flatnonzero(sites == site) for site in np.unique(sites)]
    picked = [int(trained[own].sum()) for own in groups]
    count = math.prod(math.comb(len(own), k) for own, k in zip(groups, picked, strict=True))
    if count <= LABELLINGS:
        labels = np.zeros((count, len(trained)), dtype=bool)
        ways = product(*(combinations(own.tolist(), k) for own, k in zip(groups, picked, strict=True)))
        for number, way in enumerate(ways):
            labels[number, [one for part in way for one in part]] = True
        return labels, count
    random = generator(seed, "who was trained on")
    labels = np.repeat(trained[None], LABELLINGS, axis=0)
    for own in groups:
        labels[1:, own] = random.permuted(labels[1:, own], axis=1)  # the first stays: the true one counts, too
    return labels, count


def _alone(values: Float, sites: NDArray[Any], trained: Bools) -> Bools:
    """(patients,) which training patients are below the limit."""
    from scipy.stats import t

    groups = {site: values[(sites == site) & ~trained] for site in np.unique(sites).tolist()}
    freedom = int((~trained).sum()) - len(groups)
    if freedom < 1:
        return np.zeros(len(values), dtype=bool)
    spread = math.sqrt(sum(float(((own - own.mean()) ** 2).sum()) for own in groups.values()) / freedom)
    reach = float(t.isf(EACH / int(trained.sum()), freedom)) * spread
    limits = {
        site: own.mean() - math.log(LEAST_RATIO) - reach * math.sqrt(1 + 1 / len(own)) for site, own in groups.items()
    }
    return trained & (values < np.array([limits[site] for site in sites.tolist()]))
