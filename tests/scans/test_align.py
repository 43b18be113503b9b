"""Channels on different grids: refused, resampled, registered."""

from __future__ import annotations

import re

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

from synthoma.errors import ScanError
from synthoma.records import Grid
from synthoma.scans import BratsData, NiftiData, find, read
from synthoma.scans.align import align, image_of, resampled
from synthoma.scans.volumes import Volume


def rotation(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rodrigues' formula."""
    unit = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -unit[2], unit[1]], [unit[2], 0, -unit[0]], [-unit[1], unit[0], 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def grid_of(shape, spacing_mm, axis=(0, 0, 1), degrees=0.0, origin=(0, 0, 0), flips=(1, 1, 1)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = rotation(axis, degrees) @ np.diag(np.asarray(spacing_mm) * flips)
    affine[:3, 3] = origin
    return Grid.from_affine(shape, affine)


axes = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1)
grids = st.builds(
    grid_of,
    st.tuples(*[st.integers(1, 7)] * 3),
    st.tuples(*[st.floats(0.3, 8)] * 3),
    axes,
    st.floats(-180, 180),
    st.tuples(*[st.floats(-500, 500)] * 3),
    st.tuples(*[st.sampled_from((-1, 1))] * 3),
)


@given(grid=grids)
@settings(max_examples=100, deadline=None)
def test_geometry_is_that_of_simpleitk(grid):
    """Every corner lies where SimpleITK says, to 0.001 mm; its world is LPS."""
    image = image_of(np.zeros(grid.shape, np.float32), grid)
    for corner in np.ndindex(2, 2, 2):
        index = [int(end * (n - 1)) for end, n in zip(corner, grid.shape[::-1], strict=True)]
        point = np.asarray(image.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
        np.testing.assert_allclose(point, (grid.affine @ (*index, 1))[:3], atol=1e-3)


@given(grid=grids, onto=grids, offset=st.tuples(*[st.floats(-3, 3)] * 3))
@settings(max_examples=60, deadline=None)
def test_resampled_values_are_those_of_scipy(grid, onto, offset):
    """By the affines alone and another interpolator; voxels near the border are left out, where rules differ."""
    affine = onto.affine
    affine[:3, 3] = grid.affine[:3, 3] + offset
    onto = Grid.from_affine(onto.shape, affine)
    array = np.random.default_rng(1).normal(size=grid.shape).astype(np.float32)
    found, _ = resampled(array, grid, onto, mask=False)
    assert found.shape == onto.shape
    where = np.stack([*np.indices(onto.shape)[::-1].reshape(3, -1), np.ones(found.size)])
    index = (np.linalg.inv(grid.affine) @ onto.affine @ where)[:3]
    last = np.asarray(grid.shape[::-1])[:, None] - 1
    inside = ((index >= 1e-3) & (index <= last - 1e-3)).all(axis=0)
    outside = ((index < -0.501) | (index > last + 0.501)).any(axis=0)
    expected = map_coordinates(array, index[::-1], order=1, mode="nearest")
    np.testing.assert_allclose(found.ravel()[inside], expected[inside], atol=1e-4)
    np.testing.assert_array_equal(found.ravel()[outside], array.min())


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "int32", "int64", "float32", ">f4", "float64", "bool"])
def test_masks_keep_their_values_and_type(dtype):
    labels = np.random.default_rng(2).integers(0, 2, (4, 5, 6)).astype(dtype)
    grid, finer = grid_of((4, 5, 6), (1, 1, 1)), grid_of((8, 10, 12), (0.5, 0.5, 0.5), origin=(-0.25, -0.25, -0.25))
    found, inside = resampled(labels, grid, finer, mask=True)
    np.testing.assert_array_equal(found, labels.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert found.dtype == labels.dtype
    assert inside == 1


def volume(array: np.ndarray, grid: Grid) -> Volume:
    return Volume(array, grid, "")


def test_equal_grids_are_left_alone(writers):
    grid = grid_of((3, 4, 5), (1, 2, 3))
    volumes = {"t1": volume(writers.voxels(1), grid), "t2": volume(writers.voxels(2), grid)}
    for how in ("refuse", "resample", "register"):
        found, notes = align("P", volumes, (), how)
        assert found == volumes
        assert notes == ()


def test_refusing_names_the_grids_and_the_way_out(writers):
    volumes = {
        "t1": volume(writers.voxels(1), grid_of((3, 4, 5), (1, 2, 3))),
        "t2": volume(writers.voxels(2), grid_of((3, 4, 5), (1, 2, 3), origin=(1, 0, 0))),
    }
    with pytest.raises(ScanError, match=r"P: expected t2 on the grid of t1 .*origin \(1, 0, 0\).*\n.*data\.align"):
        align("P", volumes, (), "refuse")


def test_resampling_says_what_it_did_and_what_is_not_covered(writers):
    first = grid_of((4, 4, 4), (1, 1, 1))
    half = grid_of((4, 4, 2), (1, 1, 1), origin=(2, 0, 0))
    volumes = {
        "t1": volume(writers.voxels(1, (4, 4, 4)), first),
        "t2": volume(writers.voxels(2, (4, 4, 2)), half),
        "seg": volume(np.ones((4, 4, 2), np.uint8), half),
    }
    found, notes = align("P", volumes, ("seg",), "resample")
    assert notes == (
        "t2 resampled (linear) onto the grid of t1, 50.0% of which it does not cover",
        "seg resampled (nearest) onto the grid of t1, 50.0% of which it does not cover",
    )
    np.testing.assert_array_equal(found["t2"].array[..., 2:], volumes["t2"].array)
    np.testing.assert_array_equal(found["seg"].array, np.broadcast_to([0, 0, 1, 1], (4, 4, 4)))
    assert {one.grid for one in found.values()} == {first}


def test_places_without_anything_in_common_are_refused(writers):
    volumes = {
        "t1": volume(writers.voxels(1), grid_of((3, 4, 5), (1, 1, 1))),
        "t2": volume(writers.voxels(2), grid_of((3, 4, 5), (1, 1, 1), origin=(246, 0, 0))),
    }
    with pytest.raises(ScanError, match=r"P: expected t2 at the place of t1, found 0% of it in common by the headers"):
        align("P", volumes, (), "resample")


def head(shape: tuple[int, int, int], grid: Grid, seed: int = 3) -> np.ndarray:
    """Blobs in an ellipsoid, as a function of the world: the same anatomy on any grid."""
    rng = np.random.default_rng(seed)
    centres, widths = rng.uniform(-22, 22, (14, 3)), rng.uniform(4, 9, 14)
    index = np.stack([*np.indices(shape)[::-1].reshape(3, -1), np.ones(int(np.prod(shape)))])
    world = (grid.affine @ index)[:3].T
    inside = ((world / (34, 40, 30)) ** 2).sum(axis=1) < 1
    blobs = sum(
        weight * np.exp(-((world - centre) ** 2).sum(axis=1) / (2 * width**2))
        for centre, width, weight in zip(centres, widths, rng.uniform(0.3, 1, 14), strict=True)
    )
    return (inside * (0.4 + blobs)).reshape(shape).astype(np.float32)


@pytest.fixture(scope="module")
def moved() -> tuple[dict[str, Volume], np.ndarray, np.ndarray]:
    """T1, and T2 of the same head that turned by 6 degrees and went 5 mm, in other contrast; both headers are naive."""
    first, second = (
        grid_of((36, 48, 44), (2, 2, 2), origin=(-43, -47, -35)),
        grid_of((28, 44, 40), (2, 2, 2.5), origin=(-40, -44, -34)),
    )
    turn, shift = rotation((1, 2, -1), 6), np.array([3.0, -4.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ second.affine[:3, :3], turn @ second.affine[:3, 3] + shift
    anatomy = head(second.shape, Grid.from_affine(second.shape, affine))
    noise = np.random.default_rng(4).normal(0, 0.01, (2, *first.shape)).astype(np.float32)
    t1 = head(first.shape, first) + noise[0]
    t2 = np.where(anatomy > 0, 1.6 - anatomy, 0).astype(np.float32) + noise[1][:28, :44, :40]
    label = (anatomy > 0.9).astype(np.uint8)
    volumes = {"t1": volume(t1, first), "t2": volume(t2, second), "seg": volume(label, second)}
    return volumes, turn, shift


def test_registration_finds_the_motion_and_carries_the_mask(moved):
    volumes, _, _ = moved
    found, notes = align("P", volumes, ("seg",), "register")
    truth = head(volumes["t1"].grid.shape, volumes["t1"].grid)
    mask, expected = found["seg"].array > 0, truth > 0.9
    overlap = 2 * np.sum(mask & expected) / (mask.sum() + expected.sum())
    unmoved, _ = resampled(volumes["seg"].array, volumes["seg"].grid, volumes["t1"].grid, mask=True)
    before = 2 * np.sum((unmoved > 0) & expected) / (unmoved.sum() + expected.sum())
    assert overlap > 0.9 > before + 0.1
    assert "t2 registered to t1: 6.0" in notes[0] or "t2 registered to t1: 5.9" in notes[0]
    assert "moved with t2" in notes[2]
    inner = gaussian_filter((truth > 0).astype(float), 2) > 0.99
    assert np.abs(found["t2"].array - (1.6 - truth))[inner].mean() < 0.05


@pytest.mark.slow
def test_registration_repeats(moved):
    """To rounding: the metric sums in an order that the machine's load may change."""
    volumes, _, _ = moved
    (one, notes), (other, again) = (align("P", volumes, ("seg",), "register") for _ in range(2))
    assert notes == again
    scale = float(np.abs(one["t2"].array).max())
    np.testing.assert_allclose(one["t2"].array, other["t2"].array, rtol=0, atol=1e-5 * scale)


def test_registration_starts_from_the_middles_where_headers_share_nothing(moved):
    volumes, _, _ = moved
    far = volumes["t2"].grid.affine
    far[:3, 3] += (0, 0, 246)
    there = volume(volumes["t2"].array, Grid.from_affine(volumes["t2"].grid.shape, far))
    found, notes = align("P", {"t1": volumes["t1"], "t2": there}, (), "register")
    up_mm = float(re.search(r", ([\d.-]+)\) mm", notes[0])[1])
    assert abs(up_mm - 245) < 1  # the head itself went up by 1 mm
    assert found["t2"].grid == volumes["t1"].grid


def test_an_absurd_registration_is_refused(monkeypatch, moved):
    volumes, _, _ = moved
    monkeypatch.setattr("synthoma.scans.align._LARGEST_TURN_DEG", 2.0)
    with pytest.raises(ScanError, match=r"P: expected t2 that registers to t1 by at most 2 degrees .*, found [56]\.\d"):
        align("P", volumes, ("seg",), "register")


def test_images_that_cannot_be_registered_are_refused():
    grid, other = grid_of((8, 8, 8), (1, 1, 1)), grid_of((8, 8, 8), (1, 1, 1), origin=(0.5, 0, 0))
    flat = {"t1": volume(np.ones((8, 8, 8), np.float32), grid), "t2": volume(np.ones((8, 8, 8), np.float32), other)}
    with pytest.raises(ScanError, match=r"P: expected t2 that can be registered to t1, found"):
        align("P", flat, (), "register")


@pytest.mark.parametrize("source", ["brats", "nifti"])
def test_sources_align_when_told(writers, tmp_path, source):
    writers.write_brats_case(tmp_path, "P", 1, (1, 2, 4))
    shifted = writers.LPS.copy()
    shifted[2, 3] += 3.0  # one slice
    writers.write_volume(tmp_path / "P_t2.nii.gz", writers.voxels(9), shifted)
    channels = {"t1": "{patient}_t1.nii.gz", "t2": "{patient}_t2.nii.gz"}
    nifti = {"channels": channels, "masks": {"seg": "{patient}_seg.nii.gz"}}
    make = BratsData if source == "brats" else NiftiData
    settings = {} if source == "brats" else nifti
    with pytest.raises(ScanError, match=r"data\.align"):
        read(find(make(path=tmp_path, **settings)).cases[0], make(path=tmp_path, **settings))
    options = make(path=tmp_path, align="resample", **settings)
    scan = read(find(options).cases[0], options)
    np.testing.assert_array_equal(scan.channels["t2"][1:], writers.voxels(9)[:-1])
    assert any("resampled (linear)" in note for note in scan.notes)
    np.testing.assert_allclose(scan.grid.affine, writers.LPS)


def test_simpleitk_reads_the_same_affine(writers, tmp_path):
    """The file itself, read by SimpleITK: the same world as the grid that we read."""
    affine = np.eye(4)
    affine[:3, :3] = rotation((1, 1, 0), 25) @ np.diag([1, 2, 3])
    affine[:3, 3] = (5, -6, 7)
    writers.write_volume(tmp_path / "a.nii.gz", writers.voxels(1), affine)
    image = SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))
    ours = image_of(writers.voxels(1), Grid.from_affine((3, 4, 5), affine))
    for one, other in ((image.GetOrigin(), ours.GetOrigin()), (image.GetDirection(), ours.GetDirection())):
        np.testing.assert_allclose(one, other, atol=1e-4)
