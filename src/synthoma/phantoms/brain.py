"""The phantom brain: a cohort of patients with gliomas, as a BraTS 2021 tree.

Every patient is drawn first (:func:`draw`: a record of all random parameters) and rendered second (:func:`render`).
Random fields have seeds of their own inside the parameters. Patient *i* depends on the cohort's seed and on *i* alone.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from synthoma.options import Options
from synthoma.phantoms.anatomy import (
    AnatomyParameters,
    Grid,
    Tissues,
    grow_ventricles,
    load_template,
    shape_anatomy,
    smooth_field,
    to_template,
)
from synthoma.phantoms.scanner import CHANNELS, SITES, ScanParameters, acquire, draw_scan
from synthoma.phantoms.signals import TISSUES, LocalFactors, Tissue
from synthoma.phantoms.tumour import Tumour, TumourParameters, grow_tumour, push_aside, tumour_centre
from synthoma.seeding import child_seed, generator
from synthoma.storage import new_folder, write_bytes

__all__ = ["BrainParameters", "BrainPhantomOptions", "BrainScan", "draw", "render", "write_brain_phantom"]


class BrainPhantomOptions(Options):
    """A cohort of phantom brains with gliomas."""

    source: Literal["phantom-brain"] = "phantom-brain"
    patients: int = Field(default=30, ge=1, le=9999)
    """How many patients. Their sites alternate: A, B, A, B, …"""
    seed: int = Field(default=0, ge=0)
    """The same seed gives the same files, byte for byte."""
    spacing_mm: float = Field(default=2.0, ge=1.0, le=4.0)
    """Voxel size. 1 mm is the BraTS grid, 240 × 240 × 155; 2 mm is 120 × 120 × 78."""
    smallest_core_mm: float = Field(default=9.0, ge=3.0, le=25.0)
    """Radius of the smallest tumour core (enhancing and necrotic)."""
    largest_core_mm: float = Field(default=20.0, ge=3.0, le=25.0)
    """Radius of the largest tumour core."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that render patients side by side; the files do not depend on it."""

    @model_validator(mode="after")
    def _sizes_in_order(self) -> BrainPhantomOptions:
        if self.smallest_core_mm > self.largest_core_mm:
            small, large = self.smallest_core_mm, self.largest_core_mm
            raise ValueError(f"smallest_core_mm ({small:g}) must not be above largest_core_mm ({large:g})")
        return self


@dataclass(frozen=True)
class BrainParameters:
    """All that is random about one patient."""

    name: str
    site: str
    anatomy: AnatomyParameters
    tumour: TumourParameters
    tissues: Mapping[str, Tissue]
    scan: ScanParameters


@dataclass(frozen=True)
class BrainScan:
    """One rendered patient on the grid, with the truth behind the images."""

    channels: dict[str, npt.NDArray[np.int16]]
    """Names to (x, y, z) images; axes run to the left, back and top; 0 outside the brain."""
    labels: npt.NDArray[np.uint8]
    """(x, y, z): 0, 1 necrosis, 2 oedema, 4 enhancing."""
    fractions: dict[str, npt.NDArray[np.float32]]
    """Share of each tissue in each brain voxel, (n,) in the order of ``array[brain]``; they add up to 1."""
    brain: npt.NDArray[np.bool_]


def draw(options: BrainPhantomOptions, index: int) -> BrainParameters:
    """Draw patient ``index`` (0 or more)."""
    rng = generator(options.seed, "phantom-brain", index)
    seed = child_seed(options.seed, "phantom-brain", index, "fields")
    site = "AB"[index % 2]

    def triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
        return float(values[0]), float(values[1]), float(values[2])

    anatomy = AnatomyParameters(
        seed=seed,
        rotation_deg=triple(rng.normal(0, (3.0, 2.0, 2.5))),
        scale=triple(rng.normal(0.97, 0.025) * np.exp(rng.normal(0, 0.02, 3))),
        shift_mm=triple(rng.normal(0, (2.0, 3.0, 1.5))),
        bend_mm=float(rng.uniform(2.0, 3.5)),
        ripple_mm=float(rng.uniform(0.8, 1.3)),
        ventricle_growth_mm=float(np.clip(rng.normal(1.0, 1.8), -2.0, 5.0)),
        sulcus_width=float(rng.normal(0.5, 0.4)),
        white_matter_change=float(rng.beta(1.5, 3.0)),
    )
    core_radius_mm = float(rng.uniform(options.smallest_core_mm, options.largest_core_mm))
    tumour = TumourParameters(
        seed=seed,
        place=float(rng.uniform()),
        core_radius_mm=core_radius_mm,
        stretch=triple(np.exp(rng.normal(0, 0.18, 3))),
        rim_mm=float(rng.uniform(0.15, 0.5) * core_radius_mm + 1.0),
        oedema_reach_mm=float(rng.uniform(7.0, 22.0)),
        push=float(rng.uniform(0.15, 0.45)),
        irregularity=float(rng.uniform(0.18, 0.32)),
    )
    tissues = {}
    for name, tissue in TISSUES.items():
        spread = 0.04 if name in ("white", "grey", "csf") else 0.07  # tumours differ more than healthy brains
        t1, t2, uptake = np.exp(rng.normal(0, (spread, spread, 0.2)))
        tissues[name] = Tissue(
            float(tissue.t1_ms * t1), float(tissue.t2_ms * t2), tissue.density, float(tissue.uptake_mm * uptake)
        )
    scan = draw_scan(rng, seed, SITES[site])
    return BrainParameters(f"BraTS2021_{index:05d}", site, anatomy, tumour, tissues, scan)


def render(parameters: BrainParameters, spacing_mm: float) -> BrainScan:
    """Compute the images of one patient on a grid of ``spacing_mm``."""
    grid, template = Grid(spacing_mm), load_template()
    where = to_template(parameters.anatomy, grid, template)
    where = grow_ventricles(where, parameters.anatomy.ventricle_growth_mm, template)
    centre = tumour_centre(parameters.tumour, where, template)
    where = push_aside(parameters.tumour, where, centre, grid)
    healthy = shape_anatomy(parameters.anatomy, grid, where, template)
    tumour = grow_tumour(parameters.tumour, healthy, centre, grid)

    fractions = _mix(parameters, healthy, tumour, grid)
    factors = _local_factors(parameters, healthy, grid)
    channels = {
        channel: acquire(parameters.scan, channel, fractions, parameters.tissues, factors, healthy.brain, grid)
        for channel in CHANNELS
    }
    labels = np.zeros(grid.shape, np.uint8)
    labels[healthy.brain] = tumour.labels
    return BrainScan(channels, labels, fractions, healthy.brain)


def _mix(
    parameters: BrainParameters, healthy: Tissues, tumour: Tumour, grid: Grid
) -> dict[str, npt.NDArray[np.float32]]:
    """Shares of all tissues: tumour over healthy tissue, vessels in the sulci, bright caps around the ventricles."""
    seed, brain = parameters.anatomy.seed, healthy.brain
    # Where two smooth fields are both near zero there is a curve in space: a vessel of about 1 mm radius.
    squared = (
        smooth_field(seed, "vessel-1", grid, 16.0)[brain] ** 2 + smooth_field(seed, "vessel-2", grid, 16.0)[brain] ** 2
    )
    vessel = np.exp(-squared / 0.025) * np.clip(4 * healthy.csf - 0.2, 0, 0.9)
    patchy = 0.6 + 0.4 * smooth_field(seed, "caps", grid, 12.0)[brain]
    caps = parameters.anatomy.white_matter_change * np.clip(4 * healthy.ventricles * patchy, 0, 1) * healthy.white
    lesion = tumour.enhancing + tumour.necrosis
    oedema = np.maximum(tumour.oedema, np.minimum(caps, 1 - lesion))
    rest = np.clip(1 - lesion - oedema, 0, 1)
    shares = {
        "white": healthy.white * rest,
        "grey": healthy.grey * rest,
        "csf": healthy.csf * rest * (1 - vessel),
        "vessel": healthy.csf * rest * vessel,
        "oedema": oedema,
        "enhancing": tumour.enhancing,
        "necrosis": tumour.necrosis,
    }
    return {name: share.astype(np.float32) for name, share in shares.items()}


def _local_factors(parameters: BrainParameters, healthy: Tissues, grid: Grid) -> dict[str, LocalFactors]:
    """Local factors of T1 and T2: the template's fine detail in healthy tissue, blotches in the tumour."""

    def field(name: str, lattice_mm: float) -> npt.NDArray[np.float32]:
        return smooth_field(parameters.anatomy.seed, name, grid, lattice_mm)[healthy.brain]

    fine, broad = field("texture-fine", 3.5), field("texture-broad", 20.0)
    # More myelin than the mixture of tissues says: shorter T1 and T2 (white matter minus grey is about −0.45, −0.32).
    log_t1 = -0.45 * healthy.detail + 0.025 * fine + 0.02 * broad
    log_t2 = -0.25 * healthy.detail + 0.02 * fine + 0.03 * field("texture-t2", 20.0)
    blotches = 0.10 * field("blotches", 6.0) + 0.10 * field("blotches-broad", 12.0)
    ones = np.ones_like(fine)
    brain = LocalFactors(np.exp(log_t1), np.exp(log_t2), ones)
    still = LocalFactors(ones, ones, ones)
    # The barrier between blood and tumour leaks unevenly: the rim enhances in patches.
    tumour = LocalFactors(
        np.exp(0.6 * blotches + 0.03 * fine), np.exp(blotches + 0.03 * fine), np.exp(0.35 * field("leak", 7.0))
    )
    kinds = {"white": brain, "grey": brain, "csf": still, "vessel": still}
    return {name: kinds.get(name, tumour) for name in parameters.tissues}


def write_brain_phantom(folder: Path, options: BrainPhantomOptions, *, overwrite: bool = False) -> Path:
    """Write the cohort as a BraTS 2021 tree and return its folder.

    ``BraTS2021_00000/BraTS2021_00000_{t1,t1ce,t2,flair,seg}.nii.gz`` (int16; labels uint8) and so on, beside
    ``participants.tsv`` (columns ``participant_id`` and ``site``), because BraTS names tell no site.

    Raises:
        OutputError: ``folder`` exists and ``overwrite`` is false, or the disk is full or closed.
        MissingPartError: nilearn, which brings the tissue maps, is not installed.
    """
    from joblib import Parallel, delayed

    load_template()  # a missing part is reported here, before any process starts
    with new_folder(Path(folder), overwrite=overwrite) as scratch:
        jobs = (delayed(_write_patient)(scratch, options, index) for index in range(options.patients))
        rows = Parallel(n_jobs=min(options.workers, options.patients))(jobs)
        table = "\n".join(["participant_id\tsite", *rows]) + "\n"
        write_bytes(scratch / "participants.tsv", table.encode())
    return Path(folder)


def _write_patient(folder: Path, options: BrainPhantomOptions, index: int) -> str:
    """Render and write one patient; returns its row of ``participants.tsv``."""
    import nibabel

    parameters = draw(options, index)
    scan = render(parameters, options.spacing_mm)
    affine = Grid(options.spacing_mm).affine
    for suffix, array in {**scan.channels, "seg": scan.labels}.items():
        image = nibabel.Nifti1Image(array, affine)
        image.header.set_xyzt_units("mm", "sec")
        # No time of writing in the archive: the same volume is the same file.
        data = gzip.compress(image.to_bytes(), compresslevel=5, mtime=0)
        write_bytes(folder / parameters.name / f"{parameters.name}_{suffix}.nii.gz", data)
    return f"{parameters.name}\t{parameters.site}"
