"""Stripping: a stripped scan is left alone, a whole head loses its skull, a lesion is never cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from synthoma.errors import ScanError
from synthoma.preprocessing import SkullStrip, is_stripped
from synthoma.records import Grid, Scan

Head = tuple[NDArray[np.float64], NDArray[np.bool_]]


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_finds_the_brain_of_a_drawn_head(head: Head, make_scan: Callable[..., Scan]) -> None:
    image, brain = head
    scan = make_scan({"flair": image, "lesion": np.zeros_like(brain)})
    assert not is_stripped(scan)
    stripped = SkullStrip()(scan)
    body = stripped.masks["body"] > 0
    assert dice(body[2:12], brain[2:12]) > 0.95
    assert np.array_equal(stripped.channels["flair"][body], scan.channels["flair"][body])
    assert len(np.unique(stripped.channels["flair"][~body])) == 1
    assert stripped.notes == ("brain found by watershed",)


def test_a_head_on_a_zero_background_is_still_a_head(head: Head, make_scan: Callable[..., Scan]) -> None:
    image, _ = head
    scan = make_scan({"t1": np.where(image > 8, image, 0.0)})
    cleaned = SkullStrip(extent="head")(scan)
    assert cleaned.notes == ("head found by threshold",)
    cut = np.where(cleaned.masks["body"] > 0, scan.channels["t1"], np.float32(0))
    assert not is_stripped(scan.with_(channels={"t1": cut}))


def test_the_whole_head_can_be_kept(head: Head, make_scan: Callable[..., Scan]) -> None:
    image, brain = head
    scan = SkullStrip(extent="head", keep_outside=True)(make_scan({"t1": image}))
    body = scan.masks["body"] > 0
    assert body[brain].all()
    assert 1.4 < body[5].sum() / brain[5].sum() < 1.8  # (42 / 33)² = 1.62
    assert np.array_equal(scan.channels["t1"], image.astype(np.float32))


@pytest.mark.parametrize("outside", [0.0, -3.6244])
def test_a_stripped_scan_is_untouched(head: Head, make_scan: Callable[..., Scan], outside: float) -> None:
    image, brain = head
    standardised = np.where(brain, (image - 85) / 20, outside)
    assert standardised[brain].min() < 0
    standardised[5, 64, 64] = outside  # a voxel inside that equals the background
    scan = make_scan({"t1": standardised, "t2": np.where(brain, 1 + 0.01 * image, 0), "lesion": image > 1e9})
    assert is_stripped(scan)
    result = SkullStrip()(scan)
    assert all(result.channels[name] is scan.channels[name] for name in scan.channels)
    assert np.array_equal(result.masks["body"] > 0, brain)
    assert list(result.masks) == ["body", "lesion"]
    assert result.notes == ("already stripped (constant background, no skull): intensities left alone",)


def test_the_lesion_belongs_to_the_body(head: Head, make_scan: Callable[..., Scan]) -> None:
    image, brain = head
    lesion = np.zeros_like(brain)
    lesion[6, 60:70, 10:50] = True  # through the skull into the air
    scan = make_scan({"t1": image, "lesion": lesion})
    stripped = SkullStrip()(scan)
    assert (stripped.masks["body"][lesion] == 1).all()
    assert np.array_equal(stripped.channels["t1"][lesion], scan.channels["t1"][lesion])
    assert "% of the lesion lay outside it and was added" in stripped.notes[0]


def test_a_body_mask_of_the_source_is_used(head: Head, make_scan: Callable[..., Scan]) -> None:
    image, brain = head
    scan = SkullStrip()(make_scan({"t1": image, "body": brain}))
    assert np.array_equal(scan.masks["body"] > 0, brain)
    assert scan.notes == ("the body mask of the source is used",)
    assert len(np.unique(scan.channels["t1"][~brain])) == 1


def test_two_runs_agree(head: Head, make_scan: Callable[..., Scan]) -> None:
    scan = make_scan({"t1": head[0]})
    assert np.array_equal(SkullStrip()(scan).masks["body"], SkullStrip()(scan).masks["body"])


def test_bad_input(make_scan: Callable[..., Scan]) -> None:
    blank = make_scan({"t1": np.zeros((4, 32, 32))})
    with pytest.raises(ScanError, match="P1: step skull_strip: expected a brain in the picture, found none"):
        SkullStrip()(blank)
    with pytest.raises(ScanError, match="expected a head in the picture, found none"):
        SkullStrip(extent="head")(blank)
    with pytest.raises(ScanError, match="expected an MR scan, found CT"):
        SkullStrip()(blank.with_(modality="CT"))


def read_nifti(paths: dict[str, Path]) -> dict[str, NDArray[np.float32]]:
    return {name: np.asarray(nibabel.load(path).dataobj).T.astype(np.float32) for name, path in paths.items()}  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("TCGA-FG-6692", {"t1": "TCGA-FG-6692_t1", "t2": "TCGA-FG-6692_t2"}),  # negative values in the brain
        ("brats_2013_pat0001_1", {"flair": "Flair_subtrMeanDivStd"}),  # background −3.6244
    ],
)
def test_stripped_real_scans(shared_data: Path, case: str, names: dict[str, str]) -> None:
    folder = shared_data / "brats" / case
    channels = read_nifti({name: folder / f"{file}.nii.gz" for name, file in names.items()})
    scan = Scan(channels, {}, Grid.unknown(next(iter(channels.values())).shape), case)  # type: ignore[arg-type]
    result = SkullStrip()(scan)
    assert all(result.channels[name] is channels[name] for name in channels)
    assert 0.15 < result.masks["body"].mean() < 0.2
    if case.startswith("brats"):
        truth = read_nifti({"mask": folder / "brainmask.nii.gz"})["mask"] > 0.5
        assert dice(result.masks["body"] > 0, truth) > 0.99
    else:
        assert (result.masks["body"][channels["t2"] < 0] == 1).all()


@pytest.mark.slow
def test_whole_real_heads(shared_data: Path) -> None:
    for patient in ("TCGA_HT_7680_19970202", "TCGA_EZ_7264_20010816"):
        folder = shared_data / "tcga-lgg" / "kaggle_3m" / patient
        count = len(list(folder.glob("*_mask.tif")))
        pictures = np.stack([tifffile.imread(folder / f"{patient}_{k}.tif") for k in range(1, count + 1)])
        lesion = np.stack([tifffile.imread(folder / f"{patient}_{k}_mask.tif") for k in range(1, count + 1)]) > 0
        channels: dict[str, Any] = {name: pictures[..., i].astype(np.float32) for i, name in enumerate(("t1", "flair"))}
        scan = Scan(channels, {"lesion": lesion.astype(np.uint8)}, Grid.unknown(lesion.shape), patient)  # type: ignore[arg-type]
        assert not is_stripped(scan)
        body = SkullStrip()(scan).masks["body"] > 0
        assert body[lesion].all()
        assert 0.1 < body.mean() < 0.3
        middle = body[int(0.6 * count)]
        assert 0.15 < middle.mean() < 0.45
        scalp = (channels["t1"][int(0.6 * count)] > 1.6 * np.median(channels["t1"][int(0.6 * count)][middle])) & middle
        assert scalp.sum() < 0.01 * middle.sum()  # bright fat stays outside


def whole_head(folder: Path) -> Scan:
    """A patient of tcga-lgg; a channel that is a copy of FLAIR was not acquired."""
    count = len(list(folder.glob("*_mask.tif")))
    pictures = np.stack([tifffile.imread(folder / f"{folder.name}_{k}.tif") for k in range(1, count + 1)])
    lesion = np.stack([tifffile.imread(folder / f"{folder.name}_{k}_mask.tif") for k in range(1, count + 1)]) > 0
    channels: dict[str, Any] = {"flair": pictures[..., 1].astype(np.float32)}
    for i, name in ((0, "t1"), (2, "t1ce")):
        if not np.array_equal(pictures[..., i], pictures[..., 1]):
            channels[name] = pictures[..., i].astype(np.float32)
    return Scan(channels, {"lesion": lesion.astype(np.uint8)}, Grid.unknown(lesion.shape), folder.name)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_built_in_keeps_the_tumours_and_removes_the_skull(shared_data: Path) -> None:
    """Over all 24 patients, before the lesion masks are added to the brain, which ``skull_strip`` does at last."""
    lesion_voxels = kept = shell_voxels = shell_kept = 0
    patients = sorted(path for path in (shared_data / "tcga-lgg" / "kaggle_3m").iterdir() if path.is_dir())
    for folder in patients:
        scan = whole_head(folder)
        lesion = scan.masks["lesion"] > 0
        body = SkullStrip(method="builtin")(scan.with_(masks={})).masks["body"] > 0
        lesion_voxels += int(lesion.sum())
        kept += int((lesion & body).sum())
        head = SkullStrip(extent="head")(scan.with_(masks={})).masks["body"] > 0
        middle = round(float(np.nonzero(head)[2].mean()))
        halves = int(body[..., :middle].sum()), int(body[..., middle:].sum())
        assert min(halves) > 0.8 * max(halves), f"{folder.name}: half a brain is lost"
        if "t1" in scan.channels:  # in FLAIR alone the scalp of some is too dark to say where the head ends
            # The frame cuts some heads and is no surface. Five pixels are 4 to 6 mm: skin, fat and outer bone.
            depth = np.stack([distance_transform_edt(np.pad(z, 8, mode="edge"))[8:-8, 8:-8] for z in head])
            shell = head & (depth < 5)
            shell_voxels += int(shell.sum())
            shell_kept += int((shell & body).sum())
    assert len(patients) == 24
    assert kept >= 0.99 * lesion_voxels
    assert shell_kept < 0.015 * shell_voxels
