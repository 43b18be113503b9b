"""The worst that a file can claim, hold or point at: each is refused in time, in little memory, with its message."""

from __future__ import annotations

import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import worst
from outcomes import outcome_of
from seed import BENT, writers
from worst import Build

from synthoma.scans import DicomData, ImagesData, LidcData, NiftiData, dicom_parse, find, lidc_masks, read

ITEM, DEEPER = b"\xfe\xff\x00\xe0\0\0\0\0", b"\x00\x52\x30\x92SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
LAUGHS = '<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
CIRCLE = [(5, 5), (8, 5), (8, 8), (5, 8), (5, 5)]
SQUARE = [(0, 0), (65535, 0), (65535, 65535), (0, 65535), (0, 0)]
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
NIFTI: Mapping[str, tuple[Build, str]] = {
    "claims 200 GB": (worst.nifti((32767, 32767, 100), packed=False), "214735257800 bytes of voxels, found a file of"),
    "packed, claims 200 GB": (worst.nifti((32767, 32767, 100), packed=True), "found a claim of 214,735,258,152"),
    "packed, claims 3 GB": (worst.nifti((1200, 1200, 1000), packed=True), "500 times the packed ones, found a claim"),
    "packed, holds more": (worst.nifti((5, 4, 3), packed=True, behind=2**26), "472 bytes when unpacked, .* many more"),
}
ZIP: Mapping[str, tuple[Build, str]] = {
    "leaves the folder": (worst.archive("../../etc/passwd"), r"stay inside the archive, found '\.\./\.\./etc/passwd'"),
    "absolute": (worst.archive("/etc/passwd"), "names that stay inside the archive"),
    "colours the terminal": (worst.archive("a\x1b[31m"), r"printable letters, found 'a\\x1b\[31m'"),
    "without a name": (worst.archive(""), "names of at most 1000 printable letters, found ''"),
    "five deep": (worst.archive("x", nested=5), "nested no deeper than 3, found one more"),
    "bzip2": (worst.archive("x", packing=zipfile.ZIP_BZIP2), "stored or deflated, found the method 12"),
    "lzma": (worst.archive("x", packing=zipfile.ZIP_LZMA), "stored or deflated, found the method 14"),
    "claims 4 GB": (worst.claiming(2**32 - 2), "at most 500-fold, found .* that become 4,294,967,294"),
    "claims too little": (worst.claiming(5000, factor=30), "cannot be read"),
}
ARRAYS: Mapping[str, tuple[Build, str]] = {
    "stack of 128 GB": (worst.stack((100_000, 400, 400)), "a claim of 128,000,000,000 bytes of numbers in 128"),
    "stack of 2^126": (worst.stack((2**63, 2**63)), "a claim of 680,564,733,841,876,926"),
    "stack of objects": (worst.pickled, "allow_pickle=False"),
    "array of 128 GB": (worst.picture("a.npy", worst.npy((10**5, 160_000))), "a claim of 128,000,000,000 bytes"),
}
PICTURES: Mapping[str, tuple[Build, str]] = {
    "PNG of 60,000²": (worst.picture("a.png", worst.png(60_000, 60_000)), "could be decompression bomb"),
    "PNG of 10,000²": (worst.picture("a.png", worst.png(10_000, 10_000)), "could be decompression bomb"),
    "PNG of much text": (
        worst.picture("a.png", worst.png(4, 4, (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27))))),
        "expected a complete PNG file",
    ),
    "PostScript": (worst.picture("a.png", POSTSCRIPT), "cannot identify image file"),
    "TIFF of 10^12": (worst.picture("a.tif", worst.tiff(10**6, 10**6, 1)), "a claim of 1,000,000,000,000 bytes"),
    "packed TIFF of 10^12": (worst.picture("a.tif", worst.tiff(10**6, 10**6, 8)), "a claim of 1,000,000,000,000 bytes"),
    "TIFF that goes round": (
        worst.picture("a.tif", worst.tiff(4, 2, 1, loops=True)),
        "found the constant 0 in every voxel",
    ),
}
DICOM: Mapping[str, tuple[Build, str]] = {
    "claims 400 GB": (worst.slices(Rows=65535, Columns=65535, NumberOfFrames=50), "found 150 × 65535 × 65535"),
    "deflated": (worst.deflated(160 * 2**20), "a deflated data set that grows at most 500-fold, found more"),
    "20,000 deep": (worst.inserted(DEEPER * 20_000), "maximum recursion depth"),
    "a million items": (worst.inserted(worst.sequence(ITEM * 10**6, known=True)), "a sequence of 1,000,000 items"),
    "a long sequence": (worst.inserted(worst.sequence(bytes(2**26), known=True)), "a sequence of 67,108,864 bytes"),
    "many elements": (worst.inserted(worst.sequence(ITEM * 2**18, known=False)), "more than 5,000 elements"),
    "fine steps": (
        worst.slices(100, BENT, ImagePositionPatient=lambda k: [0, 0, 0.02 * min(k, 30) + 9 * max(k - 30, 0)]),
        "at most 100 times as many, found 100 that become 31081, 0.02 mm apart",
    ),
    "tilted by a kilometre": (
        worst.slices(3, BENT, ImagePositionPatient=lambda k: [0, 4e5 * k, k], PixelSpacing=[1e-3, 1e-3]),
        "at most 4,294,967,296 bytes of voxels when resampled, found 3 × 800000004 × 5",
    ),
    "segmentation of 2^31 frames": (worst.seg_of(2**31 - 1), "a description of each of 2147483647 frames"),
}
XML: Mapping[str, tuple[Build, str]] = {
    "a billion laughs": (worst.with_dtd(LAUGHS), r"declares nothing, found a document type \(DOCTYPE\)"),
    "another file": (worst.with_dtd('<!ENTITY a SYSTEM "file:///etc/passwd">'), "found a document type"),
    "5,000 marks": (worst.outline(CIRCLE, 5000), "at most 2000 marks, found 5000"),
    "a huge outline": (worst.outline(SQUARE), "points in an image of 20 x 16 pixels"),
}
CSV: Mapping[str, tuple[Build, str]] = {
    "a long field": (worst.csv(f"path,patient_id\n{'x' * 200_000},P\n"), "field larger than field limit"),
    "a long name": (worst.csv(f"path,patient_id\n{'x' * 900}.png,P\n"), "1 of 1 files are not there"),
    "a zero": (worst.csv("path,patient_id\na\0.png,P\n"), "printable letters as path in row 2"),
    "colours": (worst.csv("path,patient_id\na.png,\x1b[31mP\n"), "printable letters as patient_id in row 2"),
    "Latin-1": (worst.csv("path,patient_id\n\udce9,P\n"), "a CSV in UTF-8"),
}
WORST = {
    f"{kind}: {name}": case
    for kind, cases in {
        "nifti": NIFTI, "zip": ZIP, "arrays": ARRAYS, "pictures": PICTURES, "dicom": DICOM, "xml": XML, "csv": CSV
    }.items()
    for name, case in cases.items()
}  # fmt: skip


@pytest.mark.parametrize("name", WORST)
def test_the_worst_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("dicom: many elements", "dicom: deflated"):  # seconds otherwise
        monkeypatch.setattr(dicom_parse, "_MOST_READS", 10_000)
    build, message = WORST[name]
    kind, reasons, trace = outcome_of(build(tmp_path / "data", writers()))
    assert kind == "rejected", (reasons, trace)
    assert re.search(message, "\n".join(reasons)), reasons


@pytest.mark.parametrize("way", ["..", "absolute", "link", "folder", "mask"])
def test_a_table_names_no_file_outside_the_folder_unless_allowed(way: str, tmp_path: Path) -> None:
    """Neither by ``..`` nor by an absolute path, nor by a link to a file or folder, nor as a mask."""
    inside, outside = tmp_path / "data", tmp_path / "elsewhere" / "secret.npy"
    inside.mkdir()
    outside.parent.mkdir()
    np.save(outside, np.eye(5))
    np.save(inside / "a.npy", np.arange(25.0).reshape(5, 5))
    (inside / "link.npy").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    named = {"..": "../elsewhere/secret.npy", "absolute": outside, "link": "link.npy", "folder": "folder/secret.npy"}
    row = f"{named[way]},P," if way in named else "a.npy,P,../elsewhere/secret.npy"
    (inside / "images.csv").write_text(f"path,patient_id,mask\n{row}\n")
    kind, (reason,), _ = outcome_of(ImagesData(path=inside))
    assert kind == "rejected"
    assert re.search(r"1 of [12] files lie outside the folder: (secret|link)\.npy", reason)
    assert reason.endswith("\nMove them into it or, if you trust the table, set data.outside=allow.")
    assert outcome_of(ImagesData(path=inside, outside="allow"))[0] == "good"


def test_an_absolute_path_into_the_folder_stays_inside(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(25.0).reshape(5, 5))
    (tmp_path / "images.csv").write_text(f"path,patient_id\n{tmp_path / 'a.npy'},P\n")
    assert outcome_of(ImagesData(path=tmp_path)) == ("good", (), "")


def test_pipes_and_devices_are_passed_over(tmp_path: Path) -> None:
    """Whoever opens a pipe waits for its other end, for ever; ``/dev/zero`` has none."""
    os.mkfifo(tmp_path / "pipe.dcm")
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "zero.dcm").symlink_to("/dev/zero")
    for options in (DicomData(path=tmp_path), NiftiData(path=tmp_path, channels={"t1": "{patient}.nii"})):
        kind, (reason,), _ = outcome_of(options)
        assert kind == "rejected"
        assert "found an empty folder" in reason


def test_a_name_in_another_element_is_not_quoted(tmp_path: Path) -> None:
    """One shifted length, and the parser's complaint would hold the patient's ID."""
    path = writers().write_dicom(tmp_path / "a.dcm", writers().voxels(1, (4, 5)), PatientID="hospital 4711")
    name = b"\x0e\x00hospital 4711 "
    content, count = re.subn(rb"(?s)(?<=\x28\x00\x53\x10DS)(.)\x00[\d. ]+", lambda _: name, path.read_bytes())
    assert count == 1
    path.write_bytes(content)
    kind, (reason,), _ = outcome_of(DicomData(path=tmp_path))
    assert (kind, "4711" in reason) == ("rejected", False)


def test_what_a_nifti_header_does_not_say(tmp_path: Path) -> None:
    """Voxels in a second file, ANALYZE, a lost mark: bytes of the header would be read as voxels."""
    options = NiftiData(path=tmp_path, channels={"t1": "{patient}/t1.nii"})
    path = writers().write_volume(tmp_path / "p" / "t1.nii", writers().voxels(1))
    content = path.read_bytes()
    for mark in (b"ni1\0", b"\0\0\0\0", b"n+7\0"):
        path.write_bytes(content[:344] + mark + content[348:])
        kind, (reason,), _ = outcome_of(options)
        assert kind == "rejected"
        assert "expected a NIfTI file with the mark n+1 or n+2" in reason
    extended = bytearray(content[:348] + b"\1\0\0\0" + struct.pack("<2i", 2**20, 0) + bytes(8) + content[352:])
    struct.pack_into("<f", extended, 108, 368.0)  # the voxels lie behind an extension of 16 bytes that claims more
    path.write_bytes(extended)
    kind, (reason,), _ = outcome_of(options)
    assert kind == "rejected"
    assert "extension" in reason
    struct.pack_into("<i", extended, 352, 15)  # no multiple of 16, which NiBabel warns of
    path.write_bytes(extended)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(find(options).cases[0], options)


def test_masks_that_would_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand nodules of a CT of 300 slices would take 150 GB."""
    monkeypatch.setattr(lidc_masks, "MOST_DECODED_BYTES", 4 * 16 * 20 - 1)
    writers().write_lidc_patient(tmp_path / "LIDC-IDRI-0003", 3, "LIDC-IDRI-0003")
    kind, (reason,), _ = outcome_of(LidcData(path=tmp_path))
    assert kind == "rejected"
    assert "readers' XML of series …1.2.3.5: expected masks of at most 1,279 voxels in all, found 1 nodules" in reason
