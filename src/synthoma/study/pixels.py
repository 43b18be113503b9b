"""Images as they are shown: the scanner's values, so stored that nothing but the picture differs between origins.

Whatever is done is done to real and synthetic images alike:

- both ends of the intensity range are cut (``trim``): the background of a real image is exactly −1, a network's is not;
- HU are rounded to whole HU and cut to the range that all samples share; other units have no meaning of their own
  and become 0 … 4095 of each image's range;
- where real images lie on a lattice (sources of 8 bits), all are dithered by half its step, so that the gaps in their
  histogram, which no synthetic image has, are closed;
- int16, one shape, no header, no compression: every file has the same length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import CohortError, describe
from synthoma.records import Cohort
from synthoma.study.folder import ImageFormat

__all__ = ["Rendering", "plan_rendering", "render"]

LEVELS = 4095
"""The highest value of a unit of its own: 12 bits, as most scanners have."""
LOOKED_AT = 40
"""Real images that are searched for a lattice."""
FEWEST_LEVELS = 16
"""An image of fewer values is nearly empty, and says nothing of its source."""
COARSEST = 2 / 100
"""Dither that is any wider would be seen."""

Rows = Sequence[tuple[Cohort, int]]


@dataclass(frozen=True)
class Rendering:
    """How every image of a study is stored."""

    format: ImageFormat
    trim: float
    dither: float
    """Width of the dither, in units of [−1, 1]; 0 for none."""


def plan_rendering(real: Rows, synthetic: Rows, channel: str, *, trim: float) -> Rendering:
    """What all chosen samples have in common, and how they are made alike.

    Raises:
        CohortError: images of different sizes or units, or HU ranges that do not overlap.
    """
    samples = [*real, *synthetic]
    cohort, _ = samples[0]
    shape = tuple(int(length) for length in (1, *cohort.images.shape[2:])[-3:])
    units = sorted({str(cohort.table["unit"][row]) for cohort, row in samples})
    if len(units) > 1:
        remedy = "Choose with --modality."
        raise CohortError(describe("samples to show", "one unit", " and ".join(units), remedy))
    for other, _ in samples:
        if (1, *other.images.shape[2:])[-3:] != shape:
            found = f"{other.images.shape[2:]} in {other.path}"
            raise CohortError(describe("samples to show", f"images of {cohort.images.shape[2:]}", found))
    ranges = np.array([_range(cohort, row, channel) for cohort, row in samples])
    unit: Literal["HU", "arbitrary"] = "HU" if units == ["HU"] and np.isfinite(ranges).all() else "arbitrary"
    if unit == "HU":
        margin = trim / 2 * (ranges[:, 1] - ranges[:, 0])
        low, high = np.ceil((ranges[:, 0] + margin).max()), np.floor((ranges[:, 1] - margin).min())
        if low >= high:
            raise CohortError(describe("samples to show", "HU ranges that overlap", f"{low:g} above {high:g}"))
        step = 2 / float(np.median(ranges[:, 1] - ranges[:, 0]))
    else:
        low, high, step = 0, LEVELS, 2 / LEVELS
    lattice = max((_lattice(np.asarray(cohort.channel(channel)[row])) for cohort, row in real[:LOOKED_AT]), default=0.0)
    z, y, x = shape
    return Rendering(
        ImageFormat(shape=(z, y, x), unit=unit, low=int(low), high=int(high), aspect=_aspect(samples)),
        trim,
        lattice if lattice > 1.5 * step else 0.0,
    )


def render(cohort: Cohort, row: int, channel: str, rendering: Rendering, rng: np.random.Generator) -> NDArray[np.int16]:
    """One sample as it is stored, (z, y, x) int16 within the format's ``low`` and ``high``."""
    form = rendering.format
    image = np.asarray(cohort.channel(channel)[row], dtype=np.float64).reshape(form.shape)
    end = 1 - rendering.trim
    image = np.clip(image, -end, end)
    if rendering.dither:
        noise = rng.uniform(-rendering.dither / 2, rendering.dither / 2, image.shape)
        image = np.where(np.abs(image) < end, np.clip(image + noise, -end, end), image)
    if form.unit == "HU":
        low, high = _range(cohort, row, channel)
        values = low + (image + 1) / 2 * (high - low)
    else:
        values = (image + end) / (2 * end) * LEVELS
    stored: NDArray[np.int16] = np.clip(np.rint(values), form.low, form.high).astype("<i2")
    return stored


def _range(cohort: Cohort, row: int, channel: str) -> tuple[float, float]:
    """The scanner's values that stand for −1 and +1; NaN when unknown."""
    return float(cohort.table[f"low_{channel}"][row]), float(cohort.table[f"high_{channel}"][row])


def _lattice(image: NDArray[np.floating]) -> float:
    """The step of the lattice that the values of an image lie on, or 0 when they are continuous.

    There is one if every gap between two values is a whole number of the smallest, but for rounding.
    """
    gaps = np.diff(np.unique(image[np.abs(image) < 1 - 1e-6].astype(np.float64)))
    gaps = gaps[gaps > 1e-5]  # rounding of float32
    if len(gaps) < FEWEST_LEVELS:
        return 0.0
    step = float(np.median(gaps / np.rint(gaps / gaps.min())))
    steps = gaps / step
    return step if np.quantile(np.abs(steps - np.rint(steps)), 0.99) < 0.15 and step < COARSEST else 0.0


def _aspect(samples: Rows) -> float:
    """Height over width of a pixel: the most usual one, for all, since a spacing of its own could tell an image."""
    known = [str(cohort.table["spacing_mm"][row]).split() for cohort, row in samples]
    aspects = [round(float(parts[-2]) / float(parts[-1]), 3) for parts in known if len(parts) >= 2]
    return float(np.median(aspects)) if aspects else 1.0
