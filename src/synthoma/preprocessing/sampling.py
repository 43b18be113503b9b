"""What of a prepared scan becomes samples, its slices or the volume as a whole, and the class of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.preprocessing.background import check_normalised, lesion, masks_of, union
from synthoma.preprocessing.step import odd
from synthoma.records import BODY, TUMOUR, TUMOUR_FREE, UNLABELLED, Samples, Scan

__all__ = [
    "SliceSampling",
    "Stack",
    "VolumeSampling",
    "body_of",
    "part_masks",
    "sample_slices",
    "sample_volume",
    "samples_of",
    "stacked_names",
]

Bool = NDArray[np.bool_]
Stack = Annotated[int, Field(ge=1, le=15), AfterValidator(odd)]
"""How many neighbouring slices a sample has as channels, its own in the middle."""


class SliceSampling(Options):
    """Which slices are kept and how they are labelled. Nothing is random."""

    kind: Literal["slices"] = "slices"
    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    """``axial``: along axis 0, as the steps left it. The others turn the scan before the step ``resize``, as one looks
    at such slices: head up, the patient's left on the right, or the nose on the left."""
    stack: Stack = 1
    """2.5D: ``3`` gives each channel its neighbours, ``ct@-1``, ``ct``, ``ct@+1``, one slice before and after."""
    stack_edges: Literal["clamp", "drop"] = "clamp"
    """Beyond the first and last slice: ``clamp`` repeats it, ``drop`` leaves out samples without all neighbours."""
    min_body_fraction: float = Field(default=0.05, ge=0, le=1)
    """Least share of the frame that the body fills."""
    max_blank_fraction: float = Field(default=0.25, ge=0, le=1)
    """Leave out a slice when a larger share of its body is blank (−1) in a channel, which was not acquired there."""
    min_lesion_fraction: float = Field(default=0.002, ge=0, le=1)
    """Least share of the slice's body that the lesion fills in a ``tumour`` slice. Without a lesion voxel it is
    ``tumour-free``."""
    small_lesion: Literal["drop", "tumour"] = "drop"
    """What to do with slices whose lesion is smaller than that."""
    label: Literal["lesion", "scan", "finding"] = "lesion"
    """``lesion``: from the masks (from the scan, when it has no masks but a label). ``scan``: the source's label.
    ``finding``: the label of the single finding that the slice cuts; slices that cut findings of two labels, or lesions
    without a label only, are dropped and counted, those that cut none are ``tumour-free``."""
    per_patient: int | None = Field(default=None, ge=1)
    """At most this many slices a patient, evenly spaced, with the patient's own share of tumour slices."""


class VolumeSampling(Options):
    """The whole scan as one sample, (z, y, x). All scans of a cohort need one shape: the step ``resize_volume``."""

    kind: Literal["volumes"] = "volumes"
    label: Literal["lesion", "scan"] = "lesion"
    """``lesion``: ``tumour`` where a lesion mask has a voxel, else ``tumour-free`` (from the scan, when it has no masks
    but a label). ``scan``: the source's label."""


def sample_slices(scan: Scan, sampling: SliceSampling, channels: tuple[str, ...], parts: tuple[str, ...]) -> Samples:
    """The chosen slices as images in [−1, 1] and masks, ``body`` first, then the ``parts`` of the lesion.

    A part that the scan has no mask for is all zero.

    Raises:
        ScanError: the scan is not normalised, lacks a channel, has no label, or no slice is left.
    """
    check_normalised(scan, channels)
    body = body_of(scan)
    usable = _usable(scan, body, sampling, channels)
    labels, notes = _labels(scan, body, usable, sampling)
    chosen = [int(z) for z in np.flatnonzero(usable) if labels[z]]
    if not chosen:
        found = (
            f"{int(usable.sum())} of {len(usable)} with enough body that is not blank, none of them with a clear label"
        )
        remedy = (
            "Where pictures are smaller than the samples, take --set preprocessing.steps.resize.size=64, or crop=body; "
            "else lower preprocessing.sampling.min_body_fraction or .min_lesion_fraction, or raise .max_blank_fraction."
        )
        raise ScanError(describe(f"{scan.patient}: sampling", "at least one slice", found, remedy))
    if sampling.per_patient is not None:
        chosen = _thinned(chosen, labels, sampling.per_patient)
    reach, last = sampling.stack // 2, len(body) - 1
    images = [
        scan.channels[name][np.clip(np.add(chosen, offset), 0, last)]
        for name in channels
        for offset in range(-reach, reach + 1)
    ]
    return samples_of(
        scan,
        images=np.stack(images, axis=1),
        masks=np.stack([mask[chosen] for mask in part_masks(scan, body, parts)], axis=1),
        channels=stacked_names(channels, sampling.stack),
        parts=parts,
        slices=chosen,
        labels=[labels[z] for z in chosen],
        spacing_mm=scan.grid.spacing_mm[1:],
        notes=notes,
    )


def sample_volume(scan: Scan, sampling: VolumeSampling, channels: tuple[str, ...], parts: tuple[str, ...]) -> Samples:
    """The scan as one image (1, channel, z, y, x) in [−1, 1] and masks, ``body`` first, then the ``parts``.

    A part that the scan has no mask for is all zero. The sample's ``slice`` is 0.

    Raises:
        ScanError: the scan is not normalised, lacks a channel, has no label, or its body is empty.
    """
    check_normalised(scan, channels)
    body = body_of(scan)
    if not body.any():
        raise ScanError(describe(f"{scan.patient}: sampling", "a body mask with voxels", "an empty one"))
    label = _scans_label(scan, sampling) or (TUMOUR if lesion(scan).any() else TUMOUR_FREE)
    return samples_of(
        scan,
        images=np.stack([scan.channels[name] for name in channels])[None],
        masks=np.stack(part_masks(scan, body, parts))[None],
        channels=tuple((name, name) for name in channels),
        parts=parts,
        slices=[0],
        labels=[label],
        spacing_mm=scan.grid.spacing_mm,
    )


def body_of(scan: Scan) -> Bool:
    """The body mask; the whole frame where there is none."""
    return scan.masks[BODY] > 0 if BODY in scan.masks else np.ones(scan.grid.shape, dtype=bool)


def part_masks(scan: Scan, body: Bool, parts: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    """``body`` and the parts, each the union of its single findings; zero where the scan has none."""
    return [body.view(np.uint8), *(union(scan, masks_of(scan, part)).view(np.uint8) for part in parts)]


def stacked_names(channels: tuple[str, ...], stack: int) -> tuple[tuple[str, str], ...]:
    """Name of each channel of the samples, and the scan's channel it is of: ``ct@-1`` of ``ct``."""
    reach = stack // 2
    return tuple(
        (f"{name}@{offset:+d}" if offset else name, name) for name in channels for offset in range(-reach, reach + 1)
    )


def samples_of(
    scan: Scan,
    *,
    images: NDArray[np.float32],
    masks: NDArray[np.uint8],
    channels: tuple[tuple[str, str], ...],
    parts: tuple[str, ...],
    slices: Sequence[int],
    labels: Sequence[str],
    spacing_mm: tuple[float, ...],
    names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Samples:
    """Images and masks with what the scan says of them; ``channels`` as :func:`stacked_names` gives them."""
    return Samples(
        images=images,
        masks=masks,
        channels=tuple(name for name, _ in channels),
        mask_names=(BODY, *parts),
        slices=tuple(slices),
        labels=tuple(labels),
        patient=scan.patient,
        site=scan.site,
        spacing_mm=spacing_mm if scan.grid.known else None,
        intensity={name: scan.intensity[source] for name, source in channels},
        unit=scan.unit,
        modality=scan.modality,
        names=tuple(names),
        notes=tuple(notes),
    )


def _usable(scan: Scan, body: Bool, sampling: SliceSampling, channels: tuple[str, ...]) -> Bool:
    """Slices with enough body, in which every channel shows something."""
    area = body.sum(axis=(1, 2))
    usable = (area > 0) & (area >= sampling.min_body_fraction * body[0].size)
    # Without a body mask the dark background counts as blank: then only a slice that shows nothing at all is left out.
    most = sampling.max_blank_fraction if BODY in scan.masks else np.nextafter(1.0, 0.0)
    for name in channels:
        blank = ((scan.channels[name] <= -1) & body).sum(axis=(1, 2))
        usable &= blank <= most * area
    reach = sampling.stack // 2
    if reach and sampling.stack_edges == "drop":
        usable[:reach] = usable[-reach:] = False
    return np.asarray(usable)


def _labels(scan: Scan, body: Bool, usable: Bool, sampling: SliceSampling) -> tuple[list[str], list[str]]:
    """The class of every slice, an empty text where it is to be dropped; and what there is to say of those."""
    same = "" if sampling.label == "finding" else _scans_label(scan, sampling)
    if same:
        return [same] * len(body), []
    share = lesion(scan).sum(axis=(1, 2)) / np.maximum(body.sum(axis=(1, 2)), 1)
    unclear = TUMOUR if sampling.small_lesion == "tumour" else ""
    labels = [
        TUMOUR_FREE if part == 0 else TUMOUR if part >= sampling.min_lesion_fraction else unclear for part in share
    ]
    return _findings_labels(scan, labels, usable) if sampling.label == "finding" else (labels, [])


def _findings_labels(scan: Scan, labels: list[str], usable: Bool) -> tuple[list[str], list[str]]:
    """``tumour`` replaced by the label of the findings that the slice cuts; empty where that is none or several."""
    cut: list[set[str]] = [set() for _ in labels]
    for name, label in scan.labels.items():
        if name in scan.masks:
            for z in np.flatnonzero(scan.masks[name].any(axis=(1, 2))):
                cut[z].add(label)
    found = [
        label if label != TUMOUR else next(iter(some)) if len(some) == 1 else ""
        for label, some in zip(labels, cut, strict=True)
    ]
    lost = [z for z in np.flatnonzero(usable) if labels[z] == TUMOUR and not found[z]]
    several = sum(len(cut[z]) > 1 for z in lost)
    notes = []
    if several:
        notes.append(f"{several} slices dropped: they cut findings of different labels")
    if len(lost) > several:
        notes.append(f"{len(lost) - several} slices dropped: the lesions that they cut have no label")
    return found, notes


def _scans_label(scan: Scan, sampling: SliceSampling | VolumeSampling) -> str:
    """The label of the scan as a whole; an empty text where the lesion masks decide."""
    if sampling.label == "scan" and not scan.label:
        remedy = "Give the source a label column, or set sampling.label to 'lesion'."
        raise ScanError(describe(f"{scan.patient}: sampling", "a label from the source", "none", remedy))
    return "" if sampling.label == "lesion" and scan.lesions else scan.label or UNLABELLED


def _thinned(chosen: list[int], labels: list[str], at_most: int) -> list[int]:
    """Evenly spaced slices of each class, in the classes' proportion; each class keeps one where there is room."""
    if len(chosen) <= at_most:
        return chosen
    first = [z for z in chosen if labels[z] != TUMOUR_FREE]
    second = [z for z in chosen if labels[z] == TUMOUR_FREE]
    take = round(at_most * len(first) / len(chosen))
    if first and second and at_most > 1:
        take = min(max(take, 1), at_most - 1)
    return sorted([*_even(first, take), *_even(second, at_most - take)])


def _even(items: list[int], count: int) -> list[int]:
    return [items[int((i + 0.5) * len(items) / count)] for i in range(count)]
