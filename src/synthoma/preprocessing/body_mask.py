"""Where the patient is in a CT: without the table, the air and the cloth around."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import lesion
from synthoma.preprocessing.step import StepOptions
from synthoma.records import BODY, Scan

__all__ = ["BodyMask"]

Bool = NDArray[np.bool_]

COARSE_MM = 2.0
"""The body is told from the table on pixels of about this length; its outline is the scan's own."""


class BodyMask(StepOptions):
    """Make the mask ``body`` of a CT: skin and all that it encloses, lungs and bowel too. Intensities stay as they are.

    Tissue is above a threshold half-way from air to water. An opening in the plane parts it from thin things (table
    top, tubes, cloth), the largest piece in space is the patient, and what that encloses in a slice belongs to it; the
    usual chain (Haralick & Shapiro, "Computer and Robot Vision", 1992, ch. 5). Things as thick as a limb that touch the
    skin (a solid head rest) stay. A body mask that came with the scan is used as it is; lesions always belong to it.
    """

    step: Literal["body_mask"] = "body_mask"
    threshold_hu: float = Field(default=-500.0, ge=-1000, le=200)
    """Above it lies tissue."""
    opening_mm: float = Field(default=3.0, ge=0, le=20)
    """Radius of the opening: what is thinner than twice that does not belong to the patient, unless it is skin."""

    def __call__(self, scan: Scan) -> Scan:
        """The scan with a mask ``body`` of 0 and 1.

        Raises:
            ScanError: the scan is not in Hounsfield units, or nothing in it is large enough for a body.
        """
        if BODY in scan.masks:
            return scan.with_(notes=(*scan.notes, "the body mask of the source is used"))
        what = f"{scan.patient}: step body_mask"
        if scan.unit != "HU" or scan.intensity:
            found = "values normalised before" if scan.intensity else f"a {scan.modality} scan of unit '{scan.unit}'"
            remedy = "Put it before normalise and windows, set its modality to CT, or use skull_strip."
            raise ScanError(describe(what, "a CT scan in Hounsfield units", found, remedy))
        channel = next(iter(scan.channels.values()))
        body = self._body(channel > np.float32(self.threshold_hu), scan.grid.spacing_mm[1:])
        if not body.any():
            remedy = "Is the scan blank, or not in Hounsfield units?"
            raise ScanError(describe(what, f"a body above {self.threshold_hu:g} HU", "none", remedy))
        np.logical_or(body, lesion(scan), out=body)
        note = f"body found by threshold, {100 * body.mean():.0f} % of the picture"
        return scan.with_(masks={**scan.masks, BODY: body.view(np.uint8)}, notes=(*scan.notes, note))

    def _body(self, tissue: Bool, spacing_mm: tuple[float, float]) -> Bool:
        strides = [max(1, int(COARSE_MM / length)) for length in spacing_mm]
        coarse = tissue[:, :: strides[0], :: strides[1]]
        radii = [self.opening_mm / length / stride for length, stride in zip(spacing_mm, strides, strict=True)]
        core = _largest(_eroded(coarse, radii))
        if not core.any():
            return np.zeros(tissue.shape, dtype=bool)
        # Back to its size and one pixel more, within the tissue: skin and thin folds that the opening took.
        near = _dilated(core, [radius + 1 for radius in radii])
        enclosed = _filled(near) & ~near
        body = np.empty(tissue.shape, dtype=bool)
        for new, slice_, *places in zip(body, tissue, near, enclosed, core, strict=True):
            allowed, inside, sure = (_magnified(place, strides, slice_.shape) for place in places)
            new[:] = _filled(_touching((slice_ & allowed) | inside, sure)[None])[0]
        return body


def _magnified(mask: Bool, strides: list[int], shape: tuple[int, ...]) -> Bool:
    """A coarse slice on the scan's own pixels."""
    return np.repeat(np.repeat(mask, strides[0], axis=0), strides[1], axis=1)[: shape[0], : shape[1]]


def _touching(mask: Bool, sure: Bool) -> Bool:
    """The pieces of a slice that hold some of ``sure``."""
    from scipy.ndimage import label

    labels, count = label(mask)
    keep = np.zeros(count + 1, dtype=bool)
    keep[np.unique(labels[sure])] = True
    keep[0] = False
    return np.asarray(keep[labels])


def _disk(radii: list[float]) -> Bool:
    """The pixels (1, y, x) within an ellipse of these radii."""
    reach = [int(radius) for radius in radii]
    y, x = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    return np.asarray((y / max(radii[0], 0.5)) ** 2 + (x / max(radii[1], 0.5)) ** 2 <= 1)[None]


def _eroded(mask: Bool, radii: list[float]) -> Bool:
    from scipy.ndimage import binary_erosion

    # Beyond the picture the patient goes on.
    return np.asarray(binary_erosion(mask, _disk(radii), border_value=1))


def _dilated(mask: Bool, radii: list[float]) -> Bool:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask, _disk(radii)))


def _largest(mask: Bool) -> Bool:
    """The largest connected piece in space."""
    from scipy.ndimage import label

    labels, count = label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == np.argmax(sizes))


def _filled(mask: Bool) -> Bool:
    """With the holes of each slice; a hole has no way to the side of the picture within its slice."""
    from scipy.ndimage import label

    plane = np.zeros((3, 3, 3), dtype=bool)
    plane[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    labels, count = label(~mask, plane)
    open_ = np.zeros(count + 1, dtype=bool)
    for side in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        open_[np.unique(side)] = True
    open_[0] = False
    return np.asarray(~open_[labels])
