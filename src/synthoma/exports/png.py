"""A cohort as PNG pictures of 16 bits, with a table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import CohortError, describe
from synthoma.exports.options import PngExport
from synthoma.exports.volumes import (
    ABOUT,
    NORMALISED,
    TABLE,
    about,
    csv_bytes,
    file_name,
    knows_its_lesion,
    sample_row,
    unit_of,
)
from synthoma.records import BODY, Cohort
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = ["export_png"]

WHITE = 65535
UNION = "lesion"
_FIRST = ("path", "patient_id", "scan", "slice", "channel", "label", "site", "mask")
"""Columns that the source ``images`` reads."""
_AFTER = ("id", "origin", "split", "fold", "modality", "unit", "low", "high", "spacing_mm")


def export_png(
    cohort: Cohort, out: Path, *, overwrite: bool = False, options: PngExport | None = None, risk: str = ""
) -> Path:
    """Write ``images/<sample>_<channel>.png``, ``masks/<sample>_<mask>.png`` and ``samples.csv``, a row a picture.

    Images are grey of 16 bits: 0 stands for what became −1, 65535 for what became +1, so that the scanner's value is
    ``low + pixel / 65535 * (high - low)`` with the two of the row; of samples without a range these are −1 and 1. Masks
    are grey of 8 bits, 0 and 255; ``mask`` is the whole lesion, ``mask_<name>`` a part of it or the body. A sample of
    three axes becomes a picture a slice.

    The source ``images`` reads the folder: patients, scans, slices, channels, labels and the whole lesion come back.

    Args:
        cohort: real or synthetic.
        out: the folder to write.
        overwrite: replace a folder of this name.
        options: there are none.
        risk: the reason for which a privacy risk was accepted; ``about.json`` repeats it.

    Raises:
        CohortError: channels or masks whose files would have one name.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    del options
    for what, names in (("channels", cohort.channels), ("masks", (*cohort.mask_names, *_union(cohort)))):
        if len({file_name(name).lower() for name in names}) < len(names) or (what == "channels" and "mask" in names):
            expected = "names that differ as files, none of them 'mask'"
            raise CohortError(describe(what, expected, ", ".join(names)))
    rows: dict[int, dict[str, Any]] = {}
    taken: set[str] = set()
    count: dict[tuple[str, str, int], int] = {}
    with new_folder(Path(out), overwrite=overwrite) as folder:
        (folder / "images").mkdir()
        (folder / "masks").mkdir()
        for row in range(len(cohort)):
            name, number = file_name(cohort.table["id"][row]), 1
            while name.lower() in taken:
                number += 1
                name = f"{file_name(cohort.table['id'][row])}-{number}"
            taken.add(name.lower())
            patient, scan = (str(cohort.table[column][row]) for column in ("patient", "scan"))
            place = int(cohort.table["slice"][row])
            again = count[patient, scan, place] = count.get((patient, scan, place), 0) + 1
            scan = scan if again == 1 else f"{scan}-{again}"  # a second image of one slice is of another scan
            for written in _pictures(cohort, row, name, folder):
                rows[len(rows)] = _said(cohort, row) | {"scan": scan} | written
        columns = (*_FIRST, *(f"mask_{name}" for name in cohort.mask_names), *_AFTER)
        write_bytes(folder / TABLE, csv_bytes(rows, columns))
        scale = {"black": 0, "white": WHITE, "scanner_value": f"low + pixel / {WHITE} * (high - low)"}
        write_json(folder / ABOUT, about(cohort, risk, **scale))
    return Path(out)


def _union(cohort: Cohort) -> tuple[str, ...]:
    """The name of a mask of the whole lesion, where the cohort has it in several parts."""
    return (UNION,) if len(cohort.lesion_names) > 1 else ()


def _pictures(cohort: Cohort, row: int, name: str, folder: Path) -> list[dict[str, Any]]:
    """Write the pictures of a sample; a row of the table for each channel of each slice."""
    images = np.asarray(cohort.images[row], np.float64)
    masks = {mask: np.asarray(cohort.masks[row, i]) > 0 for i, mask in enumerate(cohort.mask_names)}
    if knows_its_lesion(cohort, (row,)):
        masks |= {union: cohort.lesion(row) for union in _union(cohort)}
    else:
        masks = {BODY: masks[BODY]}
    whole = next((mask for mask in (*_union(cohort), *cohort.lesion_names) if mask in masks), "")
    flat = images.ndim == 3
    rows = []
    for z in range(1 if flat else images.shape[1]):
        stem = name if flat else f"{name}_{z:04d}"
        paths = {mask: f"masks/{stem}_{file_name(mask)}.png" for mask in masks}
        for mask, path in paths.items():
            plane = masks[mask] if flat else masks[mask][z]
            (folder / path).write_bytes(_png(np.where(plane, 255, 0).astype(np.uint8)))
        said: dict[str, Any] = {f"mask_{mask}": paths[mask] for mask in cohort.mask_names if mask in paths}
        said |= {"mask": paths.get(whole, ""), "slice": int(cohort.table["slice"][row]) if flat else z}
        for channel, image in zip(cohort.channels, images if flat else images[:, z], strict=True):
            path = f"images/{stem}_{file_name(channel)}.png"
            (folder / path).write_bytes(_png(to_grey(image)))
            rows.append(said | _range(cohort, row, channel) | {"path": path, "channel": channel})
    return rows


def to_grey(image: NDArray[np.float64]) -> NDArray[np.uint16]:
    """[−1, 1] as 0 … 65535."""
    return np.clip(np.rint((image + 1) / 2 * WHITE), 0, WHITE).astype(np.uint16)


def _range(cohort: Cohort, row: int, channel: str) -> dict[str, float]:
    if unit_of(cohort, row) == NORMALISED:
        return {"low": -1.0, "high": 1.0}
    return {end: float(cohort.table[f"{end}_{channel}"][row]) for end in ("low", "high")}


def _said(cohort: Cohort, row: int) -> dict[str, Any]:
    sample = sample_row(cohort, row)
    columns = ("site", "split", "fold", "modality", "spacing_mm")
    return {name: sample[name] for name in ("id", "label", "origin", "unit")} | {
        "patient_id": sample["patient"],
        **{column: cohort.table[column][row] for column in columns},
    }


def _png(array: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()
