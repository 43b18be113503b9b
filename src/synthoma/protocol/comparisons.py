"""Every difference that a protocol found, tested: corrected for folds that share patients, and for being many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.corrected import Tested, corrected_resampled_t
from synthoma.evaluation.tests_of_difference import holm
from synthoma.protocol.folds import Fold

__all__ = ["Comparison", "compare"]

Key = tuple[str, str, str, str]


class Comparison(NamedTuple):
    """A difference over folds, its tests, and its p among all of the protocol."""

    test: Tested
    p_holm: float | None
    method: str

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        return asdict(self.test) | {"p_holm": self.p_holm, "method": self.method}


def compare(
    differences: Mapping[Key, NDArray[np.float64]], sizes: Mapping[Fold, Mapping[str, int]]
) -> dict[Key, Comparison]:
    """Each difference (fold, run) by the corrected resampled t-test and, marked so, the plain one; Holm over all.

    Args:
        differences: NaN where a fold has none; such folds are left out. A difference that no fold has is left out.
        sizes: patients on each side of each fold; their means are n_test and n_train.
    """
    n_test, n_train = (float(np.mean([size[side] for size in sizes.values()])) for side in ("test", "train"))
    tests: dict[Key, Tested] = {}
    for key, values in differences.items():
        whole = values[np.isfinite(values).all(axis=1)]
        if len(whole):
            tests[key] = corrected_resampled_t(whole, n_test, n_train)
    p = {key: test.p for key, test in tests.items() if test.p is not None}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True))
    end = f"; Holm over {len(p)} comparisons"
    return {
        key: Comparison(test, adjusted.get(key), test.method + (end if key in adjusted else ""))
        for key, test in tests.items()
    }
