"""Windows, stretching, equalising, median: known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy.ndimage import median_filter
from skimage import exposure

from synthoma.errors import ScanError
from synthoma.preprocessing import (
    Equalise,
    Median,
    Normalise,
    PreprocessingOptions,
    Stretch,
    Windows,
    preprocess,
    sample,
)
from synthoma.records import Grid, Scan

HU = np.array([-2048.0, -1350, -600, -160, 0, 40, 150, 240, 3000]).reshape(1, 1, 9)
DRAW = np.random.default_rng(0)


def normalised(values: Any, body: Any = None, **fields: Any) -> Scan:
    shape = values.shape
    masks = {} if body is None else {"body": body.astype(np.uint8)}
    basic: dict[str, Any] = {"unit": "HU", "modality": "CT", "intensity": {"ct": (-160.0, 240.0)}}
    return Scan({"ct": values.astype(np.float32)}, masks, Grid.unknown(shape), "P1", **(basic | fields))


def test_a_window_is_linear_between_its_ends(make_scan: Callable[..., Scan]) -> None:
    scan = Windows()(make_scan({"ct": HU}, modality="CT", unit="HU"))
    assert list(scan.channels) == ["ct-lung", "ct-soft"]
    assert scan.channels["ct-lung"].ravel() == pytest.approx([-1, -1, 0, 1190 / 750 - 1, 0.8, 1390 / 750 - 1, 1, 1, 1])
    assert scan.channels["ct-soft"].ravel() == pytest.approx([-1, -1, -1, -1, -0.2, 0, 0.55, 1, 1])
    assert scan.intensity == {"ct-lung": (-1350, 150), "ct-soft": (-160, 240)}
    assert scan.unit == "HU"
    assert scan.notes[0] == "ct-lung: 11.11 % of the body clipped below, 22.22 % above"
    one = Windows(windows={"bone": (-500, 1300)})(make_scan({"ct": HU, "body": HU > -700}, modality="CT", unit="HU"))
    assert one.channels["ct-bone"].ravel()[:3].tolist() == pytest.approx([-1, -1, -1])
    kept = Windows(keep_outside=True)(make_scan({"ct": HU, "body": HU < 0}, modality="CT", unit="HU"))
    assert kept.channels["ct-soft"].max() == 1
    with pytest.raises(ScanError, match="step windows: expected a body mask with voxels, found an empty one"):
        Windows()(make_scan({"ct": HU, "body": HU > 9999}, modality="CT", unit="HU"))


def test_windows_equal_normalising_by_each(make_scan: Callable[..., Scan]) -> None:
    ct = DRAW.normal(0, 300, (2, 9, 9))
    scan = make_scan({"ct": ct, "body": ct > -400}, modality="CT", unit="HU")
    windows = Windows(windows={"a": (-100, 200), "b": (-900, 50)})(scan)
    for name, window in (("a", (-100, 200)), ("b", (-900, 50))):
        alone = Normalise(method="window", window=window)(scan)
        assert np.array_equal(windows.channels[f"ct-{name}"], alone.channels["ct"])


def test_windows_in_a_chain(make_scan: Callable[..., Scan]) -> None:
    ct = DRAW.normal(0, 300, (3, 16, 16))
    scan = make_scan({"ct": ct, "pet": ct, "nodule": ct > 250}, modality="CT", unit="HU")

    def options(*channels: str) -> PreprocessingOptions:
        return PreprocessingOptions.model_validate({"steps": [{"step": "windows"}], "channels": channels})

    assert sample(preprocess(scan, options("ct")), options("ct")).channels == ("ct-lung", "ct-soft")
    assert sample(preprocess(scan, options("ct-soft")), options("ct-soft")).channels == ("ct-soft",)
    everything = sample(preprocess(scan, options()), options())
    assert everything.channels == ("ct-lung", "ct-soft", "pet-lung", "pet-soft")
    assert everything.intensity["pet-soft"] == (-160, 240)
    with pytest.raises(ScanError, match="P1: expected the channel 'ct-bone', found ct, pet"):
        preprocess(scan, options("ct-bone"))


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ({}, "at least 1 item"),
        ({"Lung": (0, 1)}, "expected names of small letters, digits and _, such as lung, found 'Lung'"),
        ({"1": (0, 1)}, "found '1'"),
        ({"soft": (240, -160)}, "expected a window from low to high, found soft: 240, -160"),
        ({"soft": (0, float("nan"))}, "finite"),
    ],
)
def test_bad_windows(windows: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Windows(windows=windows)


def test_windows_are_for_hounsfield_units(make_scan: Callable[..., Scan]) -> None:
    scan = make_scan({"t1": HU})
    with pytest.raises(ScanError, match="step windows: expected a CT scan in Hounsfield units, found a MR scan"):
        Windows()(scan)
    with pytest.raises(ScanError, match="expected a CT scan in Hounsfield units, found values normalised before"):
        Windows()(normalised(HU / 3000))


def test_stretching_puts_percentiles_at_the_ends_and_keeps_the_way_back() -> None:
    ramp = np.linspace(-1, 1, 1001).reshape(1, 7, 143)
    scan = Stretch(low_percent=10, high_percent=90)(normalised(ramp))
    assert scan.intensity["ct"] == pytest.approx((-120, 200))  # a tenth of −160 … 240 from either end
    assert scan.channels["ct"].ravel()[[0, 100, 500, 900, 1000]] == pytest.approx([-1, -1, 0, 1, 1], abs=1e-6)
    low, high = scan.intensity["ct"]
    back = low + (scan.channels["ct"] + 1) / 2 * (high - low)
    inside = np.abs(scan.channels["ct"]) < 1
    assert np.abs(back - (-160 + (ramp + 1) * 200))[inside].max() < 1e-3
    assert scan.unit == "HU"


def test_stretching_looks_at_the_body_only() -> None:
    image = np.full((1, 8, 8), -1.0)
    image[0, 2:6, 2:6] = np.linspace(-0.2, 0.2, 16).reshape(4, 4)
    body = image > -0.9
    scan = Stretch(low_percent=0, high_percent=100)(normalised(image, body))
    assert scan.channels["ct"][body].ravel() == pytest.approx(np.linspace(-1, 1, 16), abs=1e-6)
    assert (scan.channels["ct"][~body] == -1).all()
    with pytest.raises(ScanError, match="step stretch, channel ct: expected percentiles that differ, found both at -1"):
        Stretch()(normalised(np.where(body, -1.0, 1.0), body))
    with pytest.raises(ScanError, match="step stretch: expected a body mask with voxels, found an empty one"):
        Stretch()(normalised(image, body & False))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.sampled_from([64, 256]), st.booleans())
def test_global_equalisation_is_monotone_and_flat_and_that_of_skimage(seed: int, bins: int, masked: bool) -> None:
    values = np.clip(np.random.default_rng(seed).normal(-0.3, 0.25, (2, 30, 30)), -1, 1).astype(np.float32)
    body = values > -0.5 if masked else np.ones(values.shape, dtype=bool)
    scan = Equalise(bins=bins)(normalised(values, body if masked else None))
    found = scan.channels["ct"][body]
    order = np.argsort(values[body])
    assert (np.diff(found[order]) >= -1e-6).all()
    # as frequent as any other: the share below v is (v + 1) / 2, to a bin
    fullest = np.histogram(values, bins, (-1, 1))[0].max() / len(found)
    assert np.abs(np.sort(found) - np.linspace(-1, 1, len(found))).max() < 2 * fullest
    shifted = np.concatenate([values[body], [-1, 1]])  # scikit-image's histogram goes from least to most
    theirs = 2 * exposure.equalize_hist(shifted, bins)[:-2] - 1
    assert np.abs(theirs - found).max() < 0.15
    assert np.corrcoef(theirs, found)[0, 1] > 0.999
    assert (scan.channels["ct"][~body] == -1).all()


def test_equalising_gives_up_the_way_back() -> None:
    scan = Equalise()(normalised(np.clip(DRAW.normal(0, 0.3, (1, 20, 20)), -1, 1)))
    assert scan.unit == "arbitrary"
    assert scan.intensity == {"ct": (-1, 1)}
    assert scan.notes == ("equalised (global): the values no longer lead back to the scanner's",)
    with pytest.raises(ScanError, match="step equalise, channel ct: expected a body whose intensities vary"):
        Equalise()(normalised(np.full((1, 8, 8), 0.3)))


def test_clahe_with_one_tile_and_no_limit_is_global_equalisation() -> None:
    image = np.clip(DRAW.normal(0, 0.3, (1, 40, 40)), -1, 1)
    body = np.hypot(*(np.indices((40, 40)) - 20))[None] < 15
    alone = Equalise(method="clahe", tiles=1, clip_limit=1000)(normalised(image, body))
    assert np.abs(alone.channels["ct"] - Equalise()(normalised(image, body)).channels["ct"]).max() < 1e-5


def test_clahe_is_that_of_skimage_on_a_full_frame() -> None:
    y, x = np.indices((256, 256)) / 256
    image = np.clip(0.5 * np.sin(9 * x) * y + 0.4 * (x - 0.5) + DRAW.normal(0, 0.05, x.shape), -1, 1)
    image[0, 0], image[0, 1] = -1, 1
    ours = Equalise(method="clahe", tiles=4, clip_limit=2.56)(normalised(image[None])).channels["ct"][0]
    theirs = 2 * exposure.equalize_adapthist((image + 1) / 2, kernel_size=64, clip_limit=0.01, nbins=256) - 1
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97
    assert ours.std() > 1.15 * image.std()


def test_clahe_lifts_local_contrast_and_its_limit_holds_noise_down() -> None:
    flat = np.zeros((1, 64, 64))
    flat[0, :, 32:] = 0.8
    noisy = flat + DRAW.normal(0, 0.01, flat.shape)
    spread = [
        float(Equalise(method="clahe", clip_limit=limit)(normalised(noisy)).channels["ct"][0, 8:24, 8:24].std())
        for limit in (2, 10, 1000)
    ]
    assert spread[0] < spread[1] < spread[2]
    assert spread[2] > 10 * 0.01


@settings(deadline=None, max_examples=30)
@given(
    arrays(np.float32, st.tuples(*[st.integers(1, 7)] * 3), elements=st.floats(-1000, 1000, width=16)),
    st.sampled_from([3, 5, (3, 3, 3), (1, 3, 5), 1]),
)
def test_median_is_that_of_scipy(values: Any, size: Any) -> None:
    scan = Scan({"ct": values}, {}, Grid.unknown(values.shape), "P1")
    expected = median_filter(values, (1, size, size) if isinstance(size, int) else size)
    assert np.array_equal(Median(size=size)(scan).channels["ct"], expected)


def test_median_removes_a_spike_and_leaves_masks_and_outside_alone(make_scan: Callable[..., Scan]) -> None:
    image = np.zeros((3, 16, 16))
    image[:, :, 8:] = 100
    image[1, 4, 4] = image[1, 1, 1] = 5000
    body = np.zeros(image.shape, dtype=bool)
    body[:, 3:, 3:] = True
    scan = make_scan({"ct": image, "body": body, "nodule": image > 1000})
    smooth = Median()(scan)
    assert smooth.channels["ct"][1, 4, 4] == 0
    assert smooth.channels["ct"][1, 1, 1] == 5000
    assert (smooth.channels["ct"][:, :, 8:] == 100).all()
    assert all(smooth.masks[name] is scan.masks[name] for name in scan.masks)
    with pytest.raises(ValidationError, match="expected an odd number, found 4"):
        Median(size=4)


@pytest.mark.parametrize("step", [Stretch(), Equalise()])
def test_what_comes_after_normalising_says_so(make_scan: Callable[..., Scan], step: Any) -> None:
    with pytest.raises(ScanError, match=f"step {step.step}, channel ct: expected values in .*, found scanner values"):
        step(make_scan({"ct": HU}))
    message = f"expected {step.step} after normalise or windows, found it before"
    mr, ct = Normalise(modality="MR"), Normalise(modality="CT")
    for wrong in ((step,), (step, Normalise()), (step, Windows()), (mr, step, ct)):
        with pytest.raises(ValidationError, match=message):
            PreprocessingOptions(steps=wrong)
    assert PreprocessingOptions(steps=(Normalise(), step)).steps[1] == step
