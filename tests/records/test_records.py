"""The objects that flow through the house."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthoma.records import Grid, Lineage, Measurement, Scan


def rotations() -> st.SearchStrategy[np.ndarray]:
    """Signed permutations with a small tilt: how scanners lay their axes."""

    def build(order: tuple[int, ...], signs: list[int], tilt: float) -> np.ndarray:
        base = np.zeros((3, 3))
        for column, row in enumerate(order):
            base[row, column] = signs[column]
        turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
        return turn @ base

    return st.builds(
        build,
        st.permutations([0, 1, 2]).map(tuple),
        st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3),
        st.floats(-0.3, 0.3),
    )


@given(
    rotations(),
    st.tuples(*[st.floats(0.3, 8)] * 3),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.tuples(*[st.integers(1, 20)] * 3),
)
def test_a_grid_keeps_the_affine_it_was_made_from(
    rotation: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...], shape: tuple[int, int, int]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.asarray(spacing)
    affine[:3, 3] = origin
    grid = Grid.from_affine(shape, affine)
    np.testing.assert_allclose(grid.affine, affine, atol=1e-9)
    np.testing.assert_allclose(grid.spacing_mm[::-1], spacing)
    assert grid.orientation == "".join(nibabel.aff2axcodes(affine))
    again = Grid.from_json(json.loads(json.dumps(grid.to_json())))
    assert again.close_to(grid, 1e-9)
    assert again.known


def test_grids_differ_by_where_they_lie_and_not_by_rounding() -> None:
    grid = Grid.from_affine((10, 20, 30), np.diag([1.0, 1, 2, 1]))
    moved, nudged = np.diag([1.0, 1, 2, 1]), np.diag([1.0, 1, 2, 1])
    moved[0, 3], nudged[0, 3] = 0.5, 0.001
    assert not grid.close_to(Grid.from_affine((10, 20, 30), moved))
    assert grid.close_to(Grid.from_affine((10, 20, 30), nudged))
    assert not grid.close_to(Grid.from_affine((10, 20, 31), np.diag([1.0, 1, 2, 1])))


def test_a_picture_without_geometry_says_so() -> None:
    grid = Grid.unknown((1, 4, 5))
    assert not grid.known
    assert grid.orientation == "LPS"
    assert not Grid.from_json(grid.to_json()).known


@pytest.mark.parametrize(
    ("channels", "masks", "message"),
    [
        ({"t1": np.zeros((2, 3, 4), np.float64)}, {}, "expected float32, found float64"),
        ({"t1": np.zeros((2, 3, 5), np.float32)}, {}, r"expected shape \(2, 3, 4\), found \(2, 3, 5\)"),
        ({}, {"body": np.zeros((2, 3, 4), bool)}, "expected uint8, found bool"),
    ],
)
def test_a_scan_refuses_arrays_that_do_not_fit(channels: dict, masks: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scan(channels=channels, masks=masks, grid=Grid.unknown((2, 3, 4)), patient="p")


def test_a_measurement_is_a_number_or_nothing() -> None:
    fields = {"low": None, "high": None, "n_images": 1, "n_patients": 1, "arm": "synthetic"}
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            Measurement("ssim", bad, **fields)
    kept = Measurement("ssim", None, **fields)
    assert Measurement.from_json(json.loads(json.dumps(kept.to_json()))) == kept


def test_equal_work_has_an_equal_lineage() -> None:
    def made(**changes: object) -> Lineage:
        fields = {"parents": ["a"], "recipe": {"x": 1}, "seed": 3, "patients_seen": ["p2", "p1", "p1"]}
        return Lineage.of("train", **(fields | changes))  # type: ignore[arg-type]

    first = made()
    assert first == made(patients_seen=["p1", "p2"])
    assert first.patients_seen == ("p1", "p2")
    assert len({first.id, made(seed=4).id, made(recipe={"x": 2}).id, made(parents=["b"]).id}) == 4
    assert Lineage.from_json(json.loads(json.dumps(first.to_json()))) == first
