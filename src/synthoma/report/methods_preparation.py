"""Sentences on where scans come from and what was done to them, from the recipe's blocks ``data`` and
``preprocessing``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthoma.report.references import cite, without_marks

__all__ = ["prepared", "sampled", "source"]

Settings = Mapping[str, Any]

SOURCES: Mapping[str, str] = {
    "brats": f"The scans were read as BraTS distributes them{cite('menze2015brats', 'baid2021brats')}.",
    "lidc": f"The CT scans and the nodule annotations of up to four readers were read as LIDC-IDRI distributes them"
    f"{cite('armato2011lidc')}.",
    "lidc-nodules": f"The nodule crops derive from LIDC-IDRI{cite('armato2011lidc')}.",
    "tcia-liver": f"The liver CT scans were read as the collection HCC-TACE-Seg distributes them"
    f"{cite('moawad2023hcc')}.",
    "ircadb": "The liver CT scans were read as 3D-IRCADb distributes them.",
    "lits": f"The liver CT scans were read as LiTS distributes them{cite('bilic2023lits')}.",
    "decathlon": f"The scans were read in the layout of the Medical Segmentation Decathlon"
    f"{cite('antonelli2022decathlon')}.",
    "nnunet": "The scans were read in the layout of nnU-Net.",
    "tcga-lgg": f"The MR slices of lower-grade gliomas were read as their collection distributes them"
    f"{cite('buda2019lgg')}.",
    "dicom": "The scans were read from DICOM series.",
    "nifti": "The scans were read from NIfTI files.",
    "images": "The images were read from a folder of pictures.",
    "phantom-brain": "The scans are simulated MR brains with tumours (phantoms); no real patient was involved.",
    "phantom-lung": "The scans are simulated chest CT with nodules (phantoms); no real patient was involved.",
    "phantom-liver": "The scans are simulated abdominal CT with liver lesions (phantoms); no real patient was "
    "involved.",
}
"""Source of the recipe → what it reads. The folder is not named: its name may tell too much."""


def source(data: Settings) -> list[str]:
    """Where the scans come from."""
    name = data.get("source", "")
    if name == "several":
        parts = (data.get("parts") or {}).values()
        return list(dict.fromkeys(text for part in parts for text in source(part)))
    text = [SOURCES[name]] if name in SOURCES else []
    if str(name).startswith("phantom-"):
        text.append(f"They were drawn with seed {data['seed']}." if "seed" in data else "")
    return [sentence for sentence in text if sentence]


def prepared(steps: Sequence[Settings]) -> list[str]:
    """The steps in their order."""
    said = [_step(step) for step in steps if step.get("step") in _STEPS]
    if not said:
        return []
    return [
        f"The following steps were applied in this order: {'; '.join(f'({n}) {s}' for n, s in enumerate(said, 1))}."
    ]


def sampled(sampling: Settings) -> list[str]:
    """Which slices, patches or volumes became samples."""
    kind = sampling.get("kind")
    if kind == "slices":
        text = f"{str(sampling.get('axis', 'axial')).capitalize()} slices were kept whose body fills at least "
        text += f"{_percent(sampling.get('min_body_fraction'))} of the frame"
        if sampling.get("label") == "lesion":
            least = _percent(sampling.get("min_lesion_fraction"))
            text += f"; a slice counts as tumour where the lesion fills at least {least}"
            text += " of the body, as tumour-free without a lesion voxel, and slices between were "
            text += "left out" if sampling.get("small_lesion") == "drop" else "counted as tumour"
        most = sampling.get("per_patient")
        text += f"; at most {most} slices a patient, evenly spaced" if most else ""
        text += _stack(sampling)
        return [text + "."]
    if kind == "patches":
        dims = "cubes" if sampling.get("dims") == 3 else "square patches"
        text = f"Around each finding {dims} of {sampling.get('size_mm'):g} mm were cut and resampled to "
        text += f"{sampling.get('size')} pixels a side"
        free = sampling.get("tumour_free")
        text += (
            f", and up to {free} a patient at random places without a lesion (seed {sampling.get('seed')})"
            if free
            else ""
        )
        return [text + _stack(sampling) + "."]
    return ["Whole volumes were used as samples."] if kind == "volumes" else []


def _stack(sampling: Settings) -> str:
    stack = sampling.get("stack", 1)
    return f"; each with its neighbours as channels, {stack} slices in all" if stack and stack > 1 else ""


def _step(step: Settings) -> str:
    text = _STEPS[str(step["step"])](step)
    modality = step.get("modality", "any")
    return text if modality == "any" else f"{text} ({modality} only)"


def _skull_strip(step: Settings) -> str:
    method = step.get("method")
    if step.get("extent") == "head":
        return "a mask of the whole head"
    how = {
        "hd-bet": f"skull stripping by HD-BET{cite('isensee2019hdbet')}",
        "synthstrip": f"skull stripping by SynthStrip{cite('hoopes2022synthstrip')}",
    }.get(str(method), "a brain mask by thresholds and morphology")
    return (
        f"{how}, where a scan was not stripped already" if method == "auto" and step.get("extent") != "brain" else how
    )


def _n4(step: Settings) -> str:
    return (
        f"N4 bias field correction{cite('tustison2010n4')} ({step.get('levels')} levels, at most "
        f"{step.get('iterations')} "
        f"iterations each, estimated at 1/{step.get('shrink')} of the resolution)"
    )


def _normalise(step: Settings) -> str:
    method, where = step.get("method"), "of each channel inside the body of the whole volume"
    if method == "window":
        low, high = step.get("window") or (None, None)
        return f"linear scaling of the window {low} to {high} to [−1, 1], clipped"
    if method == "percentiles":
        ends = f"percentiles {step.get('low_percent')} to {step.get('high_percent')}"
    else:
        spread = "median ± {} interquartile ranges" if method == "median-iqr" else "mean ± {} standard deviations"
        ends = spread.format(step.get("width"))
    return f"linear scaling of the {ends} {where} to [−1, 1], clipped"


def _equalise(step: Settings) -> str:
    if step.get("method") == "clahe":
        tiles, limit = step.get("tiles"), step.get("clip_limit")
        return f"CLAHE{cite('zuiderveld1994clahe')} slice by slice ({tiles} × {tiles} tiles, clip limit {limit})"
    return f"global histogram equalisation{cite('gonzalez2018dip')} ({step.get('bins')} bins)"


def _crop(step: Settings) -> str:
    around = without_marks(str(step.get("around")))
    size = step.get("size_mm")
    extent = f"a box of {_sides(size)} mm" if size else f"its bounding box and {step.get('margin_mm')} mm around"
    return f"cropping to the region of interest ({around}): {extent}"


def _resize(step: Settings) -> str:
    crop = {"body": " after cropping to the body", "centre": " cut around the centre"}.get(str(step.get("crop")), "")
    if step.get("crop") == "centre":
        return f"{step.get('size')} × {step.get('size')} pixels{crop}, none interpolated"
    return (
        f"resampling in the plane to {step.get('size')} × {step.get('size')} pixels{crop} ({step.get('interpolation')})"
    )


def _windows(step: Settings) -> str:
    pairs = (step.get("windows") or {}).items()
    listed = ", ".join(f"{without_marks(str(name))} {low} to {high} HU" for name, (low, high) in pairs)
    return f"a channel for each intensity window, scaled linearly to [−1, 1] and clipped: {listed}"


_STEPS: Mapping[str, Any] = {
    "reorient": lambda s: f"reorientation to {s.get('to')}",
    "skull_strip": _skull_strip,
    "body_mask": lambda s: f"a body mask above {s.get('threshold_hu')} HU, opened by {s.get('opening_mm')} mm, with "
                           f"what it encloses",
    "n4": _n4,
    "normalise": _normalise,
    "windows": _windows,
    "stretch": lambda s: f"contrast stretching{cite('gonzalez2018dip')} from percentile {s.get('low_percent')} to "
                         f"{s.get('high_percent')}",
    "equalise": _equalise,
    "median": lambda s: f"a median filter{cite('tukey1977eda')} of {_sides(s.get('size'))} voxels",
    "crop_roi": _crop,
    "resample": lambda s: f"resampling to {_sides(s.get('spacing_mm'))} mm voxels ({s.get('interpolation')}"
    + (", antialiased" if s.get("antialias") else "") + ")",
    "resize": _resize,
    "resize_volume": lambda s: f"resampling to {_sides(s.get('size'))} voxels of one length ({s.get('interpolation')})",
}  # fmt: skip


def _sides(value: Any) -> str:
    sides = value if isinstance(value, Sequence) else (value,) * 3
    return " × ".join("as is" if side is None else f"{side:g}" for side in sides)


def _percent(share: Any) -> str:
    return f"{100 * float(share or 0):g} %"
