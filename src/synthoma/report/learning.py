"""The learning curves of a training run, whatever its losses and its validation are called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from synthoma.report.content import LogLine
from synthoma.report.figures import Chart, Line, chart

__all__ = ["learning_charts"]

CRITICS = ("discriminator", "critic", "wasserstein", "gradient_penalty")
"""How the names of the losses begin that a discriminator or critic learns by."""
MOST_LINES = 4
"""With more losses than this those of the networks that draw and of those that judge have a chart each."""
VALIDATION = {"ssim": "SSIM", "psnr_db": "PSNR"}
NOT_DRAWN = ("kind", "epoch", "step", "seconds", "best")
"""Of the validation records."""


def learning_charts(log: Sequence[LogLine], variants: Mapping[str, Sequence[LogLine]]) -> list[Chart]:
    """Losses, what validation measured, diversity, learning rate, speed, the share of time spent waiting for data."""
    runs = {"this run": log, **variants}
    trained = {name: _by_epoch([entry for entry in run if entry.get("kind") == "train"]) for name, run in runs.items()}
    train = trained["this run"]
    charts = [
        *_losses(train),
        *_measured(runs),
        chart(
            [Line(name, *_series(run, "diversity")) for name, run in trained.items()],
            "Diversity of a fixed draw", "epoch", "over that of real images", zero=True,
        ),
        chart(
            [Line("", *_series(train, "learning_rate", scale=1e4))],
            "Learning rate", "epoch", "learning rate (10⁻⁴)", zero=True,
        ),
        chart([Line("", *_series(train, "images_per_second"))], "Speed", "epoch", "images per second", zero=True),
        chart(
            [Line("", *_series(train, "data_wait_share", scale=100))],
            "Time spent waiting for data", "epoch", "% of time", zero=True,
        ),
    ]  # fmt: skip
    return [one for one in charts if one is not None]


def _losses(train: Sequence[LogLine]) -> list[Chart | None]:
    names = sorted({name for entry in train for name in entry.get("losses", {})})
    critics = [name for name in names if name.startswith(CRITICS)]
    groups = {"Losses": names}
    if len(names) > MOST_LINES and 0 < len(critics) < len(names):
        others = [name for name in names if name not in critics]
        groups = {"Losses of what draws": others, "Losses of what judges": critics}
    return [
        chart(
            [Line(name.replace("_", " "), *_series(train, "losses", name)) for name in group],
            f"{title}, mean of each epoch", "epoch", "loss (log scale)", log_scale=True,
        )
        for title, group in groups.items()
    ]  # fmt: skip


def _measured(runs: Mapping[str, Sequence[LogLine]]) -> list[Chart | None]:
    """Every number that the validation records hold: SSIM and PSNR first, the others by name."""
    records = [entry for run in runs.values() for entry in run if entry.get("kind") == "validation"]
    keys = {key for entry in records for key, value in entry.items() if key not in NOT_DRAWN and _is_number(value)}
    known = [key for key in VALIDATION if key in keys]
    charts = []
    for key in [*known, *sorted(keys - set(known))]:
        words = key.replace("_", " ")
        title = VALIDATION.get(key, words[:1].upper() + words[1:])
        lines = [_validation(name, run, key) for name, run in runs.items()]
        charts.append(
            chart(lines, f"{title}, validation patients", "epoch", "PSNR (dB)" if key == "psnr_db" else title)
        )
    return charts


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _by_epoch(entries: Sequence[LogLine]) -> list[LogLine]:
    """Means over each epoch, so that a long run's figure stays small."""
    groups: dict[float, list[LogLine]] = {}
    for entry in entries:
        groups.setdefault(entry.get("epoch", 0), []).append(entry)
    result: list[LogLine] = []
    for epoch, group in sorted(groups.items()):
        row: dict[str, Any] = {"epoch": epoch, "losses": {}}
        for key in ("learning_rate", "images_per_second", "data_wait_share", "diversity"):
            row[key] = _mean([entry.get(key) for entry in group])
        for name in dict.fromkeys(name for entry in group for name in entry.get("losses", {})):
            row["losses"][name] = _mean([entry.get("losses", {}).get(name) for entry in group])
        result.append(row)
    return result


def _mean(values: Sequence[Any]) -> float | None:
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(numbers) / len(numbers) if numbers else None


def _series(entries: Sequence[LogLine], *keys: str, scale: float = 1.0) -> tuple[list[float], list[float]]:
    x, y = [], []
    for entry in entries:
        value: Any = entry
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and math.isfinite(value):
            x.append(entry.get("epoch", 0))
            y.append(value * scale)
    return x, y


def _validation(name: str, log: Sequence[LogLine], key: str) -> Line:
    entries = [e for e in log if e.get("kind") == "validation" and _is_number(e.get(key))]
    best = [at for at, entry in enumerate(entries) if entry.get("best")]
    # The log marks each new best; the last mark is the checkpoint that was kept.
    return Line(name, [e["epoch"] for e in entries], [e[key] for e in entries], best[-1] if best else None)
