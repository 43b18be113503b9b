"""What a report is made of, gathered by the caller; nothing here draws or writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthoma.errors import InputError, describe
from synthoma.records import Cohort, Measurement

__all__ = ["ReportContent", "read_log"]

LogLine = Mapping[str, Any]


@dataclass(frozen=True)
class ReportContent:
    """Everything the page shows. Whatever is empty is said to be not available; nothing is invented for it."""

    title: str
    real: Cohort
    synthetic: Mapping[str, Cohort] = field(default_factory=dict)
    """By method: ``reconstruct``, ``transplant``, ``remove``, …; any other with references is a rival, given the task
    as ``reconstruct`` (``unet-l1``) and is shown beside it."""
    log: Sequence[LogLine] = ()
    """The lines of the training run's ``log.jsonl`` (:func:`read_log`)."""
    variants: Mapping[str, Sequence[LogLine]] = field(default_factory=dict)
    """The same of every rival's run, by name."""
    measurements: Sequence[Measurement] = ()
    curves: Mapping[str, Any] = field(default_factory=dict)
    """Name → {name of the horizontal axis: its values, arm: as many values, …}; the axis comes first."""
    warnings: Sequence[str] = ()
    verdicts: Sequence[Mapping[str, str]] = ()
    """Each with ``claim``, ``verdict`` (starts with *supported*, *not supported* or *cannot tell*) and ``because``."""
    recipe_yaml: str = ""
    variant_recipes: Mapping[str, str] = field(default_factory=dict)
    """The recipe of every rival, by name, as YAML."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the weights that drew the synthetic images, by training."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Versions and machine: what → which."""
    definitions: Mapping[str, str] | None = None
    """Term → definition, added to the report's own and shown in their place where the terms are equal."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a training run's ``log.jsonl``. A last line that a killed run left half-written is left out.

    Raises:
        InputError: the file is absent, or a line before the last is no JSON object.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(describe(path, "a training log, one JSON object a line", error)) from error
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise InputError(describe(f"{path}, line {number}", "a JSON object", repr(line[:60]))) from None
        if not isinstance(entry, dict):
            raise InputError(describe(f"{path}, line {number}", "a JSON object", repr(line[:60])))
        entries.append(entry)
    return entries
