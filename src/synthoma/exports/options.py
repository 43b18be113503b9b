"""The settings of each format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from synthoma.errors import SettingError, describe
from synthoma.exports.volumes import Slices
from synthoma.options import Options

__all__ = [
    "EXPORT_OPTIONS",
    "BratsExport",
    "DicomExport",
    "NiftiExport",
    "NnunetExport",
    "PngExport",
    "export_options",
]

Numbers = Literal["auto", "float32", "int16"]


class DicomExport(Options):
    """Settings of ``dicom``."""

    slices: Slices = "stack"
    """A cohort of slices: ``stack`` puts each at its place in a series of its scan, where slices that the cohort lacks
    are blank; ``single`` makes each a series of one slice."""


class NiftiExport(Options):
    """Settings of ``nifti``."""

    slices: Slices = "stack"
    """A cohort of slices: ``stack`` puts each at its place in the volume of its scan, where slices that the cohort
    lacks are blank; ``single`` makes each a volume of one slice."""
    numbers: Numbers = "auto"
    """Of the channels: ``auto`` is int16 in HU, else float32; ``int16`` takes a slope and an intercept where whole
    numbers do not hold the values."""


class NnunetExport(NiftiExport):
    """Settings of ``nnunet``."""

    masks: tuple[str, ...] = ()
    """Which masks become the labels 1, 2, …, in this order: the later has a voxel that two hold. Empty: the parts of
    the lesion, in the cohort's order."""
    splits: Literal["auto", "split", "folds", "none"] = "auto"
    """``split``: test patients in ``imagesTs``; of the others the validation patients are one fold, or, where there are
    none, the cohort's folds. ``folds``: all in ``imagesTr``, a fold each of the cohort's. ``none``: all in
    ``imagesTr``, no ``splits_final.json``. ``auto``: the first of these that the cohort can fill."""


class BratsExport(NiftiExport):
    """Settings of ``brats``."""

    allow_missing: bool = False
    """Write cases that lack some of the four channels. Tools made for BraTS want all of them."""


class PngExport(Options):
    """Settings of ``png``: none."""


EXPORT_OPTIONS: Mapping[str, type[Options]] = {
    "nifti": NiftiExport,
    "dicom": DicomExport,
    "nnunet": NnunetExport,
    "brats": BratsExport,
    "png": PngExport,
}
"""The settings of each format by its name."""


def export_options(kind: str, settings: Mapping[str, Any]) -> dict[str, Options]:
    """The keyword ``options`` of a format's function; empty where there is nothing to say.

    Raises:
        SettingError: a setting that the format has not, or a bad value.
    """
    if not settings:
        return {}
    model = EXPORT_OPTIONS.get(kind)
    known = model.model_fields if model else {}
    unknown = next((name for name in settings if name not in known), None)
    if model is None or unknown is not None:
        expected = f"a setting of {kind} ({', '.join(known)})" if known else f"no setting, since {kind} has none"
        raise SettingError(describe("export", expected, f"'{unknown or next(iter(settings))}'"))
    try:
        return {"options": model.model_validate(dict(settings))}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Input should be ")
        raise SettingError(describe(f"export: {name}", message, repr(first["input"]))) from None
