"""A cohort as NIfTI files in the scanner's unit, at the place in the patient where its images lie."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import CohortError, describe
from synthoma.exports.options import NiftiExport
from synthoma.exports.volumes import (
    ABOUT,
    TABLE,
    Volume,
    about,
    body_of,
    channel_values,
    csv_bytes,
    file_name,
    knows_its_lesion,
    labels_of,
    sample_row,
    to_int16,
    unit_of,
    volumes_of,
)
from synthoma.records import BODY, Cohort, Grid
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = ["channel_file", "export_nifti", "labels_file"]

LABELS = "seg"


def export_nifti(
    cohort: Cohort, out: Path, *, overwrite: bool = False, options: NiftiExport | None = None, risk: str = ""
) -> Path:
    """Write ``<volume>/<channel>.nii.gz``, ``<volume>/body.nii.gz``, ``<volume>/seg.nii.gz``, and a table beside them.

    A sample of three axes is a volume. Slices are put at their place in their scan, where its grid is known; slices
    that the cohort lacks hold the background (what −1 stands for), and a second sample of the same slice opens a second
    volume of the scan, ``<scan>-2``. With ``slices="single"``, or where no grid is known, each slice is a volume.

    Channels are in the scanner's unit: int16 when that is HU, else float32, or as ``numbers`` says; of samples without
    a known range, they stay in [−1, 1]. ``seg`` has label *k* for the *k*-th mask of the lesion; where two masks hold a
    voxel, the later one has it; images from noise and of unsegmented patients have none, since nobody knows where
    their lesion is. ``samples.csv`` tells of each sample its files and its slice in them, ``about.json`` what the
    labels mean.

    The affine is that of the scan's prepared grid, with sform and (where the axes are at right angles) qform code 1,
    scanner coordinates. Where the position is not known both codes are 0, and the file tells the spacing alone.

    Args:
        cohort: real or synthetic.
        out: the folder to write.
        overwrite: replace a folder of this name.
        options: settings of the format.
        risk: the reason for which a privacy risk was accepted; ``about.json`` repeats it.

    Raises:
        CohortError: a grid that is not that of the images, or channels whose files would have one name.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    options = options or NiftiExport()
    names = [file_name(name).lower() for name in cohort.channels]
    if len({*names, BODY, LABELS}) < len(names) + 2:
        expected = f"names that differ as files, from '{BODY}' and '{LABELS}' too"
        raise CohortError(describe("channels", expected, ", ".join(cohort.channels)))
    rows: dict[int, dict[str, Any]] = {}
    shared_voxels = 0
    with new_folder(Path(out), overwrite=overwrite) as folder:
        for volume in volumes_of(cohort, options.slices):
            files = {file_name(name): channel_file(cohort, name, volume, options) for name in cohort.channels}
            files[BODY] = _nifti(body_of(cohort, volume), volume.grid)
            if knows_its_lesion(cohort, volume.rows):
                labels, shared = labels_of(cohort, volume, cohort.lesion_names)
                files[LABELS] = labels_file(labels, volume)
                shared_voxels += shared
            (folder / volume.name).mkdir()
            for name, data in files.items():
                (folder / volume.name / f"{name}.nii.gz").write_bytes(data)
            written = ";".join(f"{volume.name}/{name}.nii.gz" for name in files)
            for row, place in zip(volume.rows, volume.places or ("",), strict=True):
                rows[row] = sample_row(cohort, row) | {"slice": place, "files": written}
        write_bytes(folder / TABLE, csv_bytes(rows))
        more = {
            "channels": {name: f"{file_name(name)}.nii.gz" for name in cohort.channels},
            "labels": {str(label): name for label, name in enumerate(cohort.lesion_names, start=1)},
            "voxels_in_several_masks": shared_voxels,
        }
        write_json(folder / ABOUT, about(cohort, risk, **more))
    return Path(out)


def channel_file(cohort: Cohort, name: str, volume: Volume, options: NiftiExport) -> bytes:
    """A ``.nii.gz`` of one channel of a volume in the scanner's unit."""
    values = channel_values(cohort, name, volume)
    unit = unit_of(cohort, volume.rows[0])
    if options.numbers == "float32" or (options.numbers == "auto" and unit != "HU"):
        return _nifti(values, volume.grid)
    stored, slope, intercept = to_int16(values, unit, np.float32)
    return _nifti(stored, volume.grid, slope, intercept)


def labels_file(labels: NDArray[np.uint8], volume: Volume) -> bytes:
    """A ``.nii.gz`` of the labels of a volume, (z, y, x)."""
    return _nifti(labels, volume.grid)


def _nifti(array: NDArray[Any], grid: Grid, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    """A ``.nii.gz`` of an array (z, y, x); its values are ``intercept`` + ``slope`` times what is stored."""
    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), grid.affine if grid.known else None)
    if grid.known:
        steps = np.asarray(grid.direction)
        upright = np.allclose(steps @ steps.T, np.eye(3), atol=1e-5)  # a quaternion cannot hold a shear
        image.set_sform(grid.affine, code=1)
        image.set_qform(grid.affine if upright else None, code=int(upright))
    else:
        image.header.set_zooms(grid.spacing_mm[::-1])
    image.header.set_xyzt_units("mm")
    if (slope, intercept) != (1.0, 0.0):
        image.header.set_slope_inter(slope, intercept)
    # No time of writing in the archive: the same volume is the same file.
    return gzip.compress(image.to_bytes(), compresslevel=5, mtime=0)
