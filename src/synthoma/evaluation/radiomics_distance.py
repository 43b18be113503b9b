"""How far synthetic lesions are from real ones in shape, grey values and texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.comparisons import LEAST, Comparison
from synthoma.evaluation.feature_sets import Sets, filled, halves, interval, with_region
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.radiomics import LEAST_PIXELS, radiomics
from synthoma.evaluation.statistics import spread_over_patients
from synthoma.records import Cohort, Measurement

__all__ = ["radiomics_distance"]


def radiomics_distance(
    real: Cohort, arm: Comparison, rows: NDArray[np.intp], real_rows: NDArray[np.intp], empty: Measurement,
    options: EvaluationOptions,
) -> tuple[list[Measurement], list[str]]:  # fmt: skip
    """Fréchet distance of lesion features, standardised on real training lesions, beside that of real patients."""
    channels, patients, seed = arm.cohort.channels, real.table["patient"], options.seed
    training = with_region(real, real.rows(split="train"), "lesion")
    training = training[spread_over_patients(patients[training], options.max_images, seed, "radiomics")]
    alike = with_region(real, arm.alike, "lesion")
    alike = alike[spread_over_patients(patients[alike], 5 * len(rows) // 2, seed, "floor")]
    sets = [(real, training), (real, real_rows), (arm.cohort, rows), (real, alike)]
    vectors, kept = zip(*(radiomics(cohort, chosen, channels) for cohort, chosen in sets), strict=True)
    if kept[0].sum() < 2 or min(kept[1].sum(), kept[2].sum()) < LEAST:
        return [], [f"{arm.arm}, lesion: too few lesions of {LEAST_PIXELS} pixels for radiomics."]
    middle, spread = vectors[0][kept[0]].mean(axis=0), vectors[0][kept[0]].std(axis=0)
    standard = [(v[k] - middle) / np.where(spread > 1e-9, spread, 1) for v, k in zip(vectors, kept, strict=True)]
    owners = (patients[real_rows][kept[1]], arm.cohort.table["patient"][rows][kept[2]], patients[alike][kept[3]])
    n = min(len(owners[0]), len(owners[1]))
    first, second = (spread_over_patients(side, n, seed, "compared") for side in owners[:2])
    both = Sets.of(standard[1][first, None], standard[2][second, None])
    value, low, high, how = interval(
        lambda i, j: np.array([both.frechet(i, j)]), (owners[0][first], owners[1][second]), options
    )
    d = standard[0].shape[1]
    note = "; no more lesions than features: biased upward" * (n <= d)
    method = f"{d} features of lesions (4 of shape, 8 first order and 5 of texture a channel), standardised on "
    method += f"{len(standard[0])} real training lesions; n = {n} + {n}{note}; synthoma {__version__}"
    shared = replace(empty, n_images=n, method=method)
    measured = [filled(shared, "radiomics-distance", value[0], how, max(float(low[0]), 0.0), high[0])]
    floor = [Sets.of(standard[3][a, None], standard[3][b, None]).frechet(np.arange(len(a)), np.arange(len(b)))
             for a, b in halves(owners[2], n, seed)]  # fmt: skip
    if floor:
        between = replace(shared, arm="real vs real", compared=f"floor of {arm.arm}",
                          n_patients=len(np.unique(owners[2])))  # fmt: skip
        how = f"mean of {len(floor)} random halvings of the real patients, no interval"
        measured.append(filled(between, "radiomics-distance", float(np.mean(floor)), how))
    return measured, []
