"""Two scanners: how tissue becomes four images with coil shading, blur, slice steps and noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from synthoma.phantoms.anatomy import Grid, Volume, smooth_field
from synthoma.phantoms.signals import LocalFactors, Sequence, Tissue, signal
from synthoma.seeding import generator

__all__ = ["CHANNELS", "SITES", "ScanParameters", "Site", "acquire", "draw_scan"]

CHANNELS = ("t1", "t1ce", "t2", "flair")


@dataclass(frozen=True)
class Site:
    """A hospital's protocol and how clean its images are."""

    sequences: Mapping[str, Sequence]
    noise: float
    """Noise, as a share of the signal of white matter."""
    shading: float
    """Standard deviation of the logarithm of the coil's sensitivity."""
    slice_blur_mm: Mapping[str, float]
    """Standard deviation of the slice profile: thick slices, resampled."""


_T1_A = Sequence("gradient-echo", repetition_ms=250, echo_ms=2.5, flip_deg=75)
_T1_B = Sequence("spin-echo", repetition_ms=500, echo_ms=12)

SITES: dict[str, Site] = {
    "A": Site(
        sequences={
            "t1": _T1_A,
            "t1ce": replace(_T1_A, contrast=True),
            "t2": Sequence("spin-echo", repetition_ms=5500, echo_ms=105),
            "flair": Sequence("inversion-recovery", repetition_ms=9000, echo_ms=125, inversion_ms=2500),
        },
        noise=0.022,
        shading=0.08,
        slice_blur_mm={"t1": 0.0, "t1ce": 0.0, "t2": 0.8, "flair": 0.8},
    ),
    "B": Site(
        sequences={
            "t1": _T1_B,
            "t1ce": replace(_T1_B, contrast=True),
            "t2": Sequence("spin-echo", repetition_ms=3600, echo_ms=80),
            "flair": Sequence("inversion-recovery", repetition_ms=8000, echo_ms=95, inversion_ms=2250),
        },
        noise=0.028,
        shading=0.12,
        slice_blur_mm={"t1": 0.8, "t1ce": 0.8, "t2": 1.2, "flair": 1.5},
    ),
}


@dataclass(frozen=True)
class ScanParameters:
    """One examination: what the scanner did for each channel. ``seed`` names shading, slice steps and noise."""

    seed: int
    sequences: Mapping[str, Sequence]
    gain: Mapping[str, float]
    """Stored value per unit of signal: MRI has no unit, so it differs between channels and patients."""
    noise: float
    shading: float
    slice_steps: float
    """Standard deviation of the slices' relative brightness."""
    slice_blur_mm: Mapping[str, float]


def draw_scan(rng: np.random.Generator, seed: int, site: Site) -> ScanParameters:
    """Draw an examination at ``site``: times within 3 % of the protocol, gain and noise of the day."""
    sequences, gain = {}, {}
    for channel in CHANNELS:
        protocol = site.sequences[channel]
        if not protocol.contrast:  # T1 before and after injection share their settings and gain
            times = np.exp(0.03 * rng.standard_normal(2))
            sequences[channel] = replace(
                protocol,
                repetition_ms=float(protocol.repetition_ms * times[0]),
                echo_ms=float(protocol.echo_ms * times[1]),
            )
            gain[channel] = float(4500 * np.exp(0.3 * rng.standard_normal()))
        else:
            sequences[channel] = replace(sequences["t1"], contrast=True)
            gain[channel] = gain["t1"] * float(np.exp(0.1 * rng.standard_normal()))
    return ScanParameters(
        seed=seed,
        sequences=sequences,
        gain=gain,
        noise=float(site.noise * rng.uniform(0.8, 1.3)),
        shading=float(site.shading * rng.uniform(0.6, 1.3)),
        slice_steps=float(rng.uniform(0.004, 0.015)),
        slice_blur_mm=site.slice_blur_mm,
    )


def acquire(
    parameters: ScanParameters,
    channel: str,
    fractions: Mapping[str, Volume],
    tissues: Mapping[str, Tissue],
    factors: Mapping[str, LocalFactors],
    brain: npt.NDArray[np.bool_],
    grid: Grid,
) -> npt.NDArray[np.int16]:
    """One skull-stripped image.

    Args:
        fractions: for each tissue its share (n,) of each brain voxel; partial volume mixes the signals by these.
        tissues: the patient's relaxation constants.
        factors: for each tissue its local factors (n,).
        brain: (x, y, z) mask with ``n`` voxels.

    Returns:
        (x, y, z) int16, exactly 0 outside the brain and at least 1 inside.
    """
    from scipy import ndimage

    sequence = parameters.sequences[channel]
    mixed = sum(part * signal(tissues[name], sequence, factors[name]) for name, part in fractions.items())
    image = np.zeros(grid.shape, np.float32)
    image[brain] = mixed
    blur = parameters.slice_blur_mm[channel] / grid.spacing_mm
    if blur > 0:
        share: Volume = ndimage.gaussian_filter1d(brain.astype(np.float32), blur, axis=2)  # of the profile in the brain
        image[brain] = (ndimage.gaussian_filter1d(image, blur, axis=2) / np.maximum(share, 1e-3))[brain]

    # The coil is the same in all channels, the patient's load and position nearly so.
    coil = smooth_field(parameters.seed, "coil", grid, 90.0) + 0.3 * smooth_field(parameters.seed, channel, grid, 90.0)
    rng = generator(parameters.seed, "slices", channel)
    steps = np.exp(parameters.slice_steps * rng.standard_normal(grid.shape[2])).astype(np.float32)
    values = (image * steps)[brain] * np.exp(np.float32(parameters.shading) * coil[brain])

    # Magnitude images have Rician noise: Gudbjartsson and Patz, Magn Reson Med 34:910 (1995).
    typical = LocalFactors(*np.ones((3, 1), np.float32))
    sigma = parameters.noise * float(signal(tissues["white"], sequence, typical)[0])
    rng = generator(parameters.seed, "noise", channel)
    real, imaginary = np.float32(sigma) * rng.standard_normal((2, values.size), dtype=np.float32)
    stored = parameters.gain[channel] * np.hypot(values + real, imaginary)
    result = np.zeros(grid.shape, np.int16)
    result[brain] = np.clip(np.rint(stored), 1, np.iinfo(np.int16).max).astype(np.int16)
    return result
