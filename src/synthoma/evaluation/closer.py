"""Are synthetic images nearer to the patients that were learned from than to others? And are they their own?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.seeding import generator

__all__ = ["Closer", "authentic", "closer_to_training"]

LEAST_PAIRS = 3
"""With fewer pairs of patients no interval is given."""
EXACT_UP_TO = 14
"""Pairs up to which every swap of labels is looked at; beyond, a random choice of :data:`DRAWS`."""
DRAWS = 20_000

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Closer:
    """Share of images nearer to training than to held-out patients, with interval and p of the labels swapped."""

    share: float
    low: float | None
    high: float | None
    p: float | None
    """One-sided: how often swapped labels give a share as high."""
    pairs: int
    method: str


def closer_to_training(to_training: Float, to_held_out: Float, pair_of_training: NDArray[np.intp],
                       pair_of_held_out: NDArray[np.intp], pairs: int, seed: int) -> Closer:  # fmt: skip
    """Of two sets of equal size, in pairs of patients of one site with as many images each: ½ if nobody was copied.

    The labels of a pair may be swapped if the generator treats training and held-out patients alike, and nothing else
    is assumed: many synthetic images may share a few neighbours, for which a binomial test gives up to 37 % false
    alarms. The interval is that of the test inverted, share ± the 95 % quantile of |swapped − ½|.

    Args:
        to_training, to_held_out: (m,) distance to the nearest image of either set.
        pair_of_training, pair_of_held_out: (m,) the pair that this nearest image belongs to.
        pairs: how many pairs there are.
    """
    m = len(to_training)
    towards = np.where(to_training < to_held_out, 1.0, np.where(to_training > to_held_out, 0.0, 0.5))
    share = float(towards.mean())
    # Swapping pair k turns +balance[k] into −balance[k]; with no swap the sum is 2 m (share − ½).
    balance = np.bincount(pair_of_training, weights=towards, minlength=pairs)
    balance -= np.bincount(pair_of_held_out, weights=1 - towards, minlength=pairs)
    if pairs < LEAST_PAIRS:
        return Closer(share, None, None, None, pairs, f"no interval: {pairs} pairs of patients")
    if pairs <= EXACT_UP_TO:
        signs = 1.0 - 2.0 * ((np.arange(2**pairs)[:, None] >> np.arange(pairs)) & 1)
        kind = "all"
    else:
        signs = generator(seed, "swapped labels").choice([-1.0, 1.0], (DRAWS, pairs))
        signs[0] = 1.0  # the labels as they are belong to the possible ones
        kind = f"{DRAWS} random"
    swapped = signs @ balance
    p = float((swapped >= balance.sum() - 1e-9).mean())
    half = float(np.quantile(np.abs(swapped), 0.95, method="higher")) / (2 * m)
    method = f"{kind} swaps of the labels of {pairs} pairs of patients of the same site, interval by inverting the test"
    return Closer(share, max(0.0, share - half), min(1.0, share + half), p, pairs, method)


def authentic(to_training: Float, within_training: Float) -> NDArray[np.bool_]:
    """Which images are further from their nearest training image than that one is from its nearest other (Alaa 2022).

    arXiv 2102.08921. Even of a perfect generator not all are; held-out real images say how many.

    Args:
        to_training: (m, n) distances.
        within_training: (n, n) distances; infinite where two images must not be compared (the same patient's).
    """
    others = within_training.copy()
    np.fill_diagonal(others, np.inf)
    nearest = to_training.argmin(axis=1)
    result: NDArray[Any] = to_training[np.arange(len(to_training)), nearest] > others.min(axis=1)[nearest]
    return result
