"""Signal equations against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthoma.phantoms.signals import (
    TISSUES,
    LocalFactors,
    Sequence,
    gradient_echo,
    inversion_recovery,
    signal,
    spin_echo,
    with_contrast,
)

TYPICAL = LocalFactors(*np.ones((3, 1), np.float32))


def _array(value: float) -> np.ndarray:
    return np.array([value], np.float32)


def test_spin_echo_by_hand() -> None:
    # TR = T1: 1 - e^-1 = 0.632121; TE = T2: e^-1 = 0.367879; density 0.8: 0.8 × 0.632121 × 0.367879 = 0.186035
    assert spin_echo(0.8, _array(1000), _array(100), 1000, 100)[0] == pytest.approx(0.186035, rel=1e-5)


def test_gradient_echo_by_hand() -> None:
    # TR/T1 = ln 2: E1 = 0.5; flip 60°: sin = 0.866025, cos = 0.5: 0.866025 × 0.5 / (1 - 0.25) = 0.577350; TE = 0
    t1 = _array(100 / np.log(2))
    assert gradient_echo(1.0, t1, _array(50), 100, 0, 60)[0] == pytest.approx(0.577350, rel=1e-5)


def test_gradient_echo_of_90_degrees_is_a_spin_echo() -> None:
    arguments = (0.7, _array(832), _array(80), 250.0, 3.0)
    assert gradient_echo(*arguments, 90)[0] == pytest.approx(spin_echo(*arguments)[0], rel=1e-6)


def test_inversion_recovery_by_hand() -> None:
    # TI/T1 = 1: 2 e^-1 = 0.735759; TR/T1 = 4: e^-4 = 0.018316; |1 - 0.735759 + 0.018316| = 0.282557; TE/T2 = 1:
    # × 0.367879 = 0.103947
    assert inversion_recovery(1.0, _array(1000), _array(100), 4000, 100, 1000)[0] == pytest.approx(0.103947, rel=1e-5)


@given(st.floats(500, 5000), st.floats(2000, 12000))
def test_inversion_recovery_is_null_at_the_known_time(t1_ms: float, repetition_ms: float) -> None:
    # 1 - 2 exp(-TI/T1) + exp(-TR/T1) = 0  <=>  TI = T1 (ln 2 - ln(1 + exp(-TR/T1)))
    null_ms = t1_ms * (np.log(2) - np.log1p(np.exp(-repetition_ms / t1_ms)))
    assert inversion_recovery(1.0, _array(t1_ms), _array(1000), repetition_ms, 0, null_ms)[0] < 1e-5


def test_contrast_agent_shortens_t1_as_measured() -> None:
    # 1/T1' = 1/1600 ms + 4.5 × 0.16 /s = 0.625 + 0.72 = 1.345 /s: 743.5 ms
    assert with_contrast(_array(1600), _array(0.16))[0] == pytest.approx(743.494, rel=1e-5)
    falls = {}
    for name, tissue in TISSUES.items():
        falls[name] = tissue.t1_ms - with_contrast(_array(tissue.t1_ms), _array(tissue.uptake_mm))[0]
    # Nöth et al. 2020: 838 ± 210, 123 ± 74 and 32 ± 35 ms
    assert falls["enhancing"] == pytest.approx(838, abs=210)
    assert falls["oedema"] == pytest.approx(123, abs=74)
    assert falls["white"] == pytest.approx(32, abs=35)
    assert falls["csf"] == 0


@pytest.mark.parametrize(
    ("sequence", "function", "extra"),
    [
        (Sequence("spin-echo", 500, 12), spin_echo, ()),
        (Sequence("gradient-echo", 250, 3, flip_deg=70), gradient_echo, (70,)),
        (Sequence("inversion-recovery", 9000, 120, inversion_ms=2500), inversion_recovery, (2500,)),
    ],
)
def test_signal_uses_the_equation_of_the_sequence(sequence, function, extra) -> None:
    local = LocalFactors(_array(1.1), _array(0.9), _array(1.0))
    white = TISSUES["white"]
    times = (_array(white.t1_ms * 1.1), _array(white.t2_ms * 0.9), sequence.repetition_ms, sequence.echo_ms)
    assert signal(white, sequence, local)[0] == pytest.approx(function(white.density, *times, *extra)[0], rel=1e-6)


def test_contrast_brightens_t1_only_where_it_leaks() -> None:
    before, after = Sequence("spin-echo", 500, 12), Sequence("spin-echo", 500, 12, contrast=True)
    gain = {name: signal(t, after, TYPICAL)[0] / signal(t, before, TYPICAL)[0] for name, t in TISSUES.items()}
    assert gain["enhancing"] > 1.5
    assert gain["vessel"] > 2
    assert gain["csf"] == 1
    assert 1 < gain["white"] < 1.05
