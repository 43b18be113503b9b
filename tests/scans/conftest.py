"""Tiny folders of every source, and what writes them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from synthoma.options import Options
from synthoma.scans import (
    BratsData,
    DecathlonData,
    DicomData,
    ImagesData,
    IrcadbData,
    LidcData,
    LidcNodulesData,
    LitsData,
    NiftiData,
    NnunetData,
    SeveralData,
    TcgaLggData,
    TciaLiverData,
)

LPS = np.array([[-1.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 3.0, -5], [0, 0, 0, 1]])
SUFFIXES_2021 = {"t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "flair": "_flair"}
SUFFIXES_2023 = {"t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "flair": "-t2f"}


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@dataclass(frozen=True)
class Fixture:
    """A folder that a builder wrote, and what the source must make of it."""

    options: Options
    names: tuple[str, ...]
    """All cases in order."""
    patients: tuple[str, ...]
    channels: frozenset[str]
    masks: frozenset[str]
    shape: tuple[int, int, int]
    """Of the first case."""
    first_voxels: Mapping[str, np.ndarray]
    """Channels of the first case, (z, y, x)."""
    root: Path
    """The folder that the names of source files start from."""
    hurt: Callable[[Path], None] = cut_short
    """Damages the voxels of a file, and nothing that ``find`` looks at."""

    def moved(self, root: Path) -> Fixture:
        """The same folder at another place."""
        before = self.root
        options = self.options
        if isinstance(options, SeveralData):
            parts = {
                name: part.model_copy(update={"path": root / part.path.relative_to(before)})
                for name, part in options.parts.items()
            }
            options = options.model_copy(update={"parts": parts})
        else:
            options = options.model_copy(update={"path": root})
        return replace(self, options=options, root=before.rename(root))


def voxels(key: int, shape: tuple[int, ...] = (3, 4, 5), dtype: str = "int16") -> np.ndarray:
    """Different random numbers (z, y, x) for every ``key``."""
    return np.random.default_rng(key).integers(0, 200, shape).astype(dtype)


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray = LPS) -> Path:
    """Save an array (z, y, x) as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.T, affine), path)
    return path


def write_brats_case(
    folder: Path,
    name: str,
    key: int,
    labels: tuple[int, ...] = (),
    year: str = "2021",
    end: str = ".nii.gz",
    **other: Any,
) -> Path:
    """Four modalities of random voxels and, with ``labels``, a segmentation whose first voxels are they."""
    suffixes = SUFFIXES_2021 if year == "2021" else SUFFIXES_2023
    for i, suffix in enumerate(suffixes.values()):
        write_volume(folder / f"{name}{suffix}{end}", voxels(10 * key + i), **other)
    if labels:
        seg = np.zeros((3, 4, 5), np.uint8)
        seg.flat[: len(labels)] = labels
        write_volume(folder / f"{name}{'_' if year == '2021' else '-'}seg{end}", seg, **other)
    return folder


def build_brats(root: Path) -> Fixture:
    write_brats_case(root / "BraTS2021_00002", "BraTS2021_00002", 1, (1, 2, 4))
    write_brats_case(root / "deep/er/case", "BraTS-GLI-00001-001", 2, (1, 2, 3), year="2023", end=".nii")
    write_brats_case(root / "BraTS-GLI-00001-000", "BraTS-GLI-00001-000", 3, year="2023")
    names = ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS2021_00002")
    return Fixture(
        BratsData(path=root),
        names,
        ("BraTS-GLI-00001", "BraTS-GLI-00001", "BraTS2021_00002"),
        frozenset({"t1", "t1ce", "t2", "flair"}),
        frozenset(),
        (3, 4, 5),
        {"t1": voxels(30), "t1ce": voxels(31), "t2": voxels(32), "flair": voxels(33)},
        root,
    )


def write_tcga_patient(root: Path, name: str, stack: np.ndarray, masks: np.ndarray | None = None) -> Path:
    """``stack`` (slice, y, x, channel) as numbered TIFFs with masks, as the Kaggle set has them."""
    (root / name).mkdir(parents=True)
    for k, image in enumerate(stack, start=1):
        mask = np.zeros(image.shape[:2], np.uint8) if masks is None else masks[k - 1]
        tifffile.imwrite(root / name / f"{name}_{k}.tif", image, compression="zlib", predictor=True)
        tifffile.imwrite(root / name / f"{name}_{k}_mask.tif", mask, compression="zlib")
    return root / name


def build_tcga(root: Path) -> Fixture:
    stack = voxels(1, (11, 6, 7, 3), "uint8")
    masks = np.where(voxels(2, (11, 6, 7)) > 150, 255, 0).astype(np.uint8)
    write_tcga_patient(root / "kaggle_3m", "TCGA_CS_4942_19970222", stack, masks)
    write_tcga_patient(root / "kaggle_3m", "TCGA_DU_5855_19951217", voxels(3, (2, 6, 7, 3), "uint8"))
    return Fixture(
        TcgaLggData(path=root),
        ("TCGA_CS_4942_19970222", "TCGA_DU_5855_19951217"),
        ("TCGA-CS-4942", "TCGA-DU-5855"),
        frozenset({"t1", "flair", "t1ce"}),
        frozenset({"lesion"}),
        (11, 6, 7),
        {"t1": stack[..., 0], "flair": stack[..., 1], "t1ce": stack[..., 2]},
        root,
    )


def build_nifti(root: Path) -> Fixture:
    for key, patient in enumerate(("p10", "p2")):
        write_volume(root / patient / "t1.nii.gz", voxels(10 * key + 1))
        write_volume(root / patient / f"{patient}_second.nii", voxels(10 * key + 2))
        write_volume(root / patient / "seg.nii.gz", (voxels(10 * key + 3) % 4).astype(np.uint8))
    options = NiftiData(
        path=root,
        channels={"t1": "{patient}/t1.nii.gz", "t2": "{patient}/{patient}_second.nii"},
        masks={"lesion": "{patient}/seg.nii.gz", "core": {"file": "{patient}/seg.nii.gz", "labels": (1, 3)}},
    )
    both = {"t1": voxels(1), "t2": voxels(2)}
    masks = frozenset({"lesion", "core"})
    return Fixture(options, ("p10", "p2"), ("p10", "p2"), frozenset(both), masks, (3, 4, 5), both, root)


def build_images(root: Path) -> Fixture:
    (root / "files").mkdir(parents=True)
    stack = voxels(5, (2, 6, 7), "uint8")
    lines = ["path,patient_id,channel,slice,label,mask,site"]
    for k in (1, 0):  # not in order
        Image.fromarray(stack[k]).save(root / f"files/a{k}.png")
        np.save(root / f"files/b{k}.npy", stack[k].astype(np.int16) - 100)
        Image.fromarray(np.where(stack[k] > 150, 255, 0).astype(np.uint8)).save(root / f"files/m{k}.png")
        lines += [f"files/a{k}.png,P2,ct,{k},benign,files/m{k}.png,", f"files/b{k}.npy,P2,pet,{k},benign,,"]
    Image.fromarray(voxels(6, (5, 5), "uint8")).save(root / "files/other.png")
    lines.append("files/other.png,P3,ct,0,malignant,,north")
    (root / "images.csv").write_text("\n".join(lines) + "\n")
    channels = {"ct": stack, "pet": stack.astype(np.int16) - 100}
    return Fixture(
        ImagesData(path=root),
        ("P2", "P3"),
        ("P2", "P3"),
        frozenset(channels),
        frozenset({"lesion"}),
        (2, 6, 7),
        channels,
        root,
    )


def nodule_slices() -> dict[str, np.ndarray]:
    """Four nodules of three exams, the rows not in order; exam ``e1`` has a benign and a malignant one."""
    image = voxels(7, (7, 6, 6), "uint8")
    image[:, :2] = 0
    return {
        "image": image,
        "label": np.array([0, 1, 0, 0, 1, 0, 0], np.uint8),
        "malignancy": np.array([1, 5, 1, 1, 4, 2, 2], np.int8),
        "exam_id": np.array(["e1", "e1", "e1", "e1", "e2", "e3", "e3"]),
        "nodule_id": np.array(["2", "10", "2", "2", "2", "Nodule 001", "Nodule 001"]),
        "slice_index": np.array([2, 0, 0, 1, 0, 1, 0], np.int16),
    }


def nodule_cubes() -> dict[str, np.ndarray]:
    """Three nodules of as many patients."""
    return {
        "hu": voxels(8, (3, 4, 5, 6)) - 100,
        "mask": (voxels(9, (3, 4, 5, 6)) > 150).astype(np.uint8),
        "name": np.array(["9_nod1_ann0", "12_nod3_ann1", "3_nod2_ann0"]),
        "patient_index": np.array([9, 12, 3], np.int16),
        "malignancy": np.array([4, 3, 1], np.int8),
    }


def spoil_last_array(path: Path) -> None:
    """Another byte in the midst of the archive's largest array: the directory and the other arrays stay readable."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.compress_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.compress_size // 2 + 40] ^= 0xFF
    path.write_bytes(bytes(content))


def build_lidc(root: Path) -> Fixture:
    root.mkdir(parents=True)
    arrays = nodule_slices()
    np.savez_compressed(root / "segmented_slices64.npz", **arrays)
    np.savez_compressed(root / "cubes48.npz", **nodule_cubes())
    return Fixture(
        LidcNodulesData(path=root),
        ("e1-10", "e1-2", "e2-2", "e3-Nodule 001"),
        ("e1", "e1", "e2", "e3"),
        frozenset({"ct"}),
        frozenset({"nodule"}),
        (1, 6, 6),
        {"ct": arrays["image"][[1]]},
        root,
        spoil_last_array,
    )


def write_ct(
    folder: Path, stored: np.ndarray, series: str, patient: str = "LIDC-IDRI-0001", modality: str = "CT"
) -> list[str]:
    """A slice a file, named by its z as LIDC-IDRI does, 2.5 mm apart from z −100 mm upwards, HU = stored − 1024.

    Returns:
        the SOP UIDs, in the order of ``stored`` (z, y, x).
    """
    import pydicom

    folder.mkdir(parents=True, exist_ok=True)
    uids = [f"{series}.{k + 1}" for k in range(len(stored))]
    for k, (pixels, uid) in enumerate(zip(stored, uids, strict=True)):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        z = -100 + 2.5 * k
        data = pydicom.Dataset()
        data.file_meta = meta
        kind = "2" if modality == "CT" else "1.1"
        data.SOPClassUID = meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.{kind}"
        data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = uid
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = series, series.rpartition(".")[0], modality
        data.PatientID, data.PatientName, data.InstanceNumber = patient, "Somebody^Real", len(stored) - k
        data.ImagePositionPatient, data.ImageOrientationPatient = [-10, -20, z], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [0.7, 0.7], 5.0
        data.Rows, data.Columns = pixels.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = pixels.astype("<i2").tobytes()
        data.save_as(folder / f"{z:.6f}.dcm", enforce_file_format=True)
    return uids


def lidc_line(left: int, top: int, right: int, bottom: int) -> list[tuple[int, int]]:
    """The closed line (x, y) round the pixels ``left`` … ``right``, ``top`` … ``bottom``: the first pixels outside."""
    corners = [(left - 1, top - 1), (right + 1, top - 1), (right + 1, bottom + 1), (left - 1, bottom + 1)]
    return [*corners, corners[0]]


def lidc_outline(points: list[tuple[int, int]], uid: str, z: float, inclusion: str = "TRUE") -> str:
    """A ``roi`` of the readers' XML."""
    edge = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return (
        f"<roi><imageZposition>{z:.6f} </imageZposition><imageSOP_UID>{uid}</imageSOP_UID>"
        f"<inclusion>{inclusion}</inclusion>{edge}</roi>"
    )


def lidc_nodule(name: str, outlines: str, malignancy: object = None) -> str:
    """An ``unblindedReadNodule``; with a malignancy it has all nine ratings."""
    names = ("subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation", "spiculation")
    given = "".join(f"<{rating}>3</{rating}>" for rating in (*names, "texture"))
    given += f"<malignancy>{malignancy}</malignancy>"
    ratings = "" if malignancy is None else f"<characteristics>{given}</characteristics>"
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{ratings}{outlines}</unblindedReadNodule>"


def lidc_non_nodule(name: str, x: int, y: int, uid: str, z: float) -> str:
    """A ``nonNodule``: one point."""
    locus = f"<locus><xCoord>{x}</xCoord><yCoord>{y}</yCoord></locus>"
    place = f"<imageZposition>{z}</imageZposition><imageSOP_UID>{uid}</imageSOP_UID>"
    return f"<nonNodule><nonNoduleID>{name}</nonNoduleID>{place}{locus}</nonNodule>"


def lidc_xml(series: str, *readers: str) -> str:
    """The readers' XML of a series; each of ``readers`` is what one marked."""
    sessions = "".join(
        f"<readingSession><servicingRadiologistID>removed</servicingRadiologistID>{marks}</readingSession>"
        for marks in readers
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage uid="1.2" xmlns="http://www.nih.gov"><ResponseHeader>'
        f"<Version>1.8.1</Version><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>{sessions}"
        "</LidcReadMessage>"
    )


def write_lidc_patient(folder: Path, key: int, patient: str) -> Path:
    """Four slices of 16 × 20 with one nodule of three readers, who mark 3 × 3, 5 × 3 and 3 × 3 pixels of two slices."""
    series = f"1.2.{key}.5"
    stored = voxels(key, (4, 16, 20)) + 900
    uids = write_ct(folder / f"1.2.{key}" / series, stored, series, patient)
    boxes = (((5, 5, 7, 7), 5), ((5, 5, 9, 7), 4), ((5, 5, 7, 7), 4))
    marks = [
        lidc_nodule(
            "Nodule 001", "".join(lidc_outline(lidc_line(*box), uids[k], -100 + 2.5 * k) for k in (1, 2)), malignancy
        )
        for box, malignancy in boxes
    ]
    (folder / f"1.2.{key}" / series / f"{key:03d}.xml").write_text(lidc_xml(series, *marks, ""))
    return folder / f"1.2.{key}" / series


def build_lidc_folder(root: Path) -> Fixture:
    for key, patient in ((12, "LIDC-IDRI-0012"), (3, "LIDC-IDRI-0003")):
        write_lidc_patient(root / patient, key, patient)
    return Fixture(
        LidcData(path=root),
        ("LIDC-IDRI-0003", "LIDC-IDRI-0012"),
        ("LIDC-IDRI-0003", "LIDC-IDRI-0012"),
        frozenset({"ct"}),
        frozenset({"nodule-1"}),
        (4, 16, 20),
        {"ct": voxels(3, (4, 16, 20)) + 900 - 1024},
        root,
        cut_in_half,
    )


def write_dicom(path: Path, stored: np.ndarray, **elements: Any) -> Path:
    """One CT slice or, of another shape, frames (n, y, x) as DICOM, explicit little endian unless ``syntax`` says
    otherwise (uncompressed). ``elements`` replace those below by keyword; ``None`` leaves one out."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    syntax = elements.pop("syntax", ExplicitVRLittleEndian)
    kind = stored.dtype.newbyteorder("<")
    given: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": f"1.2.3.9.{int.from_bytes(hashlib.blake2b(str(path).encode(), digest_size=8).digest())}",
        "StudyInstanceUID": "1.2.3.1",
        "SeriesInstanceUID": "1.2.3.1.1",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientID": "hospital 4711",
        "PatientName": "Somebody^Real",
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1.0, 1.0],
        "SliceThickness": 5.0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[-2],
        "Columns": stored.shape[-1],
        "NumberOfFrames": stored.shape[0] if stored.ndim == 3 else None,
        "BitsAllocated": 8 * kind.itemsize,
        "BitsStored": 8 * kind.itemsize,
        "HighBit": 8 * kind.itemsize - 1,
        "PixelRepresentation": int(kind.kind == "i"),
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": stored.astype(kind).tobytes(),
    } | elements
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    data = pydicom.Dataset()
    data.file_meta = meta
    for keyword, value in given.items():
        if value is not None:
            setattr(data, keyword, value)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return path


def build_dicom(root: Path) -> Fixture:
    """A CT of three slices, its segmentation, an MR of two, in one folder under names that say nothing, more."""
    ct, mr = voxels(41), voxels(42, (2, 4, 5))
    for z, name in ((1, "-1.dcm"), (0, "IM7"), (2, "a/x.dcm")):
        write_dicom(root / "study" / name, ct[z], ImagePositionPatient=[0, 0, 2.5 * z], SOPInstanceUID=f"1.2.3.1.1.{z}")
    for z in (0, 1):
        mri: dict[str, Any] = dict.fromkeys(("RescaleSlope", "RescaleIntercept"))
        mri |= {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR", "PatientID": "other"}
        uids = {"SeriesInstanceUID": "1.2.3.1.2", "SOPInstanceUID": f"1.2.3.1.2.{z}"}
        write_dicom(root / "study" / f"mr{z}.dcm", mr[z], ImagePositionPatient=[0, 0, -3 * z], **mri, **uids)
    (root / "study" / "notes.txt").write_text("nothing")
    liver = (voxels(43) > 60).astype(np.uint8)
    segments = {"Liver": liver, "Mass": liver * (voxels(44) > 100)}
    write_seg(root / "study" / "SEG1", [root / "study" / name for name in ("IM7", "-1.dcm", "a/x.dcm")], segments)
    ids = [hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in ("hospital 4711", "other")]
    patients = tuple(f"p-{digits}" for digits in ids)
    series = [hashlib.blake2b(uid.encode(), digest_size=4).hexdigest() for uid in ("1.2.3.1.1", "1.2.3.1.2")]
    names = tuple(f"{patient}-{uid}" for patient, uid in zip(patients, series, strict=True))
    assert names == tuple(sorted(names))
    return Fixture(
        DicomData(path=root),
        names,
        patients,
        frozenset({"ct"}),
        frozenset({"liver", "mass"}),
        (3, 4, 5),
        {"ct": ct - 1024},
        root,
        lambda path: path.write_bytes(path.read_bytes()[:-4]),
    )


def write_slices(folder: Path, stored: np.ndarray, key: str, end: str = "", first: int = 0, **elements: Any) -> Path:
    """``image_<n>``, 1.6 mm apart along z from slice ``first``; ``key`` begins the UIDs."""
    for k, pixels in enumerate(stored, start=first):
        uids = {"SOPInstanceUID": f"{key}.{k + 1}", "SeriesInstanceUID": f"{key}.0"}
        place = {"ImagePositionPatient": [-10, -20, 1.6 * k], "PixelSpacing": [0.7, 0.7], "InstanceNumber": k}
        write_dicom(folder / f"image_{k}{end}", pixels, **{**place, **uids, **elements})
    return folder


def write_ircadb_patient(folder: Path, key: int, masks: Mapping[str, np.ndarray]) -> Path:
    """CT of 3 slices of 4 × 5 with ``masks``, each stored as a CT series of 0 and 255."""
    unknown: dict[str, Any] = {"PatientID": "", "RescaleIntercept": 0}
    write_slices(folder / "PATIENT_DICOM", voxels(key), f"1.2.{key}", **unknown)
    for number, (name, mask) in enumerate(masks.items(), start=1):
        stored = np.where(mask > 0, 255, 0).astype(np.uint8)
        named = {**unknown, "PatientName": f"Somebody^{name}", "StudyInstanceUID": f"1.2.{key}.{number}.7"}
        write_slices(folder / "MASKS_DICOM" / name, stored, f"1.2.{key}.{number}", **named)
    return folder


def shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def build_ircadb(root: Path) -> Fixture:
    liver = (voxels(62) > 60).astype(np.uint8)
    masks = {"liver": liver, "livertumor1": liver * (voxels(63) > 150), "livertumor02": liver * (voxels(64) > 150)}
    write_ircadb_patient(root / "3Dircadb1.10", 60, masks | {"bone": 1 - liver})
    write_ircadb_patient(root / "3Dircadb1.2", 61, {"liver": liver})
    names = ("3Dircadb1.10", "3Dircadb1.2")
    read = frozenset({"liver", "tumour-1", "tumour-2"})
    return Fixture(
        IrcadbData(path=root), names, names, frozenset({"ct"}), read, (3, 4, 5), {"ct": voxels(60)}, root, shorter
    )


SEGMENT_CODES = {
    "tissue": ("85756007", "SCT", "Tissue"),
    "abnormal": ("49755003", "SCT", "Morphologically Abnormal Structure"),
    "Liver": ("10200004", "SCT", "Liver"),
    "Mass": ("4147007", "SCT", "Mass"),
    "Portal vein": ("32764006", "SCT", "Portal vein"),
}


def write_seg(path: Path, images: list[Path], segments: Mapping[str, np.ndarray], **settings: Any) -> Path:
    """A segmentation object of a CT by highdicom: label → (slice in the order of ``images``, y, x).

    Labels with a code of their own in ``SEGMENT_CODES`` have it, and others are masses. ``settings`` are highdicom's.
    """
    import highdicom
    import pydicom
    from highdicom.seg import Segmentation, SegmentDescription

    sources = [pydicom.dcmread(image) for image in images]
    for source in sources:  # what a scanner writes and these tiny files leave out
        for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
            setattr(source, keyword, "")
        source.FrameOfReferenceUID = "1.2.3.4"
    kind = settings.pop("kind", "BINARY")
    descriptions = [
        SegmentDescription(
            number,
            label,
            highdicom.sr.CodedConcept(*SEGMENT_CODES["tissue" if label in ("Liver", "Portal vein") else "abnormal"]),
            highdicom.sr.CodedConcept(*SEGMENT_CODES.get(label, SEGMENT_CODES["Mass"])),
            "MANUAL",
        )
        for number, label in enumerate(segments, start=1)
    ]
    pixels = np.stack(list(segments.values()), axis=-1)
    if kind == "LABELMAP":
        pixels = (pixels * np.arange(1, pixels.shape[-1] + 1)).max(axis=-1)
    uid = f"1.2.3.8.{int.from_bytes(hashlib.blake2b(str(path).encode(), digest_size=8).digest())}"
    seg = Segmentation(
        sources, pixels.astype(np.float32 if kind == "FRACTIONAL" else np.uint8), kind, descriptions,
        series_instance_uid=f"{uid}.1", series_number=9, sop_instance_uid=uid, instance_number=1,
        manufacturer="nobody", manufacturer_model_name="none", software_versions="1", device_serial_number="1",
        **settings,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return path


def write_liver_patient(folder: Path, key: int, segments: Mapping[str, np.ndarray], patient: str) -> Path:
    """A CT series of 3 slices of 8 × 8 and a segmentation of it, as HCC-TACE-Seg has them."""
    ct = write_slices(folder / "ct", voxels(key, (3, 8, 8)), f"1.2.{key}", ".dcm", PatientID=patient)
    write_seg(folder / "seg" / "1-1.dcm", sorted(ct.iterdir()), segments)
    return folder


def build_tcia_liver(root: Path) -> Fixture:
    liver = (voxels(72, (3, 8, 8)) > 60).astype(np.uint8)
    mass = (1 - liver) * (voxels(75, (3, 8, 8)) > 20)
    segments = {"Liver": liver, "Mass": mass, "Portal vein": (voxels(73, (3, 8, 8)) > 150).astype(np.uint8)}
    write_liver_patient(root / "HCC_002" / "b", 71, segments, "HCC_002")
    write_liver_patient(root / "HCC_002" / "a", 70, segments, "HCC_002")
    write_liver_patient(root / "HCC_010" / "a", 74, segments, "HCC_010")
    names = ("HCC_002-1", "HCC_002-2", "HCC_010")
    ct = voxels(70, (3, 8, 8)) - 1024
    return Fixture(
        TciaLiverData(path=root),
        names,
        ("HCC_002", "HCC_002", "HCC_010"),
        frozenset({"ct"}),
        frozenset({"liver", "tumour", "portal-vein"}),
        (3, 8, 8),
        {"ct": ct},
        root,
        shorter,
    )


def build_lits(root: Path) -> Fixture:
    for key, number in enumerate((28, 3)):
        write_volume(root / "Training Batch 1" / f"volume-{number}.nii", voxels(80 + key))
        write_volume(root / "labels" / f"segmentation-{number}.nii.gz", (voxels(85 + key) % 3).astype(np.uint8))
    names = ("volume-28", "volume-3")
    masks = frozenset({"liver", "tumour"})
    return Fixture(LitsData(path=root), names, names, frozenset({"ct"}), masks, (3, 4, 5), {"ct": voxels(80)}, root)


def write_dataset(root: Path, **content: Any) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def build_decathlon(root: Path) -> Fixture:
    labels = {"0": "background", "1": "edema", "2": "enhancing tumour"}
    write_dataset(root, modality={"0": "FLAIR", "1": "T1w"}, labels=labels, numTraining=2)
    for key, name in enumerate(("BRATS_002", "BRATS_001")):
        both = np.stack([voxels(90 + key), voxels(95 + key)])  # (channel, z, y, x)
        write_volume(root / "imagesTr" / f"{name}.nii.gz", both)
        write_volume(root / "labelsTr" / f"{name}.nii.gz", (voxels(97 + key) % 3).astype(np.uint8))
        (root / "imagesTr" / f"._{name}.nii.gz").write_bytes(b"left by a Mac")
    names = ("BRATS_001", "BRATS_002")
    first = {"flair": voxels(91), "t1w": voxels(96)}
    masks = frozenset({"edema", "enhancing-tumour"})
    return Fixture(DecathlonData(path=root), names, names, frozenset(first), masks, (3, 4, 5), first, root)


def build_nnunet(root: Path) -> Fixture:
    labels = {"background": 0, "liver": [1, 2], "tumour": 2, "ignore": 3}
    write_dataset(root, channel_names={"0": "CT"}, labels=labels, numTraining=2, file_ending=".nii.gz")
    for key, name in enumerate(("liver_12", "liver_1")):
        write_volume(root / "imagesTr" / f"{name}_0000.nii.gz", voxels(100 + key))
        write_volume(root / "labelsTr" / f"{name}.nii.gz", (voxels(105 + key) % 4).astype(np.uint8))
    names = ("liver_1", "liver_12")
    masks = frozenset({"liver", "tumour"})
    return Fixture(NnunetData(path=root), names, names, frozenset({"ct"}), masks, (3, 4, 5), {"ct": voxels(101)}, root)


def build_several(root: Path) -> Fixture:
    """The patients ``p10`` and ``p2`` of two hospitals, and pictures."""
    first, second, pictures = build_nifti(root / "a"), build_nifti(root / "b"), build_images(root / "c")
    write_volume(root / "b" / "p2" / "t1.nii.gz", voxels(99))
    return Fixture(
        SeveralData(parts={"west": second.options, "east": first.options, "x_1": pictures.options}),
        ("east-p10", "east-p2", "west-p10", "west-p2", "x_1-P2", "x_1-P3"),
        ("east-p10", "east-p2", "west-p10", "west-p2", "x_1-P2", "x_1-P3"),
        first.channels,
        first.masks,
        first.shape,
        first.first_voxels,
        root,
    )


BUILDERS: Mapping[str, Callable[[Path], Fixture]] = {
    "brats": build_brats,
    "tcga-lgg": build_tcga,
    "nifti": build_nifti,
    "images": build_images,
    "lidc-nodules": build_lidc,
    "lidc": build_lidc_folder,
    "dicom": build_dicom,
    "ircadb": build_ircadb,
    "tcia-liver": build_tcia_liver,
    "lits": build_lits,
    "decathlon": build_decathlon,
    "nnunet": build_nnunet,
    "several": build_several,
}


@pytest.fixture(params=sorted(BUILDERS))
def source_name(request: pytest.FixtureRequest) -> str:
    """Every source in turn; a source without a builder fails the contract tests."""
    return str(request.param)


@pytest.fixture
def built(source_name: str, tmp_path: Path) -> Fixture:
    """The tiny folder of one source."""
    return BUILDERS[source_name](tmp_path / "data")


@pytest.fixture(scope="session")
def writers() -> SimpleNamespace:
    """The builders and writers of this file, which tests cannot import by name."""
    return SimpleNamespace(
        BUILDERS=BUILDERS,
        LPS=LPS,
        nodule_slices=nodule_slices,
        nodule_cubes=nodule_cubes,
        lidc_line=lidc_line,
        lidc_non_nodule=lidc_non_nodule,
        lidc_nodule=lidc_nodule,
        lidc_outline=lidc_outline,
        lidc_xml=lidc_xml,
        write_ct=write_ct,
        write_dataset=write_dataset,
        write_dicom=write_dicom,
        write_ircadb_patient=write_ircadb_patient,
        write_liver_patient=write_liver_patient,
        write_seg=write_seg,
        write_slices=write_slices,
        write_lidc_patient=write_lidc_patient,
        voxels=voxels,
        write_volume=write_volume,
        write_brats_case=write_brats_case,
        write_tcga_patient=write_tcga_patient,
    )
