"""The BraTS folders: names of 2017–2021 (``_t1 _t1ce _t2 _flair _seg``) and of 2023 (``-t1n -t1c -t2w -t2f -seg``).

Both may lie in one folder, at any depth, ``.nii`` or ``.nii.gz``. The names tell no site: a table ``participants.tsv``
(BIDS: ``participant_id``, ``site``) beside them may. The label of enhancing tumour is 4 in the first
convention and 3 in the second, while 3 meant non-enhancing core until 2015; so the names of the files decide, never
the largest label (Menze et al., IEEE TMI 34(10), 2015; Baid et al., arXiv:2107.02314, 2021).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from synthoma.errors import ScanError, describe
from synthoma.options import Options
from synthoma.records import Grid, Scan, SourceFile
from synthoma.scans.align import Align, align
from synthoma.scans.case import (
    Case,
    Found,
    LeftOut,
    folder_of,
    list_files,
    nothing_found,
    relative_name,
    shown,
    tcga_barcode,
    unreadable,
)
from synthoma.scans.orientation import contradiction, contradicts, trusted_grids
from synthoma.scans.volumes import SUFFIXES, orientation_note, read_header, read_volume
from synthoma.scans.voxels import as_channel, as_whole_numbers, numbers

__all__ = ["ATLAS", "CHANNELS", "LABELS", "BratsData", "contents", "find", "read"]

CHANNELS = ("t1", "t1ce", "t2", "flair")
LABELS: Mapping[str, Mapping[int, str]] = {
    "2021": {1: "necrosis", 2: "oedema", 4: "enhancing"},
    "2023": {1: "necrosis", 2: "oedema", 3: "enhancing"},
}
_ROLES = {
    "_t1": "t1", "_t1ce": "t1ce", "_t2": "t2", "_flair": "flair", "_seg": "seg",
    "-t1n": "t1", "-t1c": "t1ce", "-t2w": "t2", "-t2f": "flair", "-seg": "seg",
}  # fmt: skip
_FILE = re.compile(r"(?P<case>.+)(?P<suffix>_(?:t1|t1ce|t2|flair|seg)|-(?:t1n|t1c|t2w|t2f|seg))\.nii(?:\.gz)?")
_TIME_POINT = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d{3}")
ATLAS = Grid((155, 240, 240), (1.0, 1.0, 1.0), (0.0, 239.0, 0.0), ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)))
"""SRI24 (Rohlfing et al., Human Brain Mapping 31(5), 2010), as the files of BraTS have it since 2017."""
_EXPECTED = "BraTS names (…_t1.nii.gz or …-t1n.nii.gz)"
_OTHER_LABELS = {
    "2021": "3 is non-enhancing core in BraTS 2012-2015 and enhancing tumour since 2023, named …-seg.nii.gz: "
    "rename the files to the convention that their labels follow.",
    "2023": "4 is enhancing tumour until 2021, named …_seg.nii.gz, and resection cavity since 2024: "
    "rename the files to the convention that their labels follow.",
}


class BratsData(Options):
    """A folder of BraTS cases."""

    source: Literal["brats"] = "brats"
    path: Path
    """The folder of the cases, at any depth. A ``participants.tsv`` in it tells the sites."""
    orientation: Literal["header", "others"] = "header"
    """A header that contradicts the other cases (their origin, another orientation) is named in the notes. ``header``
    keeps it; ``others`` trusts the order of the voxels and takes the orientation that the others have."""
    align: Align = "refuse"
    """Modalities of one case on different grids: ``refuse`` them, ``resample`` by their headers onto the first one's
    grid (linear; segmentations nearest), or ``register`` them to it (rigid, mutual information)."""


def find(options: BratsData) -> Found:
    """Cases by the names of their files; orientation by their headers. No voxel is read.

    Raises:
        ScanError: no such folder, or no case in it.
    """
    root = folder_of(options.path)
    sites = _sites(root / "participants.tsv")
    grouped: dict[tuple[str, str], list[tuple[str, str, str]]] = {}  # (folder, case) → (convention, role, file)
    others: dict[str, list[str]] = {}
    for name in list_files(root):
        file = PurePosixPath(name)
        match = _FILE.fullmatch(file.name)
        if match:
            convention = "2021" if match["suffix"].startswith("_") else "2023"
            key = (str(file.parent), match["case"])
            grouped.setdefault(key, []).append((convention, _ROLES[match["suffix"]], name))
        elif name.endswith(SUFFIXES):
            others.setdefault(str(file.parent), []).append(file.name)
    cases: dict[str, Case] = {}
    left_out = [
        LeftOut(root.name if folder == "." else folder, _why_not(names))
        for folder, names in others.items()
        if _no_case(folder, grouped)
    ]
    for (folder, name), files in grouped.items():
        case = _case(root, name, files, sites)
        if isinstance(case, LeftOut):
            left_out.append(case)
        elif name in cases:
            first = relative_name(next(iter(cases[name].files.values())).parent, root)
            left_out.append(LeftOut(f"{folder}/{name}", f"a case of this name is in {first} already"))
        else:
            cases[name] = case
    left = tuple(sorted(left_out, key=lambda out: out.name))
    if not cases:
        raise nothing_found(root, "brats", _EXPECTED, left)
    grids = _grids(cases)
    trusted = {name: grid for name, grid in trusted_grids(grids, (ATLAS,)).items() if contradicts(grids[name], grid)}
    ordered = tuple(replace(cases[name], grid=trusted.get(name)) for name in sorted(cases))
    notes = orientation_note((case, next(iter(case.files.values()))) for case in ordered)
    return Found(ordered, left, notes)


def read(case: Case, options: BratsData) -> Scan:
    """All modalities and, where there is one, the segmentation as binary masks ``necrosis``, ``oedema``, ``enhancing``.

    Raises:
        ScanError: a damaged file, different grids, NaN or constant intensities, labels outside the convention.
    """
    volumes = {role: read_volume(path) for role, path in case.files.items()}
    notes = case.notes + tuple(note for volume in volumes.values() for note in volume.notes)
    trusted = case.grid or next(iter(volumes.values())).grid
    wrong = {role: volume for role, volume in volumes.items() if contradicts(volume.grid, trusted)}
    if wrong:
        corrected = options.orientation == "others"
        which = "" if len(wrong) == len(volumes) else f"{', '.join(wrong)}: "
        notes += (which + contradiction(next(iter(wrong.values())).grid, trusted, corrected=corrected),)
        if corrected:
            volumes |= {role: replace(volume, grid=trusted) for role, volume in wrong.items()}
    volumes, done = align(case.name, volumes, ("seg",), options.align)
    notes += done
    grid = next(iter(volumes.values())).grid
    masks = {}
    if "seg" in volumes:
        masks = _masks(volumes["seg"].array, case)
    return Scan(
        channels={
            role: as_channel(volume.array, str(case.files[role])) for role, volume in volumes.items() if role != "seg"
        },
        masks=masks,
        grid=grid,
        patient=case.patient,
        site=case.site,
        label=case.label,
        missing=case.missing,
        source=tuple(
            SourceFile(relative_name(case.files[role], options.path), volume.sha256) for role, volume in volumes.items()
        ),
        notes=notes,
    )


def contents(_options: BratsData, cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All modalities, and the parts of the lesion where a case has a segmentation."""
    return CHANNELS, tuple(LABELS["2021"].values()) if any("seg" in case.files for case in cases) else ()


def _sites(table: Path) -> dict[str, str]:
    """Participant → site, as BIDS has it; empty where there is no such table or it tells no site."""
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise unreadable(table, "a table separated by tabs", error) from error
    if rows and "participant_id" not in rows[0]:
        found = shown(", ".join(map(str, rows[0])), 200)
        raise ScanError(describe(table, "a column participant_id", found))
    sites = {row["participant_id"]: row.get("site", "").strip() for row in rows}
    return {name: site for name, site in sites.items() if site != "n/a"}


def _grids(cases: Mapping[str, Case]) -> dict[str, Grid]:
    """The grid of each case's first file; one that cannot be read is named when the case is."""
    grids = {}
    for name, case in cases.items():
        try:
            grids[name] = read_header(next(iter(case.files.values())))
        except ScanError:
            continue
    return grids


def _case(root: Path, name: str, files: list[tuple[str, str, str]], sites: Mapping[str, str]) -> Case | LeftOut:
    conventions = {convention for convention, _, _ in files}
    if len(conventions) > 1:
        return LeftOut(name, "files named by both conventions, so the meaning of its labels is unknown")
    roles: dict[str, Path] = {}
    for _, role, file in files:
        if role in roles:
            return LeftOut(name, f"{role} is there twice: {roles[role].name}, {PurePosixPath(file).name}")
        roles[role] = root / file
    if set(roles) == {"seg"}:
        return LeftOut(name, "only a segmentation")
    barcode = tcga_barcode(name)
    time_point = _TIME_POINT.fullmatch(name)
    patient, site = barcode or ((time_point[1] if time_point else name), "")
    return Case(
        name=name,
        patient=patient,
        site=next((sites[key] for key in (name, patient, f"sub-{patient}") if sites.get(key)), site),
        label="",
        files={role: roles[role] for role in (*CHANNELS, "seg") if role in roles},
        missing=tuple(channel for channel in CHANNELS if channel not in roles),
        notes=() if "seg" in roles else ("no segmentation",),
        convention=conventions.pop(),
    )


def _masks(array: np.ndarray, case: Case) -> dict[str, np.ndarray]:
    file = str(case.files["seg"])
    known = LABELS[case.convention]
    labels = as_whole_numbers(array, file)
    found = set(np.unique(labels).tolist())
    if not found <= {0, *known}:
        what = f"the labels {numbers({0, *known})} of the BraTS {case.convention} names"
        remedy = _OTHER_LABELS[case.convention] if found & {3, 4} - set(known) else ""
        raise ScanError(describe(file, what, numbers(found), remedy))
    return {name: (labels == value).astype(np.uint8) for value, name in known.items()}


def _no_case(folder: str, grouped: Mapping[tuple[str, str], object]) -> bool:
    return all(parent != folder for parent, _ in grouped)


def _why_not(names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    if all("seg" in name.lower() for name in names):
        return f"only segmentations: {shown}"
    return f"no {_EXPECTED}; found {shown}"
