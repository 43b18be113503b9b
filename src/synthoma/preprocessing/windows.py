"""Hounsfield windows: what a radiologist sees at one setting of the display, several of them as channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, FiniteFloat, field_validator

from synthoma.errors import ScanError, describe
from synthoma.preprocessing.normalise import CLIPPED_WORTH_A_NOTE, to_unit_range
from synthoma.preprocessing.step import StepOptions
from synthoma.records import BODY, Scan

__all__ = ["Windows"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Windows(StepOptions):
    """Turn each CT channel into one channel a window, linear from −1 to +1 between its ends and clipped beyond.

    ``ct`` with the windows ``lung`` and ``soft`` becomes ``ct-lung`` and ``ct-soft``. It is a normalising step: the
    scan then knows each window as ``intensity``, the way back to Hounsfield units. The defaults are usual settings of
    the display (level ± half the width: lung −600 ± 750, soft tissue 40 ± 200; Hofer, "CT Teaching Manual").
    """

    step: Literal["windows"] = "windows"
    windows: Mapping[str, tuple[FiniteFloat, FiniteFloat]] = Field(
        default={"lung": (-1350.0, 150.0), "soft": (-160.0, 240.0)}, min_length=1
    )
    """Name → the Hounsfield units that become −1 and +1."""
    keep_outside: bool = False
    """Map what lies outside the body too, instead of setting it to −1. Without a mask ``body`` all is mapped."""

    @field_validator("windows")
    @classmethod
    def _named_and_open(cls, windows: Mapping[str, tuple[float, float]]) -> Mapping[str, tuple[float, float]]:
        for name, (low, high) in windows.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"expected names of small letters, digits and _, such as lung, found '{name}'")
            if low >= high:
                raise ValueError(f"expected a window from low to high, found {name}: {low:g}, {high:g}")
        return windows

    def names(self, channel: str) -> tuple[str, ...]:
        """The channels that a channel turns into."""
        return tuple(f"{channel}-{name}" for name in self.windows)

    def __call__(self, scan: Scan) -> Scan:
        """The scan with the windows as its channels.

        Raises:
            ScanError: the scan is not in Hounsfield units, was normalised before, or its body is empty.
        """
        what = f"{scan.patient}: step windows"
        if scan.unit != "HU" or scan.intensity:
            found = "values normalised before" if scan.intensity else f"a {scan.modality} scan of unit '{scan.unit}'"
            remedy = "Set the step's modality to CT, or take the step normalise."
            raise ScanError(describe(what, "a CT scan in Hounsfield units", found, remedy))
        body = scan.masks[BODY] > 0 if BODY in scan.masks else None
        if body is not None and not body.any():
            raise ScanError(describe(what, "a body mask with voxels", "an empty one"))
        channels, intensity, notes = {}, {}, []
        for name, channel in scan.channels.items():
            inside = channel if body is None else channel[body]
            for new, (low, high) in zip(self.names(name), self.windows.values(), strict=True):
                channels[new] = to_unit_range(channel, low, high, None if self.keep_outside else body)
                intensity[new] = (low, high)
                below, above = float((inside < low).mean()), float((inside > high).mean())
                if max(below, above) > CLIPPED_WORTH_A_NOTE:
                    notes.append(f"{new}: {100 * below:.2f} % of the body clipped below, {100 * above:.2f} % above")
        return scan.with_(channels=channels, intensity=intensity, notes=(*scan.notes, *notes))
