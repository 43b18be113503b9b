"""The DICOM series of a folder tree, by the headers of its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from synthoma.errors import ScanError
from synthoma.scans.case import LeftOut
from synthoma.scans.dicom_header import SEGMENTATIONS, Instance, read_instance
from synthoma.scans.tree import list_tree

__all__ = ["Series", "find_series"]

_SAME_DIRECTION = 1e-3
"""Orientations whose numbers differ by no more are one (0.06 degrees)."""


@dataclass(frozen=True)
class Series:
    """Files of one series of one size and orientation. A series of several such groups is as many of these."""

    uid: str
    study_uid: str
    patient_id: str = field(repr=False)
    modality: str
    description: str = field(repr=False)
    instances: tuple[Instance, ...]
    """In the order of the instance numbers, then of the names."""
    mixed: str = ""
    """All the groups of a series of several sizes or orientations, in words; empty where there is one."""
    notes: tuple[str, ...] = ()

    @property
    def segmentation(self) -> bool:
        """Whether it holds masks (SEG objects) instead of images."""
        return self.instances[0].sop_class in SEGMENTATIONS

    @property
    def what(self) -> Path:
        """The series in messages: its only file, or the folder of its first."""
        first = self.instances[0].file.where
        return first if len(self.instances) == 1 else first.parent

    @property
    def slices(self) -> int:
        """Number of slices or frames."""
        return sum(instance.frames for instance in self.instances)


def find_series(root: Path) -> tuple[list[Series], list[LeftOut]]:
    """All series of images and segmentations below ``root`` (archives included), by headers only.

    Files that are no DICOM, and DICOMDIRs, are passed over. DICOM that is no slice of a scan (a report, a localizer, a
    colour image, …), and files that cannot be read, are left out with the reason; those of one folder and one reason
    together.

    Raises:
        ScanError: no such folder.
    """
    left_out: list[LeftOut] = []
    refused: dict[tuple[str, str], list[str]] = {}
    by_series: dict[tuple[str, str], dict[object, Instance]] = {}
    copies: dict[tuple[str, str], int] = {}
    for file in list_tree(root, left_out):
        name = file.name(root)
        folder = name.rpartition("/")[0]
        try:
            found = read_instance(file)
        except ScanError as error:
            found = str(error).splitlines()[0].removeprefix(f"{file.where}: ")
        if isinstance(found, str):
            refused.setdefault((folder, found), []).append(name)
        elif found is not None:
            key = (found.series_uid, "" if found.series_uid else folder)
            instances = by_series.setdefault(key, {})
            same = (found.sop_uid or name, found.instance_number, found.position)  # some tools give all files one UID
            if instances.setdefault(same, found) is not found:
                copies[key] = copies.get(key, 0) + 1
    for (_, reason), names in refused.items():
        others = f" (and {len(names) - 1} more of this kind in the folder)" if len(names) > 1 else ""
        left_out.append(LeftOut(names[0], reason + others))
    series = [
        part for key, instances in by_series.items() for part in _parts(list(instances.values()), copies.get(key, 0))
    ]
    return series, sorted(left_out, key=lambda out: out.name)


def _parts(instances: list[Instance], copies: int) -> list[Series]:
    groups: list[list[Instance]] = []
    for instance in instances:
        group = next((group for group in groups if _alike(group[0], instance)), None)
        if group is None:
            groups.append([instance])
        else:
            group.append(instance)
    mixed = "; ".join(_words(group) for group in groups) if len(groups) > 1 else ""
    notes = (f"{copies} files repeat the SOP UID of another and were passed over",) if copies else ()
    return [_series(group, mixed, notes) for group in groups]


def _series(group: Iterable[Instance], mixed: str, notes: tuple[str, ...]) -> Series:
    ordered = tuple(sorted(group, key=_by_number))
    first = ordered[0]
    return Series(
        uid=first.series_uid,
        study_uid=first.study_uid,
        patient_id=first.patient_id,
        modality=first.modality,
        description=first.description,
        instances=ordered,
        mixed=mixed,
        notes=notes,
    )


def _by_number(instance: Instance) -> tuple[bool, int, str]:
    number = instance.instance_number
    return number is None, number or 0, str(instance.file.where)


def _alike(one: Instance, other: Instance) -> bool:
    """One kind, size, pixel spacing and orientation (as far as the file has one for all its frames)."""
    if (one.sop_class, one.rows, one.columns) != (other.sop_class, other.rows, other.columns):
        return False
    return all(
        (a is None) == (b is None) and all(abs(p - q) <= _SAME_DIRECTION for p, q in zip(a or (), b or (), strict=True))
        for a, b in ((one.orientation, other.orientation), (one.spacing_mm, other.spacing_mm))
    )


def _words(group: list[Instance]) -> str:
    first = group[0]
    spacing = "" if first.spacing_mm is None else f" of {first.spacing_mm[0]:.3g} × {first.spacing_mm[1]:.3g} mm"
    direction = first.orientation or ()
    rows = f", orientation {'/'.join(f'{value:.3g}' for value in direction)}" if direction else ""
    return f"{len(group)} files {first.rows} × {first.columns}{spacing}{rows}"
