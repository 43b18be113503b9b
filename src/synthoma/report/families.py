"""Which measurements belong together, and which arms compete: the families, the GAN's arm, baselines and floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synthoma.records import Measurement

__all__ = [
    "FAMILIES",
    "FLOOR_OF",
    "MAIN_ARMS",
    "SOURCE_OF",
    "UNTRANSLATED",
    "beside",
    "family_of",
    "is_baseline",
    "is_floor",
    "main_arm",
    "worse_than",
]

FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "similarity": ("Similarity to the real image", ("ssim", "psnr", "mae", "mse", "nrmse")),
    "distribution": (
        "Distribution",
        ("frechet", "fid", "kid", "improved-", "density", "coverage", "diversity", "two-sample", "radiomics"),
    ),
    "embedding": ("Embedding: how far sets and labels lie apart", ("silhouette-origin", "silhouette-label")),
    "structure": (
        "Structure",
        ("spectrum", "spectral", "checkerboard", "dice", "lesion", "high-frequency", "energy", "sharpness", "slice"),
    ),
    "recognition": ("Recognition: what a classifier of real images takes them for", ("recogni",)),
    "utility": (
        "Utility: a classifier",
        (
            "accuracy",
            "balanced-accuracy",
            "auc",
            "f1",
            "precision",
            "recall",
            "specificity",
            "sensitivity",
            "brier",
            "patients-right",
            "exchange-p",
            "mcnemar-p",
            "calibration",
            "silhouette-classifier",
        ),
    ),
    "explain": ("Explanation: what networks look at (Grad-CAM)", ("heat-",)),
    "clipping": ("Values outside the window, clipped", ("share-clipped",)),
    "privacy": (
        "Privacy",
        ("nearest", "near-duplicate", "authenticity", "membership", "memorisation", "privacy", "closer"),
    ),
    "readers": ("Readers: what people say of the images", ("reader-",)),
    "other": ("Other measurements", ()),
}
"""Family → its heading, and how the names of its measurements begin. What fits nowhere is shown under *other*."""

MAIN_ARMS = ("synthetic", "reconstruct", "gan", "translate", "back", "sample")
BASELINES = ("source", "least", "mean")
FLOOR_OF = "floor of "
SOURCE_OF, UNTRANSLATED = "source of ", " (untranslated)"


def main_arm(measurements: Sequence[Measurement]) -> str:
    """The arm that is the GAN's."""
    arms = {m.arm for m in measurements}
    return next((arm for arm in MAIN_ARMS if arm in arms), MAIN_ARMS[0])


def is_baseline(arm: str) -> bool:
    """Whether an arm is one of the three baselines: source image, least squares, mean training image."""
    return arm.lower().startswith(BASELINES)


def beside(measurement: Measurement, measurements: Sequence[Measurement]) -> list[Measurement]:
    """The same measure of the other arms, in the same region and against the same images; no floors."""
    family = family_of(measurement)
    same = (measurement.name, measurement.region, measurement.compared)
    return [
        m
        for m in measurements
        if (m.name, m.region, m.compared) == same and m.arm != measurement.arm and not is_floor(family, m.arm)
    ]


def worse_than(measurement: Measurement, others: Sequence[Measurement]) -> list[str]:
    """The arms among ``others`` whose value is better than this one's."""
    sign = {"higher": 1, "lower": -1}.get(measurement.better, 0)
    if measurement.value is None or not sign:
        return []
    value = measurement.value
    return [m.arm for m in others if m.value is not None and sign * (m.value - value) > 0]


def family_of(measurement: Measurement) -> str:
    """The family whose names a measurement's name begins with, else ``other``."""
    name = measurement.name.lower()
    fits = [
        (len(start), family) for family, (_, starts) in FAMILIES.items() for start in starts if name.startswith(start)
    ]
    return max(fits)[1] if fits else "other"


def is_floor(family: str, arm: str) -> bool:
    """Real against real is the floor of a distance, not one of its competitors."""
    return family in ("distribution", "structure", "embedding") and arm.lower().startswith(("real", "floor"))
