"""Pictures with a table: a CSV of one row a picture file, or stacked arrays (``.npz``) of one row an image.

**Which rows make a scan.** Rows that agree in ``patient_id``, ``scan``, ``site`` and ``label`` are one scan; its images
lie along z in the order of ``slice``, or of the table where there is no such column. With ``channel``, the rows of one
scan and one ``slice`` (without the column: the k-th row of each channel) are the channels of one image. So a patient
with images of two labels is two cases of one patient, which no split separates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import BODY, Grid, Scan, SourceFile
from synthoma.scans.case import Case, Found, folder_of, nothing_found, relative_name
from synthoma.scans.pictures import Picture, read_picture
from synthoma.scans.stacks import read_stack, stack_sha256
from synthoma.scans.tables import Column, array_rows, cases_of, picture_rows, read_csv
from synthoma.scans.voxels import as_channel, as_mask

__all__ = ["ImagesData", "contents", "find", "read"]

_MASK = "mask/"  # begins the role of a mask's files; no channel's does
_EXPECTED = "one CSV with the columns path and patient_id, or one .npz"


class ImagesData(Options):
    """Pictures (PNG, JPEG, TIFF, NumPy; 8 or 16 bits, signed, floating point) or stacked arrays, with a table."""

    source: Literal["images"] = "images"
    path: Path
    """The folder of the pictures and their only CSV, the CSV itself, or an ``.npz`` of stacked arrays."""
    table: Path | None = None
    """The CSV, if it is not the only one in ``path``; with an ``.npz``: one row an image. Without it, the columns
    are looked for in the ``.npz`` itself, one value an image."""
    columns: dict[Column, str] = Field(default_factory=dict)
    """What → name of its column, where that is another: ``{patient_id: exam_id}``. Only ``patient_id`` and, for
    pictures, ``path`` must be there."""
    channel: Annotated[str, Field(min_length=1)] = "image"
    """Name of the channel where the table has no column for it."""
    mask: Annotated[str, Field(min_length=1)] = "lesion"
    """Name of the mask of the column ``mask``."""
    masks: dict[Annotated[str, Field(min_length=1)], str] = Field(default_factory=dict)
    """Pictures: mask → its column of files, in place of the column ``mask``, where there are several:
    ``{body: mask_body, core: mask_core}``. A mask named ``body`` is the body, every other a lesion or a part of one."""
    arrays: dict[str, str] = Field(default_factory=dict)
    """``.npz``: channel → its array (n, y, x); by default the array ``image`` is the channel named by ``channel``."""
    mask_arrays: dict[str, str] = Field(default_factory=dict)
    """``.npz``: mask → its array (n, y, x)."""
    outside: Literal["refuse", "allow"] = "refuse"
    """Files that the table names outside the folder, by ``..``, an absolute path or a link: refuse them, or allow them
    because you wrote the table yourself."""
    colour: Literal["refuse", "luminance"] = "refuse"
    """Pictures in true colour: refuse them, or take their luminance (ITU-R BT.601). Grey stored as colour is read."""
    modality: Literal["MR", "CT", "OT"] = "OT"
    """Magnetic resonance, computed tomography, other."""
    unit: Literal["HU", "arbitrary"] = "arbitrary"
    """What the numbers mean."""


def find(options: ImagesData) -> Found:
    """Cases by the table; no pixel is read.

    Raises:
        ScanError: no table, columns that are not there, a row that makes no sense, no case.
    """
    file, table = _locate(options)
    if file.suffix.lower() == ".npz":
        rows = array_rows(file, table, options.columns, _arrays(options), options.mask_arrays)
        cases, left_out, channels = cases_of(rows, tuple(_arrays(options)))
    else:
        root = options.path if options.path.is_dir() else file.parent
        rows = picture_rows(file, read_csv(file), options.columns, root, options.channel, options.masks or options.mask)
        cases, left_out, channels = cases_of(rows, within=root if options.outside == "refuse" else None)
    if not cases:
        reasons = "; ".join(f"{out.name} ({out.reason})" for out in left_out[:5]) or "no rows"
        remedies = {out.remedy for out in left_out}
        remedy = remedies.pop() if len(remedies) == 1 else ""
        raise ScanError(describe(file, "a row for at least one image", reasons, remedy))
    return Found(cases, left_out, () if len(channels) < 2 else ("Channels: " + ", ".join(channels) + ".",))


def read(case: Case, options: ImagesData) -> Scan:
    """The images of a case along z, without geometry (:meth:`Grid.unknown`).

    Raises:
        ScanError: a damaged file, images of different sizes, colours, NaN or a constant channel, a mask with labels.
    """
    channels, masks, source = (_from_stack if case.rows else _from_pictures)(case, options)
    shapes = {array.shape for array in (*channels.values(), *masks.values())}
    if len(shapes) > 1:
        raise ScanError(describe(case.name, "channels and masks of one size", ", ".join(map(str, sorted(shapes)))))
    n, height, width = shapes.pop()
    return Scan(
        channels={name: as_channel(array, f"{case.name}, channel {name}") for name, array in channels.items()},
        masks={name: as_mask(array, f"{case.name}, mask {name}") for name, array in masks.items()},
        grid=Grid.unknown((n, height, width)),
        patient=case.patient,
        modality=options.modality,
        unit=options.unit,
        site=case.site,
        label=case.label,
        missing=case.missing,
        source=source,
        notes=case.notes if masks else (*case.notes, "no mask"),
    )


def contents(options: ImagesData, cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of stacked arrays what the settings name; of pictures the channels of the table, and the masks that it has."""
    roles = dict.fromkeys(role.rpartition("/")[0] or role for case in cases for role in case.files)
    if "arrays" in roles:
        return tuple(_arrays(options)), tuple(name for name in options.mask_arrays if name != BODY)
    masks = [role.removeprefix(_MASK) for role in roles if role.startswith(_MASK)]
    return (
        tuple(role for role in roles if not role.startswith(_MASK)),
        tuple(name for name in masks if name != BODY),
    )


_Arrays = dict[str, NDArray[np.generic]]


def _from_pictures(case: Case, options: ImagesData) -> tuple[_Arrays, _Arrays, tuple[SourceFile, ...]]:
    root = options.path if options.path.is_dir() else options.path.parent
    pictures = {path: read_picture(path) for path in dict.fromkeys(case.files.values())}
    grey = {path: _grey(path, picture, options.colour) for path, picture in pictures.items()}
    stacks: dict[str, dict[int, Path]] = {}
    for role, path in case.files.items():
        name, _, index = role.rpartition("/")
        stacks.setdefault(name, {})[int(index)] = path
    drawn = {name: stacks.pop(name) for name in list(stacks) if name.startswith(_MASK)}
    channels = {name: _along_z(case, [(path, grey[path]) for path in paths.values()]) for name, paths in stacks.items()}
    masks: _Arrays = {}
    shape = next(iter(channels.values())).shape
    for name, paths in drawn.items():
        mask = np.zeros(shape, np.uint8)  # an image without a mask among others that have one: no lesion
        for k, path in paths.items():
            if grey[path].shape != shape[1:]:
                raise ScanError(describe(path, f"a mask of its image's size {shape[1:]}", grey[path].shape))
            mask[k] = as_mask(grey[path], str(path))
        masks[name.removeprefix(_MASK)] = mask
    source = tuple(SourceFile(relative_name(path, root), picture.sha256) for path, picture in pictures.items())
    return channels, masks, source


def _from_stack(case: Case, options: ImagesData) -> tuple[_Arrays, _Arrays, tuple[SourceFile, ...]]:
    file = case.files["arrays"]
    rows = np.asarray(case.rows)
    channels = {name: read_stack(file, array)[rows] for name, array in _arrays(options).items()}
    masks = {name: read_stack(file, array)[rows] for name, array in options.mask_arrays.items()}
    return channels, masks, (SourceFile(file.name, stack_sha256(file)),)


def _locate(options: ImagesData) -> tuple[Path, Path | None]:
    """The CSV or ``.npz`` that lists the images, and the CSV of an ``.npz``."""
    path = options.path
    if path.is_file():
        if path.suffix.lower() not in (".csv", ".npz"):
            raise ScanError(describe(path, "a folder, a CSV or an .npz", f"a {path.suffix or 'nameless'} file"))
        return path, options.table
    folder_of(path)
    if options.table is not None:
        return options.table, None
    for kind in (".csv", ".npz"):
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == kind and not file.name.startswith("."))
        if len(files) > 1:
            found = ", ".join(file.name for file in files[:5])
            setting = "data.table" if kind == ".csv" else "data.path"
            raise ScanError(describe(path, f"one {kind} file", found, f"Set {setting} to the one that is meant."))
        if files:
            return files[0], None
    raise nothing_found(path, "images", _EXPECTED)


def _arrays(options: ImagesData) -> dict[str, str]:
    return options.arrays or {options.channel: "image"}


def _along_z(case: Case, images: list[tuple[Path, NDArray[np.generic]]]) -> NDArray[np.generic]:
    first, image = images[0]
    for path, other in images:
        if other.shape != image.shape:
            found = f"{image.shape} in {first.name}, {other.shape} in {path.name}"
            remedy = "Give the images different values in the column scan, or bring them to one size."
            raise ScanError(describe(case.name, "images of one size (y, x)", found, remedy))
    return np.stack([image for _, image in images])


def _grey(path: Path, picture: Picture, colour: str) -> NDArray[np.generic]:
    """(y, x) of a picture; an opaque alpha channel is dropped."""
    array = picture.array
    if array.ndim == 2:
        return array
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise ScanError(describe(path, "a picture (y, x)", f"the shape {array.shape}"))
    if array.shape[2] in (2, 4):
        if array[..., -1].min() != array[..., -1].max():
            raise ScanError(describe(path, "an opaque picture", "transparency that differs between pixels"))
        array = array[..., :-1]
    if (array == array[..., :1]).all():
        return array[..., 0]
    if colour == "refuse":
        remedy = "A channel is one intensity. Set data.colour=luminance to take the brightness."
        raise ScanError(describe(path, "grey values", "colours (red, green and blue differ)", remedy))
    red, green, blue = (array[..., i] for i in range(3))
    return np.asarray(np.float64(0.299) * red + np.float64(0.587) * green + np.float64(0.114) * blue)
