"""Which real images a set of synthetic ones stands beside: those that it should look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.pairs import arm_name, on_channels, paired_arms, source_rows, the_one
from synthoma.records import Cohort

__all__ = ["LEAST", "Comparison", "comparisons"]

LEAST = 8
"""Fewer images a side than this are not compared."""


@dataclass(frozen=True)
class Comparison:
    """An arm: which synthetic samples are compared with which real ones."""

    arm: str
    cohort: Cohort
    rows: NDArray[np.intp]
    real_rows: NDArray[np.intp]
    compared: str
    alike: NDArray[np.intp]
    """Real samples of every split that are what the arm should look like: what its floor is drawn from."""


def comparisons(real: Cohort, synthetic: Mapping[str, Cohort]) -> tuple[list[Comparison], list[str]]:
    """A paired cohort stands against the real test images of its own patients, an unpaired one against held-out real
    images (test and validation) that are alike (:func:`_alike`), or, where these are too few, against training images.
    """
    groups, _ = paired_arms(real, synthetic)
    pairs = {name: own for group in groups for name, own in group.items()}
    found, warnings = [], []
    for name, cohort in synthetic.items():
        end = on_channels(synthetic, cohort.channels)
        if name in pairs:
            own = pairs[name]
            alike = _like(real, own.real, ("label", "modality"))
            compared = f"real test (the same patients{end})"
            found.append(Comparison(arm_name(name), cohort, own.synthetic, own.real, compared, alike))
        elif not cohort.is_paired:
            alike, kind = _alike(real, cohort)
            for splits, text in ((("test", "validation"), "real held-out"), (("train",), "real train")):
                rows = alike[np.isin(real.table["split"][alike], splits)]
                if len(rows) >= LEAST:
                    compared = f"{text} ({kind}{end})"
                    found.append(Comparison(arm_name(name), cohort, np.arange(len(cohort)), rows, compared, alike))
                    break
            else:
                warnings.append(f"{name}: fewer than {LEAST} real images like it ({kind}), no distribution measured.")
    return found, warnings


def _alike(real: Cohort, cohort: Cohort) -> tuple[NDArray[np.intp], str]:
    """Real samples with the labels and modalities of ``cohort``, and how to call them.

    Of one site only where the cohort claims to come from that site and was made from images of others (harmonisation).
    """
    keep = np.isin(real.table["label"], np.unique(cohort.table["label"]))
    keep &= np.isin(real.table["modality"], np.unique(cohort.table["modality"]))
    kinds = [", ".join(sorted(set(cohort.table["label"].tolist()) - {""}))]
    if len(np.unique(real.table["modality"])) > 1:
        kinds.append(", ".join(sorted(set(cohort.table["modality"].tolist()))))
    site, sources = the_one(cohort.table["site"]), source_rows(real, cohort)
    if site and sources is not None and site not in real.table["site"][sources]:
        keep &= real.table["site"] == site
        kinds.append(site)
    return np.flatnonzero(keep), "; ".join(kind for kind in kinds if kind) or "all"


def _like(real: Cohort, rows: NDArray[np.intp], columns: tuple[str, ...]) -> NDArray[np.intp]:
    """The real samples whose ``columns`` hold values that those of ``rows`` hold."""
    kept = [np.isin(real.table[name], np.unique(real.table[name][rows])) for name in columns]
    return np.flatnonzero(np.logical_and.reduce(kept))
