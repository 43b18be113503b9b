"""Normalising: known answers, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthoma.errors import ScanError
from synthoma.preprocessing import Normalise
from synthoma.records import Grid, Scan

RAMP = np.arange(1001, dtype=np.float64).reshape(1, 7, 143)


def test_percentiles_become_the_ends(make_scan: Callable[..., Scan]) -> None:
    scan = Normalise(low_percent=1, high_percent=99)(make_scan({"t1": RAMP}))
    assert scan.intensity["t1"] == pytest.approx((10, 990))
    assert scan.channels["t1"].flat[500] == pytest.approx(0, abs=1e-6)
    assert scan.channels["t1"].min() == -1
    assert scan.channels["t1"].max() == 1
    assert scan.notes == ()


def test_much_clipping_is_said(make_scan: Callable[..., Scan]) -> None:
    scan = Normalise(low_percent=2, high_percent=99.5)(make_scan({"t1": RAMP}))
    assert scan.notes == ("t1: 2.00 % of the body clipped below, 0.50 % above",)


@pytest.mark.parametrize(
    ("method", "window"),
    [("median-iqr", (500 - 1000, 500 + 1000)), ("zscore", (500 - 2 * RAMP.std(), 500 + 2 * RAMP.std()))],
)
def test_windows_by_spread(make_scan: Callable[..., Scan], method: Any, window: tuple[float, float]) -> None:
    assert Normalise(method=method, width=2)(make_scan({"t1": RAMP})).intensity["t1"] == pytest.approx(window)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**31),
    st.floats(0.1, 1e4),
    st.floats(-1e3, 1e3),
    st.sampled_from(["percentiles", "median-iqr", "zscore"]),
)
def test_intensity_is_the_way_back(seed: int, scale: float, shift: float, method: Any) -> None:
    values = np.random.default_rng(seed).normal(shift, scale, (2, 9, 9)).astype(np.float32)
    body = np.ones(values.shape, dtype=np.uint8)
    body[:, :2] = 0
    scan = Normalise(method=method)(Scan({"t1": values}, {"body": body}, Grid.unknown((2, 9, 9)), "P1"))
    low, high = scan.intensity["t1"]
    mapped = scan.channels["t1"]
    inside = (body > 0) & (np.abs(mapped) < 1)
    assert inside.any()
    np.testing.assert_allclose(
        (low + (mapped + 1) / 2 * (high - low))[inside], values[inside], rtol=1e-4, atol=1e-4 * scale
    )
    assert (mapped[body == 0] == -1).all()
    assert np.abs(mapped).max() <= 1


def test_only_the_body_counts_and_the_outside_can_be_kept(make_scan: Callable[..., Scan]) -> None:
    image = np.full((1, 8, 8), 1e6)
    image[0, 2:6, 2:6] = np.arange(16).reshape(4, 4)
    scan = make_scan({"t1": image, "body": image < 1e6})
    assert Normalise(low_percent=0, high_percent=100)(scan).intensity["t1"] == (0, 15)
    assert Normalise()(scan).channels["t1"][0, 0, 0] == -1
    assert Normalise(keep_outside=True)(scan).channels["t1"][0, 0, 0] == 1


def test_twice_still_leads_back_to_the_scanner(make_scan: Callable[..., Scan]) -> None:
    once = Normalise(low_percent=0, high_percent=100)(make_scan({"t1": RAMP}))
    twice = Normalise(method="zscore", width=1)(once)
    assert twice.intensity["t1"] == pytest.approx((500 - RAMP.std(), 500 + RAMP.std()), rel=1e-4)


def test_a_window_is_the_same_for_every_patient(make_scan: Callable[..., Scan]) -> None:
    step = Normalise(method="window", window=(-1000, 400))
    air_to_bone = np.array([-1500.0, -1000, -300, 400, 3000]).reshape(1, 1, 5)
    scan = step(make_scan({"ct": air_to_bone}))
    assert scan.channels["ct"].ravel().tolist() == pytest.approx([-1, -1, 0, 1, 1])
    assert scan.intensity["ct"] == (-1000, 400)
    assert scan.notes == ("ct: 20.00 % of the body clipped below, 20.00 % above",)
    other = step(make_scan({"ct": air_to_bone[..., 1:4]}))
    assert other.intensity == scan.intensity
    assert other.notes == ()
    body = step(make_scan({"ct": air_to_bone, "body": air_to_bone > -500}))
    assert body.channels["ct"].ravel().tolist() == pytest.approx([-1, -1, 0, 1, 1])
    assert body.notes == ("ct: 0.00 % of the body clipped below, 33.33 % above",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "window"}, "a window .* for method window and for no other, found method window without one"),
        ({"window": (0, 1)}, "found method percentiles with one"),
        ({"method": "window", "window": (400, -1000)}, "expected a window from low to high, found 400, -1000"),
        ({"method": "window", "window": (7, 7)}, "expected a window from low to high, found 7, 7"),
        ({"method": "window", "window": (0, float("inf"))}, "finite"),
        ({"method": "window", "window": (0,)}, "Field required"),
        ({"modality": "PET"}, "'any', 'MR', 'CT' or 'OT'"),
    ],
)
def test_bad_windows(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Normalise(**options)


def test_median_iqr_moves_less_with_a_lesion_than_percentiles() -> None:
    draw = np.random.default_rng(0)
    healthy = draw.normal(100, 10, (1, 100, 100)).astype(np.float32)
    sick = healthy.copy()
    sick[0, :20, :20] = draw.normal(220, 10, (20, 20))  # 4 % of the body
    shifts = {}
    for method in ("percentiles", "median-iqr"):
        windows = [
            Normalise(method=method)(Scan({"t1": v}, {}, Grid.unknown((1, 100, 100)), "P1")).intensity["t1"]  # type: ignore[arg-type]
            for v in (healthy, sick)
        ]
        shifts[method] = abs(windows[1][1] - windows[0][1]) / (windows[0][1] - windows[0][0])
    assert shifts["median-iqr"] < 0.1 < shifts["percentiles"]


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (
            np.full((1, 4, 4), 7.0),
            {},
            "P1: step normalise, channel t1: expected intensities that vary, found the constant 7",
        ),
        (np.full((1, 4, 4), np.nan), {}, "channel t1: expected finite values, found NaN or infinity"),
        (np.eye(8)[None], {"method": "median-iqr"}, "expected a window by median-iqr, found 0 to 0"),
    ],
)
def test_bad_input(make_scan: Callable[..., Scan], image: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ScanError, match=message):
        Normalise(**options)(make_scan({"t1": image}))


def test_an_empty_body_is_refused(make_scan: Callable[..., Scan]) -> None:
    with pytest.raises(ScanError, match="P1: step normalise: expected a body mask with voxels, found an empty one"):
        Normalise()(make_scan({"t1": RAMP, "body": RAMP < 0}))


def test_crossed_percentiles_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected low_percent below high_percent"):
        Normalise(low_percent=60, high_percent=40)
