"""Could software tell the origin from how an image is stored, rather than from what it shows?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fingerprint", "separations"]

SUSPICIOUS = 0.95
"""Area under the curve from which one number alone is said to tell the origin."""
FEWEST = 8
"""With fewer images of an origin, chance alone separates them too often."""


def fingerprint(image: NDArray[np.int16]) -> dict[str, float]:
    """Traces of how an image was made and stored, not of what it shows.

    Shares of voxels at the lowest and at the highest value, of odd values (the lowest bit), of values equal to their
    right-hand neighbour, and of levels between the 5th and 95th percentile that no voxel has (the comb of a coarser
    source); the lowest and highest value themselves.
    """
    values = image.astype(np.int64)
    low, high = int(values.min()), int(values.max())
    inner = values[(values > low) & (values < high)]
    comb = 0.0
    if inner.size:
        start, stop = np.percentile(inner, [5, 95]).astype(int)
        inside = inner[(inner >= start) & (inner <= stop)]
        # so many levels would be empty by chance alone if voxels fell anywhere between the two
        levels = stop - start + 1
        comb = 1 - len(np.unique(inside)) / (levels * -np.expm1(-inside.size / levels))
    return {
        "lowest value": low,
        "highest value": high,
        "share at the lowest value": float((values == low).mean()),
        "share at the highest value": float((values == high).mean()),
        "share of odd values": float((inner & 1).mean()) if inner.size else 0.5,
        "equal neighbours": float((np.diff(values, axis=-1) == 0).mean()),
        "empty levels": float(comb),
    }


def separations(real: Sequence[Mapping[str, float]], synthetic: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The fingerprints that alone tell the origin, with their AUC (0.5 … 1); empty with few images."""
    if min(len(real), len(synthetic)) < FEWEST:
        return {}
    found = {}
    for name in real[0]:
        a, b = (np.array([one[name] for one in side]) for side in (real, synthetic))
        above = (a[:, None] > b).mean() + (a[:, None] == b).mean() / 2
        auc = float(max(above, 1 - above))
        if auc >= SUSPICIOUS:
            found[name] = auc
    return found
