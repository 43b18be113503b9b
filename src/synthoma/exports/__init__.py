"""Cohorts as files that other programs read, generators as files that other people run. A function a format."""

from collections.abc import Callable, Mapping
from pathlib import Path

from synthoma.exports.brats import export_brats
from synthoma.exports.bundle import export_bundle
from synthoma.exports.dicom import export_dicom
from synthoma.exports.nifti import export_nifti
from synthoma.exports.nnunet import export_nnunet
from synthoma.exports.options import EXPORT_OPTIONS, export_options
from synthoma.exports.png import export_png
from synthoma.exports.programs import export_program
from synthoma.exports.weights import export_safetensors

__all__ = [
    "EXPORTS",
    "EXPORT_OPTIONS",
    "RUN_EXPORTS",
    "export_brats",
    "export_dicom",
    "export_nifti",
    "export_nnunet",
    "export_options",
    "export_png",
]

EXPORTS: Mapping[str, Callable[..., Path]] = {
    "nifti": export_nifti,
    "dicom": export_dicom,
    "nnunet": export_nnunet,
    "brats": export_brats,
    "png": export_png,
}
"""Every format by its name: ``(cohort, out, overwrite=…, options=…, risk=…) -> out``."""

RUN_EXPORTS: Mapping[str, Callable[..., Path]] = {
    "bundle": export_bundle,
    "safetensors": export_safetensors,
    "torch-export": export_program,
}
"""Every form of a generator by its name: ``(released, out, overwrite=…) -> out``."""
