"""Tilted, uneven and incomplete series: refused with the figures, or resampled so that every voxel is in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from synthoma.errors import ScanError
from synthoma.scans import DicomData, find, read
from synthoma.scans.dicom import DicomVolume, GeometryRule, find_series, read_series
from synthoma.scans.dicom_resample import resample

RESAMPLE = GeometryRule(irregular="resample")
MR = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}


def volume_of(root: Path, rule: GeometryRule) -> DicomVolume:
    (series,), left_out = find_series(root)
    assert not left_out
    return read_series(series, rule)


def refusal(root: Path, rule: GeometryRule | None = None) -> str:
    with pytest.raises(ScanError) as caught:
        volume_of(root, rule or GeometryRule())
    return str(caught.value)


def write_at(writers, root: Path, heights: list[float], stored: np.ndarray | None = None, shift: float = 0, **elements):
    """Axial slices at z ``heights``, each ``shift`` mm further to the back for each mm of z."""
    stored = writers.voxels(21, (len(heights), 4, 5)) if stored is None else stored
    for k, z in enumerate(heights):
        position = [0, shift * (z - heights[0]), z]
        writers.write_dicom(root / f"{k:03}", stored[k], ImagePositionPatient=position, InstanceNumber=k, **elements)
    return stored


@pytest.mark.parametrize(
    ("heights", "shift", "said"),
    [
        ([0, 2, 4, 8, 10, 16], 0, "3 slices missing (steps of 2.00 mm, the widest, 6.00 mm, after slice 5 of 6)"),
        ([0, 2, 4, 7.1, 9], 0, "uneven steps of 1.90 to 3.10 mm (median 2.00 mm; the widest, 3.10 mm, after slice 3"),
        ([0, 2, 4, 6], 0.25, "a gantry tilt of 14.0° (the slices shift sideways by 1.50 mm over 6.00 mm)"),
        ([0, 1.14, 8.52, 15.9], 0.1, "a gantry tilt of 5.7° (the slices shift sideways by 1.59 mm over 15.90 mm); "),
    ],
)
def test_what_is_wrong_is_said_with_figures(writers, tmp_path, heights, shift, said):
    write_at(writers, tmp_path, heights, shift=shift)
    text = refusal(tmp_path)
    assert text.startswith(f"{tmp_path}: expected evenly spaced slices at right angles, found {said}")
    assert text.endswith(
        "\nMake it an even grid with data.geometry.irregular=resample, or take the slices as they are with "
        "data.geometry.irregular=keep."
    )


def test_slices_can_be_kept_as_they_are(writers, tmp_path):
    stored = write_at(writers, tmp_path, [0, 2, 4, 8, 10, 46], shift=0.25)
    volume = volume_of(tmp_path, GeometryRule(irregular="keep"))
    assert np.array_equal(volume.array, stored.astype(np.float32) - 1024)
    assert volume.grid.spacing_mm[0] == pytest.approx(2.0)
    assert len(set(volume.sop_uids)) == 6
    assert volume.notes[-1].startswith("slices kept as they are, as if they lay 2.00 mm apart: a gantry tilt of 14.0°")


def test_different_slices_at_one_place_are_not_kept(writers, tmp_path):
    write_at(writers, tmp_path, [0, 2, 2, 4])
    assert "4 different slices at 3 places" in refusal(tmp_path, GeometryRule(irregular="keep"))


def test_within_the_tolerance_slices_are_in_their_places(writers, tmp_path):
    """Positions rounded to 0.1 mm, and a tilt of 0.05 mm in all."""
    stored = write_at(writers, tmp_path, [0, 0.6, 1.3, 1.9, 2.5], shift=0.02)
    volume = volume_of(tmp_path, GeometryRule())
    np.testing.assert_array_equal(volume.array, stored - 1024)
    assert volume.grid.spacing_mm[0] == pytest.approx(0.625)
    assert "uneven steps" in refusal(tmp_path, GeometryRule(tolerance_mm=0.01))


def test_missing_slices_are_interpolated_and_the_others_stay(writers, tmp_path):
    stored = write_at(writers, tmp_path, [0, 2, 4, 8, 14], **MR)
    volume = volume_of(tmp_path, RESAMPLE)
    real = stored.astype(np.float64) - 1024
    assert volume.grid.shape == (8, 4, 5)
    for made, kept in {0: 0, 1: 1, 2: 2, 4: 3, 7: 4}.items():
        np.testing.assert_array_equal(volume.array[made], real[kept])
        assert volume.frames[made] == 1
    np.testing.assert_allclose(volume.array[3], (real[2] + real[3]) / 2, atol=1e-3)
    np.testing.assert_allclose(volume.array[5], (2 * real[3] + real[4]) / 3, atol=1e-3)
    assert [bool(uid) for uid in volume.sop_uids] == [True, True, True, False, True, False, False, True]
    np.testing.assert_allclose(volume.positions, [[0, 0, 2 * k] for k in range(8)])
    assert any("resampled onto 8 slices 2.00 mm apart: 3 slices missing" in note for note in volume.notes)


def test_wide_gaps_are_not_filled(writers, tmp_path):
    write_at(writers, tmp_path, [0, 2, 4, 6, 20])
    said = refusal(tmp_path, RESAMPLE)
    assert "expected gaps of at most 10 mm to interpolate over, found 14.00 mm after slice 4 of 5" in said
    wide = GeometryRule(irregular="resample", longest_gap_mm=14)
    assert volume_of(tmp_path, wide).grid.shape == (11, 4, 5)


def test_one_thin_slice_among_thick_ones_decides_nothing(writers, tmp_path):
    """As in the head CT of 4 and 7 mm slices: the step is 7 mm, and what does not reach is said."""
    stored = write_at(writers, tmp_path, [0, 1, 8, 15, 22, 29, 36], **MR)
    volume = volume_of(tmp_path, RESAMPLE)
    assert volume.grid.spacing_mm[0] == 7
    np.testing.assert_array_equal(volume.array, stored[1:] - 1024)
    np.testing.assert_allclose(volume.positions, [[0, 0, z] for z in (1, 8, 15, 22, 29, 36)])
    assert any("; 1.00 mm at the ends are not covered" in note for note in volume.notes)


@st.composite
def skewed(draw):
    """Rotation, in-plane spacing (y, x), steps along the normal, sideways shift a step (y, x), origin."""
    numbers = st.floats(-1, 1, allow_nan=False)
    quaternion = np.array(draw(st.tuples(*[numbers] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)))
    spacing = draw(st.tuples(st.floats(0.4, 2), st.floats(0.4, 2)))
    steps = draw(st.lists(st.floats(0.5, 9), min_size=3, max_size=6))
    shift = np.array(draw(st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6))))
    origin = np.array(draw(st.tuples(*[st.floats(-100, 100)] * 3)))
    return Rotation.from_quat(quaternion).as_matrix(), spacing, steps, shift, origin


@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=skewed())
def test_a_resampled_volume_is_right_to_a_thousandth_mm(writers, tmp_path_factory, place):
    """Slices of an image that is a coordinate of the world itself: interpolation must give each voxel its own."""
    rotation, (dy, dx), steps, shift, origin = place
    row, column = rotation[0], rotation[1]
    normal = np.cross(row, column)
    along = np.concatenate([[0], np.cumsum(steps)])
    where = origin + along[:, None] * (normal + shift[0] * column + shift[1] * row)
    root = tmp_path_factory.mktemp("skewed")
    direction = np.array([0.3, -0.5, 0.8])
    y, x = np.mgrid[:6, :7]
    for k, position in enumerate(where.round(8)):
        world = position + x[..., None] * dx * row + y[..., None] * dy * column
        writers.write_dicom(
            root / str(k),
            np.rint((world @ direction + 500) * 1e5).astype(np.int32),
            ImagePositionPatient=position.tolist(),
            ImageOrientationPatient=rotation[:2].ravel().round(12).tolist(),
            PixelSpacing=[dy, dx],
            **MR | {"RescaleSlope": 1e-5, "RescaleIntercept": -500},
        )
    rule = GeometryRule(irregular="resample", tolerance_mm=1e-3)
    volume = volume_of(root, rule)
    assert (np.diff(np.asarray(volume.positions) @ normal) > 0).all()
    k, r, c = np.nonzero(~volume.outside)
    ras = (volume.grid.affine @ np.stack([c, r, k, np.ones(len(k))]))[:3]
    expected = direction @ (ras * np.array([[-1], [-1], [1]]))
    np.testing.assert_allclose(volume.array[k, r, c], expected, atol=1e-3)
    assert len(k) > 0
    np.testing.assert_allclose(volume.grid.direction[0] * np.array([-1, -1, 1]), normal, atol=1e-6)


def test_the_tilt_of_a_ct_leaves_no_air_inside_and_padding_at_its_edges(writers, tmp_path):
    """A block of 100 HU, tilted: what no slice covers is outside and −1024 HU, what all cover is 100 HU."""
    stored = np.full((4, 12, 5), 1124, np.int16)
    write_at(writers, tmp_path, [0, 2, 4, 6], stored, shift=0.75)
    volume = volume_of(tmp_path, RESAMPLE)
    assert volume.grid.shape == (4, 17, 5)
    assert set(np.unique(volume.array[volume.outside])) == {-1024}
    assert set(np.unique(volume.array[~volume.outside])) == {100}
    assert [int((~slice_[:, 0]).sum()) for slice_ in volume.outside] == [12, 11, 12, 11]  # half a row at both ends
    assert volume.grid.orientation == "LPS"


def test_masks_take_the_same_way(writers, tmp_path):
    """``resampling`` and ``source_uids`` are what a mask on the slices needs to come along."""
    stored = write_at(writers, tmp_path, [0, 2, 4, 8], shift=0.5, **MR)
    volume = volume_of(tmp_path, RESAMPLE)
    assert volume.resampling is not None
    assert [frame for _, frame in volume.source_uids] == [1] * 4
    again = resample((stored - 1024).astype(np.float32), volume.resampling, 0)
    np.testing.assert_array_equal(again[~volume.outside], volume.array[~volume.outside])


def test_the_tilted_head_ct(shared_data):
    """mr-ct: 18.5 degrees, a 4 mm slice before 7 mm slices."""
    root = shared_data / "mr-ct/head-dicom/CT"
    said = refusal(root)
    assert "a gantry tilt of 18.5° (the slices shift sideways by 28.46 mm over 85.06 mm)" in said
    assert "uneven steps of 1.08 to 7.00 mm (median 7.00 mm" in said
    options = DicomData(path=root, geometry=RESAMPLE)
    (case,) = find(options).cases
    scan = read(case, options)
    assert scan.modality == "CT"
    assert scan.unit == "HU"
    np.testing.assert_allclose(scan.grid.spacing_mm, (7, 0.488, 0.488), atol=2e-3)
    steps = np.asarray(scan.grid.direction)
    np.testing.assert_allclose(steps @ steps.T, np.eye(3), atol=1e-6)
    ct = scan.channels["ct"]
    assert ct.min() == -1024
    brain = (ct > 10) & (ct < 60)
    assert brain.mean() > 0.05
    # the head lies at one place in all slices of the straightened stack: its middle runs on a straight line
    middles = np.array([np.argwhere(slice_ > -200).mean(axis=0) for slice_ in ct])
    assert np.abs(np.diff(middles, axis=0)).max() < 25


def test_the_sparse_head_mr(shared_data):
    root = shared_data / "mr-ct/head-dicom/MR"
    assert "uneven steps of 3.00 to 36.00 mm (median 7.50 mm; the widest, 36.00 mm, after slice 5 of 14)" in refusal(
        root
    )
    assert "found 36.00 mm after slice 5 of 14" in refusal(root, RESAMPLE)
    volume = volume_of(root, GeometryRule(irregular="resample", longest_gap_mm=36.5))
    assert volume.grid.shape == (37, 512, 512)
    assert sum(map(bool, volume.sop_uids)) == 10
