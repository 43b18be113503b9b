"""3D-IRCADb: abdominal CT with masks of tumours and organs, stored as CT images (Soler et al., IRCAD Strasbourg, 2010).

``3Dircadb1.17/PATIENT_DICOM/image_9`` beside ``3Dircadb1.17/MASKS_DICOM/livertumor1/image_9``, as loose files or in zip
archives, which may lie in archives in turn. Masks have series of their own and no reference to the CT: a mask belongs
to the CT slice of its position. The patient is the name of the folder, since the files hold no PatientID.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import Scan, SourceFile
from synthoma.scans.case import Case, Found, LeftOut, folder_of, nothing_found
from synthoma.scans.dicom import DicomVolume, GeometryRule, Series, find_series, read_series
from synthoma.scans.voxels import as_channel, as_mask

__all__ = ["CHANNELS", "IrcadbData", "contents", "find", "read"]

CHANNELS = ("ct",)
TUMOUR = "tumour"
_IMAGES, _MASKS = "PATIENT_DICOM", "MASKS_DICOM"
_PATIENT = re.compile(r"3dircadb\d+[._]\d+", re.IGNORECASE)
_TUMOUR = re.compile(r"(?:liver)?tumou?rs?[-_ ]?(\d*)")
_EXPECTED = "3Dircadb1.17/PATIENT_DICOM (or PATIENT_DICOM.zip) beside MASKS_DICOM"
_OFF = 0.1  # voxels by which a mask may lie off the CT


class IrcadbData(Options):
    """The folder of 3D-IRCADb, or of some of its patients."""

    source: Literal["ircadb"] = "ircadb"
    path: Path
    """The folder of the patients' folders or archives, or one of them."""
    organs: tuple[str, ...] = ("liver",)
    """Masks of healthy anatomy that are read, named as in the set (``liver``, ``bone``, ``portalvein``,
    ``venoussystem``, …). Liver tumours always are; what else there is, is noted."""
    geometry: GeometryRule = GeometryRule()
    """What to do with missing, unevenly spaced or tilted slices."""


@dataclass
class _Folder:
    """What was found of one patient."""

    images: list[Series] = field(default_factory=list)
    masks: dict[str, Series] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find(options: IrcadbData) -> Found:
    """A case a patient, by the names of folders and the headers of the files.

    Raises:
        ScanError: no such folder, or no such patient in it.
    """
    root = folder_of(options.path)
    series, left_out = find_series(root)
    folders: dict[str, _Folder] = {}
    for one in series:
        parts = one.instances[0].file.name(root).split("/")
        at, kind = next(((at, _kind(part)) for at, part in enumerate(parts) if _kind(part)), (0, ""))
        if not kind:
            left_out.append(LeftOut("/".join(parts[:-1]) or parts[0], f"neither in {_IMAGES} nor in {_MASKS}"))
            continue
        folder = folders.setdefault(_patient(root, parts[:at]), _Folder())
        if kind == _IMAGES:
            folder.images.append(one)
        elif folder.masks.setdefault(name := parts[-2].lower(), one) is not one:
            folder.notes.append(f"mask {name} is there several times: the first is taken")
    cases = []
    for patient, folder in folders.items():
        if len(folder.images) == 1:
            cases.append(_case(patient, folder, options))
        elif not folder.images:
            left_out.append(LeftOut(patient, f"masks only, no {_IMAGES}"))
        else:
            kinds = folder.images[0].mixed or f"{len(folder.images)} series"
            left_out.append(LeftOut(patient, f"{_IMAGES} holds several series: {kinds}", "Leave one in the folder."))
    if not cases:
        raise nothing_found(root, "ircadb", _EXPECTED, tuple(left_out))
    return Found(
        tuple(sorted(cases, key=lambda case: case.name)),
        tuple(sorted(left_out, key=lambda out: (out.name, out.reason))),
    )


def read(case: Case, options: IrcadbData) -> Scan:
    """Channel ``ct`` in HU, a mask ``tumour-<k>`` for ``livertumor<k>``, and the chosen organs.

    Where masks were drawn and none is of a tumour, the mask ``tumour`` is empty.

    Raises:
        ScanError: a damaged file, a series that is no volume, masks that do not lie on the slices of the CT.
    """
    volume = read_series(case.series["ct"], options.geometry, options.path)
    sources: list[SourceFile] = list(volume.sources)
    masks: dict[str, NDArray[np.uint8]] = {}
    notes = list(volume.notes)
    for name, series in case.series.items():
        if name == "ct":
            continue
        drawn = read_series(series, options.geometry, options.path)
        sources += drawn.sources
        masks[name], missing = _on_slices(name, drawn, volume, case.name)
        if missing:
            notes.append(f"{name} was drawn on {len(volume.array) - missing} of {len(volume.array)} slices")
    if masks and not any(name.startswith(TUMOUR) for name in masks):
        masks[TUMOUR] = np.zeros(volume.grid.shape, np.uint8)
        notes.append("no tumour was drawn")
    return Scan(
        channels={"ct": as_channel(volume.array, f"{case.name}, ct")},
        masks=masks,
        grid=volume.grid,
        patient=case.patient,
        modality="CT",
        unit=volume.unit,
        site=case.site,
        label=case.label,
        organs=tuple(name for name in masks if not name.startswith(TUMOUR)),
        source=tuple(sources),
        notes=(*case.notes, *notes),
    )


def contents(_options: IrcadbData, cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The CT, and tumours where any case has masks."""
    return CHANNELS, (TUMOUR,) if any(len(case.series) > 1 for case in cases) else ()


def _kind(part: str) -> str:
    word = part.upper().removesuffix(".ZIP")
    return word if word in (_IMAGES, _MASKS) else ""


def _patient(root: Path, parts: list[str]) -> str:
    """The name of the patient's folder or archive: the innermost that looks like one, or else the innermost of all."""
    names = [re.sub(r"\.zip$", "", part, flags=re.IGNORECASE) for part in (*root.resolve().parts, *parts)]
    return next((name for name in reversed(names) if _PATIENT.fullmatch(name)), names[-1])


def _case(patient: str, folder: _Folder, options: IrcadbData) -> Case:
    series = {"ct": folder.images[0]}
    for name in options.organs:
        if name in folder.masks:
            series[name] = folder.masks[name]
    tumours = dict(_tumours(folder.masks))
    series |= tumours
    taken = {id(one) for one in series.values()}
    rest = sorted(name for name, one in folder.masks.items() if id(one) not in taken)
    notes = [*folder.notes, *(f"no mask {name}" for name in options.organs if name not in folder.masks)]
    if rest:
        notes.append(f"masks that are not read: {', '.join(rest)}")
    if not folder.masks:
        notes.append(f"no masks: no {_MASKS}")
    files: dict[str, Path] = {}
    for role, one in series.items():
        paths = list(dict.fromkeys(instance.file.path for instance in one.instances))
        files |= {role if len(paths) == 1 else f"{role}/{k}": path for k, path in enumerate(paths)}
    return Case(name=patient, patient=patient, site="", label="", files=files, notes=tuple(notes), series=series)


def _tumours(masks: Mapping[str, Series]) -> Iterator[tuple[str, Series]]:
    """``tumour-<k>`` of ``livertumor<k>`` or ``livertumor0<k>``; one without a number may be all of them."""
    numbered: dict[int, Series] = {}
    plain = []
    for name in sorted(masks):
        match = _TUMOUR.fullmatch(name)
        if match and match[1]:
            numbered.setdefault(int(match[1]), masks[name])
        elif match:
            plain.append(masks[name])
    if plain and not numbered:
        numbered[1] = plain[0]
    for number in sorted(numbered):
        yield f"{TUMOUR}-{number}", numbered[number]


def _on_slices(name: str, drawn: DicomVolume, volume: DicomVolume, what: str) -> tuple[NDArray[np.uint8], int]:
    """The mask on the grid of the CT, and on how many of its slices there is none; each lies at its position."""
    highest = float(drawn.array.max())
    inside = drawn.array >= max(highest / 2, 0.5)
    if drawn.resampling is None and not np.array_equal(drawn.array, inside * np.float32(highest)):
        as_mask(drawn.array, f"{what}, mask {name}")  # says which values there are
    marked = inside.astype(np.uint8)
    if drawn.grid.shape[1:] != volume.grid.shape[1:]:
        found = f"{drawn.grid.shape[1]} × {drawn.grid.shape[2]}"
        raise ScanError(
            describe(what, f"{name} of {volume.grid.shape[1]} × {volume.grid.shape[2]} pixels, as the CT", found)
        )
    to_index = np.linalg.inv(volume.grid.affine)
    rows, columns = volume.grid.shape[1:]
    turn = np.abs(
        (to_index @ drawn.grid.affine)[:3, :2] @ np.diag([columns - 1, rows - 1])
        - np.eye(3, 2) * (columns - 1, rows - 1)
    )
    mask = np.zeros(volume.grid.shape, np.uint8)
    here = 0
    for index, place in enumerate(drawn.positions):
        at = (to_index @ (-place[0], -place[1], place[2], 1.0))[:3]
        nearest = round(float(at[2]))
        off = max(float(np.abs(at - (0, 0, nearest)).max()), float(turn.max()))
        if off > _OFF:
            found = f"slice {index + 1} of it {off:.2f} voxels off"
            raise ScanError(describe(what, f"{name} on the slices of the CT", found))
        if 0 <= nearest < len(mask):
            mask[nearest] = marked[index]
            here += 1
    if not here:
        raise ScanError(describe(what, f"{name} on the slices of the CT", "none of its slices there"))
    return mask, len(mask) - here
