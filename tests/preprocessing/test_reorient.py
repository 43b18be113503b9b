"""Reorienting moves indices, never the patient."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from synthoma.preprocessing import Reorient
from synthoma.records import Grid, Scan

CODES = [
    "".join(letters) for axes in itertools.permutations(("LR", "PA", "IS")) for letters in itertools.product(*axes)
]


def scan_on(affine: NDArray[np.float64]) -> Scan:
    shape = (3, 4, 5)
    data = np.arange(60, dtype=np.float32).reshape(shape)
    return Scan({"t1": data}, {"lesion": (data > 40).astype(np.uint8)}, Grid.from_affine(shape, affine), "P1")


def world_of_values(scan: Scan) -> dict[float, NDArray[np.float64]]:
    z, y, x = np.indices(scan.grid.shape).reshape(3, -1)
    world = scan.grid.affine @ np.stack([x, y, z, np.ones_like(x)])
    return dict(zip(scan.channels["t1"].ravel().tolist(), world[:3].T, strict=True))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(CODES), st.sampled_from(CODES), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_every_voxel_keeps_its_world_position(start: str, to: str, tilt: float, turn: float) -> None:
    c, s, d, e = np.cos(tilt), np.sin(tilt), np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, d, -e], [0, e, d]])
    axes = nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(tuple(start)), (5, 4, 3))
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.linalg.inv(axes)[:3, :3].T @ np.diag([0.9, 1.1, 5.0])
    affine[:3, 3] = (12, -7, 3)
    scan = scan_on(affine)
    turned = Reorient(to=to)(scan)
    before, after = world_of_values(scan), world_of_values(turned)
    assert all(np.allclose(before[value], after[value], atol=1e-6) for value in before)
    assert np.array_equal(turned.masks["lesion"], (turned.channels["t1"] > 40).astype(np.uint8))
    back = Reorient(to=scan.grid.orientation)(turned)
    assert np.array_equal(back.channels["t1"], scan.channels["t1"])
    assert back.grid.close_to(scan.grid, 1e-6)


@pytest.mark.parametrize("to", CODES)
def test_agrees_with_nibabel(to: str) -> None:
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    scan = scan_on(affine)
    turned = Reorient(to=to)(scan)
    assert turned.grid.orientation == to
    image = nibabel.Nifti1Image(scan.channels["t1"].T, affine)
    start = nibabel.orientations.io_orientation(affine)
    move = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(tuple(to)))
    expected = image.as_reoriented(move)
    np.testing.assert_array_equal(turned.channels["t1"], np.asarray(expected.dataobj).T)
    np.testing.assert_allclose(turned.grid.affine, expected.affine)


def test_unknown_geometry_and_the_wanted_orientation_are_left_alone() -> None:
    scan = scan_on(np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert Reorient()(scan) is scan
    blind = scan.with_(grid=Grid.unknown(scan.grid.shape))
    assert Reorient(to="RAS")(blind) is blind


@pytest.mark.parametrize("to", ["LPX", "LLS", "LP", "lps", "LPSR"])
def test_codes_that_name_no_orientation_are_refused(to: str) -> None:
    with pytest.raises(ValidationError, match="expected one letter each of L/R, P/A and I/S"):
        Reorient(to=to)
