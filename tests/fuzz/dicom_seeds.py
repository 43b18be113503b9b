"""Seeds of DICOM: images in several encodings, and segmentations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from seed import BENT, Seed, built, victims, writers

from synthoma.scans import DicomData, SeriesChoice, TciaLiverData

__all__ = ["dicom", "seg"]


def dicom(root: Path) -> Iterator[Seed]:
    """Plain, compressed, deflated and multi-frame files, by every source that reads DICOM images."""
    yield built("dicom", root / "plain", "*", geometry=BENT)
    yield built(
        "dicom",
        root / "study",
        "*",
        channels={"ct": SeriesChoice(modality="CT"), "mr": SeriesChoice(modality="MR")},
        align="resample",
    )
    yield built("lidc", root / "lidc", "*.dcm", geometry=BENT)
    yield built("ircadb", root / "ircadb", "image_*", geometry=BENT)
    yield Seed(built("tcia-liver", root / "liver", "*").options, victims(root / "liver", "image_*"))
    for name in ("RLELossless", "JPEGLSLossless", "JPEG2000Lossless", "DeflatedExplicitVRLittleEndian"):
        yield compressed(root / name, name)
    yield multiframe(root / "frames")
    yield from published(root / "published")


def compressed(root: Path, name: str) -> Seed:
    """A series of three slices in one transfer syntax."""
    import pydicom
    from pydicom import uid

    writers().write_slices(root, writers().voxels(7, (3, 32, 32)), "1.2.77", ".dcm")
    for path in victims(root, "*.dcm"):
        data = pydicom.dcmread(path)
        if name.startswith("Deflated"):
            data.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
        else:
            data.compress(getattr(uid, name), generate_instance_uid=False)
        data.save_as(path)
    return Seed(DicomData(path=root), victims(root, "*.dcm"))


def multiframe(root: Path) -> Seed:
    """An enhanced MR of four frames, whose positions and slopes are their own."""
    from pydicom import Dataset

    def one(**elements: Any) -> list[Dataset]:
        item = Dataset()
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        return [item]

    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence = one(PixelSpacing=[0.5, 0.5], SliceThickness=2)
    shared.PlaneOrientationSequence = one(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    for z in range(4):
        frame = Dataset()
        frame.PlanePositionSequence = one(ImagePositionPatient=[0, 0, 2 * z])
        frame.PixelValueTransformationSequence = one(RescaleSlope=1 + z, RescaleIntercept=0, RescaleType="US")
        frames.append(frame)
    absent = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
    writers().write_dicom(
        root / "frames.dcm",
        writers().voxels(8, (4, 6, 7)),
        **dict.fromkeys(absent),
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1",
        Modality="MR",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
    return Seed(DicomData(path=root, geometry=BENT), victims(root, "*.dcm"))


def published(root: Path) -> Iterator[Seed]:
    """Small files that pydicom comes with: other encodings, lossy JPEG, a plan, a report.

    Nuclear medicine and screen captures, which no source reads, are declared to be MR: their encodings count here.
    """
    import pydicom

    encodings = ("JPEG2000", "JPEG-lossy", "JPGExtended", "693_J2KI", "JPEGLSNearLossless_08", "JPEGLSNearLossless_16")
    small = (
        "MR_small",
        *(f"MR_small_{end}" for end in ("RLE", "bigendian", "implicit", "jp2klossless", "jpeg_ls_lossless")),
    )
    others = ("image_dfl", "rtplan", "reportsi", "ExplVR_BigEnd", "liver_1frame", "SC_rgb_jpeg", "nested_priv_SQ")
    for name in (*small, *encodings, *others):
        source = Path(pydicom.__file__).parent / "data" / "test_files" / f"{name}.dcm"
        if not source.is_file():
            continue
        path = root / name / source.name
        path.parent.mkdir(parents=True)
        path.write_bytes(source.read_bytes())
        if name in encodings:
            data = pydicom.dcmread(path)
            data.SOPClassUID, data.Modality, data.ImageType = "1.2.840.10008.5.1.4.1.1.4", "MR", ["ORIGINAL", "PRIMARY"]
            data.save_as(path)
        yield Seed(DicomData(path=path.parent, geometry=BENT), (path,))


def seg(root: Path) -> Iterator[Seed]:
    """Segmentation objects: of bits, fractions and label maps."""
    yield built("tcia-liver", root / "bits", "1-1.dcm")
    yield built("dicom", root / "any", "SEG1", masks={"lesion": ("mass",), "liver": (1,)}, align="resample")
    for kind in ("FRACTIONAL", "LABELMAP"):
        folder = root / kind.lower()
        images = writers().write_slices(folder / "ct", writers().voxels(70, (3, 8, 8)), "1.2.70", ".dcm", PatientID="A")
        mask = {"Mass": (writers().voxels(71, (3, 8, 8)) > 100).astype(np.float32)}
        writers().write_seg(folder / "seg.dcm", sorted(images.iterdir()), mask, kind=kind)
        yield Seed(TciaLiverData(path=folder, geometry=BENT), (folder / "seg.dcm",))
