"""``qc.html``: whether a preparation went well, to be seen in a minute; and the tables beside it.

Cases come one by one. Of each a row of numbers is kept; pictures only of some drawn at random and of the most extreme
so far, so that memory does not grow with the number of patients but for those rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from synthoma.report.qc_case import CaseQuality, Rejected
from synthoma.report.qc_checks import CaseRow
from synthoma.seeding import child_seed
from synthoma.storage import write_bytes

__all__ = ["CASES", "PAGE", "REJECTED", "QualityControl", "Shown"]

PAGE, REJECTED, CASES = "qc.html", "rejected.csv", "cases.csv"
RANDOM, EXTREME = 6, 8
"""So many cases are shown with pictures."""
LINES = 40
"""So many cases are drawn in the histograms."""
EXTREMES: Mapping[str, tuple[str, str]] = {
    "lesion_ml": ("smallest lesion", "largest lesion"),
    "lesion_inside": ("most lesion outside the body mask", ""),
    "body_share": ("least body", "most body"),
    "clipped_share": ("", "most clipped"),
    "lesion_kept": ("least of its lesion kept", ""),
    "height_mm": ("lowest in the scanner", "highest in the scanner"),
    "voxel_mm": ("shortest voxels", "longest voxels"),
    "intensity_range": ("narrowest range of values", "widest range of values"),
}
"""Number of a case → what its lowest and its highest value is called; the order is that of the page."""
ALIKE = 0.02
"""Where the lowest and the highest differ by less than this share, neither is extreme."""


@dataclass(frozen=True)
class Shown:
    """A case with pictures, and why it was chosen."""

    case: CaseQuality
    why: tuple[str, ...]


class QualityControl:
    """Takes cases as they are prepared; :meth:`write` makes the page.

    Args:
        seed: of the choice of cases.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.rows: list[CaseRow] = []
        self.rejected: list[Rejected] = []
        self._random: list[tuple[int, CaseQuality]] = []
        self._lines: list[tuple[int, CaseQuality]] = []
        self._extreme: dict[tuple[str, str, bool], tuple[float, CaseQuality]] = {}

    def add(self, case: CaseQuality) -> None:
        """A case that was prepared."""
        self.rows.append(CaseRow.of(case))
        rank = child_seed(self.seed, "quality control", case.name)
        _keep_lowest(self._random, rank, case, RANDOM)
        _keep_lowest(self._lines, rank, _without_pictures(case), LINES)
        for what in EXTREMES:
            value = case.numbers.get(what)
            for high in (False, True):
                best = self._extreme.get((case.modality, what, high))
                if value is not None and (best is None or (value > best[0] if high else value < best[0])):
                    self._extreme[case.modality, what, high] = (value, case)

    def reject(self, rejected: Rejected) -> None:
        """A case that was left out."""
        self.rejected.append(rejected)

    @property
    def lines(self) -> list[CaseQuality]:
        """The cases of the histograms, without pictures."""
        return [case for _, case in self._lines]

    def shown(self) -> tuple[list[Shown], list[Shown]]:
        """The most extreme cases, each once with all that it is extreme in; and those drawn at random among the rest.

        A case that was drawn and is extreme as well stands with the extreme ones, which say so.
        """
        from synthoma.report.qc_words import amount

        drawn = {case.name: case for _, case in self._random}
        whys: dict[str, list[str]] = {}
        cases: dict[str, CaseQuality] = {}
        modalities = sorted({row.modality for row in self.rows})
        for (what, names), modality in product(EXTREMES.items(), modalities):
            ends = [self._extreme.get((modality, what, high)) for high in (False, True)]
            if ends[0] is None or ends[1] is None or _alike(what, ends[0][0], ends[1][0]):
                continue
            for name, end in zip(names, ends, strict=True):
                if name and end is not None:
                    cases[end[1].name] = end[1]
                    whys.setdefault(end[1].name, []).append(f"{name}{amount(what, end[0])}")
        chosen = list(whys)[:EXTREME]
        extreme = [Shown(cases[name], (*whys[name], *["drawn at random"] * (name in drawn))) for name in chosen]
        return extreme, [Shown(drawn[name], ("drawn at random",)) for name in sorted(drawn) if name not in chosen]

    def write(self, folder: Path, title: str, patients: int, settings: Mapping[str, Any]) -> None:
        """Write ``qc.html``, ``rejected.csv`` and ``cases.csv`` into ``folder``.

        Args:
            title: what was prepared.
            patients: how many the samples are of.
            settings: those of data, preprocessing and split, without paths.
        """
        from synthoma.report.qc_page import render

        columns = ("name", "file", "reason", "remedy")
        write_bytes(folder / REJECTED, _csv(columns, ([getattr(r, c) for c in columns] for r in self.rejected)))
        write_bytes(folder / CASES, _csv(*case_table(self.rows)))
        write_bytes(folder / PAGE, render(self, title, patients, settings).encode())


def case_table(rows: Sequence[CaseRow]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Every prepared case with its geometry, numbers and notes: headings and rows."""
    columns = ["name", "modality", "samples", "labels"]
    stages = ("as_read", "prepared")
    geometry = ("shape", "spacing_mm", "orientation", "origin_mm", "extent_mm")
    columns += [f"{stage}_{name}" for stage in stages for name in geometry]
    numbers = list(dict.fromkeys(name for row in rows for name in row.numbers))
    table = []
    for row in rows:
        cells = [
            row.name,
            row.modality,
            str(row.samples),
            "; ".join(f"{k or 'none'} {n}" for k, n in row.labels.items()),
        ]
        for grid in (row.before, row.after):
            extent = [n * mm for n, mm in zip(grid.shape, grid.spacing_mm, strict=True)]
            cells.append(" ".join(map(str, grid.shape)))
            cells += (
                [_numbers(grid.spacing_mm), grid.orientation, _numbers(grid.origin_mm), _numbers(extent)]
                if (grid.known)
                else [""] * 4
            )
        cells += [f"{row.numbers[name]:.6g}" if name in row.numbers else "" for name in numbers]
        table.append([*cells, "; ".join(row.notes)])
    return (*columns, *numbers, "notes"), table


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _keep_lowest(kept: list[tuple[int, CaseQuality]], rank: int, case: CaseQuality, count: int) -> None:
    kept.append((rank, case))
    kept.sort(key=lambda entry: (entry[0], entry[1].name))
    del kept[count:]


def _without_pictures(case: CaseQuality) -> CaseQuality:
    before, after = (replace(look, thumbnails={}, upright=None) for look in (case.before, case.after))
    return replace(case, before=before, after=after, cut={})


def _alike(what: str, low: float, high: float) -> bool:
    if what == "height_mm":
        return high - low < 1
    if what == "intensity_range":  # a logarithm
        return high - low < ALIKE
    return high - low <= ALIKE * max(abs(high), abs(low))
