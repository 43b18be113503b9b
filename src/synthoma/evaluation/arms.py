"""What the classifier of the utility family learns from, arm by arm, and along the ratio and learning curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthoma.cohort.augment import AugmentOptions
from synthoma.evaluation.classifier import Labelled, joined, taken
from synthoma.evaluation.options import UtilityOptions
from synthoma.evaluation.statistics import spread_over_patients
from synthoma.seeding import generator

__all__ = ["Pool", "changed_copies", "main_pools", "pools_of_curves", "share_of", "some_patients"]


@dataclass(frozen=True)
class Pool:
    """The training images of one arm, or of one point of a curve."""

    name: str
    """The arm; of a point what it is trained on and how much of it."""
    images: Labelled
    curve: str = ""
    """``ratio`` or ``patients`` for a point of a curve; empty for an arm."""
    arm: str = ""
    """Of a point: the arm that it is a part of."""
    at: float = 1.0
    """Of a point: the ratio, or the share of the real training patients."""


def main_pools(train: Labelled, made: Labelled | None, options: UtilityOptions, seed: int) -> list[Pool]:
    """The arms asked for, in order. ``real+duplicates`` and ``real+classical`` are as many as ``real+synthetic``.

    Without synthetic images ``real`` stands alone: nothing says how many copies there should be.
    """
    if made is None:
        return [Pool("real", train)]
    size = len(made.positive)
    copies = np.resize(np.arange(len(train.positive)), size)

    def parts(arm: str) -> list[Labelled]:
        if arm == "real+duplicates":
            return [train, taken(train, copies)]
        if arm == "real+classical":
            return [train, changed_copies(taken(train, copies), options.classical, seed)]
        return {"real": [train], "real+synthetic": [train, made], "synthetic": [made]}[arm]

    return [Pool(arm, joined(parts(arm))) for arm in options.arms]


def pools_of_curves(
    train: Labelled, made: Labelled | None, everything: Labelled | None, options: UtilityOptions, seed: int
) -> tuple[list[Pool], list[str]]:
    """The points of the curves, and warnings.

    Args:
        train: real training images.
        made: the synthetic images of the arms.
        everything: all synthetic images, for other ratios.
    """
    points: list[Pool] = []
    warnings: list[str] = []
    for ratio in options.ratio_curve if everything is not None else ():
        assert everything is not None  # noqa: S101 (for the type checker)
        wanted = max(1, round(ratio * len(train.positive)))
        if wanted > len(everything.positive):
            warnings.append(too_few(ratio, wanted, len(everything.positive)))
            continue
        pool = joined([train, share_of(everything, wanted, seed)])
        points.append(Pool(f"real+synthetic, {ratio:g} for each real", pool, "ratio", "real+synthetic", ratio))
    for share in options.learning_curve:
        some = some_patients(train, share, seed)
        name = f"{100 * share:g} % of the real patients"
        points.append(Pool(f"real, {name}", some, "patients", "real", share))
        if made is not None and "real+synthetic" in options.arms:
            points.append(
                Pool(f"real+synthetic, {name}", joined([some, made]), "patients", "real+synthetic", share)
            )  # fmt: skip
    return points, warnings


def too_few(ratio: float, wanted: int, found: int) -> str:
    """That a ratio cannot be had."""
    return (
        f"utility: {ratio:g} synthetic images for each real one are {wanted}, and {found} are there "
        "(made, or let in by evaluation.max_images)."
    )


def share_of(part: Labelled, count: int, seed: int) -> Labelled:
    """At most ``count`` of the images, classes in proportion, spread over patients; a smaller share is in a larger."""
    total = len(part.positive)
    if count >= total:
        return part
    kept: list[NDArray[np.intp]] = []
    positives = min(int(part.positive.sum()), round(count * float(part.positive.mean())))
    for side, most in ((True, positives), (False, count - positives)):
        own = np.flatnonzero(part.positive == side)
        if most and len(own):
            kept.append(own[spread_over_patients(part.patients[own], most, seed, "utility share", str(side))])
    return taken(part, np.sort(np.concatenate(kept)))


def some_patients(part: Labelled, share: float, seed: int) -> Labelled:
    """The images of a share of the patients, rounded up; a smaller share is in a larger.

    Patients with images of both classes, of the positive and of the other alone are drawn in proportion.
    """
    kinds: dict[tuple[bool, bool], list[str]] = {}
    for name in sorted(set(part.patients.tolist())):
        own = part.positive[part.patients == name]
        kinds.setdefault((bool(own.any()), bool(own.all())), []).append(name)
    chosen: set[str] = set()
    for kind, names in sorted(kinds.items()):
        order = generator(seed, "learning curve", str(kind)).permutation(len(names))
        chosen |= {names[i] for i in order[: math.ceil(round(share * len(names), 9))].tolist()}
    return taken(part, np.flatnonzero(np.isin(part.patients, sorted(chosen))))


def changed_copies(part: Labelled, options: AugmentOptions, seed: int) -> Labelled:
    """Each image once, changed at random; the third copy of an image differs from its second."""
    import torch

    from synthoma.cohort.augment import augment, draw_augmentation

    images = torch.from_numpy(np.clip(np.asarray(part.images, dtype=np.float32), -1, 1))
    drawn = [draw_augmentation(options, generator(seed, "classical", i)) for i in range(len(images))]
    changed, _ = augment(images, torch.zeros_like(images[:, :1]), drawn, options)
    return Labelled(changed.numpy(), part.positive, part.patients)
