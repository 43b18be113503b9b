"""N4 takes away a field that was put there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from synthoma.errors import ScanError
from synthoma.preprocessing import N4
from synthoma.records import Scan


def shaded(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    z, y, x = np.indices((8, 64, 64))
    body = np.hypot(y - 32, x - 32) < 28
    tissue = np.where((x // 8 + y // 8) % 2, 100.0, 160.0)
    noisy = tissue + np.random.default_rng(seed).normal(0, 2, tissue.shape)
    field = np.exp(0.4 * np.sin(x / 30) - 0.4 * (y / 64) ** 2 + 0.01 * z)
    return np.where(body, noisy, 0), field, body


@pytest.mark.slow
def test_reduces_the_field_and_keeps_the_unit(make_scan: Callable[..., Scan]) -> None:
    truth, field, body = shaded()
    scan = make_scan({"t1": truth * field, "body": body})
    corrected = N4(shrink=2, iterations=20)(scan)

    def spread(image: NDArray[np.floating]) -> float:  # of what remains of the field, in logarithms
        return float(np.log(image[body] / truth[body]).std())

    assert spread(corrected.channels["t1"]) < 0.35 * spread(truth * field)
    logs = [np.log(c.channels["t1"][body]).mean() for c in (scan, corrected)]
    assert logs[1] == pytest.approx(logs[0], abs=1e-3)
    assert (corrected.channels["t1"][~body] == 0).all()
    assert "t1: bias field" in corrected.notes[0]
    again = N4(shrink=2, iterations=20)(scan)
    assert np.array_equal(again.channels["t1"], corrected.channels["t1"])


def test_bad_input(make_scan: Callable[..., Scan]) -> None:
    truth, _, body = shaded()
    scan = make_scan({"t1": truth, "body": body})
    with pytest.raises(ScanError, match="P1: step n4: expected an MR scan, found CT"):
        N4()(scan.with_(modality="CT"))
    standardised = make_scan({"t1": truth - truth[body].mean(), "body": body})
    with pytest.raises(ScanError, match=r"P1: step n4, channel t1: expected positive intensities, found \d\d %"):
        N4()(standardised)
