"""From tissue to signal: relaxation constants and the equations of three pulse sequences.

Constants at 3 T. Healthy tissue: T1 and T2 of white and grey matter from Wansapura et al., J Magn Reson Imaging 9:531
(1999); water content from Whittall et al., Magn Reson Med 37:34 (1997); cerebrospinal fluid (CSF) as rounded free
water; blood T1 from Lu et al., Magn Reson Med 52:679 (2004). Tumour tissue: *approximate* values, chosen inside the
ranges that relaxometry of glioma reports at 3 T (T1 about 1.2 to 3 s, T2 about 115 to 300 ms). Contrast agent:
concentrations are set so that T1 falls by what Nöth et al., NMR Biomed 33:e4242 (2020), measured after injection: about
840 ms in enhancing tumour, 120 ms in oedema, 30 ms in normal tissue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "RELAXIVITY",
    "TISSUES",
    "LocalFactors",
    "Sequence",
    "Tissue",
    "gradient_echo",
    "inversion_recovery",
    "signal",
    "spin_echo",
    "with_contrast",
]

Volume = npt.NDArray[np.float32]

RELAXIVITY = 4.5
"""Longitudinal relaxivity r1 of a gadolinium chelate in plasma at 3 T, per millimolar and second."""


@dataclass(frozen=True)
class Tissue:
    """What a sequence sees of a tissue: relaxation times, proton density (water = 1), uptake of contrast agent."""

    t1_ms: float
    t2_ms: float
    density: float
    uptake_mm: float
    """Concentration of contrast agent after injection, in millimolar (mmol/L)."""


TISSUES: dict[str, Tissue] = {
    "white": Tissue(832.0, 79.6, 0.71, 0.011),
    "grey": Tissue(1331.0, 110.0, 0.83, 0.005),
    "csf": Tissue(4300.0, 2000.0, 1.0, 0.0),
    # Flowing blood leaves the slice before its echo: hardly any signal (flow void) until contrast agent fills it.
    "vessel": Tissue(1650.0, 30.0, 0.45, 2.0),
    "oedema": Tissue(1350.0, 185.0, 0.81, 0.016),
    "enhancing": Tissue(1600.0, 135.0, 0.84, 0.16),
    "necrosis": Tissue(2600.0, 290.0, 0.93, 0.012),
}


class LocalFactors(NamedTuple):
    """By how much a tissue's T1, T2 and uptake differ from place to place: three arrays (n,) around 1."""

    t1: Volume
    t2: Volume
    uptake: Volume


@dataclass(frozen=True)
class Sequence:
    """The settings of one pulse sequence."""

    kind: Literal["gradient-echo", "spin-echo", "inversion-recovery"]
    repetition_ms: float
    echo_ms: float
    inversion_ms: float = 0.0
    flip_deg: float = 90.0
    contrast: bool = False
    """Acquired after the injection of contrast agent."""


def spin_echo(density: float, t1_ms: Volume, t2_ms: Volume, repetition_ms: float, echo_ms: float) -> Volume:
    """``M0 (1 − exp(−TR/T1)) exp(−TE/T2)``, for TE much shorter than TR (Bernstein et al., Handbook of MRI, 2004)."""
    magnitude: Volume = density * (1.0 - np.exp(-repetition_ms / t1_ms)) * np.exp(-echo_ms / t2_ms)
    return magnitude


def gradient_echo(
    density: float, t1_ms: Volume, t2_ms: Volume, repetition_ms: float, echo_ms: float, flip_deg: float
) -> Volume:
    """Spoiled gradient echo: ``M0 sin α (1 − E1) / (1 − cos α E1) exp(−TE/T2)``, ``E1 = exp(−TR/T1)``.

    Ernst and Anderson, Rev Sci Instrum 37:93 (1966). T2 stands in for T2*: the echo time is short.
    """
    angle = math.radians(flip_deg)
    recovered = np.exp(-repetition_ms / t1_ms)
    steady = math.sin(angle) * (1.0 - recovered) / (1.0 - math.cos(angle) * recovered)
    magnitude: Volume = density * steady * np.exp(-echo_ms / t2_ms)
    return magnitude


def inversion_recovery(
    density: float, t1_ms: Volume, t2_ms: Volume, repetition_ms: float, echo_ms: float, inversion_ms: float
) -> Volume:
    """Magnitude of ``M0 (1 − 2 exp(−TI/T1) + exp(−TR/T1)) exp(−TE/T2)`` (FLAIR: Hajnal et al., JCAT 16:841, 1992)."""
    recovery = 1.0 - 2.0 * np.exp(-inversion_ms / t1_ms) + np.exp(-repetition_ms / t1_ms)
    magnitude: Volume = density * np.abs(recovery) * np.exp(-echo_ms / t2_ms)
    return magnitude


def with_contrast(t1_ms: Volume, uptake_mm: Volume) -> Volume:
    """T1 after injection: ``1/T1' = 1/T1 + r1 · C``, with the concentration C in millimolar."""
    rate_per_s: Volume = 1000.0 / t1_ms + RELAXIVITY * uptake_mm
    return 1000.0 / rate_per_s


def signal(tissue: Tissue, sequence: Sequence, local: LocalFactors) -> Volume:
    """Signal (n,) of a tissue whose constants are multiplied, place by place, by the local factors."""
    t1_ms, t2_ms = tissue.t1_ms * local.t1, tissue.t2_ms * local.t2
    if sequence.contrast:
        t1_ms = with_contrast(t1_ms, tissue.uptake_mm * local.uptake)
    times = (tissue.density, t1_ms, t2_ms, sequence.repetition_ms, sequence.echo_ms)
    if sequence.kind == "spin-echo":
        return spin_echo(*times)
    if sequence.kind == "gradient-echo":
        return gradient_echo(*times, sequence.flip_deg)
    return inversion_recovery(*times, sequence.inversion_ms)
