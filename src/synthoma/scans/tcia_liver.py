"""HCC-TACE-Seg of The Cancer Imaging Archive: liver CT with DICOM segmentations (Moawad et al., Scientific Data, 2023).

Folders may be patient/study/series or any other: a segmentation belongs to the series whose images it names. So one
patient with several phases or time points that were segmented is as many cases.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.options import Options
from synthoma.records import Scan, SourceFile
from synthoma.scans.anatomy import names_lesion
from synthoma.scans.case import Case, Found, LeftOut, folder_of, nothing_found
from synthoma.scans.dicom import GeometryRule, Series, find_series, read_series
from synthoma.scans.dicom_masks import segmentations
from synthoma.scans.dicom_seg import Segment, read_segments
from synthoma.scans.dicom_seg_header import drawn_on
from synthoma.scans.voxels import as_channel

__all__ = ["CHANNELS", "TciaLiverData", "contents", "find", "read"]

CHANNELS = ("ct",)
LIVER, TUMOUR = "liver", "tumour"
_TUMOUR = re.compile(r"tumou?r|mass|neoplas|lesion|carcinoma|cancer|\bhcc\b|metasta")
_PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EXPECTED = "CT series and DICOM segmentations of them (HCC_001/…/1-1.dcm)"


class TciaLiverData(Options):
    """The folder of HCC-TACE-Seg, or of another set of CT series with DICOM segmentations of the liver."""

    source: Literal["tcia-liver"] = "tcia-liver"
    path: Path
    """The folder of the patients, with DICOM files at any depth, zipped or not."""
    geometry: GeometryRule = GeometryRule()
    """What to do with missing, unevenly spaced or tilted slices."""


def find(options: TciaLiverData) -> Found:
    """A case a segmentation whose CT series is there, by the headers of the files.

    Raises:
        ScanError: no such folder, or no such segmentation in it.
    """
    root = folder_of(options.path)
    series, left_out = find_series(root)
    images = [one for one in series if not one.segmentation and one.modality == "CT"]
    drawn: dict[str, list[tuple[str, Series, Series]]] = {}  # patient → (name of the file, segmentation, CT)
    used = set()
    for seg in segmentations(series, root, left_out):
        fitting = drawn_on(seg.header, seg.series.study_uid, images)
        if len(fitting) != 1:
            which = f" (…{seg.header.series[0][-12:]})" if seg.header.series else ""
            reason = f"a segmentation of a CT series that is not here{which}"
            left_out.append(LeftOut(seg.name, reason, "Download the series that it names."))
        elif not _PSEUDONYM.fullmatch(fitting[0].patient_id):  # which is not printed
            reason = "a PatientID that is no pseudonym" if fitting[0].patient_id else "no PatientID"
            remedy = "Pseudonymise the files: HCC_001, of letters, digits, '.', '_' and '-'."
            left_out.append(LeftOut(seg.name, reason, remedy))
        else:
            used.add(id(fitting[0]))
            drawn.setdefault(fitting[0].patient_id, []).append((seg.name, seg.series, fitting[0]))
    for one in series:
        if not one.segmentation and id(one) not in used:
            folder = one.instances[0].file.name(root).rpartition("/")[0]
            other = f"modality {one.modality or 'unknown'}, not CT"
            reason = "a CT series without a segmentation" if one.modality == "CT" else other
            left_out.append(LeftOut(folder or root.name, reason))
    cases = [case for patient, found in drawn.items() for case in _cases(patient, found)]
    if not cases:
        raise nothing_found(root, "tcia-liver", _EXPECTED, tuple(left_out))
    return Found(
        tuple(sorted(cases, key=lambda case: case.name)),
        tuple(sorted(left_out, key=lambda out: (out.name, out.reason))),
    )


def read(case: Case, options: TciaLiverData) -> Scan:
    """Channel ``ct`` in HU, and a mask a segment.

    Masses, neoplasms and the like are ``tumour`` (``tumour-1``, … where there are several); other segments keep the
    words of their label (``portal-vein``). ``liver`` is the organ with its tumours, as in the other sources.
    A segmentation without a tumour gives an empty mask ``tumour``.

    Raises:
        ScanError: a damaged file, a series that is no volume, a segmentation that does not lie on its slices.
    """
    volume = read_series(case.series["ct"], options.geometry, options.path)
    file = case.series["seg"].instances[0].file
    segments, said = read_segments(file, volume, case.series["ct"].uid)
    masks = _named(segments)
    tumours = [name for name in masks if name.partition("-")[0] == TUMOUR]
    organs = tuple(name for name, segment in zip(masks, segments, strict=True) if not segment.lesion)
    if not tumours:
        masks[TUMOUR] = np.zeros(volume.grid.shape, np.uint8)
    if LIVER in masks:
        for name in tumours:
            masks[LIVER] = masks[LIVER] | masks[name]
    return Scan(
        channels={"ct": as_channel(volume.array, f"{case.name}, ct")},
        masks=masks,
        grid=volume.grid,
        patient=case.patient,
        modality="CT",
        unit=volume.unit,
        site=case.site,
        label=case.label,
        organs=organs,
        source=(*volume.sources, SourceFile(file.name(options.path), hashlib.sha256(file.read()).hexdigest())),
        notes=(*case.notes, *volume.notes, *said, *(() if tumours else ("no segment of a tumour",))),
    )


def contents(_options: TciaLiverData, _cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same of every folder; what else was segmented is chosen by name."""
    return CHANNELS, (TUMOUR,)


def _cases(patient: str, found: Sequence[tuple[str, Series, Series]]) -> list[Case]:
    """Named as the patient, numbered in the order of the segmentations' names where there are several."""
    cases = []
    for number, (_, seg, ct) in enumerate(sorted(found, key=lambda one: one[0]), 1):
        files = {"seg": seg.instances[0].file.path}
        paths = list(dict.fromkeys(instance.file.path for instance in ct.instances))
        files |= {f"ct/{k}": path for k, path in enumerate(paths)}
        name = patient if len(found) == 1 else f"{patient}-{number}"
        series = {"ct": ct, "seg": seg}
        cases.append(Case(name=name, patient=patient, site="", label="", files=files, series=series))
    return cases


def _named(segments: Sequence[Segment]) -> dict[str, NDArray[np.uint8]]:
    said = {id(one): one.name if names_lesion(one.name) else one.meaning for one in segments}
    tumours = [one for one in segments if one.lesion and _TUMOUR.search(said[id(one)])]
    names = {
        id(one): TUMOUR if len(tumours) == 1 else f"{TUMOUR}-{number}" for number, one in enumerate(tumours, start=1)
    }
    return {names.get(id(one), one.name): one.mask for one in segments}
