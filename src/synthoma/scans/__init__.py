"""Readers: a folder of files → :class:`~synthoma.records.Scan`. One file a source.

``find`` looks at names and headers only; ``read`` reads one case. What is left out is listed with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from synthoma.records import Scan
from synthoma.scans import several
from synthoma.scans.brats import BratsData
from synthoma.scans.case import Case, Found, LeftOut, Source
from synthoma.scans.dicom import DicomData, GeometryRule, SeriesChoice
from synthoma.scans.folders import FOLDER_SOURCES, FolderData
from synthoma.scans.images import ImagesData
from synthoma.scans.ircadb import IrcadbData
from synthoma.scans.layouts import DecathlonData, LitsData, NnunetData
from synthoma.scans.lidc import LidcData
from synthoma.scans.lidc_nodules import LidcNodulesData
from synthoma.scans.nifti import ChannelFile, MaskFile, NiftiData
from synthoma.scans.several import SeveralData
from synthoma.scans.tcga_lgg import TcgaLggData
from synthoma.scans.tcia_liver import TciaLiverData

__all__ = [
    "FOLDER_SOURCES",
    "SOURCES",
    "BratsData",
    "Case",
    "ChannelFile",
    "DataOptions",
    "DecathlonData",
    "DicomData",
    "FolderData",
    "Found",
    "GeometryRule",
    "ImagesData",
    "IrcadbData",
    "LeftOut",
    "LidcData",
    "LidcNodulesData",
    "LitsData",
    "MaskFile",
    "NiftiData",
    "NnunetData",
    "SeriesChoice",
    "SeveralData",
    "Source",
    "TcgaLggData",
    "TciaLiverData",
    "find",
    "read",
]

DataOptions = Annotated[FolderData | SeveralData, Field(discriminator="source")]
"""The settings of any source; the field ``source`` says which."""

SOURCES: Mapping[str, Source] = {**FOLDER_SOURCES, "several": Source(SeveralData, several.find, several.read)}


def find(options: DataOptions) -> Found:
    """The cases of a folder, sorted; raises :class:`~synthoma.errors.ScanError` if there is none."""
    return SOURCES[options.source].find(options)


def read(case: Case, options: DataOptions) -> Scan:
    """One case; raises :class:`~synthoma.errors.ScanError` if it is not what it claims to be."""
    return SOURCES[options.source].read(case, options)
