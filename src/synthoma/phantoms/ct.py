"""The CT scanner: how an object in Hounsfield units becomes the slices of one examination.

Images are (z, y, x); x runs to the patient's left, y to the back, z to the head (DICOM's patient axes, LPS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthoma.seeding import generator

__all__ = ["HOUNSFIELD", "OUTSIDE_HU", "SITES", "ScanParameters", "Site", "Volume", "acquire", "draw_scan", "lay_table"]

Volume = npt.NDArray[np.float32]

HOUNSFIELD: Mapping[str, float] = {
    "air": -1000.0,
    "lung": -860.0,
    "fat": -102.0,
    "water": 0.0,
    "bile": 8.0,
    "kidney": 32.0,
    "blood": 42.0,
    "spleen": 48.0,
    "muscle": 52.0,
    "liver": 58.0,
    "cartilage": 95.0,
    "marrow": 190.0,
    "cortex": 950.0,
}
"""Mean attenuation of tissues without contrast agent."""

OUTSIDE_HU = -2048
"""What lies outside the circle of reconstruction: stored −1024 with an intercept of −1024."""

_LOWEST_HU, _HIGHEST_HU = -1024, 3071  # 12 bits above an intercept of −1024
_WATER_PER_MM = 0.0193  # linear attenuation of water at 70 keV
_USUAL_PATH = 3.6  # the line integral through a chest at which a site states its noise


@dataclass(frozen=True)
class Site:
    """A hospital's scanner and protocol."""

    name: str
    kernel: str
    blur_mm: float
    """Standard deviation of the point spread in the plane."""
    edge_gain: float
    """Overshoot of the kernel at edges: 0 for a soft one, above 0.3 for a lung kernel."""
    noise_hu: float
    """Standard deviation in the middle of an average chest, for slices of 2.5 mm."""
    kvp: float = 120.0
    tube_current_ma: float = 260.0


SITES: dict[str, Site] = {
    "A": Site("A", kernel="STANDARD", blur_mm=0.55, edge_gain=0.0, noise_hu=15.0, tube_current_ma=320.0),
    "B": Site("B", kernel="LUNG", blur_mm=0.50, edge_gain=0.30, noise_hu=21.0, tube_current_ma=180.0),
}


@dataclass(frozen=True)
class ScanParameters:
    """One examination. ``seed`` names the noise."""

    seed: int
    site: Site
    noise_hu: float
    blur_mm: float
    tube_current_ma: int
    thickness_mm: float
    """Slice thickness."""


def draw_scan(rng: np.random.Generator, seed: int, site: Site, thickness_mm: float) -> ScanParameters:
    """Draw an examination at ``site``: the dose of the day, and the noise that follows from it."""
    dose = float(np.exp(0.2 * rng.standard_normal()))
    return ScanParameters(
        seed=seed,
        site=site,
        noise_hu=float(site.noise_hu / np.sqrt(dose)),
        blur_mm=float(site.blur_mm * rng.uniform(0.92, 1.08)),
        tube_current_ma=round(site.tube_current_ma * dose),
        thickness_mm=thickness_mm,
    )


def lay_table(hu: Volume, x_mm: Volume, y_mm: Volume, back_mm: float) -> None:
    """Draw the scanner's table into ``hu`` (z, y, x), wherever there is air.

    Args:
        hu: changed in place.
        x_mm, y_mm: places of columns and rows; x = 0 is the middle of the table.
        back_mm: y of the patient's back, on which the table's trough touches.
    """
    x, y = x_mm[None, :], y_mm[:, None]
    radius = np.float32(560.0)
    depth = np.hypot(x, y - (back_mm - radius)) - radius  # below the trough's surface
    pixel = float(x_mm[1] - x_mm[0])

    def layer(top: float, bottom: float) -> Volume:
        inside = np.minimum(depth - top, bottom - depth) / pixel + 0.5
        side = (215.0 - np.abs(x)) / pixel
        return np.asarray(np.clip(np.minimum(inside, side), 0, 1), np.float32)

    # A shell of carbon fibre around foam, on a mattress.
    table = 1120 * layer(9.0, 11.4) + 55 * layer(11.4, 46.0) + 900 * layer(46.0, 47.2) + 45 * layer(1.0, 9.0)
    np.maximum(hu, (table - 1000).astype(np.float32)[None], out=hu)


def acquire(hu: Volume, spacing_mm: tuple[float, float, float], parameters: ScanParameters) -> npt.NDArray[np.int16]:
    """Scan an object: slice profile, point spread, noise, 12 bits, and the circle of reconstruction.

    Args:
        hu: (z, y, x) the object, each voxel the mean over itself.
        spacing_mm: (z, y, x).

    Returns:
        (z, y, x) Hounsfield units from −1024 to 3071, and :data:`OUTSIDE_HU` outside the circle.
    """
    from scipy import ndimage

    slices, rows, columns = hu.shape
    pixel_mm = spacing_mm[1]
    across = max(0.29 * parameters.thickness_mm, 0.29 * spacing_mm[0]) / spacing_mm[0]
    sigma = parameters.blur_mm / pixel_mm
    blurred: Volume = ndimage.gaussian_filter1d(hu, across, axis=0, mode="nearest", truncate=3.0)
    wide = 2.2 * sigma + 0.4
    y, x = np.ogrid[:rows, :columns]
    radius = (y - (rows - 1) / 2) ** 2 + (x - (columns - 1) / 2) ** 2
    outside = radius > (min(rows, columns) / 2) ** 2
    spectrum = _noise_spectrum(rows, columns, pixel_mm, parameters)
    scan = np.empty(hu.shape, np.int16)
    for z in range(slices):
        image: Volume = ndimage.gaussian_filter(blurred[z], sigma, mode="nearest")
        if parameters.site.edge_gain:
            image += parameters.site.edge_gain * (image - ndimage.gaussian_filter(image, wide, mode="nearest"))
        rng = generator(parameters.seed, "ct-noise", z)
        image += _noise(rng, blurred[z], pixel_mm, spectrum, parameters)
        image = np.rint(np.clip(image, _LOWEST_HU, _HIGHEST_HU))
        image[outside] = OUTSIDE_HU
        scan[z] = image
    return scan


def _noise_spectrum(rows: int, columns: int, pixel_mm: float, parameters: ScanParameters) -> list[Volume]:
    """Amplitudes of the noise, for rays that run mostly along x and mostly along y.

    Filtered back-projection of white noise in the projections has a noise power of |f|·MTF(f)² (Riederer et al.,
    Phys Med Biol 23:446, 1978); rays along one direction make ripples across it only.
    """
    fy, fx = np.fft.fftfreq(rows, pixel_mm)[:, None], np.fft.rfftfreq(columns, pixel_mm)[None, :]
    f = np.hypot(fy, fx)
    # Pixels finer than the detector allows show the detector's blur; coarse ones average over themselves.
    sigma = np.hypot(max(parameters.blur_mm, 0.45), 0.29 * pixel_mm)
    mtf = np.exp(-2 * (np.pi * sigma * f) ** 2)
    mtf *= 1 + parameters.site.edge_gain * (1 - np.exp(-2 * (np.pi * 2.2 * sigma * f) ** 2))
    amplitude = np.sqrt(f + 0.01) * mtf  # a little noise at all scales: detectors drift
    along_x = fy**2 / np.maximum(f**2, 1e-12)
    along_x[0, 0] = 0.5
    weight = np.where((np.arange(columns // 2 + 1) == 0) | (2 * np.arange(columns // 2 + 1) == columns), 1, 2)
    power = float((amplitude**2 * weight).sum() / (rows * columns))
    amplitude /= np.sqrt(power)
    return [(amplitude * share).astype(np.float32) for share in (along_x, 1 - along_x)]


def _noise(
    rng: np.random.Generator,
    hu: npt.NDArray[np.float32],
    pixel_mm: float,
    spectrum: list[Volume],
    parameters: ScanParameters,
) -> npt.NDArray[np.float32]:
    """One slice's noise: its variance grows with exp(line integral) of the rays, so shoulders streak sideways.

    The tube current follows the slice's attenuation and evens out most of the differences between slices.
    """
    from scipy import fft, ndimage

    white = fft.rfft2(rng.standard_normal(hu.shape, dtype=np.float32))
    attenuation = np.maximum(hu + 1000, 0) * np.float32(_WATER_PER_MM * pixel_mm / 1000)
    noise = np.zeros(hu.shape, np.float32)
    paths: list[Volume] = [ndimage.gaussian_filter1d(attenuation.sum(axis=axis), 12.0 / pixel_mm) for axis in (1, 0)]
    middle = float(np.mean([path.max() for path in paths]))
    level = parameters.noise_hu * np.sqrt(2.5 / parameters.thickness_mm) * np.exp(0.15 * (middle - _USUAL_PATH))
    for path, amplitude, shape in zip(paths, spectrum, ((-1, 1), (1, -1)), strict=True):
        spread = np.exp(0.5 * np.clip(path - middle, -2.0, 2.0)).reshape(shape)
        noise += fft.irfft2(white * amplitude, hu.shape) * spread.astype(np.float32)
    noise *= np.float32(level)
    return noise
