"""Seeds of every format."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from dicom_seeds import dicom, seg
from seed import BENT, Seed, built, victims, writers

from synthoma.scans import BratsData, DicomData, ImagesData, IrcadbData, LidcData, NiftiData, TciaLiverData

__all__ = ["FORMATS"]


def nifti(root: Path) -> Iterator[Seed]:
    """``.nii`` and ``.nii.gz`` by every source that reads them."""
    yield built("brats", root / "brats", "*.nii*", align="resample", orientation="others")
    yield built("nifti", root / "nifti", "*.nii*", align="resample")
    yield built("nifti", root / "refuse", "*.nii*")
    for name in ("lits", "decathlon", "nnunet", "several"):
        yield built(name, root / name, "*.nii*")
    import nibabel

    for kind in (nibabel.Nifti2Image, nibabel.Nifti1Image):
        folder = root / kind.__name__
        (folder / "p").mkdir(parents=True)
        for name in ("t1.nii", "seg.nii"):
            image = kind(writers().voxels(3).T.astype(np.int16), writers().LPS)
            image.header.set_slope_inter(2, -10)
            image.to_filename(folder / "p" / name)
        options = NiftiData(path=folder, channels={"t1": "{patient}/t1.nii"}, masks={"lesion": "{patient}/seg.nii"})
        yield Seed(options, victims(folder, "*.nii"))


def tiff(root: Path) -> Iterator[Seed]:
    """Slices of the LGG set, and other encodings by a table."""
    import tifffile
    from PIL import Image

    yield built("tcga-lgg", root / "lgg", "*.tif")
    pictures: dict[str, Callable[[Path], Any]] = {}
    grey = writers().voxels(9, (40, 50), "uint16")
    for how in ("tiff_lzw", "tiff_deflate", "packbits", "tiff_jpeg", None):
        kind = np.uint8 if how == "tiff_jpeg" else np.uint16
        pictures[f"{how}.tif"] = lambda path, how=how, kind=kind: Image.fromarray(grey.astype(kind)).save(
            path, compression=how
        )
    pictures["big.tif"] = lambda path: tifffile.imwrite(path, grey, bigtiff=True, tile=(16, 16))
    pictures["float.tif"] = lambda path: tifffile.imwrite(path, grey.astype(">f4"), byteorder=">")
    yield from tabled(root, pictures)


def png(root: Path) -> Iterator[Seed]:
    """PNG of 8 and 16 bits, grey, with a palette and an opaque alpha, and JPEG."""
    from PIL import Image

    grey = Image.fromarray(writers().voxels(9, (20, 30), "uint8"))
    yield built("images", root / "images", "*.png")
    yield from tabled(
        root,
        {
            "grey.png": grey.save,
            "sixteen.png": Image.fromarray(writers().voxels(9, (20, 30), "uint16") * 300).save,
            "colours.png": grey.convert("RGBA").save,
            "palette.png": grey.convert("P").save,
            "bit.png": grey.convert("1").save,
            "a.jpg": grey.save,
            "progressive.jpg": lambda path: grey.convert("RGB").save(path, progressive=True),
        },
    )


def tabled(root: Path, pictures: Mapping[str, Callable[[Path], Any]]) -> Iterator[Seed]:
    """A folder a picture, each with a table that names it."""
    for name, save in pictures.items():
        folder = root / f"of-{name}"
        folder.mkdir(parents=True)
        save(folder / name)
        (folder / "images.csv").write_text(f"path,patient_id\n{name},P\n")
        yield Seed(ImagesData(path=folder, colour="luminance"), (folder / name,))


def xml(root: Path) -> Iterator[Seed]:
    """The readers' XML of LIDC-IDRI."""
    yield built("lidc", root / "lidc", "*.xml", geometry=BENT)
    yield built("lidc", root / "all", "*.xml", consensus_of="all", min_readers=2, indeterminate="drop")


def zips(root: Path) -> Iterator[Seed]:
    """Folders in archives, and archives in archives."""
    for name, builder, options in (
        ("dicom", "dicom", DicomData),
        ("lidc", "lidc", LidcData),
        ("ircadb", "ircadb", IrcadbData),
        ("liver", "tcia-liver", TciaLiverData),
    ):
        built(builder, root / f"{name}.loose", "*")
        content = packed(root / f"{name}.loose")
        (root / name).mkdir()
        (root / name / "all.zip").write_bytes(content)
        yield Seed(options(path=root / name), (root / name / "all.zip",))
    (root / "twice").mkdir()
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("3Dircadb1.5/inner.zip"), content)
    (root / "twice" / "outer.zip").write_bytes(outer.getvalue())
    yield Seed(DicomData(path=root / "twice"), (root / "twice" / "outer.zip",))


def packed(folder: Path) -> bytes:
    """A zip of a folder, with fixed dates."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in victims(folder, "*"):
            archive.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix()), path.read_bytes())
    return stream.getvalue()


def table(root: Path) -> Iterator[Seed]:
    """Tables of pictures, of sites (TSV), and ``dataset.json``."""
    yield built("images", root / "images", "*.csv")
    stack = root / "stack"
    stack.mkdir(parents=True)
    np.savez(stack / "a.npz", image=writers().voxels(1, (4, 5, 6)))
    (stack / "a.csv").write_text("patient_id;slice;label;site\nP;0;a;\nP;1;a;\nQ;0;b;x\nR;;c;y\n")
    yield Seed(ImagesData(path=stack / "a.npz", table=stack / "a.csv"), (stack / "a.csv",))
    options = built("brats", root / "brats", "*.nii").options
    (root / "brats" / "participants.tsv").write_text("participant_id\tsite\nBraTS2021_00002\tnorth\nx\tsouth\n")
    assert isinstance(options, BratsData)
    yield Seed(options, (root / "brats" / "participants.tsv",))
    for name in ("decathlon", "nnunet"):
        yield built(name, root / name, "dataset.json")


def npz(root: Path) -> Iterator[Seed]:
    """Stacks of arrays, packed and not, and single arrays."""
    yield built("lidc-nodules", root / "nodules", "segmented_slices64.npz")
    options = writers().build_lidc(root / "cubes").options
    yield Seed(options.model_copy(update={"set": "cubes"}), (root / "cubes" / "cubes48.npz",))
    plain = root / "plain"
    plain.mkdir()
    np.savez(
        plain / "a.npz",
        image=writers().voxels(1, (4, 5, 6)),
        lesion=np.eye(6)[None, :5].repeat(4, 0),
        patient_id=np.array(["P", "Q", "P", "Q"]),
        slice=np.arange(4.0),
    )
    yield Seed(ImagesData(path=plain / "a.npz", mask_arrays={"lesion": "lesion"}), (plain / "a.npz",))
    yield from tabled(root, {"a.npy": lambda path: np.save(path, writers().voxels(2, (5, 6), "float64"))})


FORMATS: Mapping[str, Callable[[Path], Iterator[Seed]]] = {
    "dicom": dicom,
    "seg": seg,
    "nifti": nifti,
    "tiff": tiff,
    "png": png,
    "xml": xml,
    "zip": zips,
    "table": table,
    "npz": npz,
}
"""Format → its seeds, written below a folder."""
