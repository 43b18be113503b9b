"""Files that claim, hold or point at the worst: each function makes a builder of a folder and its settings."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from synthoma.scans import DicomData, GeometryRule, ImagesData, LidcData, NiftiData, TciaLiverData

Build = Callable[[Path, ModuleType], Any]
"""Of the folder to be made and the writers of the sources' tests."""


def csv(text: str) -> Build:
    """A folder of a table without its pictures."""

    def build(root: Path, _: ModuleType) -> ImagesData:
        root.mkdir(exist_ok=True)
        (root / "images.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
        return ImagesData(path=root)

    return build


def picture(name: str, content: bytes) -> Build:
    """A folder of one picture and its table."""

    def build(root: Path, _: ModuleType) -> ImagesData:
        options = csv(f"path,patient_id\n{name},P\n")(root, _)
        (root / name).write_bytes(content)
        return options

    return build


def npy(shape: tuple[int, ...]) -> bytes:
    """An array without numbers that claims a shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def nifti(dims: tuple[int, int, int], *, packed: bool, behind: int = 0) -> Build:
    """A volume that claims a shape (x, y, z), and zeros behind its voxels."""

    def build(root: Path, writers: ModuleType) -> NiftiData:
        path = writers.write_volume(root / "p" / "t1.nii", writers.voxels(1))
        content = bytearray(path.read_bytes())
        struct.pack_into("<8h", content, 40, 3, *dims, 1, 1, 1, 1)
        content += bytes(behind)
        path.write_bytes(gzip.compress(bytes(content), 1) if packed else bytes(content))
        return NiftiData(path=root, channels={"t1": "{patient}/t1.nii"})

    return build


def archive(*names: str, content: bytes = b"x", packing: int = zipfile.ZIP_STORED, nested: int = 0) -> Build:
    """An archive of members with these names, as often in archives as ``nested`` says."""

    def build(root: Path, _: ModuleType) -> DicomData:
        data = content
        for depth in range(nested + 1):
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w", packing) as made:
                for name in names if depth == 0 else ["inner.zip"]:
                    made.writestr(zipfile.ZipInfo(name), data, packing)
            data = stream.getvalue()
        root.mkdir(exist_ok=True)
        (root / "a.zip").write_bytes(data)
        return DicomData(path=root)

    return build


def claiming(size: int, factor: int = 1) -> Build:
    """An archive whose directory claims another size of its member, which is ``factor`` MiB of zeros."""

    def build(root: Path, writers: ModuleType) -> DicomData:
        options = archive("x.dcm", content=bytes(factor * 2**20), packing=zipfile.ZIP_DEFLATED)(root, writers)
        content = bytearray((root / "a.zip").read_bytes())
        struct.pack_into("<I", content, content.rfind(b"PK\x01\x02") + 24, size)
        (root / "a.zip").write_bytes(content)
        return options

    return build


def stack(shape: tuple[int, ...]) -> Build:
    """An ``.npz`` whose array claims a shape."""

    def build(root: Path, _: ModuleType) -> ImagesData:
        root.mkdir()
        with zipfile.ZipFile(root / "a.npz", "w") as made:
            made.writestr("image.npy", npy(shape))
        return ImagesData(path=root / "a.npz")

    return build


def pickled(root: Path, _: ModuleType) -> ImagesData:
    root.mkdir()
    np.savez(root / "a.npz", image=np.array([{}], dtype=object))
    return ImagesData(path=root / "a.npz")


def png(width: int, height: int, *extra: tuple[bytes, bytes], data: bytes = b"") -> bytes:
    """A grey picture that claims a size."""
    chunks = [
        (b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)),
        *extra,
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    ]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(width: int, height: int, compression: int, *, loops: bool = False) -> bytes:
    """A grey picture of eight bytes that claims a size; its directory is followed by itself if it ``loops``."""
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, compression),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 8),
    ]
    packed = b"".join(struct.pack("<2HII", tag, kind, 1, value) for tag, kind, value in entries)
    return (
        b"II*\0"
        + struct.pack("<I", 16)
        + bytes(8)
        + struct.pack("<H", len(entries))
        + packed
        + struct.pack("<I", 16 if loops else 0)
    )


def slices(count: int = 3, rule: GeometryRule | None = None, **elements: Any) -> Build:
    """A series whose headers have other elements; functions give one a slice."""

    def build(root: Path, writers: ModuleType) -> DicomData:
        for k in range(count):
            given = {name: value(k) if callable(value) else value for name, value in elements.items()}
            writers.write_dicom(root / f"{k}.dcm", writers.voxels(k, (4, 5)), **{"SOPInstanceUID": f"1.2.{k}", **given})
        return DicomData(path=root, geometry=rule or GeometryRule())

    return build


def inserted(piece: bytes) -> Build:
    """A slice with more elements before its pixels."""

    def build(root: Path, writers: ModuleType) -> DicomData:
        path = writers.write_dicom(root / "a.dcm", writers.voxels(1, (4, 5)))
        content = path.read_bytes()
        at = content.index(b"\xe0\x7f\x10\x00OW")
        path.write_bytes(content[:at] + piece + content[at:])
        return DicomData(path=root)

    return build


def deflated(size: int) -> Build:
    """A data set that is inflated to ``size`` bytes of zeros."""

    def build(root: Path, writers: ModuleType) -> DicomData:
        from pydicom.uid import DeflatedExplicitVRLittleEndian

        path = writers.write_dicom(root / "a.dcm", writers.voxels(1, (4, 5)), syntax=DeflatedExplicitVRLittleEndian)
        content = path.read_bytes()
        end = 144 + int.from_bytes(content[140:144], "little")
        packer = zlib.compressobj(9, wbits=-15)
        path.write_bytes(
            content[:end] + b"".join(packer.compress(bytes(2**20)) for _ in range(size >> 20)) + packer.flush()
        )
        return DicomData(path=root)

    return build


def sequence(items: bytes, *, known: bool) -> bytes:
    """The frames' functional groups, of known or undefined length."""
    end = b"" if known else b"\xfe\xff\xdd\xe0\0\0\0\0"
    return b"\x00\x52\x30\x92SQ\0\0" + struct.pack("<I", len(items) if known else 2**32 - 1) + items + end


def seg_of(frames: int) -> Build:
    """A segmentation that claims so many frames."""

    def build(root: Path, writers: ModuleType) -> TciaLiverData:
        import pydicom

        writers.build_tcia_liver(root)
        for path in root.rglob("1-1.dcm"):
            data = pydicom.dcmread(path)
            data.NumberOfFrames = frames
            data.save_as(path)
        return TciaLiverData(path=root)

    return build


def reading(content: Callable[[ModuleType, str], str]) -> Build:
    """A patient whose XML is another; it is made of the writers and the UID of the series."""

    def build(root: Path, writers: ModuleType) -> LidcData:
        folder = writers.write_lidc_patient(root / "LIDC-IDRI-0003", 3, "LIDC-IDRI-0003")
        (folder / "003.xml").write_text(content(writers, "1.2.3.5"))
        return LidcData(path=root)

    return build


def with_dtd(declared: str) -> Build:
    return reading(
        lambda writers, uid: (
            writers.lidc_xml(uid)
            .replace("?>\n", f"?>\n<!DOCTYPE LidcReadMessage [{declared}]>\n")
            .replace("1.8.1", "&a;")
        )
    )


def outline(points: list[tuple[int, int]], marks: int = 1) -> Build:
    def content(writers: ModuleType, uid: str) -> str:
        return writers.lidc_xml(
            uid, writers.lidc_nodule("n", writers.lidc_outline(points, f"{uid}.2", -97.5), 3) * marks
        )

    return reading(content)
