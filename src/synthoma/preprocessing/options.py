"""The settings of preprocessing, and the two functions that carry them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.preprocessing.body_mask import BodyMask
from synthoma.preprocessing.crop_roi import CropRoi
from synthoma.preprocessing.equalise import Equalise
from synthoma.preprocessing.median import Median
from synthoma.preprocessing.n4 import N4
from synthoma.preprocessing.normalise import Normalise
from synthoma.preprocessing.patches import PatchSampling, sample_patches
from synthoma.preprocessing.reorient import Reorient, turned_to
from synthoma.preprocessing.resample import Resample
from synthoma.preprocessing.resize import Resize
from synthoma.preprocessing.sampling import SliceSampling, VolumeSampling, sample_slices, sample_volume
from synthoma.preprocessing.skull_strip import SkullStrip
from synthoma.preprocessing.step import StepOptions
from synthoma.preprocessing.stretch import Stretch
from synthoma.preprocessing.volume import ResizeVolume
from synthoma.preprocessing.windows import Windows
from synthoma.records import BODY, Samples, Scan, part_of

__all__ = ["STEPS", "PreprocessingOptions", "Step", "preprocess", "sample"]

STEPS: dict[str, type[StepOptions]] = {
    "reorient": Reorient,
    "skull_strip": SkullStrip,
    "body_mask": BodyMask,
    "n4": N4,
    "normalise": Normalise,
    "windows": Windows,
    "stretch": Stretch,
    "equalise": Equalise,
    "median": Median,
    "crop_roi": CropRoi,
    "resample": Resample,
    "resize": Resize,
    "resize_volume": ResizeVolume,
}
"""Every step by its name. A step is a frozen block of settings that one calls: ``step(scan) -> Scan``."""

Step = Annotated[
    Reorient
    | SkullStrip
    | BodyMask
    | N4
    | Normalise
    | Windows
    | Stretch
    | Equalise
    | Median
    | CropRoi
    | Resample
    | Resize
    | ResizeVolume,
    Field(discriminator="step"),
]

NORMALISING = ("normalise", "windows")
"""Steps that bring the scanner's values to [−1, 1]: each modality needs one."""
AFTERWARDS = ("stretch", "equalise")
"""Steps that work on values in [−1, 1]."""
DISPLAYED = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
"""Axis codes (x, y, z) of slices as a radiologist looks at them."""


def _slices_unless_named(settings: Any) -> Any:
    return {"kind": "slices", **settings} if isinstance(settings, dict) else settings


Sampling = Annotated[
    SliceSampling | VolumeSampling | PatchSampling,
    Field(discriminator="kind"),
    BeforeValidator(_slices_unless_named),
]
"""Slices, volumes or patches, by ``kind``; slices where none is named."""


class PreprocessingOptions(Options):
    """From a scan to samples: the steps in order, and the choice of slices, patches or volumes."""

    steps: tuple[Step, ...] = (Reorient(), SkullStrip(), Normalise(), Resize())
    """Run in this order, each on the scans of its ``modality``, for which one must normalise (``normalise`` or
    ``windows``). The default is for MR of the head; N4 is worth adding where the coil's shading is strong."""
    channels: tuple[str, ...] = ()
    """Channels that the samples hold, in this order; empty: all that the scan has. ``ct`` is all windows of ``ct``, and
    ``ct-lung`` one of them."""
    lesion_masks: tuple[str, ...] = ()
    """Parts of the lesion that the samples hold, in this order; empty: all that the scan has. ``nodule`` is all single
    findings ``nodule-1``, ``nodule-2``, … together."""
    sampling: Sampling = SliceSampling()
    """Slices (the default), whole volumes with ``kind: volumes``, or lesion-centred patches with ``kind: patches``."""
    require_lesion_mask: bool = True
    """Leave out patients without a lesion mask. Otherwise their lesion masks are zero, their label the source's own or
    ``unlabelled``."""

    @model_validator(mode="after")
    def _consistent(self) -> PreprocessingOptions:
        for modality in ("MR", "CT", "OT"):
            self._check_order([step.step for step in self.steps if step.modality in ("any", modality)], modality)
        if not any(step.step in NORMALISING for step in self.steps):
            raise ValueError("steps: expected one of normalise and windows, found none")
        for field, names in (("channels", self.channels), ("lesion_masks", self.lesion_masks)):
            if len(set(names)) != len(names):
                raise ValueError(f"{field}: expected each name once, found {', '.join(names)}")
        if BODY in self.lesion_masks:
            raise ValueError(f"lesion_masks: expected parts of the lesion, found '{BODY}', which is always there")
        return self

    def _check_order(self, steps: list[str], modality: str) -> None:
        """A modality is normalised at most once, and what works on normalised values comes later."""
        normalising = [name for name in steps if name in NORMALISING]
        if len(normalising) > 1:
            found = " and ".join(normalising)
            raise ValueError(f"steps: expected one of normalise and windows for {modality} scans, found {found}")
        for place, name in enumerate(steps):
            if name in AFTERWARDS and not any(before in NORMALISING for before in steps[:place]):
                raise ValueError(f"steps: expected {name} after normalise or windows, found it before")


def preprocess(
    scan: Scan,
    options: PreprocessingOptions,
    *,
    done: int = 0,
    after: Callable[[int, Scan], None] | None = None,
) -> Scan:
    """Run the steps for the scan's modality in order. The scan is not changed; a step's remarks are in ``notes``.

    Where the samples are coronal or sagittal slices, the scan is turned just before the step ``resize``, which makes
    slices square, or at the end: axis 0 of the result is the axis that slices are counted along.

    Args:
        done: so many of ``options.steps`` have been run on the scan before.
        after: told after each step how many are done, and the scan.

    Raises:
        ScanError: the scan lacks a wanted channel or a mask, no step normalises its modality, or a step cannot be done;
            names the patient.
    """
    steps = [(n, step) for n, step in enumerate(options.steps, 1) if step.modality in ("any", scan.modality)]
    before = [step for n, step in steps if n <= done]
    chosen = not all(isinstance(step, Reorient | SkullStrip) for step in before)
    wanted = () if chosen else _sources_of(scan, options)
    _lesion_masks(scan, options)
    if all(step.step not in NORMALISING for _, step in steps):
        others = " and ".join(step.modality for step in options.steps if step.step in NORMALISING)
        remedy = f"Add a step normalise with modality {scan.modality} to preprocessing.steps."
        what = f"{scan.patient}: steps for {scan.modality} scans"
        raise ScanError(describe(what, "one normalise", f"none (only for {others})", remedy))
    axis = getattr(options.sampling, "axis", "axial")
    turn = axis != "axial" and not any(isinstance(step, Resize) for step in before)
    for number, step in steps[len(before) :]:
        if not chosen and not isinstance(step, Reorient | SkullStrip):  # those that nobody wants help to find the brain
            scan, chosen = scan.with_(channels={name: scan.channels[name] for name in wanted}), True
        if turn and isinstance(step, Resize):
            scan, turn = turned_to(scan, DISPLAYED[axis]), False
        run: Callable[[Scan], Scan] = step
        scan = run(scan)
        if after is not None:
            after(number, scan)
    return turned_to(scan, DISPLAYED[axis]) if turn else scan


def sample(scan: Scan, options: PreprocessingOptions) -> Samples:
    """The samples of a scan that went through :func:`preprocess`.

    Raises:
        ScanError: nothing of this patient can be used; the message is the reason to leave the patient out.
    """
    channels, parts = _channels(scan, options), _lesion_masks(scan, options)
    match options.sampling:
        case VolumeSampling() as sampling:
            return sample_volume(scan, sampling, channels, parts)
        case PatchSampling() as sampling:
            return sample_patches(scan, sampling, channels, parts)
        case sampling:
            return sample_slices(scan, sampling, channels, parts)


def _sources_of(scan: Scan, options: PreprocessingOptions) -> tuple[str, ...]:
    """The channels of an unprepared scan that the wanted ones are made from: ``ct`` for ``ct-lung``."""
    made = {
        new: channel
        for step in options.steps
        if isinstance(step, Windows) and step.modality in ("any", scan.modality)
        for channel in scan.channels
        for new in step.names(channel)
    }
    wanted = tuple(dict.fromkeys(made.get(name, name) for name in options.channels))
    _require(scan, "channel", wanted, scan.channels)
    return wanted or tuple(scan.channels)


def _channels(scan: Scan, options: PreprocessingOptions) -> tuple[str, ...]:
    """The wanted channels of a prepared scan, windows spelled out."""
    names: list[str] = []
    for name in options.channels:
        windows = [] if name in scan.channels else [made for made in scan.channels if made.startswith(f"{name}-")]
        names += windows or [name]
    _require(scan, "channel", tuple(names), scan.channels)
    return tuple(dict.fromkeys(names)) or tuple(scan.channels)


def _lesion_masks(scan: Scan, options: PreprocessingOptions) -> tuple[str, ...]:
    """The wanted parts of the lesion; a scan without any passes only if none is required."""
    found = tuple(dict.fromkeys(part_of(name) for name in scan.lesions))
    if not found and options.require_lesion_mask:
        remedy = "Set require_lesion_mask to false to keep such patients."
        raise ScanError(describe(scan.patient, "a lesion mask", "none", remedy))
    if found:
        _require(scan, "lesion mask", options.lesion_masks, {*found, *scan.lesions})
    return options.lesion_masks or found


def _require(scan: Scan, kind: str, wanted: tuple[str, ...], found: Any) -> None:
    for name in wanted:
        if name not in found:
            remedy = f"Complete it, or choose others by preprocessing.{kind.replace(' ', '_')}s."
            raise ScanError(describe(scan.patient, f"the {kind} '{name}'", ", ".join(sorted(found)) or "none", remedy))
