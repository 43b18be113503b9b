"""Where the patient is in the picture: the mask ``body``, and what lies outside it set to the background."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.background import background, foreground, lesion
from synthoma.preprocessing.brain import brain_mask, head_mask, rim_contrast, tissue_image
from synthoma.preprocessing.brain_programs import brain_by_program
from synthoma.preprocessing.step import StepOptions
from synthoma.records import BODY, Grid, Scan

__all__ = ["SkullStrip", "is_stripped"]

Bool = NDArray[np.bool_]


class SkullStrip(StepOptions):
    """Make the mask ``body``. A scan that is stripped already keeps every intensity, bit for bit.

    The built-in brain extraction is a watershed in thick axial slices (:mod:`synthoma.preprocessing.brain`). It is good
    above the eyes and approximate at the skull base. HD-BET and SynthStrip are better there; they are run where the
    user has them and asks for them (:mod:`synthoma.preprocessing.brain_programs`), never unasked: what a recipe gives
    must not depend on what else is installed. Lesion voxels always belong to the body.
    """

    step: Literal["skull_strip"] = "skull_strip"
    extent: Literal["auto", "brain", "head"] = "auto"
    """``auto``: the brain, found only if the scan is not stripped yet. ``brain``: find it in any case. ``head``: all of
    the head, skull and scalp included."""
    method: Literal["auto", "builtin", "hd-bet", "synthstrip"] = "auto"
    """``auto``: a stripped scan is kept, another one stripped by the built-in. The others strip in any case:
    ``builtin``, or the program ``hd-bet`` or ``mri_synthstrip``, which must be on the PATH."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where a program computes."""
    time_limit_s: float = Field(default=1800.0, gt=0)
    """Seconds after which a program is ended and the scan left out."""
    keep_outside: bool = False
    """Keep the intensities outside the body instead of setting them to the background."""

    @model_validator(mode="after")
    def _programs_find_brains(self) -> SkullStrip:
        if self.extent == "head" and self.method not in ("auto", "builtin"):
            raise ValueError(f"extent 'head': expected method auto or builtin, found {self.method}, which finds brains")
        return self

    def __call__(self, scan: Scan) -> Scan:
        """The scan with a mask ``body`` of 0 and 1. A body mask that came with the scan is used as it is.

        Raises:
            ScanError: the scan is no MR or picture, no brain or head is found, or the program fails.
            MissingPartError: the program is not there.
        """
        if BODY in scan.masks:
            return self._with_body(scan, scan.masks[BODY] > 0, "the body mask of the source is used")
        if scan.modality == "CT":
            what = f"{scan.patient}: step skull_strip"
            raise ScanError(describe(what, "an MR scan", "CT", "Set the step's modality to MR, or take body_mask."))
        if self.extent != "brain" and self.method == "auto" and is_stripped(scan):
            body = _filled(foreground(scan) | lesion(scan))
            return scan.with_(
                masks={BODY: body.astype(np.uint8), **scan.masks},
                notes=(*scan.notes, "already stripped (constant background, no skull): intensities left alone"),
            )
        if self.method in ("hd-bet", "synthstrip"):
            body = brain_by_program(scan, self.method, device=self.device, time_limit_s=self.time_limit_s)
            return self._with_body(scan, body, f"brain found by {self.method}")
        image = tissue_image(scan)
        head = head_mask(image)
        body = head if self.extent == "head" else brain_mask(image, head)
        name = "head" if self.extent == "head" else "brain"
        if not body.any():
            remedy = "Use a stripped scan, or set extent to 'head'." if name == "brain" else "Is the picture blank?"
            raise ScanError(describe(f"{scan.patient}: step skull_strip", f"a {name} in the picture", "none", remedy))
        return self._with_body(
            scan, body, f"{name} found by watershed" if name == "brain" else "head found by threshold"
        )

    def _with_body(self, scan: Scan, body: Bool, note: str) -> Scan:
        sick = lesion(scan)
        outside = int((sick & ~body).sum())
        if outside:
            note += f"; {100 * outside / int(sick.sum()):.2f} % of the lesion lay outside it and was added"
        body = _filled(body | sick)
        channels = dict(scan.channels)
        if not self.keep_outside:
            for name, channel in scan.channels.items():
                channels[name] = np.where(body, channel, np.float32(background(channel)[0]))
        return scan.with_(
            channels=channels, masks={**scan.masks, BODY: body.astype(np.uint8)}, notes=(*scan.notes, note)
        )


def is_stripped(scan: Scan) -> bool:
    """Whether only the brain is left in the picture.

    True if each channel has one constant value all along the sides of its slices (any value: it is negative in
    standardised scans), what differs from it is one piece, and no dark bone lies below its rim.
    """
    if any(background(channel)[1] < 0.9999 for channel in scan.channels.values()):
        return False
    inside = foreground(scan)
    if not inside.any() or _largest_share(inside) < 0.995:
        return False
    image = tissue_image(_above_the_eyes(scan, inside))
    return rim_contrast(image, head_mask(image)) < 1.4


def _above_the_eyes(scan: Scan, inside: Bool) -> Scan:
    """Up to eight slices at 50 to 70 % of the patient's extent, shifted so that the background is the lowest value."""
    seen = np.flatnonzero(inside.any(axis=(1, 2)))
    slices = np.unique(np.linspace(seen[int(0.5 * (len(seen) - 1))], seen[int(0.7 * (len(seen) - 1))], 8).astype(int))
    channels = {}
    for name, channel in scan.channels.items():
        outside = np.float32(background(channel)[0])
        some = channel[slices]
        low = np.percentile(some[some != outside], 1) if (some != outside).any() else outside
        channels[name] = np.where(some != outside, np.maximum(some - low, 0), 0).astype(np.float32)
    grid = Grid.unknown((len(slices), scan.grid.shape[1], scan.grid.shape[2]))
    return Scan(channels, {}, grid, scan.patient)


def _largest_share(mask: Bool) -> float:
    from scipy.ndimage import label

    labels, _ = label(mask)
    return float(np.bincount(labels.ravel())[1:].max() / mask.sum())


def _filled(mask: Bool) -> Bool:
    from scipy.ndimage import binary_fill_holes

    return np.stack([binary_fill_holes(slice_) for slice_ in mask])
