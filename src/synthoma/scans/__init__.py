"""Readers: a folder of files → :class:`~synthoma.records.Scan`. One file a source, one line in :data:`SOURCES`.

``find`` looks at names and headers only; ``read`` reads one case. What is left out is listed with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from synthoma.records import Scan
from synthoma.scans import brats, images, nifti, tcga_lgg
from synthoma.scans.brats import BratsData
from synthoma.scans.case import Case, Found, LeftOut, Source
from synthoma.scans.images import ImagesData
from synthoma.scans.nifti import MaskFile, NiftiData
from synthoma.scans.tcga_lgg import TcgaLggData

__all__ = [
    "SOURCES",
    "BratsData",
    "Case",
    "DataOptions",
    "Found",
    "ImagesData",
    "LeftOut",
    "MaskFile",
    "NiftiData",
    "Source",
    "TcgaLggData",
    "find",
    "read",
]

DataOptions = Annotated[BratsData | TcgaLggData | NiftiData | ImagesData, Field(discriminator="source")]
"""The settings of any source; the field ``source`` says which."""

SOURCES: Mapping[str, Source] = {
    "brats": Source(BratsData, brats.find, brats.read),
    "tcga-lgg": Source(TcgaLggData, tcga_lgg.find, tcga_lgg.read),
    "nifti": Source(NiftiData, nifti.find, nifti.read),
    "images": Source(ImagesData, images.find, images.read),
}


def find(options: DataOptions) -> Found:
    """The cases of a folder, sorted; raises :class:`~synthoma.errors.ScanError` if there is none."""
    return SOURCES[options.source].find(options)


def read(case: Case, options: DataOptions) -> Scan:
    """One case; raises :class:`~synthoma.errors.ScanError` if it is not what it claims to be."""
    return SOURCES[options.source].read(case, options)
