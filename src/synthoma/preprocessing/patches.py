"""Patches of one size in the patient around each lesion, and tumour-free ones from elsewhere in the body."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.preprocessing.background import check_normalised, lesion, masks_of, union
from synthoma.preprocessing.resampling import sampled, soft_to_mask
from synthoma.preprocessing.sampling import Stack, body_of, part_masks, samples_of, stacked_names
from synthoma.records import BODY, TUMOUR, TUMOUR_FREE, Samples, Scan, part_of
from synthoma.seeding import generator

__all__ = ["PatchSampling", "sample_patches"]

TRIES = 200
"""Places tried for each tumour-free patch before the patient has room for no more."""


class PatchSampling(Options):
    """Patches of ``size_mm`` around each finding, resampled to ``size`` pixels; lesions keep their true proportions.

    A finding is a numbered mask (``nodule-1``); where a scan has none, each connected piece of its lesion. Its label is
    its own, else the scan's, else ``tumour``. A patch shows all that lies in it, other findings too.
    """

    kind: Literal["patches"] = "patches"
    size_mm: float = Field(default=64.0, gt=0, le=1000)
    """Side of a patch in the patient."""
    size: int = Field(default=64, ge=8, le=1024)
    """Pixels a side."""
    dims: Literal[2, 3] = 2
    """``2``: slices. ``3``: cubes."""
    slices_per_finding: int = Field(default=1, ge=1)
    """Only for ``dims: 2``: the slices of the finding with its largest areas, each centred on the finding there."""
    stack: Stack = 1
    """Only for ``dims: 2``: 2.5D as for slices; beyond the scan the last slice is repeated."""
    min_lesion_mm3: float = Field(default=0.0, ge=0)
    """Leave out smaller findings."""
    tumour_free: int = Field(default=0, ge=0)
    """As many patches a patient, at most, drawn at random where no lesion is in the patch (of 3D: in the cube)."""
    tumour_free_inside: str = Field(default=BODY, min_length=1)
    """The mask that holds the middle of a tumour-free patch: ``body``, or an organ such as ``liver``."""
    min_body_fraction: float = Field(default=0.5, ge=0, le=1)
    """Least share of a tumour-free patch that the body fills."""
    seed: int = Field(default=0, ge=0)
    """Of the places of tumour-free patches; a patient's do not depend on the other patients."""

    @model_validator(mode="after")
    def _slices_have_stacks(self) -> PatchSampling:
        if self.dims == 3 and (self.stack, self.slices_per_finding) != (1, 1):
            raise ValueError("dims 3: expected stack and slices_per_finding 1, which are for dims 2")
        return self


@dataclass(frozen=True)
class _Place:
    """The middle of a patch in voxels (z, y, x), and what it is called."""

    name: str
    middle: tuple[float, float, float]
    label: str

    @property
    def slice(self) -> int:
        return round(self.middle[0])


def sample_patches(scan: Scan, sampling: PatchSampling, channels: tuple[str, ...], parts: tuple[str, ...]) -> Samples:
    """The patches as images in [−1, 1] and masks, ``body`` first, then the ``parts`` of the lesion.

    They are read linearly and antialiased, and are −1 beyond the scan.

    Raises:
        ScanError: the scan is not normalised, lacks the mask to draw in, or there is no patch.
    """
    check_normalised(scan, channels)
    body = body_of(scan)
    cut = _Cutter(scan, sampling)
    findings = list(_findings(scan, sampling))
    free = list(_tumour_free(scan, sampling, body, cut)) if sampling.tumour_free else []
    places = [*findings, *free]
    if not places:
        remedy = "Lower min_lesion_mm3, or set tumour_free to draw patches away from lesions."
        raise ScanError(describe(f"{scan.patient}: sampling", "at least one patch", "no finding", remedy))
    masks = part_masks(scan, body, parts)
    notes = []
    if len(free) < sampling.tumour_free:
        notes.append(f"{len(free)} of {sampling.tumour_free} tumour-free patches: no room for more")
    length = sampling.size_mm / sampling.size
    return samples_of(
        scan,
        images=np.stack([np.concatenate([cut.image(scan.channels[c], at) for c in channels]) for at in places]),
        masks=np.stack([np.stack([cut.mask(mask, at) for mask in masks]) for at in places]),
        channels=stacked_names(channels, sampling.stack),
        parts=parts,
        slices=[at.slice for at in places],
        labels=[at.label for at in places],
        spacing_mm=(length,) * sampling.dims,
        names=[at.name for at in places],
        notes=notes,
    )


class _Cutter:
    """Cuts patches of one size out of the arrays of one scan."""

    def __init__(self, scan: Scan, sampling: PatchSampling) -> None:
        self.size, self.dims, self.reach = sampling.size, sampling.dims, sampling.stack // 2
        step = sampling.size_mm / sampling.size / np.asarray(scan.grid.spacing_mm)
        self.step = np.where(np.isclose(step, 1, rtol=1e-9, atol=0), 1.0, step)
        if self.dims == 2:
            self.step[0] = 1.0

    def box(self, at: _Place) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
        """First voxel, which may lie beyond the scan, and shape of a patch without its neighbours."""
        shape = (1 if self.dims == 2 else self.size, self.size, self.size)
        start = np.asarray(at.middle) - (np.asarray(shape) - 1) / 2 * self.step
        return np.where(self.step == 1, np.floor(start + 0.5), start), shape

    def image(self, channel: NDArray[np.float32], at: _Place) -> NDArray[np.float32]:
        """(stack, y, x), or (1, z, y, x) in 3D."""
        if self.dims == 3:
            return self._cut(channel, at, -1.0)[None]
        planes = np.clip(at.slice + np.arange(-self.reach, self.reach + 1), 0, len(channel) - 1)
        return np.concatenate([self._cut(channel, _Place("", (float(z), *at.middle[1:]), ""), -1.0) for z in planes])

    def mask(self, mask: NDArray[np.uint8], at: _Place) -> NDArray[np.uint8]:
        """(y, x) or (z, y, x)."""
        patch = soft_to_mask(self._cut(mask, at, 0.0))
        return patch if self.dims == 3 else patch[0]

    def whole(self, mask: NDArray[Any], at: _Place) -> NDArray[Any]:
        """All source voxels of a mask that the patch touches, without interpolation."""
        start, shape = self.box(at)
        first = np.maximum(np.floor(start).astype(int), 0)
        last = np.ceil(start + (np.asarray(shape) - 1) * self.step).astype(int) + 1
        return mask[tuple(slice(a, max(a, b)) for a, b in zip(first, last, strict=True))]

    def _cut(self, array: NDArray[Any], at: _Place, outside: float) -> NDArray[np.float32]:
        start, shape = self.box(at)
        # The patch's surroundings only, as far as averaging reaches (four σ) and the two voxels of interpolation.
        margin = np.ceil(2 * np.maximum(self.step - 1, 0)) + 2
        margin[self.step == 1] = 0
        last = start + (np.asarray(shape) - 1) * self.step
        low = np.clip(np.floor(start - margin).astype(int), 0, np.asarray(array.shape) - 1)
        high = np.clip(np.ceil(last + margin).astype(int) + 1, low + 1, array.shape)
        source = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        return sampled(source, shape, start - low, self.step, 1, outside)


def _findings(scan: Scan, sampling: PatchSampling) -> Iterator[_Place]:
    """The places of the patches around each finding, large enough and in the scan's order."""
    from scipy.ndimage import find_objects, label

    single = [name for name in scan.lesions if part_of(name) != name]
    if single:
        pieces = [(name, scan.masks[name] > 0) for name in single]
    else:
        labels, _ = label(lesion(scan), np.ones((3, 3, 3)))
        pieces = [(f"lesion-{k}", labels == k) for k in range(1, len(find_objects(labels)) + 1)]
    voxel_mm3 = float(np.prod(scan.grid.spacing_mm))
    for name, piece in pieces:
        areas = piece.sum(axis=(1, 2))
        if not areas.any() or areas.sum() * voxel_mm3 < sampling.min_lesion_mm3:
            continue
        label_ = scan.labels.get(name) or scan.label or TUMOUR
        if sampling.dims == 3:
            yield _Place(name, _middle(piece), label_)
            continue
        largest = np.argsort(-areas, kind="stable")[: sampling.slices_per_finding]
        for z in sorted(int(z) for z in largest if areas[z]):
            _, y, x = _middle(piece[z : z + 1])
            yield _Place(f"{name}-{z:04d}", (float(z), y, x), label_)


def _middle(piece: NDArray[np.bool_]) -> tuple[float, float, float]:
    z, y, x = (float(indices.mean()) for indices in np.nonzero(piece))
    return z, y, x


def _tumour_free(scan: Scan, sampling: PatchSampling, body: NDArray[np.bool_], cut: _Cutter) -> Iterator[_Place]:
    """Places drawn with the same chance for every voxel of the region, kept where the patch is body without lesion."""
    region = body if sampling.tumour_free_inside == BODY else union(scan, masks_of(scan, sampling.tumour_free_inside))
    inside = np.flatnonzero(region)
    if not inside.size:
        what = f"{scan.patient}: sampling.tumour_free_inside"
        raise ScanError(describe(what, f"a mask '{sampling.tumour_free_inside}' with voxels", "none"))
    random = generator(sampling.seed, "tumour-free patches", scan.patient)
    drawn = random.choice(inside, size=TRIES * sampling.tumour_free)
    sick = lesion(scan).view(np.uint8)
    covered = body.view(np.uint8)
    found = 0
    for z, y, x in _voxels(drawn, scan.grid.shape):
        name = f"free-{found + 1}-{z:04d}" if sampling.dims == 2 else f"free-{found + 1}"
        at = _Place(name, (float(z), float(y), float(x)), TUMOUR_FREE)
        if cut.whole(sick, at).any() or cut.mask(covered, at).mean() < sampling.min_body_fraction:
            continue
        yield at
        found += 1
        if found == sampling.tumour_free:
            return


def _voxels(flat: NDArray[np.intp], shape: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    for z, y, x in zip(*np.unravel_index(flat, tuple(shape)), strict=True):
        yield int(z), int(y), int(x)
