"""``Evidence``: everything an evaluation found, and its files ``evidence/<family>.json`` and ``evidence.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from synthoma.errors import InputError, OutputError, describe
from synthoma.evaluation.options import FAMILIES
from synthoma.records import Measurement
from synthoma.storage import new_folder, read_json, write_bytes, write_json

__all__ = ["CSV_COLUMNS", "Evidence", "Verdict", "read_evidence", "write_evidence"]

CSV_COLUMNS = (
    "name", "region", "arm", "value", "low", "high", "n_images", "n_patients", "unit", "method", "compared",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """A claim and whether the measurements bear it out."""

    claim: str
    verdict: Literal["supported", "not supported", "cannot tell"]
    because: str


@dataclass(frozen=True)
class Evidence:
    """What one family of measurements found, or several joined."""

    measurements: tuple[Measurement, ...] = ()
    curves: Mapping[str, Any] = field(default_factory=dict)
    """Name → content that JSON can hold, for the report's figures."""
    warnings: tuple[str, ...] = ()
    """What a reader must know before believing a number, and what was not measured and why."""
    verdicts: tuple[Verdict, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    """Name of a measurement → what it means, in a sentence."""
    families: Mapping[str, Evidence] = field(default_factory=dict)
    """The parts by family, when this was put together by :meth:`join`."""

    @classmethod
    def join(cls, families: Mapping[str, Evidence]) -> Self:
        """One evidence from its families, in their order."""
        parts = list(families.values())
        return cls(
            measurements=tuple(m for part in parts for m in part.measurements),
            curves={name: curve for part in parts for name, curve in part.curves.items()},
            warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
            verdicts=tuple(verdict for part in parts for verdict in part.verdicts),
            definitions={name: text for part in parts for name, text in part.definitions.items()},
            families=dict(families),
        )

    def find(self, name: str, **equal: str) -> Measurement:
        """The one measurement of this name whose fields equal ``equal``.

        Raises:
            KeyError: none fits, or more than one.
        """
        found = [m for m in self.measurements if m.name == name and all(getattr(m, k) == v for k, v in equal.items())]
        if len(found) != 1:
            raise KeyError(f"{name} {equal}: expected one measurement, found {len(found)}")
        return found[0]

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for JSON; ``families`` have files of their own and are left out."""
        return {
            "measurements": [m.to_json() for m in self.measurements],
            "verdicts": [asdict(v) for v in self.verdicts],
            "warnings": list(self.warnings),
            "definitions": dict(self.definitions),
            "curves": dict(self.curves),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Back from :meth:`to_json`."""
        return cls(
            measurements=tuple(Measurement.from_json(m) for m in content["measurements"]),
            curves=content["curves"],
            warnings=tuple(content["warnings"]),
            verdicts=tuple(Verdict(**v) for v in content["verdicts"]),
            definitions=content["definitions"],
        )


def write_evidence(out: Path, evidence: Evidence, overwrite: bool = False) -> None:
    """Write ``out/evidence/<family>.json`` for each family, and all measurements as ``out/evidence.csv``.

    Raises:
        OutputError: either exists and ``overwrite`` is false, or the disk is full or closed.
    """
    if not evidence.families:
        raise ValueError("write_evidence needs Evidence.join({family: evidence, …}): one file is written a family")
    table = Path(out) / "evidence.csv"
    if table.exists() and not overwrite:
        raise OutputError(describe(table, "a new file", "one that exists", "Add --overwrite, or choose another --out."))
    with new_folder(Path(out) / "evidence", overwrite=overwrite) as folder:
        for name, family in evidence.families.items():
            write_json(folder / f"{name}.json", family.to_json())
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for measurement in evidence.measurements:
        writer.writerow(measurement.to_json())  # None becomes an empty cell
    write_bytes(table, text.getvalue().encode())


def read_evidence(out: Path) -> Evidence:
    """Read what :func:`write_evidence` wrote below ``out``.

    Raises:
        InputError: there is no evidence, or a file of it is damaged.
    """
    folder = Path(out) / "evidence"
    order = {name: i for i, name in enumerate(FAMILIES)}
    paths = sorted(folder.glob("*.json"), key=lambda path: (order.get(path.stem, len(order)), path.stem))
    if not paths:
        raise InputError(describe(folder, "evidence files (*.json)", "none", "Run the evaluation first."))
    families = {}
    for path in paths:
        content = read_json(path)
        try:
            families[path.stem] = Evidence.from_json(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                describe(path, "an evidence file", f"another content ({type(error).__name__}: {error})")
            ) from error
    return Evidence.join(families)
