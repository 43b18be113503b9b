"""What is measured on the images of a study, and how readers' ratings go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.cohort import open_cohort
from synthoma.errors import CohortError, describe
from synthoma.records import Cohort, Measurement
from synthoma.similarity import RADIUS, ssim
from synthoma.storage import file_sha256
from synthoma.study.agreement import pearson, spearman
from synthoma.study.folder import Key, Source

__all__ = ["FEATURE_DISTANCE", "SSIM", "Features", "correlations", "image_measures", "lite0"]

Features = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""(n, y, x) in [−1, 1] → (n, d)."""
SSIM, FEATURE_DISTANCE = "SSIM", "feature distance"
METHODS = {
    SSIM: "SSIM to the real image that it should be, over the body (Wang 2004)",
    FEATURE_DISTANCE: "mean Euclidean distance to the 5 nearest real images of the study that are of other "
    "patients, in features of EfficientNet-Lite0",
}
NEIGHBOURS = 5
DATA_RANGE = 2.0
BATCH = 8


def image_measures(
    key: Key, *, real: Path | None = None, synthetic: Path | None = None, features: Features | None = None
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Measure → synthetic image of the study → value; and what could not be measured, and why.

    Args:
        key: says which sample each image is.
        real, synthetic: where the cohorts are now, if they were moved.
        features: gives the feature distance; none is measured without.

    Raises:
        CohortError: a cohort is there but is not the one that the study was made from.
    """
    cohorts = {"real": _cohort(real, key.real, "--real"), "synthetic": _cohort(synthetic, key.synthetic, "--synthetic")}
    absent = [name for name, cohort in cohorts.items() if cohort is None]
    if cohorts["real"] is None or cohorts["synthetic"] is None:
        options = " and ".join(f"--{name}" for name in absent)
        return {}, [
            f"no measure of the images: the {' and '.join(absent)} cohort is not there (name it with {options})"
        ]
    found, notes = {}, []
    similar = _ssim(key, cohorts["real"], cohorts["synthetic"])
    if similar:
        found[SSIM] = similar
    else:
        notes.append("no SSIM: no synthetic image of the study has a real one of its size that it should equal")
    if features is not None:
        if cohorts["real"].images.ndim != 4:
            notes.append("no feature distance: it is measured on slices, not on volumes")
        elif distances := _distances(key, cohorts["real"], cohorts["synthetic"], features):
            found[FEATURE_DISTANCE] = distances
        else:
            notes.append(f"no feature distance: fewer than {NEIGHBOURS} real images of other patients")
    return found, notes


def _cohort(moved: Path | None, source: Source, option: str) -> Cohort | None:
    path = Path(moved or source.path)
    if moved is None and not (path / "cohort.json").is_file():
        return None
    cohort = open_cohort(path)
    if file_sha256(path / "cohort.json") != source.sha256:
        remedy = f"Name it with {option}."
        raise CohortError(describe(path, "the cohort that the study was made from", "another", remedy))
    return cohort


def _ssim(key: Key, real: Cohort, synthetic: Cohort) -> dict[str, float]:
    rows = {str(name): row for row, name in enumerate(real.table["id"])}
    if real.images.shape[2:] != synthetic.images.shape[2:] or min(real.images.shape[2:]) <= 2 * RADIUS:
        return {}
    found = {}
    for name, entry in sorted(key.images.items()):
        at = rows.get(str(synthetic.table["reference"][entry.row])) if entry.origin == "synthetic" else None
        if at is not None:
            body = real.body(at)
            pair = (_image(synthetic, entry.row, key.channel), _image(real, at, key.channel))
            found[name] = ssim(*pair, DATA_RANGE, body if body.any() else None)
    return found


def _distances(key: Key, real: Cohort, synthetic: Cohort, features: Features) -> dict[str, float]:
    vectors, names = {}, {}
    for origin, cohort in (("real", real), ("synthetic", synthetic)):
        names[origin] = sorted(name for name, entry in key.images.items() if entry.origin == origin)
        if not names[origin]:
            return {}
        vectors[origin] = features(np.stack([_image(cohort, key.images[n].row, key.channel) for n in names[origin]]))
    found = {}
    for name, vector in zip(names["synthetic"], vectors["synthetic"], strict=True):
        own = set(key.images[name].patients)
        others = np.array([not own & set(key.images[other].patients) for other in names["real"]])
        if others.sum() >= NEIGHBOURS:
            far = np.linalg.norm(vectors["real"][others] - vector, axis=1)
            found[name] = float(np.sort(far)[:NEIGHBOURS].mean())
    return found


def _image(cohort: Cohort, row: int, channel: str) -> NDArray[np.float32]:
    image = np.asarray(cohort.images[row, cohort.channels.index(channel)], dtype=np.float32)
    return np.clip(image, -1, 1)


def lite0() -> Features | None:
    """The features of the Fréchet distance, or ``None`` where their package is not installed."""
    try:
        import torch

        from synthoma.networks.features import lite0_features
        from synthoma.networks.pretrained import efficientnet_lite0

        network = efficientnet_lite0()[0].eval()
    except ImportError:
        return None

    def extract(images: NDArray[np.float32]) -> NDArray[np.float64]:
        batches = [torch.from_numpy(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        return np.concatenate([lite0_features(network, batch).numpy() for batch in batches])

    return extract


def correlations(
    ratings: Mapping[str, Mapping[str, float]],
    measures: Mapping[str, Mapping[str, float]],
    patients: Mapping[str, Sequence[str]],
) -> tuple[list[Measurement], dict[str, dict[str, list[tuple[float, float]]]]]:
    """Pearson's and Spearman's correlation of mean ratings with each measure, over synthetic images alone: together
    with real ones the difference between the two would pass for a correlation.

    Args:
        ratings: scale → image → mean over readers.
        measures: of :func:`image_measures`.
        patients: image → whose images went into it.

    Returns:
        The measurements, and measure → scale → the points (measure, rating).
    """
    found: list[Measurement] = []
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for measure, values in measures.items():
        for scale, means in ratings.items():
            images = sorted(means.keys() & values.keys())
            if len(images) < 3:
                continue
            pairs = [(values[image], means[image]) for image in images]
            points.setdefault(measure, {})[scale] = pairs
            x, y = zip(*pairs, strict=True)
            whose = len({tuple(sorted(patients[image]))[:1] or (image,) for image in images})
            kinds: dict[str, tuple[Any, str]] = {
                "pearson": (pearson(x, y), "interval by Fisher's z"),
                "spearman": (spearman(x, y), "interval of Bonett & Wright 2000"),
            }
            for name, (e, how) in kinds.items():
                method = f"mean rating of each synthetic image with {METHODS[measure]}; {how}, images as independent"
                found.append(
                    Measurement(
                        f"reader-{name}", e.value, e.low, e.high, len(images), whose, scale, "", "", "", method, measure
                    )
                )
    return found, points
