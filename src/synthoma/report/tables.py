"""Tables of the report: the cohort, the settings, where things come from, and the measurements."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthoma.records import Cohort, Lineage

__all__ = ["Cell", "Table", "channel_table", "cohort_table", "lineage_table", "settings_table"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Cell:
    """A cell's text and what is said below it."""

    text: str
    interval: str = ""
    flag: str = ""
    """A sentence that must not be overlooked: ``worse than least squares``."""
    best: bool = False
    note: str = ""
    """Number of the method below the table's values, as a reference."""


@dataclass(frozen=True)
class Table:
    """A caption, headings, and rows of a heading and cells."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    """The first entry of each row is its heading."""
    text_columns: int = 1
    """How many of the columns, from the left, hold words and not numbers."""
    main_row: int = -1
    """Row to set off; −1 for none."""
    minor: bool = False
    """Whether it is folded away at first."""
    emphasis_last: bool = False
    """Whether the last row is a total."""


def cohort_table(real: Cohort) -> Table:
    """Patients and images by split, site and label, and by modality where there are several; with a total."""
    columns = ["split", "site", "label"]
    if len(set(real.table["modality"].tolist())) > 1:
        columns.insert(2, "modality")
    table = {name: np.asarray(real.table[name]).astype(str) for name in (*columns, "patient")}
    keys = list(zip(*(table[name] for name in columns), strict=True))
    order = {name: at for at, name in enumerate(SPLITS)}
    rows: list[tuple[Cell | str, ...]] = []
    for key in sorted(set(keys), key=lambda k: (order.get(str(k[0]), len(order)), *k[1:])):
        here = np.array([k == key for k in keys])
        patients = len(set(table["patient"][here].tolist()))
        split, *others = (str(part) or "—" for part in key)
        rows.append((split if split != "—" else "no split", *others, f"{patients}", f"{int(here.sum())}"))
    rows.append(("all", *[""] * (len(columns) - 1), f"{len(real.patients)}", f"{len(real)}"))
    caption = "Patients and images. A patient with images of several labels is counted once in each of their rows."
    headings = (*(name.capitalize() for name in columns), "Patients", "Images")
    return Table(caption, headings, tuple(rows), text_columns=len(columns), emphasis_last=True)


def channel_table(real: Cohort) -> Table:
    """Each channel, by each modality, with the scanner's values that became −1 and +1: median and range over images."""
    rows: list[tuple[Cell | str, ...]] = []
    modality, unit = real.table["modality"], real.table["unit"]
    kinds = sorted(set(zip(modality.tolist(), unit.tolist(), strict=True)))
    for name, kind in itertools.product(real.channels, kinds):
        ends = []
        here = (modality == kind[0]) & (unit == kind[1])
        for end in ("low", "high"):
            values = np.asarray(real.table.get(f"{end}_{name}", np.full(len(real), np.nan)), dtype=np.float64)[here]
            values = values[np.isfinite(values)]
            if not len(values):
                ends.append("not recorded")
            elif values.min() == values.max():
                ends.append(f"{values[0]:.4g}")
            else:
                ends.append(f"{np.median(values):.4g} ({values.min():.4g} to {values.max():.4g})")
        rows.append((f"{name}, {kind[0]}, {kind[1]}" if len(kinds) > 1 else name, *ends))
    what = "" if len(kinds) > 1 else f" ({real.unit} units)" if real.unit == "arbitrary" else f" ({real.unit})"
    caption = f"The scanner's values{what} that became −1 and +1: median over images (lowest to highest)."
    return Table(caption, ("Channel", "−1 stands for", "+1 stands for"), tuple(rows))


def lineage_table(cohorts: Mapping[str, Cohort]) -> Table | None:
    """Every step that any of the cohorts descends from."""
    found: dict[str, Lineage] = {}
    users: dict[str, list[str]] = {}
    for name, cohort in cohorts.items():
        for lineage in cohort.lineages.values():
            found.setdefault(lineage.id, lineage)
            users.setdefault(lineage.id, []).append(name)
    if not found:
        return None
    rows: list[tuple[Cell | str, ...]] = []
    for key, lineage in found.items():
        parents = ", ".join(parent[:8] for parent in lineage.parents[:2]) or "none"
        if len(lineage.parents) > 2:
            parents += f" and {len(lineage.parents) - 2} more"
        rows.append(
            (key[:8], lineage.step, parents, ", ".join(users[key]), f"{len(lineage.patients_seen)}", f"{lineage.seed}",
             lineage.version)
        )  # fmt: skip
    columns = ("Id", "Step", "Made from", "Cohorts", "Patients seen", "Seed", "Version")
    caption = "Lineage: each step, what it was made from, and how many patients it saw."
    return Table(caption, columns, tuple(rows), text_columns=4)


def settings_table(recipe_yaml: str) -> tuple[Table | None, str]:
    """The recipe's settings, flattened to one name a row; and what is wrong with the text, if anything."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not recipe_yaml.strip():
        return None, "not available: no recipe was given"
    try:
        settings = YAML(typ="safe", pure=True).load(io.StringIO(recipe_yaml))
    except YAMLError as error:
        return None, f"not available: the recipe is no valid YAML ({str(error).splitlines()[0]})"
    if not isinstance(settings, Mapping):
        return None, "not available: the recipe holds no settings"
    rows = [(str(block).capitalize(), _phrase(content)) for block, content in settings.items()]
    return Table("Settings of the recipe, by stage.", ("Stage", "Settings"), tuple(rows), text_columns=2), ""


def _phrase(content: Any) -> str:
    """Nested settings in one line: ``name value; name value``, the steps of a list as ``step (its settings) → …``."""
    if isinstance(content, Mapping):
        return "; ".join(
            f"{name} ({_phrase(value)})" if isinstance(value, Mapping) else f"{name} {_phrase(value)}".strip()
            for name, value in content.items()
        )
    if isinstance(content, Sequence) and not isinstance(content, str):
        if any(isinstance(part, Mapping) for part in content):
            return " → ".join(_step(part) for part in content)
        return "[" + ", ".join(_word(part) for part in content) + "]"
    return _word(content)


def _step(part: Any) -> str:
    if not isinstance(part, Mapping) or "step" not in part:
        return _phrase(part)
    rest = {name: value for name, value in part.items() if name != "step"}
    return f"{part['step']} ({_phrase(rest)})" if rest else str(part["step"])


def _word(value: Any) -> str:
    if value is None:
        return "none"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
