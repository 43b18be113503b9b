"""The box around a region, and the body of a CT without its table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from synthoma.errors import ScanError
from synthoma.preprocessing import BodyMask, CropRoi, Normalise
from synthoma.records import Grid, Scan

DIRECTION = ((0.0, 0.0, 1.0), (0.6, 0.8, 0.0), (-0.8, 0.6, 0.0))


def abdomen(make_scan: Callable[..., Scan], **fields: Any) -> Scan:
    shape = (12, 40, 50)
    masks = {name: np.zeros(shape, dtype=bool) for name in ("liver", "tumour-1", "tumour-2")}
    masks["liver"][4:9, 10:30, 5:25] = True
    masks["tumour-1"][5:7, 12:16, 8:12] = True
    masks["tumour-2"][10, 35:38, 44:48] = True
    ct = np.random.default_rng(0).normal(50, 20, shape)
    ct[:, [0, -1]] = ct[:, :, [0, -1]] = -1024
    grid = Grid(shape, (2.0, 0.5, 1.0), (3.0, -20.0, 7.0), DIRECTION)
    basic: dict[str, Any] = {"grid": grid, "organs": ("liver",), "modality": "CT", "unit": "HU"}
    return make_scan({"ct": ct, **masks}, **(basic | fields))


def test_a_crop_keeps_voxels_and_places(make_scan: Callable[..., Scan]) -> None:
    scan = abdomen(make_scan)
    liver = CropRoi(around="liver", margin_mm=2)(scan)
    assert liver.grid.shape == (7, 28, 24)  # one slice, four rows, two columns around 5 × 20 × 20
    assert np.array_equal(liver.channels["ct"], scan.channels["ct"][3:10, 6:34, 3:27])
    assert np.allclose(liver.grid.affine @ [0, 0, 0, 1], scan.grid.affine @ [3, 6, 3, 1])
    assert np.allclose(liver.grid.affine[:, :3], scan.grid.affine[:, :3])
    assert liver.masks["tumour-1"].sum() == scan.masks["tumour-1"].sum()
    assert liver.notes == ("tumour-2: outside the box around liver",)
    assert np.shares_memory(liver.channels["ct"], scan.channels["ct"]), "nothing is copied"
    for around in ("lesion", "tumour"):
        both = CropRoi(around=around, margin_mm=0)(scan)
        assert both.grid.shape == (6, 26, 40)
        assert both.notes == ()
    assert CropRoi(around="tumour-2", margin_mm=0)(scan).grid.shape == (1, 3, 4)
    assert CropRoi(around="liver", margin_mm=1000)(scan).grid == scan.grid


def test_a_box_of_fixed_size_is_centred_and_padded(make_scan: Callable[..., Scan]) -> None:
    scan = abdomen(make_scan)
    box = CropRoi(around="tumour-2", margin_mm=0, size_mm=(None, 10.0, 12.0))(scan)
    assert box.grid.shape == (1, 20, 12)
    y, x = (np.flatnonzero(box.masks["tumour-2"].any(axis=axes)) for axes in ((0, 2), (0, 1)))
    assert abs(y.mean() - 9.5) <= 0.5
    assert abs(x.mean() - 5.5) <= 0.5
    assert (box.channels["ct"][0, -3:] == -1024).all()
    voxel = [x[0], y[0], 0, 1]
    assert np.allclose(box.grid.affine @ voxel, scan.grid.affine @ [44, 35, 10, 1])
    normalised = Normalise(method="window", window=(-100, 200))(scan)
    assert CropRoi(around="tumour-2", size_mm=40)(normalised).channels["ct"][-1, -1, -1] == -1


def test_what_cannot_be_cropped_around(make_scan: Callable[..., Scan]) -> None:
    scan = abdomen(make_scan)
    with pytest.raises(ScanError, match="step crop_roi: expected a mask 'spleen' to crop around, found the masks l"):
        CropRoi(around="spleen")(scan)
    empty = scan.with_(masks={**scan.masks, "spleen": np.zeros(scan.grid.shape, np.uint8)})
    with pytest.raises(ScanError, match="expected a mask 'spleen' to crop around, found an empty one"):
        CropRoi(around="spleen")(empty)
    with pytest.raises(ScanError, match="expected a mask 'lesion' to crop around"):
        CropRoi()(scan.with_(organs=tuple(scan.masks)))
    with pytest.raises(ValidationError, match="size_mm"):
        CropRoi(size_mm=(1, 2))


Drawn = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]


def drawn(kind: str, n: int = 160) -> Drawn:
    """A CT in Hounsfield, its true body, and its table: a thorax with lungs, an abdomen with bowel gas, a head.

    They lie on a curved table top, hard outside and soft within, which touches the back.
    """
    y, x = np.indices((n, n)) - n / 2
    body = np.stack([(x / 60) ** 2 + (y / (44 - abs(z - 4))) ** 2 < 1 for z in range(8)])
    if kind == "head":
        body = np.stack([(x / 36) ** 2 + (y / (46 - 2 * abs(z - 4))) ** 2 < 1 for z in range(8)])
    ct = np.where(body, 40.0, -1000.0)
    if kind == "thorax":
        for side in (-26, 26):
            ct[:, ((x - side) / 20) ** 2 + (y / 22) ** 2 < 1] = -870
    elif kind == "abdomen":
        ct[:, (x - 15) ** 2 + (y + 20) ** 2 < 80] = -1000
        ct[:, (x + 10) ** 2 + (y + 10) ** 2 < 30] = -990
    else:
        ring = np.hypot(x / 36, y / 46)
        ct[:, (ring > 0.8) & (ring < 0.9)] = 1200
    bed = y + 0.004 * x**2 - (44 if kind != "head" else 46)
    table = ((bed > 1) & (bed < 2.6)) | ((bed > 14) & (bed < 15.6))
    foam = (bed >= 2.6) & (bed <= 14)
    outside = ~body
    ct[:, table] = np.where(outside[:, table], 300, ct[:, table])
    ct[:, foam] = np.where(outside[:, foam], -920, ct[:, foam])
    ct = gaussian_filter(ct, (0, 0.6, 0.6)) + np.random.default_rng(1).normal(0, 15, ct.shape)
    return ct, body, outside & (table | foam)[None]


@pytest.mark.parametrize("kind", ["thorax", "abdomen", "head"])
@pytest.mark.parametrize("length_mm", [0.8, 2.5])
def test_the_body_is_found_without_its_table(make_scan: Callable[..., Scan], kind: str, length_mm: float) -> None:
    ct, body, table = drawn(kind, 160)
    scale = 1 if length_mm < 2 else 3  # the same patient in coarser pixels
    ct, body, table = (array[:, ::scale, ::scale] for array in (ct, body, table))
    grid = Grid(ct.shape, (5.0, 2.4 / 3 * scale, 2.4 / 3 * scale), (0.0, 0.0, 0.0), DIRECTION)
    scan = make_scan({"ct": ct}, grid=grid, modality="CT", unit="HU")
    found = BodyMask()(scan)
    mask = found.masks["body"] > 0
    assert (mask & body).sum() > 0.995 * body.sum(), "nothing is eaten, lungs and gas are inside"
    rim = body & ~np.stack([gaussian_filter(slice_.astype(float), 1) > 0.97 for slice_ in body])
    assert (mask & rim).sum() > 0.97 * rim.sum(), "the skin stays"
    assert (mask & table).sum() < 0.06 * table.sum(), "the table goes, but for where the back lies on it"
    assert (mask & ~body).sum() < 0.03 * body.sum()
    assert found.channels["ct"] is scan.channels["ct"]
    assert found.notes[0].startswith("body found by threshold, ")


def test_lesions_belong_to_the_body_and_a_body_that_came_is_kept(make_scan: Callable[..., Scan]) -> None:
    ct, body, _ = drawn("abdomen")
    lesion = np.zeros(body.shape, dtype=bool)
    lesion[2, 5:9, 5:9] = True
    grid = Grid(ct.shape, (5.0, 0.8, 0.8), (0.0, 0.0, 0.0), DIRECTION)
    fields: dict[str, Any] = {"grid": grid, "modality": "CT", "unit": "HU"}
    found = BodyMask()(make_scan({"ct": ct, "nodule-1": lesion}, **fields))
    assert found.masks["body"][lesion].all()
    kept = BodyMask()(make_scan({"ct": ct, "body": lesion}, **fields))
    assert np.array_equal(kept.masks["body"] > 0, lesion)
    assert kept.notes == ("the body mask of the source is used",)


def test_a_body_that_cannot_be_found(make_scan: Callable[..., Scan]) -> None:
    air = make_scan({"ct": np.full((2, 32, 32), -1000.0)}, modality="CT", unit="HU")
    with pytest.raises(ScanError, match="P1: step body_mask: expected a body above -500 HU, found none"):
        BodyMask()(air)
    with pytest.raises(ScanError, match="step body_mask: expected a CT scan in Hounsfield units, found a MR scan"):
        BodyMask()(make_scan({"t1": np.ones((2, 32, 32))}))
    with pytest.raises(ScanError, match="found values normalised before"):
        BodyMask()(air.with_(intensity={"ct": (0.0, 1.0)}))
