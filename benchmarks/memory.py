"""Peak of memory of training and of drawing, with and without activation checkpointing, each in a process of its own.

python benchmarks/memory.py --size 256 --json memory.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from train_step import BATCHES, GIB
from worker import Worker


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", choices=[*BATCHES], help="all three when not given")
    parser.add_argument("--size", type=int, action="append", help="pixels a side; 256 when not given")
    parser.add_argument("--dims", type=int, default=2, choices=[2, 3])
    parser.add_argument("--batch", type=int, help="8; 1 for cycle")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16", "fp16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="after the first")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    results = [
        _measure(asked, do, method, size, recompute)
        for method in asked.method or BATCHES
        for size in asked.size or [256]
        for do, recompute in (("train", False), ("train", True), ("draw", False))
    ]
    table = Table(title=f"width {asked.width}, {asked.precision}, {asked.device}")
    for column in ("method", "batch", "size", "work", "recompute", "peak GiB", "of which Python", "s, processor"):
        table.add_column(column)
    for result in results:
        table.add_row(
            result["method"],
            str(result["batch"]),
            f"{result['size']}^{result['dims']}",
            result["do"],
            "yes" if result["recompute"] else "no",
            f"{result['peak_gib']:.2f}",
            f"{result['start_gib']:.2f}",
            f"{result['processor_seconds']:.2f}",
        )
    Console(width=120).print(table)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _measure(asked: argparse.Namespace, do: str, method: str, size: int, recompute: bool) -> dict[str, Any]:
    what = {
        "do": do,
        "method": method,
        "size": size,
        "batch": asked.batch or BATCHES[method],
        "recompute": recompute,
        "channels": 1,
        "compile": False,
        "average": do == "train",  # as in a real run
        "channels_last": "auto",
        **{name: getattr(asked, name) for name in ("dims", "width", "precision", "device", "threads")},
    }
    worker = Worker(**what)
    worker.turn()
    answer = worker.turn(asked.steps)
    worker.end()
    return what | {
        "peak_gib": answer["peak_bytes"] / GIB,
        "start_gib": answer["start_bytes"] / GIB,
        "processor_seconds": answer["processor_seconds"],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
