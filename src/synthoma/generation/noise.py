"""The WGAN-GP's plans: images from noise, each of a label that was asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import SettingError, describe, did_you_mean
from synthoma.gans import Gan
from synthoma.generation.options import GenerationOptions
from synthoma.generation.plans import Plan
from synthoma.records import Cohort
from synthoma.seeding import generator

__all__ = ["sample"]

Rows = NDArray[np.intp]


def sample(gan: Gan, cohort: Cohort, options: GenerationOptions) -> list[Plan]:
    """As many as asked for, in the mix asked for; image *i* depends on the seed, its number and its label.

    Every image is a patient of its own. It takes pixel spacing, modality and intensity window from the training
    samples of its label: the values that are most frequent there, and the median window. Its site is the one that they
    all share, if they do.

    Raises:
        SettingError: the GAN does not know a label of ``generation.mix``, or without a mix one of the training samples.
    """
    rows = cohort.rows(split="train", origin="real")
    if not len(rows):
        return []
    known = gan.layout.labels
    shares = options.mix or dict(Counter(cohort.table["label"][rows].tolist()))
    for label in shares:
        if label not in known:
            expected, near = "labels that the GAN was trained on", did_you_mean(label, known)
            raise SettingError(describe("generation.mix", expected, f"'{label}'", near))
    labels = _labels(shares, options.samples or len(rows))
    of_label = {label: _training(cohort, label) for label in set(labels)}
    like = {label: _alike(cohort, own) for label, own in of_label.items()}
    sites = {label: set(cohort.table["site"][own].tolist()) for label, own in of_label.items()}
    channels = gan.channels("sample")[1]
    plans = []
    for number, label in enumerate(labels):
        own = like[label]
        rng = generator(options.seed, "sample", number)
        name = f"synthetic-{number + 1:05d}"
        window = {
            c: tuple(float(np.median(cohort.table[f"{end}_{c}"][own])) for end in ("low", "high")) for c in channels
        }
        site = next(iter(sites[label])) if len(sites[label]) == 1 else ""
        changes = {"patient": name, "slices": (0,), "site": site, "intensity": window}
        empty = np.zeros_like(cohort.masks[0][1:])
        noise = rng.standard_normal(gan.latent, dtype=np.float32)
        plans.append(Plan("sample", int(own[0]), empty, label, changes=changes, noise=noise))
    return plans


def _labels(shares: dict[str, float], count: int) -> list[str]:
    """The label of each of ``count`` samples: the shares as exactly as whole numbers can, spread evenly."""
    total = sum(shares.values())
    exact = {label: count * share / total for label, share in sorted(shares.items())}
    counts = {label: int(value) for label, value in exact.items()}
    for label in sorted(exact, key=lambda label: counts[label] - exact[label])[: count - sum(counts.values())]:
        counts[label] += 1
    places = sorted((number / counts[label], label) for label in counts for number in range(counts[label]))
    return [label for _, label in places]


def _training(cohort: Cohort, label: str) -> Rows:
    """Training samples of the label, or all of them where it has none."""
    rows = cohort.rows(split="train", origin="real", label=label)
    return rows if len(rows) else cohort.rows(split="train", origin="real")


def _alike(cohort: Cohort, rows: Rows) -> Rows:
    """Those of the most frequent modality, and among them those of the most frequent spacing first."""
    kinds = list(zip(*(cohort.table[name][rows].tolist() for name in ("modality", "unit")), strict=True))
    most = Counter(kinds).most_common(1)[0][0]
    rows = rows[[kind == most for kind in kinds]]  # a window between those of CT and MR would be neither's
    spacings = cohort.table["spacing_mm"][rows].tolist()
    usual = Counter(spacings).most_common(1)[0][0]
    return rows[np.argsort(np.array(spacings) != usual, kind="stable")]
