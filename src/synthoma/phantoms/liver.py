"""The phantom liver: patients with and without hepatocellular carcinoma, as TCIA distributes HCC-TACE-Seg.

Every patient is drawn first (:func:`draw`: a record of all random parameters) and rendered second (:func:`render`).
Patient *i* depends on the cohort's seed and on *i* alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from synthoma.options import Options
from synthoma.phantoms.abdomen import Abdomen, AbdomenParameters, draw_abdomen, render_abdomen
from synthoma.phantoms.abdomen_shapes import Box, Grid, Volume
from synthoma.phantoms.ct import ScanParameters, Site, acquire, draw_scan, lay_table
from synthoma.phantoms.ct_dicom import Patient, draw_uids, write_series
from synthoma.phantoms.dicom_seg import write_segmentation
from synthoma.phantoms.liver_lesion import LesionParameters, draw_lesion, paint_lesion, place_lesions, shape_lesion
from synthoma.seeding import child_seed, generator
from synthoma.storage import new_folder

__all__ = ["SITES", "LiverParameters", "LiverPhantomOptions", "LiverScan", "draw", "render", "write_liver_phantom"]

_BELOW_MM, _ABOVE_MM = -118.0, 102.0  # of the first lumbar vertebra

SITES: dict[str, Site] = {
    "A": Site("A", kernel="STANDARD", blur_mm=0.60, edge_gain=0.0, noise_hu=13.0, tube_current_ma=300.0),
    "B": Site("B", kernel="B31f", blur_mm=0.75, edge_gain=0.25, noise_hu=17.0, tube_current_ma=210.0),
}


class LiverPhantomOptions(Options):
    """A cohort of phantom abdomens with hepatocellular carcinomas."""

    source: Literal["phantom-liver"] = "phantom-liver"
    patients: int = Field(default=20, ge=1, le=9999)
    """How many patients. Their sites alternate: A, B, A, B, …"""
    seed: int = Field(default=0, ge=0)
    """The same seed gives the same files, byte for byte."""
    size: int = Field(default=256, ge=64, le=512)
    """Rows and columns of a slice; the field of view is 330 to 410 mm, by the patient's width."""
    spacing_mm: float = Field(default=2.75, ge=1.0, le=10.0)
    """Thickness of the slices, which touch; 220 mm are scanned."""
    tumour_free: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of patients without a carcinoma."""
    smallest_mm: float = Field(default=10.0, ge=5.0, le=80.0)
    """Diameter of the smallest carcinoma."""
    largest_mm: float = Field(default=80.0, ge=5.0, le=80.0)
    """Diameter of the largest carcinoma, as far as the liver has room for it."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that render patients side by side; the files do not depend on it."""

    @model_validator(mode="after")
    def _sizes_in_order(self) -> LiverPhantomOptions:
        if self.smallest_mm > self.largest_mm:
            raise ValueError(f"smallest_mm ({self.smallest_mm:g}) must not be above largest_mm ({self.largest_mm:g})")
        return self


@dataclass(frozen=True)
class LiverParameters:
    """All that is random about one patient."""

    patient: Patient
    seed: int
    abdomen: AbdomenParameters
    lesions: tuple[LesionParameters, ...]
    scan: ScanParameters
    field_mm: float
    """Width of the image."""
    table_mm: float
    """Where the scanner counts z from."""


@dataclass(frozen=True)
class LiverScan:
    """One rendered patient with the truth behind the images, all (z, y, x) with z towards the head."""

    hu: npt.NDArray[np.int16]
    masks: dict[str, npt.NDArray[np.bool_]]
    """By the names of ``dicom_seg.SEGMENTS``; no voxel is in two of them."""
    lesions: tuple[npt.NDArray[np.bool_], ...]
    """Each carcinoma for itself."""
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    """Of voxel [0, 0, 0]: (x, y, z), DICOM patient axes."""


def draw(options: LiverPhantomOptions, index: int) -> LiverParameters:
    """Draw patient ``index`` (0 or more)."""
    rng = generator(options.seed, "phantom-liver", index)
    seed = child_seed(options.seed, "phantom-liver", index, "fields")
    patient = Patient(
        f"PHANTOM-LIVER-{index + 1:04}", sex=str(rng.choice(["F", "M"])), age_years=int(rng.integers(42, 84))
    )
    abdomen = draw_abdomen(rng, seed)
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.27, 0.13])) if rng.uniform() >= options.tumour_free else 0
    sizes = options.smallest_mm, options.largest_mm
    lesions = tuple(draw_lesion(rng, child_seed(seed, "lesion", number), *sizes) for number in range(count))
    scan = draw_scan(rng, seed, SITES["AB"[index % 2]], options.spacing_mm)
    field = 10.0 * np.ceil(0.1 * (2.14 * abdomen.trunk.half_width_mm + rng.uniform(10, 30)))
    return LiverParameters(patient, seed, abdomen, lesions, scan, float(field), float(rng.integers(-400, 0)))


def render(parameters: LiverParameters, matrix: int, slice_mm: float) -> LiverScan:
    """Compute one patient's images and masks."""
    grid, box = _grids(parameters, matrix, slice_mm)
    inner = Grid(
        (grid.shape[0], box[1].stop - box[1].start, box[2].stop - box[2].start),
        grid.spacing_mm,
        (float(grid.axis(2)[box[2]][0]), float(grid.axis(1)[box[1]][0]), grid.first_mm[2]),
    )
    abdomen = render_abdomen(parameters.abdomen, inner)
    places = place_lesions(parameters.lesions, abdomen.organs.liver, abdomen.space)
    lesions = []
    for lesion, (centre, radius) in zip(parameters.lesions, places, strict=True):
        if radius > 0:
            part, distance = shape_lesion(lesion, centre, radius, abdomen.organs.liver, abdomen.space)
            liver_hu = parameters.abdomen.organs.liver_hu
            paint_lesion(abdomen.hu, lesion, radius, part, distance, liver_hu, abdomen.space)
            lesions.append(_whole(distance < 0, part, inner.shape))

    hu: Volume = np.full(grid.shape, -1000.0, np.float32)
    hu[box] = abdomen.hu
    back = grid.axis(1)[box[1]][np.nonzero((abdomen.trunk.skin < 0).any(axis=(0, 2)))[0].max()]
    lay_table(hu, grid.axis(2), grid.axis(1), float(back) + 1.0)
    return LiverScan(
        acquire(hu, grid.spacing_mm, parameters.scan),
        {name: _whole(mask, box, grid.shape) for name, mask in _masks(abdomen, lesions).items()},
        tuple(_whole(mask, box, grid.shape) for mask in lesions),
        grid.spacing_mm,
        (grid.first_mm[0], grid.first_mm[1], grid.first_mm[2] + parameters.table_mm),
    )


def _grids(parameters: LiverParameters, matrix: int, slice_mm: float) -> tuple[Grid, Box]:
    """The scanner's grid, and the part of it around the patient, where anything is to be computed."""
    trunk, pixel = parameters.abdomen.trunk, parameters.field_mm / matrix
    middle_y = 72.0 - trunk.half_depth_mm
    corner = (1 - matrix) / 2 * pixel
    slices = int(np.ceil((_ABOVE_MM - _BELOW_MM) / slice_mm))
    grid = Grid((slices, matrix, matrix), (slice_mm, pixel, pixel), (corner, middle_y + corner, _BELOW_MM))
    reach = (trunk.half_width_mm * 1.06 + 12.0, trunk.half_depth_mm * 1.06 + 12.0)
    return grid, grid.box((-reach[0], middle_y - reach[1], -1e4), (reach[0], middle_y + reach[1], 1e4))


def _whole(part: npt.NDArray[np.bool_], box: Box, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    whole = np.zeros(shape, np.bool_)
    whole[box] = part
    return whole


def _masks(abdomen: Abdomen, lesions: list[npt.NDArray[np.bool_]]) -> dict[str, npt.NDArray[np.bool_]]:
    """The segments of the archive, which are labels: the liver is what is neither mass nor portal vein."""
    shape = abdomen.hu.shape
    mass = np.zeros(shape, np.bool_)
    for lesion in lesions:
        mass |= lesion
    portal = np.zeros(shape, np.bool_)
    for box, distance in abdomen.vessels.portal:
        portal[box] |= distance < 0
    aorta = np.zeros(shape, np.bool_)
    aorta[abdomen.vessels.aorta[0]] = abdomen.vessels.aorta[1] < 0
    cava = np.zeros(shape, np.bool_)
    cava[abdomen.vessels.cava[0]] = abdomen.vessels.cava[1] < 0
    if abdomen.organs.gallbladder:
        box, distance = abdomen.organs.gallbladder
        portal[box] &= distance > 0
    portal &= ~mass & ~aorta & ~cava
    liver = (abdomen.organs.liver < 0) & ~mass & ~portal & ~aorta & ~cava
    return {"liver": liver, "mass": mass, "portal-vein": portal, "abdominal-aorta": aorta}


def write_liver_phantom(folder: Path, options: LiverPhantomOptions, *, overwrite: bool = False) -> Path:
    """Write the cohort as DICOM and return its folder.

    ``PHANTOM-LIVER-0001/<study>/<CT series>/1-001.dcm`` and so on, and ``<study>/<segmentation>/1-1.dcm`` with the
    segments of HCC-TACE-Seg (Moawad et al., Scientific Data 10:33, 2023); in a patient without a
    carcinoma ``Mass`` is empty.

    Raises:
        OutputError: ``folder`` exists and ``overwrite`` is false, or the disk is full or closed.
    """
    from joblib import Parallel, delayed

    with new_folder(Path(folder), overwrite=overwrite) as scratch:
        jobs = (delayed(_write_patient)(scratch, options, index) for index in range(options.patients))
        Parallel(n_jobs=min(options.workers, options.patients))(jobs)
    return Path(folder)


def _write_patient(folder: Path, options: LiverPhantomOptions, index: int) -> None:
    """Render and write one patient."""
    parameters = draw(options, index)
    scan = render(parameters, options.size, options.spacing_mm)
    patient = parameters.patient
    uids = draw_uids(options.seed, patient.id, scan.hu.shape[0])
    # The archive's folders: date, words, and the last digits of the identifier.
    study = folder / patient.id / f"01-01-2000-NA-CT ABDOMEN-{uids.study[-5:]}"
    images = write_series(
        study / f"1.000000-PORTAL VENOUS-{uids.series[-5:]}",
        scan.hu,
        scan.spacing_mm,
        scan.origin_mm,
        uids=uids,
        patient=patient,
        scan=parameters.scan,
        description="PORTAL VENOUS",
        body_part="ABDOMEN",
        contrast="Iodine",
    )
    write_segmentation(
        study / f"300.000000-Segmentation-{uids.study[-5:]}" / "1-1.dcm", images, scan.masks, seed=options.seed
    )
