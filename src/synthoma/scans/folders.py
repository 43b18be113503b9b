"""The sources that read one folder each. A new one is a line in both tables."""

from __future__ import annotations

from collections.abc import Mapping

from synthoma.scans import brats, dicom, images, ircadb, layouts, lidc, lidc_nodules, nifti, tcga_lgg, tcia_liver
from synthoma.scans.brats import BratsData
from synthoma.scans.case import FolderSource
from synthoma.scans.dicom import DicomData
from synthoma.scans.images import ImagesData
from synthoma.scans.ircadb import IrcadbData
from synthoma.scans.layouts import DecathlonData, LitsData, NnunetData
from synthoma.scans.lidc import LidcData
from synthoma.scans.lidc_nodules import LidcNodulesData
from synthoma.scans.nifti import NiftiData
from synthoma.scans.tcga_lgg import TcgaLggData
from synthoma.scans.tcia_liver import TciaLiverData

__all__ = ["FOLDER_SOURCES", "FolderData"]

FolderData = (
    BratsData
    | TcgaLggData
    | NiftiData
    | ImagesData
    | LidcNodulesData
    | DicomData
    | LidcData
    | IrcadbData
    | TciaLiverData
    | LitsData
    | DecathlonData
    | NnunetData
)
"""The settings of any of them; the field ``source`` says which."""

FOLDER_SOURCES: Mapping[str, FolderSource] = {
    "brats": FolderSource(BratsData, brats.find, brats.read, brats.contents),
    "tcga-lgg": FolderSource(TcgaLggData, tcga_lgg.find, tcga_lgg.read, tcga_lgg.contents),
    "nifti": FolderSource(NiftiData, nifti.find, nifti.read, nifti.contents),
    "images": FolderSource(ImagesData, images.find, images.read, images.contents),
    "lidc-nodules": FolderSource(LidcNodulesData, lidc_nodules.find, lidc_nodules.read, lidc_nodules.contents),
    "dicom": FolderSource(DicomData, dicom.find, dicom.read, dicom.contents),
    "lidc": FolderSource(LidcData, lidc.find, lidc.read, lidc.contents),
    "ircadb": FolderSource(IrcadbData, ircadb.find, ircadb.read, ircadb.contents),
    "tcia-liver": FolderSource(TciaLiverData, tcia_liver.find, tcia_liver.read, tcia_liver.contents),
    "lits": FolderSource(LitsData, layouts.find_lits, layouts.read_lits, layouts.contents_of_lits),
    "decathlon": FolderSource(
        DecathlonData, layouts.find_dataset, layouts.read_dataset_case, layouts.contents_of_dataset
    ),
    "nnunet": FolderSource(NnunetData, layouts.find_dataset, layouts.read_dataset_case, layouts.contents_of_dataset),
}
