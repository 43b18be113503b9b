"""The phantom lungs, written as LIDC-IDRI is distributed and read again by its source."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from synthoma.phantoms.lidc_xml import Mark
from synthoma.phantoms.lung import LungParameters, LungPhantomOptions, LungScan, draw, render, write_lung_phantom
from synthoma.records import Scan
from synthoma.scans import lidc

# With seed 12 the first patient has benign nodules only and the second a malignant one.
OPTIONS = LungPhantomOptions(patients=2, seed=12, size=128, spacing_mm=5.0)


@pytest.fixture(scope="module")
def rendered() -> list[tuple[LungParameters, LungScan]]:
    drawn = [draw(OPTIONS, index) for index in range(OPTIONS.patients)]
    return [(parameters, render(parameters, plan, OPTIONS)) for parameters, plan in drawn]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Scan]:
    tree = write_lung_phantom(tmp_path_factory.mktemp("phantom") / "tree", OPTIONS)
    options = lidc.LidcData(path=tree)
    cases = lidc.find(options)
    assert cases.left_out == ()  # truth.json is taken for nothing
    return [lidc.read(case, options) for case in cases.cases]


def _inside(mark: Mark, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """What a reader's outlines enclose: the line is outside, a hole takes its line with it."""
    mask = np.zeros(shape, bool)
    holes = np.zeros(shape, bool)
    for outline in mark.outlines:
        line = np.zeros((shape[1] + 2, shape[2] + 2), bool)
        for x, y in outline.points:
            line[y + 1, x + 1] = True
        filled = ndimage.binary_fill_holes(line)
        if outline.inclusion:
            mask[outline.slice] |= (filled & ~line)[1:-1, 1:-1]
        else:
            holes[outline.slice] |= filled[1:-1, 1:-1]
    return mask & ~holes


def test_every_patient_is_found(found: list[Scan]) -> None:
    assert [scan.patient for scan in found] == ["PHANTOM-LUNG-0001", "PHANTOM-LUNG-0002"]


def test_hounsfield_units_are_read_bit_for_bit(
    found: list[Scan], rendered: list[tuple[LungParameters, LungScan]]
) -> None:
    for scan, (_, truth) in zip(found, rendered, strict=True):
        scanned = truth.hu > -2048
        np.testing.assert_array_equal(scan.channels["ct"][scanned], truth.hu[scanned])
        assert (scan.channels["ct"][~scanned] <= -1000).all()
        assert (scan.unit, scan.modality) == ("HU", "CT")


def test_the_grid_is_the_one_that_was_rendered(
    found: list[Scan], rendered: list[tuple[LungParameters, LungScan]]
) -> None:
    for scan, (_, truth) in zip(found, rendered, strict=True):
        dz, dy, dx = truth.grid.spacing_mm
        x, y, z = truth.grid.first_mm
        # DICOM counts to the left and back (LPS), NIfTI to the right and front (RAS).
        expected = np.array([[-dx, 0, 0, -x], [0, -dy, 0, -y], [0, 0, dz, z], [0, 0, 0, 1]])
        np.testing.assert_allclose(scan.grid.affine, expected, atol=1e-4)


def test_masks_are_what_the_readers_outlines_enclose_by_vote(
    found: list[Scan], rendered: list[tuple[LungParameters, LungScan]]
) -> None:
    for scan, (parameters, truth) in zip(found, rendered, strict=True):
        marks = [mark for session in truth.sessions for mark in session if mark.ratings is not None]
        masks = [_inside(mark, truth.hu.shape) for mark in marks]
        expected = 0
        for nodule in parameters.nodules:
            place = np.array(nodule.centre_mm)
            near = [mask for mask in masks if _distance(mask, truth, place) < 6 + nodule.diameter_mm / 4]
            if not near:
                continue
            votes = np.sum(near, axis=0, dtype=int)
            agreed = (2 * votes >= len(near)).astype(np.uint8)
            assert any(np.array_equal(agreed, mask) for mask in scan.masks.values()), nodule
            expected += 1
        assert expected == len(scan.lesions) > 0


def _distance(mask: npt.NDArray[np.bool_], truth: LungScan, place: npt.NDArray[np.float64]) -> float:
    """From the middle of a mask to a place in mm."""
    voxel = np.argwhere(mask).mean(axis=0)
    middle = np.array(truth.grid.first_mm) + (voxel * truth.grid.spacing_mm)[::-1]
    return float(np.linalg.norm(middle - place))


def test_labels_follow_the_grades(found: list[Scan], rendered: list[tuple[LungParameters, LungScan]]) -> None:
    assert rendered[1][0].nodules[0].grade >= 4
    assert "malignant" in found[1].labels.values()
    assert "malignant" not in found[0].labels.values()


def test_masks_cover_tissue_not_air(found: list[Scan]) -> None:
    for scan in found:
        for name in scan.lesions:
            inside = scan.channels["ct"][scan.masks[name] > 0]
            around = ndimage.binary_dilation(scan.masks[name], iterations=6) & (scan.masks[name] == 0)
            assert np.median(inside) > np.percentile(scan.channels["ct"][around], 20) + 100
