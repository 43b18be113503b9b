"""Preparation: each step beside MONAI's and TorchIO's transform for the same work; two workers; memory and patients.

    python benchmarks/prepare.py --peers PYTHON --json prepare.json
    python benchmarks/prepare.py --part steps --kind mr --step "resample linear" --shape 155 240 240
    python benchmarks/prepare.py --part workers

``--peers`` takes the Python of an environment that has MONAI and TorchIO; without it only our own figures come.
Everybody has a process with one thread, and they take turns, so that what else runs on the machine slows all of them;
a ratio is that of the two halves of a pair, by the clock and by processor time, which other work hardly moves. Both
results are compared as well: the same work gives the same values.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prepare_peers import CONTESTANTS
from prepare_scan import ONE_THREAD, SHAPES, write_scan
from prepare_workers import memory, table_of_memory, table_of_workers, two_workers
from rich.console import Console
from rich.table import Table

ENOUGH = 0.9
"""Of a peer's speed: below it we say why."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables, and write JSON where asked to."""
    asked = _parser().parse_args(arguments)
    asked.part = asked.part or ["steps", "workers", "memory"]
    console = Console(width=170)
    results: list[dict[str, Any]] = []
    if "steps" in asked.part:
        for kind in asked.kind or SHAPES:
            found = steps(kind, asked)
            console.print(_table(kind, found, asked))
            results += found
    for part, measure, table in (
        ("workers", two_workers, table_of_workers),
        ("memory", memory, table_of_memory),
    ):
        if part in asked.part:
            found = measure(asked)
            console.print(table(found, asked))
            results += found
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


class Contestant:
    """The handle of a process of ``prepare_peers.py``."""

    def __init__(self, who: str, python: str, kind: str, shape: tuple[int, int, int], folder: Path) -> None:
        what = {"who": who, "kind": kind, "shape": shape, "folder": str(folder)}
        self.who = who
        command = [python, str(Path(__file__).with_name("prepare_peers.py")), json.dumps(what)]
        self.process = subprocess.Popen(  # noqa: S603 (our own file)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD
        )
        offers = self._answer()
        self.steps: dict[str, list[dict[str, str]]] = offers["steps"]
        self.version: str = offers["version"]

    def turn(self, step: str, variant: str, at_least_s: float, save: Path | None = None) -> dict[str, Any]:
        """Let it do a step; raises where it failed."""
        assert self.process.stdin is not None
        turn = {"step": step, "variant": variant, "at_least_s": at_least_s, "save": str(save or "")}
        self.process.stdin.write(json.dumps(turn) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Let it go."""
        self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.who} failed")
        answer: dict[str, Any] = json.loads(line)
        return answer


def steps(kind: str, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of a kind of scan: each of our steps, followed by whoever does the same."""
    shape = tuple(asked.shape or SHAPES[kind])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scan(folder, kind, shape)
        pythons = {"synthoma": sys.executable, "SimpleITK": sys.executable}
        if asked.peers:
            pythons |= {"MONAI": asked.peers, "TorchIO": asked.peers}
        contestants = [Contestant(who, pythons[who], kind, shape, folder) for who in CONTESTANTS if who in pythons]
        results = []
        for step in contestants[0].steps:
            if not asked.step or step in asked.step:
                print(f"{kind}: {step}", file=sys.stderr)
                results += _in_turns(step, contestants, asked, folder)
        for contestant in contestants:
            contestant.end()
    return [{"part": "steps", "kind": kind, "shape": list(shape), **result} for result in results]


def _in_turns(
    step: str, contestants: list[Contestant], asked: argparse.Namespace, folder: Path
) -> list[dict[str, Any]]:
    """A step by all who have it."""
    entries = [(one, variant) for one in contestants for variant in one.steps.get(step, ())]
    made: list[NDArray[np.float32]] = []
    differences: list[float | None] = []
    for one, variant in entries:  # the first time it imports, and allocates
        one.turn(step, variant["variant"], 0, folder / "result.npy")
        made.append(np.load(folder / "result.npy"))
        differences.append(difference(made[0], made[-1]))
    shapes = [list(array.shape) for array in made]
    del made
    turns: list[list[dict[str, Any]]] = [[] for _ in entries]
    for round_ in range(asked.rounds):
        for place in list(range(len(entries)))[:: -1 if round_ % 2 else 1]:  # ABBA: a trend favours none
            one, variant = entries[place]
            turns[place].append(one.turn(step, variant["variant"], asked.at_least_s))
    return [
        {
            "step": step,
            "name": f"{one.who} {variant['variant']}".strip(),
            "version": one.version,
            "result_shape": shape,
            "difference": apart,
            "differs": variant["differs"],
            **timing(own, turns[0]),
        }
        for (one, variant), own, shape, apart in zip(entries, turns, shapes, differences, strict=True)
    ]


def timing(turns: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, Any]:
    """What the turns of a contestant say; ``ratio`` is how much faster *ours* is, pair by pair."""
    seconds = statistics.median(turn["seconds"] for turn in turns)
    result: dict[str, Any] = {
        "seconds_a_scan": seconds,
        "busy_seconds_a_scan": statistics.median(turn["processor_seconds"] for turn in turns),
        "scans_per_second": 1 / seconds,
    }
    for key, title in (("seconds", "ratio"), ("processor_seconds", "processor_ratio")):
        ratios = sorted(turn[key] / own[key] for turn, own in zip(turns, ours, strict=True))
        result[title] = {"median": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}
    return result


def difference(ours: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    """Mean absolute difference as a share of the range of ours; ``None`` where the shapes differ."""
    if ours.shape != other.shape:
        return None
    return float(np.abs(ours - other).mean(dtype=np.float64) / np.ptp(ours))


def _table(kind: str, results: list[dict[str, Any]], asked: argparse.Namespace) -> Table:
    shape = " × ".join(map(str, results[0]["shape"])) if results else ""
    table = Table(title=f"{kind.upper()} {shape}, float32, one thread, {asked.rounds} rounds", show_lines=False)
    for column in ("step", "who", "ms a scan", "busy ms", "scans/s", "ours is faster by (least–most)"):
        table.add_column(column)
    for column in ("by processor time", "result", "apart", "what differs"):
        table.add_column(column)
    for result in results:
        first = result["name"] == "synthoma"
        ratios = [""] * 2
        if not first:
            both = result["ratio"], result["processor_ratio"]
            ratios = [f"{ratio['median']:.2f} × ({ratio['least']:.2f}–{ratio['most']:.2f})" for ratio in both]
            if result["processor_ratio"]["median"] < ENOUGH:
                ratios[1] = f"[bold]{ratios[1]}[/bold]"
        table.add_row(
            result["step"] if first else "",
            f"{result['name']} {'' if first else result['version']}",
            f"{1000 * result['seconds_a_scan']:.1f}",
            f"{1000 * result['busy_seconds_a_scan']:.1f}",
            f"{result['scans_per_second']:.3g}",
            *ratios,
            "×".join(map(str, result["result_shape"])),
            "" if first else "other shape" if result["difference"] is None else f"{100 * result['difference']:.2g} %",
            result["differs"],
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=["steps", "workers", "memory"], help="all when not given")
    parser.add_argument("--kind", action="append", choices=[*SHAPES], help="of scan; both when not given")
    parser.add_argument("--step", action="append", help="one of the steps; all when not given")
    parser.add_argument("--shape", type=int, nargs=3, metavar=("Z", "Y", "X"), help="120 512 512 and 155 240 240")
    parser.add_argument("--peers", metavar="PYTHON", help="that of an environment with MONAI and TorchIO")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--at-least-s", type=float, default=0.2, help="a turn; short steps are repeated for so long")
    parser.add_argument("--workers-shape", type=int, nargs=3, default=SHAPES["ct"], help="of the scans to prepare")
    parser.add_argument("--patients", type=int, default=24, help="for the workers")
    parser.add_argument("--few", type=int, default=4, help="patients, for memory")
    parser.add_argument("--many", type=int, default=40, help="patients, for memory")
    parser.add_argument("--threads", type=int, default=1, choices=[1], help="everybody has one")
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
