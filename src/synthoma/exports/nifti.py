"""A cohort as NIfTI files in the scanner's unit, at the place in the patient where its images lie."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.cohort import to_scanner_unit
from synthoma.errors import CohortError, describe
from synthoma.records import BODY, Cohort, Grid
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = ["export_nifti"]

TABLE, ABOUT, LABELS = "samples.csv", "about.json", "seg"
COLUMNS = ("id", "patient", "label", "origin", "unit", "slice", "files")
NORMALISED = "[-1, 1]"
"""The unit of a sample whose range in the scanner's unit is not known."""


@dataclass(frozen=True)
class _Volume:
    """What becomes one folder of files: a sample of three axes, or slices of one scan."""

    name: str
    rows: tuple[int, ...]
    places: tuple[int, ...]
    """Where each row lies along the file's z axis; empty when the one row is the whole volume."""
    grid: Grid
    """Of the file; ``known`` is false where the position in the patient is not."""


def export_nifti(cohort: Cohort, out: Path, *, overwrite: bool = False) -> Path:
    """Write ``<volume>/<channel>.nii.gz``, ``<volume>/body.nii.gz``, ``<volume>/seg.nii.gz``, and a table beside them.

    A sample of three axes is a volume. Slices are put at their place in their scan, where its grid is known; slices
    that the cohort lacks hold the background (what −1 stands for), and a second sample of the same slice opens a second
    volume of the scan, ``<scan>-2``. Where no grid is known, each slice is a volume.

    Channels are in the scanner's unit: int16 when that is HU, else float32; of samples without a known range, they stay
    in [−1, 1]. ``seg`` has label *k* for the *k*-th mask of the lesion; where two masks hold a voxel, the later one has
    it; images from noise have none, since nobody knows where their lesion is. ``samples.csv`` tells of each sample its
    files and its slice in them, ``about.json`` what the labels mean.

    The affine is that of the scan's prepared grid, with sform and (where the axes are at right angles) qform code 1,
    scanner coordinates. Where the position is not known both codes are 0, and the file tells the spacing alone.

    Raises:
        CohortError: a grid that is not that of the images, or channels whose files would have one name.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    names = [_file_name(name).lower() for name in cohort.channels]
    if len({*names, BODY, LABELS}) < len(names) + 2:
        expected = f"names that differ as files, from '{BODY}' and '{LABELS}' too"
        raise CohortError(describe("channels", expected, ", ".join(cohort.channels)))
    rows: dict[int, dict[str, Any]] = {}
    shared_voxels = 0
    with new_folder(Path(out), overwrite=overwrite) as folder:
        for volume in _volumes(cohort):
            (folder / volume.name).mkdir()
            arrays = {_file_name(name): _channel(cohort, name, volume) for name in cohort.channels}
            arrays[BODY] = _assembled(volume, [cohort.body(row) for row in volume.rows], 0, np.uint8)
            if cohort.lesion_names and not _from_noise(cohort, volume.rows[0]):
                labels = [_labels(cohort, row) for row in volume.rows]
                arrays[LABELS] = _assembled(volume, [label for label, _ in labels], 0, np.uint8)
                shared_voxels += sum(shared for _, shared in labels)
            for name, array in arrays.items():
                (folder / volume.name / f"{name}.nii.gz").write_bytes(_nifti(array, volume.grid))
            files = ";".join(f"{volume.name}/{name}.nii.gz" for name in arrays)
            for row, place in zip(volume.rows, volume.places or ("",), strict=True):
                rows[row] = _row(cohort, row) | {"slice": place, "files": files}
        write_bytes(folder / TABLE, _csv([rows[row] for row in sorted(rows)]))
        write_json(folder / ABOUT, _about(cohort, shared_voxels))
    return Path(out)


def _volumes(cohort: Cohort) -> Iterator[_Volume]:
    """The folders to write; their names differ in more than case."""
    taken: set[str] = set()

    def named(text: str) -> str:
        name, number = _file_name(text), 1
        while name.lower() in taken:
            number += 1
            name = f"{_file_name(text)}-{number}"
        taken.add(name.lower())
        return name

    shape = tuple(int(length) for length in cohort.images.shape[2:])
    piled: dict[tuple[str, int], list[int]] = {}  # scan and how many samples its slice had before → rows
    seen: dict[tuple[str, int], int] = {}
    for row in range(len(cohort)):
        scan, place = str(cohort.table["scan"][row]), int(cohort.table["slice"][row])
        grid = cohort.grids.get(scan, {}).get("prepared")
        if grid is None or not grid.known:
            yield _Volume(named(cohort.table["id"][row]), (row,), (0,) if len(shape) == 2 else (), _loose(cohort, row))
        elif len(shape) == 3:
            _check_grid(scan, grid.shape, shape)
            yield _Volume(named(cohort.table["id"][row]), (row,), (), grid)
        else:
            _check_grid(scan, grid.shape[1:], shape)
            if not 0 <= place < grid.shape[0]:
                raise CohortError(describe(f"scan {scan}", f"slices 0 to {grid.shape[0] - 1}", place))
            pile = seen[scan, place] = seen.get((scan, place), -1) + 1
            piled.setdefault((scan, pile), []).append(row)
    for (scan, _), rows in piled.items():
        yield _Volume(
            named(scan),
            tuple(rows),
            tuple(int(cohort.table["slice"][row]) for row in rows),
            cohort.grids[scan]["prepared"],
        )


def _check_grid(scan: str, grid: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if grid != shape:
        raise CohortError(describe(f"scan {scan}", f"a grid of the images' shape {shape}", grid))


def _loose(cohort: Cohort, row: int) -> Grid:
    """A grid of the sample's own spacing at no known place; a single slice is as thick as nobody knows: 1 mm."""
    shape = (1, *(int(length) for length in cohort.images.shape[2:]))[-3:]
    spacing = tuple(float(part) for part in str(cohort.table["spacing_mm"][row]).split())
    z, y, x = (1.0,) * (3 - len(spacing)) + spacing
    grid = Grid.unknown((shape[0], shape[1], shape[2]))
    return Grid(grid.shape, (z, y, x), grid.origin_mm, grid.direction, known=False)


def _channel(cohort: Cohort, name: str, volume: _Volume) -> NDArray[Any]:
    """One channel of a volume in the scanner's unit."""
    images = [np.asarray(cohort.channel(name)[row], dtype=np.float32) for row in volume.rows]
    first = volume.rows[0]
    background = -1.0
    if _has_range(cohort, first):
        images = [to_scanner_unit(cohort, row, name, image) for row, image in zip(volume.rows, images, strict=True)]
        background = float(cohort.table[f"low_{name}"][first])
    if _unit(cohort, first) != "HU":
        return _assembled(volume, images, background, np.float32)
    limits = np.iinfo(np.int16)
    values = _assembled(volume, images, background, np.float32)
    whole: NDArray[np.int16] = np.clip(np.rint(values), limits.min, limits.max).astype(np.int16)
    return whole


def _assembled(volume: _Volume, images: Sequence[NDArray[Any]], background: float, dtype: Any) -> NDArray[Any]:
    """The images at their places along z, (z, y, x); ``background`` where there is none."""
    if not volume.places:
        return np.asarray(images[0], dtype=dtype)
    array = np.full(volume.grid.shape, background, dtype=dtype)
    for place, image in zip(volume.places, images, strict=True):
        array[place] = image
    return array


def _labels(cohort: Cohort, row: int) -> tuple[NDArray[np.uint8], int]:
    """The masks of the lesion as labels 1 … k, and the number of voxels that more than one of them holds."""
    labels = np.zeros(cohort.images.shape[2:], dtype=np.uint8)
    parts = [cohort.masks[row, cohort.mask_names.index(name)] > 0 for name in cohort.lesion_names]
    for label, part in enumerate(parts, start=1):
        labels[part] = label
    return labels, int((np.sum(parts, axis=0) > 1).sum())


def _from_noise(cohort: Cohort, row: int) -> bool:
    return cohort.table["origin"][row] == "synthetic" and not cohort.table["made_from"][row]


def _has_range(cohort: Cohort, row: int) -> bool:
    """Whether the way back to the scanner's unit is stored for all channels of a sample."""
    return all(math.isfinite(cohort.table[f"{end}_{name}"][row]) for name in cohort.channels for end in ("low", "high"))


def _unit(cohort: Cohort, row: int) -> str:
    return str(cohort.table["unit"][row]) if _has_range(cohort, row) else NORMALISED


def _nifti(array: NDArray[Any], grid: Grid) -> bytes:
    """A ``.nii.gz`` of an array (z, y, x)."""
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
    # No time of writing in the archive: the same volume is the same file.
    return gzip.compress(image.to_bytes(), compresslevel=5, mtime=0)


def _row(cohort: Cohort, row: int) -> dict[str, Any]:
    texts = {name: str(cohort.table[name][row]) for name in ("id", "patient", "label", "origin")}
    return texts | {"unit": _unit(cohort, row)}


def _about(cohort: Cohort, shared_voxels: int) -> dict[str, Any]:
    return {
        "version": __version__,
        "samples": len(cohort),
        "modality": cohort.modality,
        "channels": {name: f"{_file_name(name)}.nii.gz" for name in cohort.channels},
        "labels": {str(label): name for label, name in enumerate(cohort.lesion_names, start=1)},
        "voxels_in_several_masks": shared_voxels,
        "conditions": list(cohort.conditions),
        "lineages": [lineage.to_json() for lineage in cohort.lineages.values()],
    }


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _file_name(text: str) -> str:
    """``text`` as the name of one file or folder anywhere: no separators, not hidden."""
    return re.sub(r"[^\w.-]", "_", str(text)).lstrip(".") or "_"
