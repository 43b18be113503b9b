"""The settings of preprocessing, and the two functions that carry them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, model_validator

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.preprocessing.n4 import N4
from synthoma.preprocessing.normalise import Normalise
from synthoma.preprocessing.reorient import Reorient
from synthoma.preprocessing.resize import Resize
from synthoma.preprocessing.sampling import Sampling, SliceSampling, VolumeSampling, sample_slices, sample_volume
from synthoma.preprocessing.skull_strip import SkullStrip
from synthoma.preprocessing.step import StepOptions
from synthoma.preprocessing.volume import ResizeVolume
from synthoma.records import BODY, Samples, Scan

__all__ = ["STEPS", "PreprocessingOptions", "Step", "preprocess", "sample"]

STEPS: dict[str, type[StepOptions]] = {
    "reorient": Reorient,
    "skull_strip": SkullStrip,
    "n4": N4,
    "normalise": Normalise,
    "resize": Resize,
    "resize_volume": ResizeVolume,
}
"""Every step by its name. A step is a frozen block of settings that one calls: ``step(scan) -> Scan``."""

Step = Annotated[Reorient | SkullStrip | N4 | Normalise | Resize | ResizeVolume, Field(discriminator="step")]


class PreprocessingOptions(Options):
    """From a scan to samples: the steps in order, and the choice of slices or volumes."""

    steps: tuple[Step, ...] = (Reorient(), SkullStrip(), Normalise(), Resize())
    """Run in this order, each on the scans of its ``modality``, which must be normalised once. The default is for MR of
    the head; N4 is worth adding where the coil's shading is strong."""
    channels: tuple[str, ...] = ()
    """Channels that the samples hold, in this order; empty: all that the scan has."""
    lesion_masks: tuple[str, ...] = ()
    """Parts of the lesion that the samples hold, in this order; empty: all that the scan has."""
    sampling: Sampling = SliceSampling()
    """Slices (the default), or whole volumes with ``kind: volumes``."""
    require_lesion_mask: bool = True
    """Leave out patients without a lesion mask. Otherwise their lesion masks are zero, their label the source's own or
    ``unlabelled``."""

    @model_validator(mode="after")
    def _consistent(self) -> PreprocessingOptions:
        normalising = [step.modality for step in self.steps if step.step == "normalise"]
        if not normalising:
            raise ValueError("steps: expected normalise exactly once, found it 0 times")
        for modality in ("MR", "CT", "OT"):
            count = sum(name in ("any", modality) for name in normalising)
            if count > 1:
                raise ValueError(f"steps: expected normalise exactly once, found it {count} times for {modality} scans")
        for field, names in (("channels", self.channels), ("lesion_masks", self.lesion_masks)):
            if len(set(names)) != len(names):
                raise ValueError(f"{field}: expected each name once, found {', '.join(names)}")
        if BODY in self.lesion_masks:
            raise ValueError(f"lesion_masks: expected parts of the lesion, found '{BODY}', which is always there")
        return self


def preprocess(scan: Scan, options: PreprocessingOptions) -> Scan:
    """Run the steps for the scan's modality in order. The scan is not changed; a step's remarks are in ``notes``.

    Raises:
        ScanError: the scan lacks a wanted channel or a mask, no step normalises its modality, or a step cannot be done;
            names the patient.
    """
    wanted = _channels(scan, options)
    _lesion_masks(scan, options)
    steps = [step for step in options.steps if step.modality in ("any", scan.modality)]
    if all(step.step != "normalise" for step in steps):
        others = " and ".join(step.modality for step in options.steps if step.step == "normalise")
        remedy = f"Add a step normalise with modality {scan.modality} to preprocessing.steps."
        what = f"{scan.patient}: steps for {scan.modality} scans"
        raise ScanError(describe(what, "one normalise", f"none (only for {others})", remedy))
    for step in steps:
        if not isinstance(step, Reorient | SkullStrip):  # channels that are not wanted help to find the brain only
            scan = scan.with_(channels={name: scan.channels[name] for name in wanted})
        run: Callable[[Scan], Scan] = step
        scan = run(scan)
    return scan


def sample(scan: Scan, options: PreprocessingOptions) -> Samples:
    """The samples of a scan that went through :func:`preprocess`.

    Raises:
        ScanError: nothing of this patient can be used; the message is the reason to leave the patient out.
    """
    channels, parts = _channels(scan, options), _lesion_masks(scan, options)
    if isinstance(options.sampling, VolumeSampling):
        return sample_volume(scan, options.sampling, channels, parts)
    return sample_slices(scan, options.sampling, channels, parts)


def _channels(scan: Scan, options: PreprocessingOptions) -> tuple[str, ...]:
    """The wanted channels, all of which the scan has."""
    _require(scan, "channel", options.channels, scan.channels)
    return options.channels or tuple(scan.channels)


def _lesion_masks(scan: Scan, options: PreprocessingOptions) -> tuple[str, ...]:
    """The wanted lesion masks; a scan without any passes only if none is required."""
    found = tuple(name for name in scan.masks if name != BODY)
    if not found and options.require_lesion_mask:
        remedy = "Set require_lesion_mask to false to keep such patients."
        raise ScanError(describe(scan.patient, "a lesion mask", "none", remedy))
    if found:
        _require(scan, "lesion mask", options.lesion_masks, found)
    return options.lesion_masks or found


def _require(scan: Scan, kind: str, wanted: tuple[str, ...], found: Any) -> None:
    for name in wanted:
        if name not in found:
            raise ScanError(describe(scan.patient, f"the {kind} '{name}'", ", ".join(sorted(found)) or "none"))
