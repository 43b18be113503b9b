"""The healthy brain: ICBM152 tissue maps, bent into one patient's anatomy.

Template: ICBM 2009a nonlinear symmetric (Fonov et al., NeuroImage 54:313, 2011), grey and white matter and the
skull-stripped T1 at 1 mm, as nilearn carries them in its package.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthoma.errors import MissingPartError, describe
from synthoma.seeding import generator

__all__ = ["EXTENT_MM", "AnatomyParameters", "Grid", "Template", "Tissues", "Volume", "load_template", "shape_anatomy"]

Volume = npt.NDArray[np.float32]

EXTENT_MM = (240, 240, 155)
"""The box of BraTS: 240 × 240 × 155 voxels of 1 mm."""

_FILES = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_MARGIN = 4  # voxels kept around the template's brain, so that interpolation at its edge sees the background
_GREY_T1, _WHITE_T1, _CSF_T1 = 165.0, 222.0, 70.0  # medians of the template's T1 where one tissue fills the voxel


@dataclass(frozen=True)
class Grid:
    """Voxels of ``spacing_mm`` in the BraTS box; axes run to the left, to the back and upwards (LPS)."""

    spacing_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        x, y, z = (int(np.ceil(extent / self.spacing_mm)) for extent in EXTENT_MM)
        return x, y, z

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel to RAS millimetres, as in the BraTS files (origin (0, 239, 0))."""
        affine = np.diag([-self.spacing_mm, -self.spacing_mm, self.spacing_mm, 1.0])
        affine[1, 3] = 239.0
        return affine


@dataclass(frozen=True)
class Template:
    """Tissue maps on the 1 mm template grid (RAS axes), cropped to the brain."""

    brain: Volume
    grey: Volume
    white: Volume
    csf: Volume
    ventricles: Volume
    """Ventricles, blurred by 3 mm."""
    detail: Volume
    """What the T1 template shows beyond a mixture of three tissues: deep nuclei, tracts; in units of white − grey."""
    towards_ventricles: Volume
    """(3, x, y, z) vectors into the nearest ventricle, at most 1 long, longest at its wall."""
    places: npt.NDArray[np.int64]
    """(n, 3) voxels where a glioma may start: deep white matter of the hemispheres."""


@dataclass(frozen=True)
class AnatomyParameters:
    """One patient's anatomy. ``seed`` names the random fields."""

    seed: int
    rotation_deg: tuple[float, float, float]
    scale: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    bend_mm: float
    """Standard deviation of the smooth deformation (30 mm lattice)."""
    ripple_mm: float
    """Standard deviation of the fine deformation (11 mm lattice)."""
    ventricle_growth_mm: float
    sulcus_width: float
    """Log factor of the CSF outside the ventricles."""
    white_matter_change: float
    """Strength, 0 to 1, of the bright caps around the ventricles that come with age."""


@dataclass(frozen=True)
class Tissues:
    """One patient's healthy tissue: a mask on the grid and one value for each of its ``n`` voxels."""

    brain: npt.NDArray[np.bool_]
    grey: Volume
    white: Volume
    csf: Volume
    ventricles: Volume
    detail: Volume


@functools.lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the tissue maps from nilearn's package (without importing nilearn, which takes seconds)."""
    import nibabel
    from scipy import ndimage

    found = importlib.util.find_spec("nilearn")
    folder = Path(found.origin or "").parent if found else Path()
    paths = {name: folder / _FILES.format(name) for name in ("t1", "gm", "wm")}
    if found is None or not all(path.is_file() for path in paths.values()):
        raise MissingPartError(describe("phantom-brain", "the ICBM152 maps of nilearn", "none", "pip install nilearn"))
    images = {name: nibabel.load(path) for name, path in paths.items()}
    t1, grey, white = (np.asarray(images[name].dataobj, dtype=np.float32) for name in ("t1", "gm", "wm"))

    # Skull stripping takes the outermost millimetre, where the maps know no tissue, along.
    inside = ndimage.binary_erosion(ndimage.binary_fill_holes(t1 > 0))
    first = [int(axis.min()) for axis in np.nonzero(inside)]
    last = [int(axis.max()) + 1 for axis in np.nonzero(inside)]
    crop = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    t1, grey, white, inside = (np.pad(volume[crop], _MARGIN) for volume in (t1, grey / 255, white / 255, inside))
    origin = images["t1"].affine[:3, 3] + np.array(first) - _MARGIN

    csf = np.where(inside, np.clip(1 - grey - white, 0, 1), 0).astype(np.float32)
    total = np.maximum(grey + white + csf, 1e-6)
    grey, white, csf = grey / total * inside, white / total * inside, csf / total * inside
    mixture = grey * _GREY_T1 + white * _WHITE_T1 + csf * _CSF_T1
    detail = np.where(inside, (t1 - mixture) / (_WHITE_T1 - _GREY_T1), 0)
    # CSF explains the dark rim of the template badly; there the residue is partial volume, not tissue.
    detail = np.clip(detail, -1, 1) * np.clip(1 - 2 * csf, 0, 1)
    depth = ndimage.distance_transform_edt(inside)
    ventricles: Volume = ndimage.gaussian_filter(_find_ventricles(csf, depth, origin).astype(np.float32), 3.0)
    slope = np.array(np.gradient(ndimage.gaussian_filter(ventricles, 3.0)), dtype=np.float32)
    return Template(
        brain=inside.astype(np.float32),
        grey=grey.astype(np.float32),
        white=white.astype(np.float32),
        csf=csf.astype(np.float32),
        ventricles=ventricles,
        detail=detail.astype(np.float32),
        towards_ventricles=slope / np.float32(np.sqrt((slope**2).sum(axis=0)).max()),
        places=_find_places(white, depth, ventricles, origin),
    )


def _find_ventricles(
    csf: Volume, depth: npt.NDArray[np.float64], origin: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """CSF deep in the brain, in the box (MNI millimetres) that holds the lateral and third ventricles."""
    x, y, z = np.ogrid[tuple(slice(0, n) for n in csf.shape)]
    x, y, z = x + origin[0], y + origin[1], z + origin[2]
    box = (np.abs(x) < 40) & (y > -62) & (y < 38) & (z > -22) & (z < 32)
    ventricles: npt.NDArray[np.bool_] = (csf > 0.5) & (depth > 24) & box
    return ventricles


def _find_places(
    white: Volume, depth: npt.NDArray[np.float64], ventricles: Volume, origin: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """White matter 8 mm or more below the surface, clear of ventricles, midline, brain stem and cerebellum."""
    x, y, z = np.ogrid[tuple(slice(0, n) for n in white.shape)]
    x, y, z = x + origin[0], y + origin[1], z + origin[2]
    hemispheres = (np.abs(x) > 12) & (((z > 0) & (z < 50)) | ((y > -30) & (np.abs(x) > 26) & (z > -25)))
    return np.argwhere((white > 0.8) & (depth > 8) & (ventricles < 0.05) & hemispheres)


def smooth_field(seed: int, name: str, grid: Grid, lattice_mm: float) -> Volume:
    """A smooth random field of unit variance: cubic B-splines over a lattice of independent normal values.

    The lattice is fixed in millimetres, so the same field can be had on any grid. Sparse products sum in a fixed order:
    the result does not depend on the number of threads.
    """
    from scipy import sparse

    counts = [int(np.ceil(extent / lattice_mm)) + 4 for extent in EXTENT_MM]
    field = generator(seed, "field", name).standard_normal(counts, dtype=np.float32)
    for voxels, count in zip(grid.shape, counts, strict=True):
        cell, u = np.divmod(np.arange(voxels) * grid.spacing_mm / lattice_mm, 1.0)
        weights = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], axis=1) / 6
        columns = cell.astype(int)[:, None] + np.arange(4)
        rows = np.repeat(np.arange(voxels), 4)
        spline: sparse.csr_array = sparse.csr_array(
            (weights.astype(np.float32).ravel(), (rows, columns.ravel())), (voxels, count)
        )
        rest = field.shape[1:]
        field = (spline @ field.reshape(count, -1)).reshape(voxels, *rest)
        field = np.moveaxis(field, 0, -1)  # three turns bring the axes back in order
    return np.ascontiguousarray(field / np.float32((151 / 315) ** 1.5))  # 151/315: mean sum of squared spline weights


def to_template(parameters: AnatomyParameters, grid: Grid, template: Template) -> list[Volume]:
    """For each voxel of the patient, the voxel of the template (three volumes) it shows: affine map plus bending."""
    from scipy.spatial.transform import Rotation

    # Template axes run to the right, front and top; the grid's to the left, back and top.
    sign = np.array([-1, -1, 1])
    centre = np.array(template.brain.shape) / 2
    matrix = Rotation.from_euler("xyz", parameters.rotation_deg, degrees=True).as_matrix() / np.array(parameters.scale)
    axes = [
        sign[axis] * (np.arange(n, dtype=np.float32) - (n - 1) / 2) * grid.spacing_mm - parameters.shift_mm[axis]
        for axis, n in enumerate(grid.shape)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    where = []
    for axis in range(3):
        a, b, c = (np.float32(value) for value in matrix[axis])
        bend = smooth_field(parameters.seed, f"bend-{axis}", grid, 30.0) * np.float32(parameters.bend_mm)
        ripple = smooth_field(parameters.seed, f"ripple-{axis}", grid, 11.0) * np.float32(parameters.ripple_mm)
        where.append((a * x + b * y + c * z + np.float32(centre[axis]) + bend + ripple).astype(np.float32))
    return where


def grow_ventricles(where: list[Volume], growth_mm: float, template: Template) -> list[Volume]:
    """Pull the map towards the ventricles, so that they appear about ``growth_mm`` larger (or smaller)."""
    from scipy import ndimage

    pulls = (ndimage.map_coordinates(axis, where, order=1) for axis in template.towards_ventricles)
    return [axis + np.float32(growth_mm) * pull for axis, pull in zip(where, pulls, strict=True)]


def shape_anatomy(parameters: AnatomyParameters, grid: Grid, where: list[Volume], template: Template) -> Tissues:
    """Sample the template at ``where`` and vary the width of sulci and cortex.

    Returns:
        tissue fractions (they add up to 1) in the voxels of the brain.
    """
    from scipy import ndimage

    brain = ndimage.map_coordinates(template.brain, where, order=1) > 0.5
    points = [axis[brain] for axis in where]
    grey, white, csf, ventricles, detail = (
        ndimage.map_coordinates(volume, points, order=1)
        for volume in (template.grey, template.white, template.csf, template.ventricles, template.detail)
    )
    sulci = smooth_field(parameters.seed, "sulci", grid, 8.0)[brain]
    cortex = smooth_field(parameters.seed, "cortex", grid, 14.0)[brain]
    outside = np.clip(1 - 3 * ventricles, 0, 1)
    # The template is a mean of 152 brains, so its fractions are blurred: a power above 1 sharpens them.
    csf = csf**1.5 * np.exp(outside * (parameters.sulcus_width + 0.6 * sulci))
    grey, white = grey**1.7 * np.exp(0.25 * cortex), white**1.7
    total = np.maximum(grey + white + csf, 1e-6)
    return Tissues(brain, grey / total, white / total, csf / total, np.clip(1.6 * ventricles, 0, 1), detail)
