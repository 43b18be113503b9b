"""Cohorts as files that other programs read. A function a format: ``(cohort, out, overwrite=…) -> out``."""

from collections.abc import Callable, Mapping
from pathlib import Path

from synthoma.exports.nifti import export_nifti

__all__ = ["EXPORTS", "export_nifti"]

EXPORTS: Mapping[str, Callable[..., Path]] = {"nifti": export_nifti}
"""Every format by its name."""
