"""Steps for one modality: MR and CT go through one recipe, each normalised once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from synthoma.errors import ScanError
from synthoma.preprocessing import STEPS, Normalise, PreprocessingOptions, Resize, SkullStrip, preprocess
from synthoma.records import Scan

MR = {"step": "normalise", "modality": "MR", "keep_outside": True}
CT = {"step": "normalise", "modality": "CT", "method": "window", "window": [-160, 240], "keep_outside": True}


def both(*more: dict[str, Any]) -> PreprocessingOptions:
    return PreprocessingOptions.model_validate({"steps": [CT, MR, *more], "require_lesion_mask": False})


def test_a_scan_goes_through_the_steps_of_its_modality(make_scan: Callable[..., Scan]) -> None:
    values = np.random.default_rng(0).uniform(-400, 500, (2, 20, 20))
    ct = preprocess(make_scan({"image": values}, modality="CT", unit="HU"), both({"step": "resize", "size": 8}))
    assert ct.intensity["image"] == (-160, 240)
    assert ct.grid.shape == (2, 8, 8)
    scan = make_scan({"image": values}, modality="MR")
    mr = preprocess(scan, both({"step": "resize", "size": 8, "modality": "CT"}))
    assert mr.intensity["image"] == pytest.approx(np.percentile(scan.channels["image"], [0.5, 99.5]), rel=1e-5)
    assert mr.grid.shape == (2, 20, 20), "a step for CT is not for MR"


def test_a_step_for_mr_lets_ct_pass(make_scan: Callable[..., Scan]) -> None:
    values = np.random.default_rng(0).uniform(-400, 500, (2, 20, 20))
    ct = make_scan({"image": values}, modality="CT", unit="HU")
    with pytest.raises(ScanError, match=r"step skull_strip: expected an MR scan, found CT\.\nSet .* modality to MR"):
        preprocess(ct, both({"step": "skull_strip"}))
    with pytest.raises(ScanError, match=r"step n4: expected an MR scan, found CT.*\.\nSet .* modality to MR"):
        preprocess(ct, both({"step": "n4"}))
    passed = preprocess(ct, both({"step": "skull_strip", "modality": "MR"}, {"step": "n4", "modality": "MR"}))
    assert "body" not in passed.masks


def test_a_scan_that_no_step_normalises_is_refused(make_scan: Callable[..., Scan]) -> None:
    scan = make_scan({"image": np.random.default_rng(0).uniform(0, 1, (1, 9, 9))}, modality="OT")
    with pytest.raises(ScanError) as caught:
        preprocess(scan, both())
    first, second = str(caught.value).splitlines()
    assert first == "P1: steps for OT scans: expected one normalise, found none (only for CT and MR)."
    assert second == "Add a step normalise with modality OT to preprocessing.steps."


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([MR, MR], "expected one of normalise and windows for MR scans, found normalise and normalise"),
        ([CT, {"step": "normalise"}], "expected one of normalise and windows for CT scans, found normalise and norm"),
        ([CT, {"step": "windows"}], "expected one of normalise and windows for CT scans, found normalise and windows"),
        ([{"step": "resize", "modality": "MR"}], "expected one of normalise and windows, found none"),
        ([{**MR, "modality": "PET"}], "'any', 'MR', 'CT' or 'OT'"),
    ],
)
def test_twice_or_never_is_seen_in_the_settings(steps: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PreprocessingOptions.model_validate({"steps": steps})


def test_every_step_is_for_any_modality_unless_told() -> None:
    assert all(step().modality == "any" for step in STEPS.values())  # type: ignore[call-arg]
    steps = (SkullStrip(modality="MR"), Normalise(), Resize())
    content = PreprocessingOptions(steps=steps).model_dump(mode="json")
    assert list(content["steps"][0])[:2] == ["step", "modality"]
    assert PreprocessingOptions.model_validate(content).steps == steps
