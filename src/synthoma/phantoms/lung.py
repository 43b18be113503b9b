"""The phantom lungs: a cohort of chest CT with nodules, as The Cancer Imaging Archive distributes LIDC-IDRI.

Every patient is drawn first (:func:`draw`: a record of all random parameters) and rendered second (:func:`render`).
Patient *i* depends on the cohort's seed and on *i* alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from synthoma.options import Options
from synthoma.phantoms.abdomen_shapes import Grid
from synthoma.phantoms.chest import (
    ChestParameters,
    ChestPlan,
    chest_grid,
    draw_chest,
    plan_chest,
    render_chest,
)
from synthoma.phantoms.ct import SITES, ScanParameters, Site, acquire, draw_scan
from synthoma.phantoms.ct_dicom import Patient, draw_uids, write_series
from synthoma.phantoms.lidc_xml import Mark, reading_xml
from synthoma.phantoms.lung_nodule import DrawnNodule, NoduleParameters, draw_nodule, paint_nodule
from synthoma.phantoms.lung_readers import read_chest
from synthoma.seeding import child_seed, generator
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = [
    "LungParameters",
    "LungPhantomOptions",
    "LungScan",
    "draw",
    "first_grade",
    "render",
    "site_of",
    "write_lung_phantom",
]

_HALF_WIDTH_MM = 147.0  # of the standard chest without fat


class LungPhantomOptions(Options):
    """A cohort of phantom chests with nodules."""

    source: Literal["phantom-lung"] = "phantom-lung"
    patients: int = Field(default=20, ge=1, le=9999)
    """How many patients. Their sites go A, A, B, B, A, …"""
    seed: int = Field(default=0, ge=0)
    """The same seed gives the same files, byte for byte."""
    size: int = Field(default=256, ge=64, le=512)
    """Rows and columns of a slice; scanners make 512."""
    field_mm: float | None = Field(default=None, ge=200, le=500)
    """Width of a slice. Empty: fitted to each patient, as at a scanner, so that pixels differ in size."""
    spacing_mm: float = Field(default=2.5, ge=0.6, le=5.0)
    """From slice to slice, and their thickness."""
    malignant: float = Field(default=0.5, ge=0, le=1)
    """Share of patients whose first nodule is of grade 4 or 5; the others' is of grade 1, 2 or 3."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that render patients side by side; the files do not depend on it."""


@dataclass(frozen=True)
class LungParameters:
    """All that is random about one patient."""

    name: str
    chest: ChestParameters
    nodules: tuple[NoduleParameters, ...]
    scan: ScanParameters
    field_mm: float
    seed: int


@dataclass(frozen=True)
class LungScan:
    """One rendered patient."""

    hu: npt.NDArray[np.int16]
    """(z, y, x) as :func:`synthoma.phantoms.ct.acquire` makes it."""
    grid: Grid
    nodules: tuple[DrawnNodule, ...]
    sessions: list[list[Mark]]
    """What each reader marked."""


def site_of(index: int) -> Site:
    """Hospitals take turns at another pace than malignant and benign patients, so that neither tells of the other."""
    return SITES["AABB"[index % 4]]


def first_grade(options: LungPhantomOptions, index: int) -> int:
    """The grade of a patient's first nodule; of any number of patients in a row the declared share is malignant."""
    rng = generator(options.seed, "phantom-lung", index, "grade")
    malignant = int((index + 1) * options.malignant + 1e-9) > int(index * options.malignant + 1e-9)
    return int(rng.choice([4, 5])) if malignant else int(rng.choice([1, 2, 3], p=[0.4, 0.35, 0.25]))


def draw(options: LungPhantomOptions, index: int) -> tuple[LungParameters, ChestPlan]:
    """Draw patient ``index`` (0 or more); nodules are placed in the lungs that the plan has found."""
    rng = generator(options.seed, "phantom-lung", index)
    seed = child_seed(options.seed, "phantom-lung", index, "fields")
    chest = draw_chest(rng, seed)
    plan = plan_chest(chest)
    # Others beside the first; 0 stands for one below 3 mm.
    grades = [
        first_grade(options, index),
        *rng.choice([0, 1, 2, 3], size=int(rng.poisson(1.2)), p=[0.45, 0.3, 0.2, 0.05]).tolist(),
    ]
    nodules: list[NoduleParameters] = []
    for number, grade in enumerate(grades):
        own = child_seed(seed, "nodule", number)
        nodules.append(draw_nodule(generator(own, "draw"), own, grade, chest, plan, nodules))
    scan = draw_scan(rng, seed, site_of(index), options.spacing_mm)
    fitted = 2 * (_HALF_WIDTH_MM + 0.8 * chest.build.fat_mm) * chest.build.scale[0]
    field_mm = options.field_mm or float(np.clip(np.ceil(fitted / 10) * 10 + rng.choice([0, 10, 20]), 280, 420))
    return LungParameters(f"PHANTOM-LUNG-{index + 1:04}", chest, tuple(nodules), scan, field_mm, seed), plan


def render(parameters: LungParameters, plan: ChestPlan, options: LungPhantomOptions) -> LungScan:
    """Compute the slices of one patient and let four readers read them."""
    pixel_mm = round(parameters.field_mm / options.size, 6)  # as exact as DICOM's decimal strings
    grid = chest_grid(parameters.chest, options.size, pixel_mm * options.size, options.spacing_mm)
    image = render_chest(parameters.chest, plan, grid)
    drawn = tuple(paint_nodule(image, grid, nodule, parameters.chest, plan) for nodule in parameters.nodules)
    hu = acquire(image, grid.spacing_mm, parameters.scan)
    del image
    sessions = read_chest(
        parameters.seed, list(zip(parameters.nodules, drawn, strict=True)), grid, plan.lungs, plan.grid
    )
    return LungScan(hu, grid, drawn, sessions)


def write_lung_phantom(folder: Path, options: LungPhantomOptions, *, overwrite: bool = False) -> Path:
    """Write the cohort and return its folder.

    ``PHANTOM-LUNG-0001/<study>/<series>/1-001.dcm`` and so on (CT Image IOD), the readers' XML beside the slices, and
    ``PHANTOM-LUNG-0001/truth.json``: what was drawn, which no reader is told.

    Raises:
        OutputError: ``folder`` exists and ``overwrite`` is false, or the disk is full or closed.
    """
    from joblib import Parallel, delayed

    with new_folder(Path(folder), overwrite=overwrite) as scratch:
        jobs = (delayed(_write_patient)(scratch, options, index) for index in range(options.patients))
        Parallel(n_jobs=min(options.workers, options.patients))(jobs)
    return Path(folder)


def _write_patient(folder: Path, options: LungPhantomOptions, index: int) -> None:
    parameters, plan = draw(options, index)
    scan = render(parameters, plan, options)
    build, slices = parameters.chest.build, scan.hu.shape[0]
    uids = draw_uids(options.seed, parameters.name, slices)
    place = folder / parameters.name / uids.study / uids.series
    origin_mm = tuple(round(value, 6) for value in scan.grid.first_mm)
    write_series(
        place,
        scan.hu,
        scan.grid.spacing_mm,
        (origin_mm[0], origin_mm[1], origin_mm[2]),
        uids=uids,
        patient=Patient(parameters.name, build.sex, build.age_years),
        scan=parameters.scan,
        description="Chest phantom",
        body_part="CHEST",
        window_hu=(-600.0, 1600.0),
        contrast="IV" if parameters.chest.agent else "",
    )
    heights = [round(origin_mm[2] + z * scan.grid.spacing_mm[0], 6) for z in range(slices)]
    xml = reading_xml(
        scan.sessions, study_uid=uids.study, series_uid=uids.series, sop_uids=uids.instances, z_mm=heights
    )
    write_bytes(place / f"{index + 1:03}.xml", xml)
    write_json(folder / parameters.name / "truth.json", _truth(parameters))


def _truth(parameters: LungParameters) -> dict[str, Any]:
    return {
        "site": parameters.scan.site.name,
        "nodules": [
            {
                "grade": nodule.grade,
                "centre_mm": [round(value, 3) for value in nodule.centre_mm],
                "diameter_mm": round(nodule.diameter_mm, 3),
                "texture": nodule.texture,
                "calcification": nodule.calcification,
                "spikes": round(nodule.spikes, 3),
                "cavity": bool(nodule.cavity),
                "attached": nodule.attached,
            }
            for nodule in parameters.nodules
        ],
    }
