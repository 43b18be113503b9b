"""What of a prepared scan becomes samples, its slices or the volume as a whole, and the class of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.preprocessing.background import lesion
from synthoma.records import BODY, TUMOUR, TUMOUR_FREE, UNLABELLED, Samples, Scan

__all__ = ["Sampling", "SliceSampling", "VolumeSampling", "sample_slices", "sample_volume"]


class SliceSampling(Options):
    """Which axial slices (axis 0) are kept and how they are labelled. Nothing is random."""

    kind: Literal["slices"] = "slices"
    min_body_fraction: float = Field(default=0.05, ge=0, le=1)
    """Least share of the frame that the body fills."""
    max_blank_fraction: float = Field(default=0.25, ge=0, le=1)
    """Leave out a slice when a larger share of its body is blank (−1) in a channel, which was not acquired there."""
    min_lesion_fraction: float = Field(default=0.002, ge=0, le=1)
    """Least share of the slice's body that the lesion fills in a ``tumour`` slice. Without a lesion voxel it is
    ``tumour-free``."""
    small_lesion: Literal["drop", "tumour"] = "drop"
    """What to do with slices whose lesion is smaller than that."""
    label: Literal["lesion", "scan"] = "lesion"
    """``lesion``: from the masks (from the scan, when it has no masks but a label). ``scan``: the source's label."""
    per_patient: int | None = Field(default=None, ge=1)
    """At most this many slices a patient, evenly spaced, with the patient's own share of tumour slices."""


class VolumeSampling(Options):
    """The whole scan as one sample, (z, y, x). All scans of a cohort need one shape: the step ``resize_volume``."""

    kind: Literal["volumes"] = "volumes"
    label: Literal["lesion", "scan"] = "lesion"
    """``lesion``: ``tumour`` where a lesion mask has a voxel, else ``tumour-free`` (from the scan, when it has no masks
    but a label). ``scan``: the source's label."""


def _slices_unless_named(settings: Any) -> Any:
    return {"kind": "slices", **settings} if isinstance(settings, dict) else settings


Sampling = Annotated[SliceSampling | VolumeSampling, Field(discriminator="kind"), BeforeValidator(_slices_unless_named)]
"""Slices or volumes, by ``kind``; slices where none is named."""


def sample_slices(scan: Scan, sampling: SliceSampling, channels: tuple[str, ...], parts: tuple[str, ...]) -> Samples:
    """The chosen slices as images in [−1, 1] and masks, ``body`` first, then the ``parts`` of the lesion.

    A part that the scan has no mask for is all zero.

    Raises:
        ScanError: the scan is not normalised, lacks a channel, has no label, or no slice is left.
    """
    _check_normalised(scan, channels)
    body = scan.masks[BODY] > 0 if BODY in scan.masks else np.ones(scan.grid.shape, dtype=bool)
    usable = _usable(scan, body, sampling, channels)
    labels = _labels(scan, body, sampling)
    chosen = [int(z) for z in np.flatnonzero(usable) if labels[z]]
    if not chosen:
        found = (
            f"{int(usable.sum())} of {len(usable)} with enough body that is not blank, none of them with a clear label"
        )
        remedy = (
            "Lower min_body_fraction or min_lesion_fraction, raise max_blank_fraction, set small_lesion to 'tumour', "
            "or, where the pictures are much smaller than resize.size, set resize.crop to 'body'."
        )
        raise ScanError(describe(f"{scan.patient}: sampling", "at least one slice", found, remedy))
    if sampling.per_patient is not None:
        chosen = _thinned(chosen, labels, sampling.per_patient)
    return _samples(
        scan,
        images=np.stack([scan.channels[name][chosen] for name in channels], axis=1),
        masks=np.stack([mask[chosen] for mask in _masks(scan, body, parts)], axis=1),
        channels=channels,
        parts=parts,
        slices=chosen,
        labels=[labels[z] for z in chosen],
        spacing_mm=scan.grid.spacing_mm[1:],
    )


def sample_volume(scan: Scan, sampling: VolumeSampling, channels: tuple[str, ...], parts: tuple[str, ...]) -> Samples:
    """The scan as one image (1, channel, z, y, x) in [−1, 1] and masks, ``body`` first, then the ``parts``.

    A part that the scan has no mask for is all zero. The sample's ``slice`` is 0.

    Raises:
        ScanError: the scan is not normalised, lacks a channel, has no label, or its body is empty.
    """
    _check_normalised(scan, channels)
    body = scan.masks[BODY] > 0 if BODY in scan.masks else np.ones(scan.grid.shape, dtype=bool)
    if not body.any():
        raise ScanError(describe(f"{scan.patient}: sampling", "a body mask with voxels", "an empty one"))
    label = _scans_label(scan, sampling) or (TUMOUR if lesion(scan).any() else TUMOUR_FREE)
    return _samples(
        scan,
        images=np.stack([scan.channels[name] for name in channels])[None],
        masks=np.stack(_masks(scan, body, parts))[None],
        channels=channels,
        parts=parts,
        slices=[0],
        labels=[label],
        spacing_mm=scan.grid.spacing_mm,
    )


def _check_normalised(scan: Scan, channels: tuple[str, ...]) -> None:
    for name in channels:
        if name not in scan.intensity:
            remedy = "Add the step normalise to preprocessing.steps."
            raise ScanError(describe(f"{scan.patient}: channel {name}", "values in [−1, 1]", "scanner values", remedy))


def _masks(scan: Scan, body: NDArray[np.bool_], parts: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    empty = np.zeros(scan.grid.shape, dtype=np.uint8)
    return [body.astype(np.uint8), *(scan.masks.get(part, empty) for part in parts)]


def _samples(
    scan: Scan,
    *,
    images: NDArray[np.float32],
    masks: NDArray[np.uint8],
    channels: tuple[str, ...],
    parts: tuple[str, ...],
    slices: Sequence[int],
    labels: Sequence[str],
    spacing_mm: tuple[float, ...],
) -> Samples:
    """Images and masks with what the scan says of them."""
    return Samples(
        images=images,
        masks=masks,
        channels=channels,
        mask_names=(BODY, *parts),
        slices=tuple(slices),
        labels=tuple(labels),
        patient=scan.patient,
        site=scan.site,
        spacing_mm=spacing_mm if scan.grid.known else None,
        intensity={name: scan.intensity[name] for name in channels},
        unit=scan.unit,
        modality=scan.modality,
    )


def _usable(
    scan: Scan, body: NDArray[np.bool_], sampling: SliceSampling, channels: tuple[str, ...]
) -> NDArray[np.bool_]:
    """Slices with enough body, in which every channel shows something."""
    area = body.sum(axis=(1, 2))
    usable = (area > 0) & (area >= sampling.min_body_fraction * body[0].size)
    # Without a body mask the dark background counts as blank: then only a slice that shows nothing at all is left out.
    most = sampling.max_blank_fraction if BODY in scan.masks else np.nextafter(1.0, 0.0)
    for name in channels:
        blank = ((scan.channels[name] <= -1) & body).sum(axis=(1, 2))
        usable &= blank <= most * area
    return np.asarray(usable)


def _labels(scan: Scan, body: NDArray[np.bool_], sampling: SliceSampling) -> list[str]:
    """The class of every slice; an empty text where it is to be dropped."""
    same = _scans_label(scan, sampling)
    if same:
        return [same] * len(body)
    share = lesion(scan).sum(axis=(1, 2)) / np.maximum(body.sum(axis=(1, 2)), 1)
    unclear = TUMOUR if sampling.small_lesion == "tumour" else ""
    return [TUMOUR_FREE if part == 0 else TUMOUR if part >= sampling.min_lesion_fraction else unclear for part in share]


def _scans_label(scan: Scan, sampling: SliceSampling | VolumeSampling) -> str:
    """The label of the scan as a whole; an empty text where the lesion masks decide."""
    if sampling.label == "scan" and not scan.label:
        remedy = "Give the source a label column, or set sampling.label to 'lesion'."
        raise ScanError(describe(f"{scan.patient}: sampling", "a label from the source", "none", remedy))
    masked = any(name != BODY for name in scan.masks)
    return "" if sampling.label == "lesion" and masked else scan.label or UNLABELLED


def _thinned(chosen: list[int], labels: list[str], at_most: int) -> list[int]:
    """Evenly spaced slices of each class, in the classes' proportion; each class keeps one where there is room."""
    if len(chosen) <= at_most:
        return chosen
    first = [z for z in chosen if labels[z] == TUMOUR]
    second = [z for z in chosen if labels[z] != TUMOUR]
    take = round(at_most * len(first) / len(chosen))
    if first and second and at_most > 1:
        take = min(max(take, 1), at_most - 1)
    return sorted([*_even(first, take), *_even(second, at_most - take)])


def _even(items: list[int], count: int) -> list[int]:
    return [items[int((i + 0.5) * len(items) / count)] for i in range(count)]
