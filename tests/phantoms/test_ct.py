"""The CT scanner: noise, point spread, circle, bits and table, on objects whose answer is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from synthoma.phantoms.ct import OUTSIDE_HU, SITES, ScanParameters, Volume, acquire, draw_scan, lay_table
from synthoma.seeding import generator

SPACING_MM = (2.5, 1.4, 1.4)
SIZE = 128


def _parameters(site: str = "A", seed: int = 5, **changes: Any) -> ScanParameters:
    scan = ScanParameters(
        seed, SITES[site], SITES[site].noise_hu, SITES[site].blur_mm, tube_current_ma=300, thickness_mm=2.5
    )
    return dataclasses.replace(scan, **changes)


def _water(wide_mm: float, deep_mm: float, slices: int = 12) -> Volume:
    """An elliptic cylinder of water in air."""
    y, x = (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2) * SPACING_MM[1]
    inside = (x / wide_mm) ** 2 + (y / deep_mm) ** 2 < 1
    return np.repeat(np.where(inside, 0, -1000).astype(np.float32)[None], slices, axis=0)


def test_the_circle_is_told_from_air() -> None:
    scan = acquire(_water(60, 60), SPACING_MM, _parameters())
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    outside = np.hypot(x, y) > SIZE / 2
    assert scan.dtype == np.int16
    assert (scan[:, outside] == OUTSIDE_HU).all()
    assert scan[:, ~outside].min() == -1024  # air with noise, cut off where 12 bits end
    assert scan.max() < 200


def test_dense_metal_ends_at_the_highest_of_12_bits() -> None:
    hu = _water(60, 60)
    hu[:, 60:68, 60:68] = 9000
    assert acquire(hu, SPACING_MM, _parameters()).max() == 3071


@pytest.mark.parametrize("site", ["A", "B"])
def test_noise_in_the_middle_of_a_chest_is_what_the_site_states(site: str) -> None:
    # 186 mm of water attenuate as much as an average chest (a line integral of 3.6).
    scan = acquire(_water(93, 93), SPACING_MM, _parameters(site))
    middle = scan[:, 56:72, 56:72].astype(float)
    assert middle.std() == pytest.approx(SITES[site].noise_hu, rel=0.12)
    assert abs(middle.mean()) < 1.5


def test_noise_is_less_at_the_skin_and_with_thicker_slices() -> None:
    hu = _water(85, 85, slices=20)
    scan = acquire(hu, SPACING_MM, _parameters()).astype(float)
    thick = acquire(hu, SPACING_MM, _parameters(thickness_mm=5.0)).astype(float)
    middle, skin = scan[:, 58:70, 58:70].std(), scan[:, 58:70, 8:14].std()
    assert 0.5 * middle < skin < 0.95 * middle
    assert thick[:, 58:70, 58:70].std() == pytest.approx(middle / np.sqrt(2), rel=0.1)


def test_noise_has_the_grain_of_filtered_back_projection() -> None:
    """Its power rises from low frequencies to a hump and falls to the blur: neither white nor a mere smoothing."""
    hu = _water(93, 93, slices=40)
    noise = acquire(hu, SPACING_MM, _parameters(blur_mm=1.0)).astype(float)[:, 48:80, 48:80]
    power = (np.abs(np.fft.fft2(noise - noise.mean())) ** 2).mean(axis=0)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    low, middle, high = (power[(f > a) & (f < b)].mean() for a, b in ((0.02, 0.06), (0.12, 0.22), (0.44, 0.5)))
    assert low < 0.7 * middle
    assert high < 0.7 * middle


def test_noise_streaks_along_the_longer_rays() -> None:
    """Through shoulders the rays along x are weakest: ripples across them, that is, along y."""
    hu = _water(88, 45, slices=30)
    noise = acquire(hu, SPACING_MM, _parameters()).astype(float)[:, 52:76, 44:84]
    power = (np.abs(np.fft.fft2(noise - noise.mean())) ** 2).mean(axis=0)
    along_y, along_x = power[2:11, 0].mean(), power[0, 2:18].mean()
    assert along_y > 2 * along_x


def test_a_point_spreads_by_the_blur_and_a_lung_kernel_overshoots() -> None:
    hu = np.full((9, SIZE, SIZE), -1000.0, np.float32)
    hu[:, :, 64:] = 1000
    quiet = _parameters(noise_hu=0.0, blur_mm=2.0)
    soft = acquire(hu, SPACING_MM, quiet)[4, 64].astype(float)
    slope = np.diff(soft[54:74])
    place = np.arange(len(slope))
    spread = np.sqrt((slope * (place - (slope * place).sum() / slope.sum()) ** 2).sum() / slope.sum())
    assert spread * SPACING_MM[2] == pytest.approx(2.0, rel=0.05)
    assert soft[10:118].max() <= 1000
    sharp = acquire(hu, SPACING_MM, dataclasses.replace(quiet, site=SITES["B"]))[4, 64]
    assert sharp[10:118].max() > 1030


def test_one_seed_repeats_and_slices_do_not_depend_on_their_neighbours_noise() -> None:
    hu = _water(60, 60)
    first, again = acquire(hu, SPACING_MM, _parameters()), acquire(hu, SPACING_MM, _parameters())
    other = acquire(hu, SPACING_MM, _parameters(seed=6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    np.testing.assert_array_equal(first[:5], acquire(hu[:5], SPACING_MM, _parameters()))


def test_the_dose_of_the_day_sets_current_and_noise_together() -> None:
    scans = [draw_scan(generator(1, "scan", i), i, SITES["A"], 2.5) for i in range(40)]
    dose = np.array([scan.tube_current_ma for scan in scans]) / SITES["A"].tube_current_ma
    noise = np.array([scan.noise_hu for scan in scans]) / SITES["A"].noise_hu
    np.testing.assert_allclose(noise * np.sqrt(dose), 1, atol=0.01)
    assert dose.std() > 0.1


def test_the_table_lies_behind_the_patient_and_hides_nothing() -> None:
    hu = _water(60, 60)
    axis = ((np.arange(SIZE) - (SIZE - 1) / 2) * SPACING_MM[1]).astype(np.float32)
    before = hu.copy()
    lay_table(hu, axis, axis, back_mm=60.0)
    assert (hu >= before).all()
    changed = np.argwhere((hu != before).any(axis=0))
    assert axis[changed[:, 0].min()] > 0
    column = hu[0, :, SIZE // 2]
    assert column[axis > 65].max() > -300  # the shell
    assert -980 < column[(axis > 75)].min() < -900  # the foam
