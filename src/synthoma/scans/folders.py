"""The sources that read one folder each. A new one is a line in both tables."""

from __future__ import annotations

from collections.abc import Mapping

from synthoma.scans import brats, images, lidc_nodules, nifti, tcga_lgg
from synthoma.scans.brats import BratsData
from synthoma.scans.case import Source
from synthoma.scans.images import ImagesData
from synthoma.scans.lidc_nodules import LidcNodulesData
from synthoma.scans.nifti import NiftiData
from synthoma.scans.tcga_lgg import TcgaLggData

__all__ = ["FOLDER_SOURCES", "FolderData"]

FolderData = BratsData | TcgaLggData | NiftiData | ImagesData | LidcNodulesData
"""The settings of any of them; the field ``source`` says which."""

FOLDER_SOURCES: Mapping[str, Source] = {
    "brats": Source(BratsData, brats.find, brats.read),
    "tcga-lgg": Source(TcgaLggData, tcga_lgg.find, tcga_lgg.read),
    "nifti": Source(NiftiData, nifti.find, nifti.read),
    "images": Source(ImagesData, images.find, images.read),
    "lidc-nodules": Source(LidcNodulesData, lidc_nodules.find, lidc_nodules.read),
}
