"""Several sources as one: hospitals side by side, or MR beside CT."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, field_validator

from synthoma.errors import ScanError
from synthoma.options import Options
from synthoma.records import Scan
from synthoma.scans.case import Case, Found, tcga_barcode
from synthoma.scans.folders import FOLDER_SOURCES, FolderData

__all__ = ["SeveralData", "find", "read"]


class SeveralData(Options):
    """Sources that are joined to one cohort."""

    source: Literal["several"] = "several"
    parts: Annotated[
        dict[str, Annotated[FolderData, Field(discriminator="source")]],
        Field(min_length=1),
    ]
    """Name → the settings of a source, as in ``{mr: {source: nifti, …}, ct: {source: nifti, …}}``."""
    same_patients: bool = False
    """Patients of equal names are one person, who stays on one side of every split. Otherwise patient ``001`` of part
    ``mr`` is called ``mr-001``; only a TCGA barcode, which is given to one person in all collections, stays as it is.
    """

    @field_validator("parts")
    @classmethod
    def _telling_names(cls, parts: Mapping[str, object]) -> Mapping[str, object]:
        for name in parts:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"part names begin the names of patients: letters, digits, - and _ only, got '{name}'")
            longer = next((other for other in parts if other.startswith(f"{name}-")), None)
            if longer:  # patient b-1 of part a and patient 1 of part a-b would both be a-b-1
                raise ValueError(f"part names must not begin with another and '-', got '{name}' and '{longer}'")
        return parts


def find(options: SeveralData) -> Found:
    """The cases of all parts, sorted.

    Raises:
        ScanError: what a part raises; each must have a case.
    """
    cases, left_out, notes = [], [], []
    for part, data in options.parts.items():
        try:
            found = FOLDER_SOURCES[data.source].find(data)
        except ScanError as error:
            raise _of(part, error) from error
        cases += [_joined(case, part, options.same_patients) for case in found.cases]
        left_out += [replace(out, name=f"{part}-{out.name}") for out in found.left_out]
        notes += [f"{part}: {note}" for note in found.notes]
    return Found(
        tuple(sorted(cases, key=lambda case: case.name)),
        tuple(sorted(left_out, key=lambda out: out.name)),
        tuple(notes),
    )


def read(case: Case, options: SeveralData) -> Scan:
    """As the case's own source reads it; its files are named ``part/file``.

    Raises:
        ScanError: what the source raises.
    """
    data = options.parts[case.part]
    try:
        scan = FOLDER_SOURCES[data.source].read(case, data)
    except ScanError as error:
        raise _of(case.part, error) from error
    return scan.with_(source=tuple(replace(file, path=f"{case.part}/{file.path}") for file in scan.source))


def _joined(case: Case, part: str, same_patients: bool) -> Case:
    one_person = same_patients or tcga_barcode(case.patient) is not None
    patient = case.patient if one_person else f"{part}-{case.patient}"
    return replace(case, name=f"{part}-{case.name}", patient=patient, part=part)


def _of(part: str, error: ScanError) -> ScanError:
    """The same error, its advice naming the part's settings: ``data.path`` is ``data.parts.mr.path``."""
    first, *advice = str(error).splitlines()
    return ScanError("\n".join([first, *(re.sub(r"\bdata\.", f"data.parts.{part}.", line) for line in advice)]))
