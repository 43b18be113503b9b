"""The phantom liver before it is written: anatomy where anatomy is, in the Hounsfield units of the phase."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from synthoma.phantoms.abdomen import render_abdomen
from synthoma.phantoms.abdomen_shapes import Grid, Space, ellipsoid, join, meet, paint, path, smooth_field, tube
from synthoma.phantoms.liver import SITES, LiverParameters, LiverPhantomOptions, LiverScan, draw, render
from synthoma.phantoms.liver_lesion import draw_lesion

PATIENTS = 4
OPTIONS = LiverPhantomOptions(patients=PATIENTS, seed=5, size=96, spacing_mm=5.0, tumour_free=0.0)


@pytest.fixture(scope="module")
def drawn() -> list[LiverParameters]:
    return [draw(OPTIONS, index) for index in range(PATIENTS)]


@pytest.fixture(scope="module")
def scans(drawn: list[LiverParameters]) -> list[LiverScan]:
    return [render(parameters, OPTIONS.size, OPTIONS.spacing_mm) for parameters in drawn]


def _millilitres(mask: np.ndarray, scan: LiverScan) -> float:
    return float(mask.sum() * np.prod(scan.spacing_mm) / 1000)


def test_liver_has_the_volume_and_the_density_of_livers(scans: list[LiverScan], drawn: list[LiverParameters]) -> None:
    for scan, parameters in zip(scans, drawn, strict=True):
        liver = scan.masks["liver"]
        assert 800 < _millilitres(liver | scan.masks["mass"], scan) < 2600
        inside = ndimage.binary_erosion(liver, iterations=2)
        assert np.median(scan.hu[inside]) == pytest.approx(parameters.abdomen.organs.liver_hu, abs=6)


def test_liver_is_one_piece_on_the_right(scans: list[LiverScan]) -> None:
    for scan in scans:
        whole = scan.masks["liver"] | scan.masks["mass"] | scan.masks["portal-vein"]
        labels, _ = ndimage.label(whole)
        assert np.bincount(labels.ravel())[1:].max() > 0.97 * scan.masks["liver"].sum()
        x = scan.origin_mm[0] + np.arange(whole.shape[2]) * scan.spacing_mm[2]
        by_column = scan.masks["liver"].sum(axis=(0, 1))
        assert by_column[x < 0].sum() > 3 * by_column[x > 0].sum() > 0  # x grows to the left of the patient


def test_aorta_lies_left_of_the_spine_and_is_as_bright_as_veins(
    scans: list[LiverScan], drawn: list[LiverParameters]
) -> None:
    for scan, parameters in zip(scans, drawn, strict=True):
        aorta = scan.masks["abdominal-aorta"]
        assert aorta.any(axis=(1, 2)).all()  # from top to bottom
        x = scan.origin_mm[0] + np.nonzero(aorta)[2].mean() * scan.spacing_mm[2]
        assert 3 < x < 25
        core = ndimage.binary_erosion(aorta)
        assert np.median(scan.hu[core]) == pytest.approx(parameters.abdomen.trunk.blood_hu, abs=10)


def test_no_voxel_has_two_labels(scans: list[LiverScan]) -> None:
    for scan in scans:
        for a, b in itertools.combinations(scan.masks.values(), 2):
            assert not (a & b).any()


def test_carcinomas_lie_inside_the_liver_apart_from_each_other(scans: list[LiverScan]) -> None:
    for scan in scans:
        assert scan.lesions
        organ = scan.masks["liver"] | scan.masks["mass"] | scan.masks["portal-vein"]
        for lesion in scan.lesions:
            rim = ndimage.binary_dilation(lesion, iterations=1) & ~lesion
            assert (rim & organ).sum() > 0.8 * rim.sum()  # large veins and the liver's own surface may be next to it
            assert ndimage.label(lesion)[1] == 1
        both = np.sum([ndimage.binary_dilation(lesion) for lesion in scan.lesions], axis=0)
        assert both.max() == 1
        np.testing.assert_array_equal(scan.masks["mass"], np.any(scan.lesions, axis=0))


def test_carcinomas_are_washed_out_and_as_large_as_drawn(scans: list[LiverScan], drawn: list[LiverParameters]) -> None:
    for scan, parameters in zip(scans, drawn, strict=True):
        liver_hu = parameters.abdomen.organs.liver_hu
        for lesion, wanted in zip(scan.lesions, parameters.lesions, strict=True):
            ball = np.pi / 6 * wanted.diameter_mm**3 * np.prod(wanted.stretch) / 1000
            assert 0.5 * ball < _millilitres(lesion, scan) < 1.5 * ball
            if wanted.diameter_mm > 25:
                depth = ndimage.distance_transform_edt(lesion, sampling=scan.spacing_mm)
                core = scan.hu[depth > 0.6 * depth.max()]
                assert core.mean() < liver_hu - 0.5 * wanted.washout_hu


def test_a_patient_may_be_free_of_tumour() -> None:
    options = LiverPhantomOptions(tumour_free=1.0)
    assert all(draw(options, index).lesions == () for index in range(20))
    some = LiverPhantomOptions(tumour_free=0.3)
    free = [not draw(some, index).lesions for index in range(300)]
    assert 0.2 < np.mean(free) < 0.4


def test_diameters_are_log_normal_within_the_bounds() -> None:
    rng = np.random.default_rng(0)
    diameters = np.array([draw_lesion(rng, 0, 10.0, 80.0).diameter_mm for _ in range(2000)])
    assert (diameters.min(), diameters.max()) == (10.0, 80.0)
    inner = np.log(diameters[(diameters > 10) & (diameters < 80)])
    assert np.median(np.log(diameters)) == pytest.approx(np.log(28), abs=0.05)
    assert abs(float(((inner - inner.mean()) ** 3).mean() / inner.std() ** 3)) < 0.2  # as many halved as doubled


def test_tissues_have_their_hounsfield_units(scans: list[LiverScan]) -> None:
    for scan in scans:
        body = ndimage.binary_fill_holes(ndimage.binary_opening(scan.hu[5] > -300, iterations=2))
        inside = scan.hu[5][body]
        fat = inside[(inside > -160) & (inside < -60)]
        soft = inside[(inside > 20) & (inside < 100)]
        assert np.median(fat) == pytest.approx(-100, abs=8)
        assert np.median(soft) == pytest.approx(60, abs=12)
        lungs = (scan.hu[-2] > -960) & (scan.hu[-2] < -700)
        assert lungs.mean() > 0.15
        assert (scan.hu > 300).any(axis=(1, 2)).all()  # bone on every slice
        corner = scan.hu[:, 0, 0]
        assert (corner == -2048).all()


def test_patients_differ_and_one_repeats(scans: list[LiverScan], drawn: list[LiverParameters]) -> None:
    again = render(drawn[1], OPTIONS.size, OPTIONS.spacing_mm)
    np.testing.assert_array_equal(again.hu, scans[1].hu)
    for name, mask in again.masks.items():
        np.testing.assert_array_equal(mask, scans[1].masks[name])
    for a, b in itertools.combinations(scans, 2):
        assert np.abs(a.hu.astype(float) - b.hu).mean() > 50
    assert [parameters.scan.site for parameters in drawn] == [SITES["A"], SITES["B"]] * 2


def test_sites_differ_in_noise(scans: list[LiverScan]) -> None:
    noise = []
    for scan in scans:
        inside = ndimage.binary_erosion(scan.masks["liver"], iterations=2)
        step = np.diff(scan.hu.astype(float), axis=0)[inside[1:] & inside[:-1]]
        noise.append(1.4826 * np.median(np.abs(step)))
    assert min(noise[1::2]) > max(noise[::2])


def test_another_seed_draws_another_patient() -> None:
    assert draw(LiverPhantomOptions(seed=1), 0) != draw(LiverPhantomOptions(seed=2), 0)
    assert draw(LiverPhantomOptions(seed=1, patients=1), 0) == draw(LiverPhantomOptions(seed=1, patients=99), 0)


def test_sizes_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"smallest_mm \(50\) must not be above largest_mm \(20\)"):
        LiverPhantomOptions(smallest_mm=50, largest_mm=20)


def test_anatomy_renders_on_a_small_grid_too(drawn: list[LiverParameters]) -> None:
    grid = Grid((3, 40, 48), (8.0, 8.0, 8.0), (-190.0, -200.0, 0.0))
    abdomen = render_abdomen(drawn[0].abdomen, grid)
    assert np.isfinite(abdomen.hu).all()
    assert abdomen.hu.min() >= -1000


GRID = Grid((30, 40, 36), (2.0, 1.5, 1.5), (-26.0, -29.0, -29.0))


def _straight() -> Space:
    return Space(0, GRID, bend_mm=0.0, ripple_mm=0.0)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(8, 24)] * 3), st.floats(-90, 90))
def test_ellipsoid_is_zero_on_its_surface_and_holds_its_volume(radii, turn_deg: float) -> None:
    a, b, c = radii
    angles = np.deg2rad(turn_deg)
    for u, v in ((0.3, 0.2), (1.4, -0.7), (2.9, 1.1)):
        x, y, z = a * np.cos(u) * np.cos(v), b * np.sin(u) * np.cos(v), c * np.sin(v)
        turned = x * np.cos(angles) - y * np.sin(angles), x * np.sin(angles) + y * np.cos(angles), z
        point = tuple(np.full((1, 1, 1), value, np.float32) for value in turned)
        assert ellipsoid(point, (0, 0, 0), radii, turn_deg=turn_deg)[0, 0, 0] == pytest.approx(0, abs=1e-3)
    xyz = _straight().at((slice(None), slice(None), slice(None)))
    volume = (ellipsoid(xyz, (0, 0, 0), radii) < 0).sum() * np.prod(GRID.spacing_mm)
    assert volume == pytest.approx(4 / 3 * np.pi * a * b * c, rel=0.06)


def test_distance_to_a_ball_is_exact() -> None:
    xyz = _straight().at((slice(None), slice(None), slice(None)))
    found = ellipsoid(xyz, (1.0, 2.0, -3.0), (9.0, 9.0, 9.0))
    x, y, z = xyz
    np.testing.assert_allclose(found, np.sqrt((x - 1) ** 2 + (y - 2) ** 2 + (z + 3) ** 2) - 9, atol=2e-4)


def test_tube_is_a_cylinder_with_round_ends() -> None:
    space = _straight()
    box, distance = tube(space, path([(0, 0, -10), (0, 0, 10)], 4.0), 5.0)
    x, y, z = space.at(box)
    expected = np.sqrt(x**2 + y**2 + np.maximum(np.abs(z) - 10, 0) ** 2) - 5
    np.testing.assert_allclose(distance, np.minimum(expected, 6.0), atol=1e-3)  # unknown beyond the margin


def test_path_passes_through_its_points() -> None:
    course = path([(0, 0, 0), (30, 0, 0), (30, 30, 0)], 1.0)
    for point in ((0, 0, 0), (30, 0, 0), (30, 30, 0)):
        assert np.linalg.norm(course - point, axis=1).min() < 0.6


@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(0.5, 8))
def test_join_and_meet_round_towards_the_inside_and_the_outside(a: float, b: float, width: float) -> None:
    first, second = np.full(1, a, np.float32), np.full(1, b, np.float32)
    joined, met = join(first, second, width)[0], meet(first, second, width)[0]
    assert min(a, b) - width / 4 - 1e-5 <= joined <= min(a, b) + 1e-5
    assert max(a, b) - 1e-5 <= met <= max(a, b) + width / 4 + 1e-5
    if abs(a - b) >= width:
        assert (joined, met) == (np.float32(min(a, b)), np.float32(max(a, b)))


def test_paint_mixes_over_the_edge() -> None:
    image = np.zeros(5, np.float32)
    paint(image, np.array([-2, -0.5, 0, 0.5, 2], np.float32), 100.0, 2.0)
    np.testing.assert_allclose(image, [100, 75, 50, 25, 0])


def test_fields_have_unit_variance_and_do_not_depend_on_the_grid() -> None:
    fields = [smooth_field(seed, "x", GRID, 5.0) for seed in range(12)]
    assert np.mean(fields) == pytest.approx(0, abs=0.1)
    assert np.mean(np.square(fields)) == pytest.approx(1, abs=0.1)
    box = (slice(3, 9), slice(10, 30), slice(5, 6))
    np.testing.assert_allclose(smooth_field(1, "x", GRID, 5.0, box), fields[1][box], atol=1e-6)
    coarse = Grid((10, 20, 18), (6.0, 3.0, 3.0), GRID.first_mm)
    np.testing.assert_allclose(smooth_field(1, "x", coarse, 5.0), fields[1][::3, ::2, ::2], atol=1e-5)
