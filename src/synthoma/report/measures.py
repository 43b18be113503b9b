"""Measurements as tables: one a family and region, an arm a row, a measure a column; none is left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from synthoma.records import Measurement
from synthoma.report.families import (
    FLOOR_OF,
    SOURCE_OF,
    UNTRANSLATED,
    beside,
    family_of,
    is_baseline,
    is_floor,
    main_arm,
    worse_than,
)
from synthoma.report.tables import Cell, Table

__all__ = ["Methods", "every_measurement", "family_tables", "format_value", "measure_label"]

ACRONYMS = ("ssim", "psnr", "mae", "mse", "nrmse", "kid", "fid", "auc", "hu", "db", "f1", "icc")
_WITHOUT_MAIN = ("utility", "clipping", "recognition", "readers", "explain")
"""Families whose arms are no competitors of the GAN."""
_WITHOUT_BEST = ("clipping", "recognition", "readers", "explain")
"""Families whose arms do not compete at all: real images stand there for what can be reached."""
_BY_COMPARED = ("similarity", "recognition", "readers")
"""Families with a table for each thing that is compared with: what stands in two of them has nothing in common."""
MOST_COLUMNS = 5
"""Measures in one table; more are shown in several, so that a page of A4 holds them."""
_KINDS = ("value", "difference", "median")
_REGIONS = ("body", "frame", "lesion")


@dataclass
class Methods:
    """The distinct ``method`` texts of the measurements, numbered in the order of their first use."""

    numbers: dict[str, int]

    @classmethod
    def of(cls, measurements: Sequence[Measurement]) -> Methods:
        """Number the texts."""
        texts = dict.fromkeys(m.method for m in measurements if m.method)
        return cls({text: number for number, text in enumerate(texts, start=1)})

    def number(self, measurement: Measurement) -> str:
        """The number of a measurement's method; empty when it has none."""
        return str(self.numbers.get(measurement.method, ""))


def family_tables(family: str, measurements: Sequence[Measurement], methods: Methods) -> list[Table]:
    """The tables of one family: values, then differences, then medians; each the body first; wide ones in parts."""
    members = [m for m in measurements if family_of(m) == family]
    order = {region: at for at, region in enumerate(_REGIONS)}

    def place(m: Measurement) -> tuple[str, str, str]:
        return _kind(m), m.region, m.compared if family in _BY_COMPARED and _kind(m) != "difference" else ""

    groups = sorted(dict.fromkeys(map(place, members)), key=lambda g: (_KINDS.index(g[0]), order.get(g[1], 9), g[1]))
    tables = []
    for kind, region, compared in groups:
        group = [m for m in members if place(m) == (kind, region, compared)]
        for names in _alike(group):
            parts = -(-len(names) // MOST_COLUMNS)
            width = -(-len(names) // parts)
            for start in range(0, len(names), width):
                part = names[start : start + width]
                tables.append(_pivot(family, kind, region, [m for m in group if m.name in part], methods))
    return tables


def _alike(members: Sequence[Measurement]) -> list[list[str]]:
    """The names, together where they are compared with the same: a table of others would be full of gaps."""
    against: dict[str, set[str]] = {}
    for m in members:
        against.setdefault(m.name, set()).update(set() if m.compared.startswith(FLOOR_OF) else {m.compared})
    groups: dict[frozenset[str], list[str]] = {}
    for name, compared in against.items():
        groups.setdefault(frozenset(compared), []).append(name)
    return list(groups.values())


def _pivot(family: str, kind: str, region: str, members: Sequence[Measurement], methods: Methods) -> Table:
    main = main_arm(members)
    keys = list(dict.fromkeys((m.arm, m.compared) for m in members))
    # An arm's floor stands below it, the GAN's arm first, the baselines last.
    owners = {key: _owner(*key) for key in keys}
    keys.sort(key=lambda key: (owners[key] != main, is_baseline(owners[key]), is_floor(family, key[0])))
    arms = list(dict.fromkeys(owners[key] for key in keys))
    keys.sort(key=lambda key: arms.index(owners[key]))
    names = list(dict.fromkeys(m.name for m in members))
    compared = {against for _, against in keys if against and not against.startswith(FLOOR_OF)}
    rows: list[tuple[Cell | str, ...]] = []
    for arm, against in keys:
        here = [m for m in members if (m.arm, m.compared) == (arm, against)]
        cells = [_cell([m for m in here if m.name == name], members, family, main, methods) for name in names]
        heading = _row_heading(arm, against, kind, several=len(compared) > 1)
        rows.append((heading, *cells, ", ".join(dict.fromkeys(f"{m.n_patients} ({m.n_images})" for m in here))))
    where = {"body": "over the body", "lesion": "over the lesion", "frame": "over the whole frame", "": ""}
    said = ["differences" if kind == "difference" else "", where.get(region, f"over {region}")]
    how = "by" if family == "recognition" else "against"
    said += [f"{how} {next(iter(compared))}" if len(compared) == 1 and kind != "difference" else ""]
    said += ["median over patients" if kind == "median" else ""]
    caption = ", ".join(text for text in said if text) or "by arm"
    columns = [_heading(next(m for m in members if m.name == name)) for name in names]
    columns = ["Difference" if kind == "difference" else "Arm", *columns, "Patients (images)"]
    main_row = 0 if kind != "difference" and family not in _WITHOUT_MAIN and keys[0][0] == main else -1
    caption = caption[:1].upper() + caption[1:]
    return Table(caption, tuple(columns), tuple(rows), main_row=main_row, minor=kind == "median")


def _owner(arm: str, against: str) -> str:
    """The arm below which a row stands: a floor's and a source's own, else itself."""
    if against.startswith(FLOOR_OF):
        return against.removeprefix(FLOOR_OF)
    return arm.removeprefix(SOURCE_OF).removesuffix(UNTRANSLATED) if arm.endswith(UNTRANSLATED) else arm


def _row_heading(arm: str, against: str, kind: str, *, several: bool) -> str:
    if against.startswith(FLOOR_OF):
        return f"{arm}, {against}"
    if against and kind == "difference":
        return f"{arm} − {against}"
    return f"{arm} against {against}" if against and several else arm


def _cell(
    here: Sequence[Measurement], members: Sequence[Measurement], family: str, main: str, methods: Methods
) -> Cell:
    if not here:
        return Cell("—")
    m = here[0]
    others = beside(m, members)
    best, flag, sign = False, "", ""
    if _kind(m) == "difference":
        flag = "worse" if worse_than(m, [replace(m, arm="none", value=0.0)]) else ""
        sign = "+" if (m.value or 0) > 0 else ""
    elif others and family not in _WITHOUT_BEST and m.better and m.value is not None and not is_floor(family, m.arm):
        losers = worse_than(m, others)
        best = not losers and any(worse_than(other, [m]) for other in others)  # where all are equal, none is
        if losers and m.arm == main and family not in _WITHOUT_MAIN:
            flag = f"worse than {' and '.join(losers)}"
    text = "; ".join(format_value(o.value) for o in here)  # the same name, arm and comparison twice: show both
    return Cell(sign + text, _interval(m), flag, best, methods.number(m))


def every_measurement(measurements: Sequence[Measurement], methods: Methods) -> Table:
    """All measurements, one a row, as in ``evidence.csv``."""
    rows = [
        (m.name, m.region, m.arm, m.compared, format_value(m.value), _interval(m), m.unit, f"{m.n_patients}",
         f"{m.n_images}", methods.number(m))
        for m in measurements
    ]  # fmt: skip
    columns = (
        "Name", "Region", "Arm", "Compared with", "Value", "95 % interval", "Unit", "Patients", "Images", "Method",
    )  # fmt: skip
    return Table("Every measurement.", columns, tuple(rows), text_columns=4)


def format_value(value: float | None) -> str:
    """Three significant digits, at least three decimals below one; a true minus sign."""
    if value is None:
        return "undefined"
    size = abs(value)
    text = f"{value:.1e}" if 0 < size < 1e-4 else f"{value:.{_decimals(value)}f}"
    return text.replace("e-0", "e-").replace("-", "−")


def measure_label(name: str) -> str:
    """``frechet-distance`` → ``Fréchet distance``, ``psnr`` → ``PSNR``."""
    name, _, channel = name.partition("[")
    words = [word.upper() if word in ACRONYMS else word for word in name.replace("_", "-").split("-")]
    text = " ".join(words).replace("frechet", "Fréchet").replace("DB", "dB")
    text += f", {channel.rstrip(']')}" if channel else ""
    return text[:1].upper() + text[1:]


def _decimals(value: float) -> int:
    size = abs(value)
    if size < 1:
        return 3 if size >= 0.01 or size == 0 else 5
    return max(0, 2 - math.floor(math.log10(size)))


def _interval(m: Measurement) -> str:
    if m.low is None or m.high is None:
        return "no interval"
    digits = _decimals(m.value or 0.0)
    return f"{m.low:.{digits}f} to {m.high:.{digits}f}".replace("-", "−")


def _heading(m: Measurement) -> str:
    known = {"": "", "1": "", "arbitrary": " (arbitrary units)"}
    unit = known.get(m.unit, f" ({m.unit})")
    arrow = {"higher": "\u00a0↑", "lower": "\u00a0↓"}.get(m.better, "")
    name = m.name.replace(f"-{_kind(m)}", "")  # the table's caption says it
    return f"{measure_label(name)}{unit}{arrow}"


def _kind(m: Measurement) -> str:
    """``value``, ``difference`` or ``median``, from the end of the name."""
    name = m.name.split("[")[0]
    return next((kind for kind in _KINDS if name.endswith(f"-{kind}")), "value")
