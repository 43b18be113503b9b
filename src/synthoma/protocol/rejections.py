"""Why a case was left out: name, file, reason and what to do, without a path of this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from synthoma.report.qc_case import Rejected
from synthoma.scans import Case, DataOptions, LeftOut, SeveralData

__all__ = ["left_out", "rejection", "unforeseen"]

REPAIR = "Complete or repair it, or leave it out."
NO_SCAN = "Nothing, if it is no scan of this data set."
REPORT = "This is a fault of synthoma: please report it, with what --debug shows."
LONGEST = 200


def rejection(case: Case, data: DataOptions, message: str) -> Rejected:
    """From the message of an error: its first line is the reason, the rest what to do."""
    root = _root(case.part, data)
    reason, *advice = message.splitlines()
    reason = _relative(reason.removeprefix(f"{case.patient}: ").removeprefix(f"{case.name}: "), root)
    named = {reason.find(name): name for path in _files(case) if (name := _relative(str(path), root)) in reason}
    return Rejected(case.name, named[min(named)] if named else "", reason, _relative(" ".join(advice), root) or REPAIR)


def unforeseen(case: Case, error: Exception) -> Rejected:
    """From an exception that nobody raised on purpose: its kind and its message.

    What stands in quotation marks there is left out: libraries repeat the value that they could not use, which may be
    the name of a patient.
    """
    first = next(iter(str(error).splitlines()), "")
    said = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "'…'", first)[:LONGEST]
    return Rejected(case.name, "", f"{type(error).__name__}: {said}".removesuffix(": "), REPORT)


def left_out(out: LeftOut, data: DataOptions) -> Rejected:
    """From what the search for cases left out."""
    parts = data.parts if isinstance(data, SeveralData) else {"": data}
    for part, source in parts.items():
        name = out.name.removeprefix(f"{part}-") if part else out.name
        if (source.path / name).exists():
            return Rejected(out.name, name, _relative(out.reason, source.path), out.remedy or NO_SCAN)
    return Rejected(out.name, "", out.reason, out.remedy or NO_SCAN)


def _root(part: str, data: DataOptions) -> Path:
    return data.parts[part].path if isinstance(data, SeveralData) else data.path


def _files(case: Case) -> Iterator[Path]:
    yield from case.files.values()
    for series in case.series.values():
        yield from (instance.file.where for instance in series.instances)
        yield series.what


def _relative(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "").replace(str(root), root.name or str(root))
