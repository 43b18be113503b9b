"""Tiny folders of every source, and what writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from synthoma.options import Options
from synthoma.scans import BratsData, ImagesData, NiftiData, TcgaLggData

LPS = np.array([[-1.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 3.0, -5], [0, 0, 0, 1]])
SUFFIXES_2021 = {"t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "flair": "_flair"}
SUFFIXES_2023 = {"t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "flair": "-t2f"}


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
    return Fixture(options, ("p10", "p2"), ("p10", "p2"), frozenset(both), masks, (3, 4, 5), both)


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
    )


BUILDERS: Mapping[str, Callable[[Path], Fixture]] = {
    "brats": build_brats,
    "tcga-lgg": build_tcga,
    "nifti": build_nifti,
    "images": build_images,
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
        voxels=voxels,
        write_volume=write_volume,
        write_brats_case=write_brats_case,
        write_tcga_patient=write_tcga_patient,
    )
