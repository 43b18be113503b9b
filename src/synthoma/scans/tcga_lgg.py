"""The "LGG MRI segmentation" set (``kaggle_3m``): TCGA-LGG slices as TIFF with hand-drawn FLAIR abnormality.

``<patient>/<patient>_<k>.tif`` has three channels, pre-contrast T1, FLAIR and post-contrast T1, and ``…_<k>_mask.tif``
is 0 and 255. A sequence that a patient lacks was filled with a copy of FLAIR (Buda et al., Computers in Biology and
Medicine 109, 2019).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import Grid, Scan, SourceFile
from synthoma.scans.case import Case, Found, LeftOut, folder_of, list_files, nothing_found, relative_name, tcga_barcode
from synthoma.scans.pictures import Picture, read_picture
from synthoma.scans.voxels import as_channel, as_mask

__all__ = ["CHANNELS", "TcgaLggData", "contents", "find", "read"]

CHANNELS = ("t1", "flair", "t1ce")
"""In the order of the file's channels."""
_FOLDER = re.compile(r"TCGA_[A-Z0-9]{2}_[A-Z0-9]{4}_\d{8}")
_EXPECTED = "kaggle_3m with folders such as TCGA_CS_4942_19970222"


class TcgaLggData(Options):
    """The ``kaggle_3m`` folder of lower-grade glioma."""

    source: Literal["tcga-lgg"] = "tcga-lgg"
    path: Path
    """The folder ``kaggle_3m``, or the one that holds it."""


def find(options: TcgaLggData) -> Found:
    """Cases by the names of folders and files; whether a sequence is a copy is seen only when the case is read.

    Raises:
        ScanError: no such folder, or no case in it.
    """
    root = folder_of(options.path)
    root = root / "kaggle_3m" if (root / "kaggle_3m").is_dir() else root
    cases: list[Case] = []
    left_out: list[LeftOut] = []
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        barcode = tcga_barcode(folder.name)
        if barcode is None or not _FOLDER.fullmatch(folder.name):
            left_out.append(LeftOut(folder.name, "not named as a patient (TCGA_CS_4942_19970222)"))
            continue
        case = _case(folder, *barcode)
        if isinstance(case, Case):
            cases.append(case)
        else:
            left_out.append(case)
    if not cases:
        raise nothing_found(
            options.path, "tcga-lgg", _EXPECTED, tuple(out for out in left_out if _FOLDER.fullmatch(out.name))
        )
    return Found(tuple(cases), tuple(left_out))


def read(case: Case, options: TcgaLggData) -> Scan:
    """The stack in the order of the slice numbers; values 0–255, no geometry (:meth:`Grid.unknown`).

    A channel that equals FLAIR in **every** slice is no measurement: it is left out and named in ``missing``.

    Raises:
        ScanError: a damaged file, slices of another size, a mask with other values, a channel that is constant.
    """
    pictures = {role: read_picture(path) for role, path in case.files.items()}
    images = [(case.files[role], picture) for role, picture in pictures.items() if role.startswith("image/")]
    stack = np.stack([_checked(path, picture, (*images[0][1].array.shape[:2], 3)) for path, picture in images])
    shape = stack.shape[1:3]
    mask = np.stack(
        [_checked(case.files[role], pictures[role], shape) for role in pictures if role.startswith("mask/")]
    )
    by_name = {name: stack[..., i] for i, name in enumerate(CHANNELS)}
    missing = tuple(name for name in CHANNELS if name != "flair" and np.array_equal(by_name[name], by_name["flair"]))
    channels = {name: array for name, array in by_name.items() if name not in missing}
    notes = tuple(f"{name} is a copy of FLAIR in every slice: missing" for name in missing)
    for name, array in channels.items():
        blank = np.flatnonzero(~array.any(axis=(1, 2)))
        if 0 < len(blank) < len(array):
            notes += (f"{name} is blank in {_slices(blank + 1)}",)
    return Scan(
        channels={name: as_channel(array, f"{case.name}, {name}") for name, array in channels.items()},
        masks={"lesion": as_mask(mask, f"{case.name}, mask")},
        grid=Grid.unknown((len(stack), *shape)),
        patient=case.patient,
        site=case.site,
        label=case.label,
        missing=missing,
        source=tuple(
            SourceFile(relative_name(case.files[role], options.path), picture.sha256)
            for role, picture in pictures.items()
        ),
        notes=case.notes + notes,
    )


def contents(_options: TcgaLggData, _cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same of every folder."""
    return CHANNELS, ("lesion",)


def _case(folder: Path, patient: str, site: str) -> Case | LeftOut:
    name = folder.name
    files: dict[str, dict[int, Path]] = {"image": {}, "mask": {}}
    for file in list_files(folder):
        match = re.fullmatch(rf"{name}_(\d+)(_mask)?\.tif", file)
        if match:
            files["mask" if match[2] else "image"][int(match[1])] = folder / file
    slices = sorted(files["image"])
    if not slices:
        return LeftOut(name, f"no slices named {name}_<number>.tif")
    without = [k for k in slices if k not in files["mask"]]
    if without:
        return LeftOut(name, f"no mask for {_slices(np.asarray(without))}")
    gaps = np.setdiff1d(np.arange(slices[0], slices[-1]), slices)
    return Case(
        name=name,
        patient=patient,
        site=site,
        label="",
        files={f"{kind}/{k}": files[kind][k] for kind in ("image", "mask") for k in slices},
        notes=(f"no file for {_slices(gaps)}",) if len(gaps) else (),
    )


def _checked(path: Path, picture: Picture, shape: tuple[int, ...]) -> np.ndarray:
    if picture.array.shape != shape or picture.array.dtype != np.uint8:
        expected = f"8-bit pixels of shape {shape}"
        raise ScanError(describe(path, expected, f"{picture.array.dtype} of shape {picture.array.shape}"))
    return picture.array


def _slices(numbers: np.ndarray) -> str:
    shown = ", ".join(str(k) for k in numbers[:8]) + (", …" if len(numbers) > 8 else "")
    return f"slice {shown}" if len(numbers) == 1 else f"slices {shown}"
