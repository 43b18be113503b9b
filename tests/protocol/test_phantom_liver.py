"""The phantom liver, written as the archive is distributed and read again by the archive's source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthoma.phantoms.liver import LiverPhantomOptions, LiverScan, draw, render, write_liver_phantom
from synthoma.records import Scan
from synthoma.scans import tcia_liver

OPTIONS = LiverPhantomOptions(patients=2, seed=1, size=64, spacing_mm=8.0)


@pytest.fixture(scope="module")
def rendered() -> list[LiverScan]:
    return [render(draw(OPTIONS, index), OPTIONS.size, OPTIONS.spacing_mm) for index in range(OPTIONS.patients)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Scan]:
    tree = write_liver_phantom(tmp_path_factory.mktemp("phantom") / "tree", OPTIONS)
    options = tcia_liver.TciaLiverData(path=tree)
    cases = tcia_liver.find(options)
    assert cases.left_out == ()
    return [tcia_liver.read(case, options) for case in cases.cases]


def test_every_patient_is_found(found: list[Scan]) -> None:
    assert [scan.patient for scan in found] == ["PHANTOM-LIVER-0001", "PHANTOM-LIVER-0002"]


def test_hounsfield_units_are_read_bit_for_bit(found: list[Scan], rendered: list[LiverScan]) -> None:
    for scan, truth in zip(found, rendered, strict=True):
        ours = scan.channels["ct"]
        scanned = truth.hu > -2048
        np.testing.assert_array_equal(ours[scanned], truth.hu[scanned])
        assert (ours[~scanned] <= -1000).all()
        assert (scan.unit, scan.modality) == ("HU", "CT")


def test_the_grid_is_the_one_that_was_rendered(found: list[Scan], rendered: list[LiverScan]) -> None:
    for scan, truth in zip(found, rendered, strict=True):
        dz, dy, dx = truth.spacing_mm
        x, y, z = truth.origin_mm
        # DICOM counts to the left and back (LPS), NIfTI to the right and front (RAS).
        expected = np.array([[-dx, 0, 0, -x], [0, -dy, 0, -y], [0, 0, dz, z], [0, 0, 0, 1]])
        np.testing.assert_allclose(scan.grid.affine, expected, atol=1e-5)
        assert scan.grid.shape == truth.hu.shape


def test_masks_are_read_bit_for_bit(found: list[Scan], rendered: list[LiverScan]) -> None:
    for scan, truth in zip(found, rendered, strict=True):
        assert set(scan.masks) == {"liver", "tumour", "portal-vein", "abdominal-aorta"}
        assert scan.lesions == ("tumour",)
        np.testing.assert_array_equal(scan.masks["tumour"], truth.masks["mass"])
        np.testing.assert_array_equal(scan.masks["liver"], truth.masks["liver"] | truth.masks["mass"])
        for name in ("portal-vein", "abdominal-aorta"):
            np.testing.assert_array_equal(scan.masks[name], truth.masks[name])


def test_a_patient_without_a_carcinoma_has_an_empty_tumour(tmp_path: Path) -> None:
    tree = write_liver_phantom(tmp_path / "tree", OPTIONS.model_copy(update={"patients": 1, "tumour_free": 1.0}))
    options = tcia_liver.TciaLiverData(path=tree)
    (case,) = tcia_liver.find(options).cases
    scan = tcia_liver.read(case, options)
    assert not scan.masks["tumour"].any()
    assert scan.masks["liver"].any()
