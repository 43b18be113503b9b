"""``synthoma prepare`` as it is called: how long with one worker and with two, and its memory as patients grow."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from prepare_scan import ONE_THREAD, phantom
from rich.table import Table

RECIPE = """
data: {source: nifti, path: ., channels: {ct: "{patient}-ct.nii.gz"}, masks: {nodule: "{patient}-nodule.nii.gz"},
       modality: CT, unit: HU}
preprocessing:
  steps:
    - {step: reorient}
    - {step: body_mask}
    - {step: median, size: 3}
    - {step: resample, spacing_mm: [null, 1.0, 1.0]}
    - {step: normalise, method: window, window: [-1000, 400]}
    - {step: stretch, low_percent: 1.0, high_percent: 99.5}
    - {step: resize, size: 256}
"""
"""The study's chain for chest CT, and its denoising."""
FIELD_MM = 384.0
"""Sides of a slice."""
EVERY_S = 0.05
MIB = 2**20


def two_workers(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """One worker and two, in turns.

    On a machine that others use too, the clock says little: Linux may share the cores by session, and give two workers
    what it gives one. ``path_ratio`` is that of the processor time which cannot be spent side by side.
    """
    turns: dict[int, list[Seen]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_patients(folder, asked.patients, asked.workers_shape)
        for round_ in range(asked.rounds):
            for workers in (2, 1) if round_ % 2 else (1, 2):
                turns[workers].append(_prepare(folder, workers))
    return [
        {
            "part": "workers",
            "workers": workers,
            "patients": asked.patients,
            "shape": list(asked.workers_shape),
            "cores": os.cpu_count(),
            "load": statistics.median(turn.load for turn in own),
            "seconds": statistics.median(turn.seconds for turn in own),
            "scans_per_second": asked.patients / statistics.median(turn.seconds for turn in own),
            "busy_seconds": statistics.median(sum(turn.busy_seconds.values()) for turn in own),
            "path_seconds": statistics.median(turn.path_seconds for turn in own),
            "ratio": _ratio([one.seconds / two.seconds for one, two in zip(turns[1], own, strict=True)]),
            "path_ratio": _ratio([one.path_seconds / two.path_seconds for one, two in zip(turns[1], own, strict=True)]),
        }
        for workers, own in turns.items()
    ]


def _ratio(ratios: list[float]) -> dict[str, float]:
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def memory(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The peak of memory with few patients and with many, for one worker and for two."""
    results = []
    with tempfile.TemporaryDirectory() as name:
        for patients in (asked.few, asked.many):
            folder = Path(name) / str(patients)
            _write_patients(folder, patients, asked.workers_shape)
            for workers in (1, 2):
                seen = _prepare(folder, workers)
                results.append(
                    {
                        "part": "memory",
                        "workers": workers,
                        "patients": patients,
                        "shape": list(asked.workers_shape),
                        "peak_mib": seen.peak_bytes / MIB,
                        "peak_own_mib": seen.peak_own_bytes / MIB,
                        "peaks_own_mib": sum(seen.most_own_bytes.values()) / MIB,
                    }
                )
    return results


def _write_patients(folder: Path, count: int, shape: tuple[int, int, int]) -> None:
    import nibabel

    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (folder / "scans").mkdir()
    _, rows, columns = shape
    affine = np.diag([-FIELD_MM / columns, -FIELD_MM / rows, 2.5, 1.0])
    for patient in range(count):
        values, _ = phantom("ct", shape, seed=patient)
        nodule = np.zeros(shape, dtype=np.uint8)
        nodule[tuple(slice(n // 3, n // 3 + max(n // 8, 2)) for n in shape)] = 1
        for name, array in (("ct", values), ("nodule", nodule)):
            image = nibabel.Nifti1Image(array.T, affine)
            image.to_filename(folder / "scans" / f"p{patient:02}-{name}.nii.gz")


@dataclass
class Seen:
    """What was seen of the processes of one call."""

    seconds: float = 0.0
    load: float = 0.0
    """Of the machine: how many processes wanted a core."""
    peak_bytes: int = 0
    peak_own_bytes: int = 0
    """Without pages of files, which the system takes back when it needs them."""
    most_own_bytes: dict[int, int] = field(default_factory=dict)
    """Process → its own peak; their sum does not depend on whether the peaks fall together."""
    busy_seconds: dict[int, float] = field(default_factory=dict)
    """Process → its processor time."""
    leader: int = 0

    @property
    def path_seconds(self) -> float:
        """Processor time of the first process and of the busiest beside it, as if they never worked at once."""
        others = [busy for pid, busy in self.busy_seconds.items() if pid != self.leader]
        return self.busy_seconds[self.leader] + max(others, default=0.0)


def _prepare(folder: Path, workers: int) -> Seen:
    """Call it, and look at its processes."""
    out = folder / "real.cohort"
    command = [sys.executable, "-m", "synthoma", "prepare", "nifti", str(folder / "scans"), "--out", str(out)]
    command += ["--recipe", str(folder / "recipe.yaml"), "--workers", str(workers), "--no-split", "--overwrite"]
    source = {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(  # noqa: S603 (ourselves)
            command, stdout=said, stderr=said, env=os.environ | ONE_THREAD | source, start_new_session=True
        )
        seen = Seen(leader=process.pid)
        _watch(process, seen)
        seen.seconds, seen.load = time.perf_counter() - begun, os.getloadavg()[0]
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"prepare failed: {said.read()}")
    return seen


def _watch(process: subprocess.Popen[bytes], seen: Seen) -> None:
    """Look at all processes of a session, as Linux shows them, until its first ends."""
    while process.poll() is None:
        rss = own = 0
        for pid, stat, status in _session(process.pid):
            seen.busy_seconds[pid] = sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")
            rss += _bytes(status, "VmRSS")
            own += (held := _bytes(status, "RssAnon"))
            seen.most_own_bytes[pid] = max(seen.most_own_bytes.get(pid, 0), held)
        seen.peak_bytes, seen.peak_own_bytes = max(seen.peak_bytes, rss), max(seen.peak_own_bytes, own)
        time.sleep(EVERY_S)


def _session(leader: int) -> Iterator[tuple[int, list[str], str]]:
    """Number, ``stat`` (from the state on: parent, group, session, …) and ``status`` of each process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) == leader:
                yield int(folder.name), stat, (folder / "status").read_text()
        except (OSError, IndexError):
            continue  # it has just ended


def _bytes(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0  # a process that has just ended has none


def table_of_workers(results: list[dict[str, Any]], asked: argparse.Namespace) -> Table:
    """Seconds with one worker and with two."""
    shape, cores = " × ".join(map(str, asked.workers_shape)), results[0]["cores"]
    table = Table(title=f"synthoma prepare, {asked.patients} CT of {shape}, {cores} cores, {asked.rounds} rounds")
    for column in ("workers", "s", "scans/s", "load of the machine", "busy s", "of them in a row"):
        table.add_column(column)
    table.add_column("times one worker (least–most)")
    table.add_column("by processor time")
    for result in results:
        both = (result["ratio"], result["path_ratio"]) if result["workers"] > 1 else ()
        table.add_row(
            str(result["workers"]),
            f"{result['seconds']:.1f}",
            f"{result['scans_per_second']:.2f}",
            f"{result['load']:.1f}",
            f"{result['busy_seconds']:.1f}",
            f"{result['path_seconds']:.1f}",
            *(f"{ratio['median']:.2f} × ({ratio['least']:.2f}–{ratio['most']:.2f})" for ratio in both),
        )
    return table


def table_of_memory(results: list[dict[str, Any]], asked: argparse.Namespace) -> Table:
    """The peaks."""
    shape = " × ".join(map(str, asked.workers_shape))
    table = Table(title=f"Peak of memory of synthoma prepare, all processes together, CT of {shape}")
    for column in ("patients", "workers", "MiB", "of them not pages of files", "if all had their peaks at once"):
        table.add_column(column)
    for result in results:
        numbers = (f"{result[key]:.0f}" for key in ("peak_mib", "peak_own_mib", "peaks_own_mib"))
        table.add_row(str(result["patients"]), str(result["workers"]), *numbers)
    return table
