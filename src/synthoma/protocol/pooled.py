"""The folds' evidence put together: means and spread over runs, intervals over patients, tests that know of overlap.

In every run each patient is tested once (of ``holdout``: now and then). A number of the protocol is the mean over the
runs of the mean over the folds; where a measure is known for each patient, the mean over patients of their means over
runs. The test of a difference averages the runs within a fold first and corrects for training sets that overlap.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.cohort import SPLITS, open_cohort
from synthoma.evaluation import EvaluationOptions, Evidence, read_evidence, write_evidence
from synthoma.evaluation.evidence import Verdict
from synthoma.protocol.comparisons import Comparison, compare
from synthoma.protocol.folds import Fold
from synthoma.protocol.over_patients import OverPatients, over_patients
from synthoma.records import Measurement
from synthoma.storage import read_json, write_json

__all__ = ["pool", "pool_stage"]

Float = NDArray[np.float64]
Key = tuple[str, str, str, str]
"""Name, region, arm, compared: what is one number in every fold."""

SUFFIXES = {
    "sd": "Standard deviation of {name} over runs.",
    "p": "Two-sided p of {name} by the corrected resampled t-test (Nadeau & Bengio 2003): runs averaged within a fold, "
    "variance raised for training sets that overlap.",
    "p-holm": "As {name}-p, corrected for all comparisons of this protocol (Holm 1979).",
    "p-naive": "Two-sided p of {name} by the plain paired t-test on every fold of every run. Too small: it takes folds "
    "that share their training patients for independent. Shown because it is usual; no verdict reads it.",
}  # fmt: skip
ALPHA = 0.05
CLAIMS = (("ssim-difference", "body"), ("psnr-difference", "body"), ("balanced-accuracy-difference", ""))
"""Differences, and where they are measured, that a verdict is given on."""
PICTURES = (
    "embedding", "neighbours", "roc", "reliability", "classifier", "classifier_embedding", "ratio_curve",
    "learning_curve", "heat",
)  # fmt: skip
"""Curves of the first fold that the report draws pictures from; they name samples of its cohorts."""


@dataclass(frozen=True)
class _Pooled:
    """One number in every fold."""

    key: Key
    found: Mapping[Fold, Measurement]
    values: Float
    """(fold, run), NaN where a fold has none."""

    @property
    def design(self) -> str:
        """Of the protocol."""
        return next(iter(self.found)).design

    @property
    def by_run(self) -> Float:
        """(run,) mean over the folds that have it, without runs that have none; of repeats, each."""
        values = self.values if self.design == "holdout" else self.values.T
        counts = np.isfinite(values).sum(axis=1)
        return np.asarray(np.nansum(values, axis=1)[counts > 0] / counts[counts > 0])


def pool_stage(folds: Mapping[Fold, Path], out: Path, options: EvaluationOptions) -> Path:
    """Write ``out/evidence/protocol.json``, ``out/evidence.csv`` and ``out/compared.json`` from the folds' folders.

    ``compared.json`` names the cohorts of the first fold, for the pictures of the report.
    """
    found = {fold: read_evidence(folder) for fold, folder in folds.items()}
    sizes = {fold: _sizes(folder / "real.cohort") for fold, folder in folds.items()}
    first, folder = next(iter(folds.items()))
    evidence = pool(found, sizes, options)
    drawn = {name: curve for name, curve in found[first].curves.items() if name in PICTURES}
    warnings = (f"Pictures are of {first.name}.", *evidence.warnings)
    evidence = replace(evidence, curves={**evidence.curves, **drawn}, warnings=warnings)
    compared = read_json(folder / "compared.json")

    def place(name: str) -> str:
        return Path(os.path.relpath(folder / name, out)).as_posix()

    names = {arm: place(name) for arm, name in compared["synthetic"].items()}
    write_json(out / "compared.json", {"real": place(compared["real"]), "synthetic": names})
    write_evidence(out, Evidence.join({"protocol": evidence}), overwrite=True)
    return out


def pool(
    found: Mapping[Fold, Evidence], sizes: Mapping[Fold, Mapping[str, int]], options: EvaluationOptions
) -> Evidence:
    """The evidence of a protocol from that of its folds.

    Args:
        found: what each fold measured.
        sizes: number of patients on each side of each fold.
        options: seed and draws of the intervals.
    """
    rows, columns = _table(found)
    numbers = [_Pooled(key, own, _values(own, rows, columns)) for key, own in _gathered(found).items()]
    intervals = over_patients(found, [number.key for number in numbers], options)
    tests = compare({n.key: n.values for n in numbers if n.key[0].endswith("-difference")}, sizes)
    measurements = [m for n in numbers for m in _measurements(n, intervals.get(n.key), tests.get(n.key), found)]
    definitions = {name: text for part in found.values() for name, text in part.definitions.items()}
    for number in numbers:
        definitions |= {f"{number.key[0]}-{end}": text.format(name=number.key[0]) for end, text in SUFFIXES.items()}
    named = {measurement.name for measurement in measurements}
    definitions = {name: text for name, text in definitions.items() if name in named}
    verdicts = [_verdict(n, tests[n.key]) for n in numbers if n.key in tests and _is_claim(n.key)]
    curve = {
        "design": next(iter(found)).design,
        "tested": rows,
        "runs": len(columns),
        "patients": {fold.name: dict(size) for fold, size in sizes.items()},
        "values": [_curve(number) for number in numbers],
        "comparisons": [_entry(key) | test.to_json() for key, test in tests.items()],
    }
    return Evidence(tuple(measurements), {"protocol": curve}, tuple(_warnings(found)), tuple(verdicts), definitions)


def _sizes(path: Path) -> dict[str, int]:
    table = open_cohort(path).table
    return {side: len(set(table["patient"][table["split"] == side].tolist())) for side in SPLITS}


def _table(found: Iterable[Fold]) -> tuple[list[str], list[int]]:
    """What is tested, and the runs: the axes of every table of values. Repeats are rows of one column."""
    folds = list(found)
    rows = list(dict.fromkeys(fold.tested for fold in folds))
    runs = [0] if folds[0].design == "holdout" else list(dict.fromkeys(fold.run for fold in folds))
    return rows, runs


def _gathered(found: Mapping[Fold, Evidence]) -> dict[Key, dict[Fold, Measurement]]:
    """Every number in its folds; no p values, whose mean would mean nothing: the protocol has tests of its own."""
    numbers: dict[Key, dict[Fold, Measurement]] = {}
    for fold, evidence in found.items():
        for m in evidence.measurements:
            if f"{m.name}-".partition("-p-")[1]:
                continue
            numbers.setdefault((m.name, m.region, m.arm, m.compared), {})[fold] = m
    return numbers


def _values(own: Mapping[Fold, Measurement], rows: Sequence[str], columns: Sequence[int]) -> Float:
    values = np.full((len(rows), len(columns)), np.nan)
    for fold, measurement in own.items():
        if measurement.value is not None:
            column = 0 if fold.design == "holdout" else columns.index(fold.run)
            values[rows.index(fold.tested), column] = measurement.value
    return values


def _measurements(
    number: _Pooled, own: OverPatients | None, test: Comparison | None, found: Mapping[Fold, Evidence]
) -> list[Measurement]:
    """The number itself, its spread over runs, and the p of a difference."""
    name, region, arm, compared = number.key
    first = next(iter(number.found.values()))
    by_run = number.by_run
    count = int(np.isfinite(number.values).sum())
    how = _how(number, len(found), count)
    value, low, high = (float(by_run.mean()) if len(by_run) else None), None, None
    if own is not None:
        value, low, high, how = own.interval.value, own.interval.low, own.interval.high, f"{how}; {own.interval.method}"
    elif test is not None and test.test.low is not None:
        low, high, how = test.test.low, test.test.high, f"{how}; 95 % interval of the corrected resampled t-test"
    else:
        how += "; no interval over patients"
    images = sum(m.n_images for m in number.found.values())
    patients = own.patients if own is not None else _patients(number)
    empty = Measurement(name, None, None, None, images, patients, arm, region, first.unit, first.better,
                        f"{how}; in each fold: {first.method}", compared)  # fmt: skip
    made = [replace(empty, value=value, low=low, high=high)]
    plain: dict[str, Any] = {"better": "", "method": f"{how}; synthoma {__version__}"}
    if len(by_run) > 1:
        made.append(replace(empty, name=f"{name}-sd", value=float(by_run.std(ddof=1)), **plain | {"better": "lower"}))
    if test is not None:
        for suffix, p in (("p", test.test.p), ("p-holm", test.p_holm), ("p-naive", test.test.naive_p)):
            method = f"{test.method}; synthoma {__version__}"
            made.append(replace(empty, name=f"{name}-{suffix}", value=p, unit="", **plain | {"method": method}))
    return made


def _patients(number: _Pooled) -> int:
    """Patients of one run; of repeats those of the largest, since nobody knows how many are tested twice."""
    counts = [measurement.n_patients for measurement in number.found.values()]
    return max(counts) if number.design == "holdout" else round(sum(counts) / max(1, len(number.by_run)))


def _how(number: _Pooled, folds: int, count: int) -> str:
    rows, columns = number.values.shape
    if number.design == "holdout":
        how = f"mean over {rows} repeats of the split"
    else:
        tested = "sites" if number.design == "leave-one-site-out" else "folds"
        how = f"mean over {columns} run{'s' * (columns > 1)} of {rows} {tested}"
    if len(number.by_run) > 1:
        how += f" (SD over runs {number.by_run.std(ddof=1):.4g})"
    return how if count == folds else f"{how}; {folds - count} of {folds} folds have no such number"


def _is_claim(key: Key) -> bool:
    name, region, _, _ = key
    return (name, region) in CLAIMS


def _verdict(number: _Pooled, comparison: Comparison) -> Verdict:
    """By the corrected test after Holm; a mean below 0 is a loss."""
    name, region, arm, compared = number.key
    test, p_holm, _ = comparison
    measure = name.removesuffix("-difference").replace("-", " ")
    measure = measure.upper() if measure in ("ssim", "psnr") else measure
    over = f" over the {region}" if region else ""
    claim = f"{arm} has a higher {measure}{over} than {compared.partition(' (')[0]}, over all folds"
    unit = number.found[next(iter(number.found))].unit
    times = f"{test.folds} folds and {test.runs} run{'s' * (test.runs > 1)}"
    text = f"mean difference {test.mean:+.4g}{f' {unit}' * bool(unit)} over {times}"
    if p_holm is None:
        return Verdict(claim, "cannot tell", f"{text}; {test.method}.")
    text += f", corrected p = {test.p:.3g}, after Holm {p_holm:.3g}"
    text += f"; the uncorrected test would say {test.naive_p:.3g}" if test.naive_p is not None else ""
    if test.mean <= 0:
        return Verdict(claim, "not supported", f"{text}.")
    return Verdict(claim, "supported" if p_holm < ALPHA else "cannot tell", f"{text}.")


def _curve(number: _Pooled) -> dict[str, Any]:
    """One number for the report: its value in each fold of each run."""
    values = [[None if math.isnan(v) else float(v) for v in row] for row in number.values]
    first = next(iter(number.found.values()))
    return _entry(number.key) | {"unit": first.unit, "better": first.better, "values": values}


def _entry(key: Key) -> dict[str, str]:
    return dict(zip(("name", "region", "arm", "compared"), key, strict=True))


def _warnings(found: Mapping[Fold, Evidence]) -> list[str]:
    """What the folds warn of, once, and in how many of them."""
    texts: dict[str, int] = {}
    for evidence in found.values():
        for text in evidence.warnings:
            texts[text] = texts.get(text, 0) + 1
    many = len(found)
    return [text if count == many else f"{text} (in {count} of {many} folds)" for text, count in texts.items()]
