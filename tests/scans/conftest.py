"""Tiny folders of every source, and what writes them."""

from __future__ import annotations

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
from synthoma.scans import BratsData, ImagesData, LidcNodulesData, NiftiData, SeveralData, TcgaLggData

LPS = np.array([[-1.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 3.0, -5], [0, 0, 0, 1]])
SUFFIXES_2021 = {"t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "flair": "_flair"}
SUFFIXES_2023 = {"t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "flair": "-t2f"}


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


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
        voxels=voxels,
        write_volume=write_volume,
        write_brats_case=write_brats_case,
        write_tcga_patient=write_tcga_patient,
    )
