"""Images a second, peak of memory and share of the machine's peak of a training step; beside a peer where one is given.

    python benchmarks/train_step.py --method conditional --method cycle --peer pix2pix=FOLDER --json step.json

``--peer NAME=FOLDER`` takes a checkout of pytorch-CycleGAN-and-pix2pix (its own model classes, in float32, with our
sizes, widths, batch, losses and images), or another checkout of this repository: so the effect of a change is measured.
``--changed KEY=VALUE`` takes our own GAN with one setting changed: ``--method wasserstein --changed penalty_every=4``.
The contestants take turns, and the ratio is that of the two halves of each pair: what else runs on the machine slows
both. A second ratio is that of processor time, which other work hardly moves.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from worker import Worker

GIB = 2**30
BATCHES = {"conditional": 8, "cycle": 1, "wasserstein": 8}
"""The study's for the conditional GAN and the WGAN-GP, the paper's for CycleGAN."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and write JSON where asked to."""
    asked = _parser().parse_args(arguments)
    results = [result for method in asked.method or BATCHES for result in measure(method, asked)]
    Console(width=150).print(_table(results, asked))
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(method: str, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of a method: ours, then the peers."""
    what = {
        "do": "train",
        "method": method,
        "batch": asked.batch or BATCHES[method],
        **{name: getattr(asked, name) for name in ("size", "dims", "width", "channels", "device", "threads")},
        **{name: getattr(asked, name) for name in ("precision", "channels_last", "compile", "recompute", "average")},
        "upsample": asked.upsample,
    }
    contestants = {"synthoma": Worker(**what)}
    for name, folder in (peer.split("=", 1) for peer in asked.peer if method != "wasserstein" or _is_ours(peer)):
        other = {"source": f"{folder}/src"} if _is_ours(f"={folder}") else {"peer": folder}
        contestants[name] = Worker(**(what | other))
    for change in asked.changed:
        key, value = change.split("=", 1)
        contestants[change] = Worker(**what, changed={key: json.loads(value)})
    peak = Worker(**(what | {"do": "product"}))
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    products = [peak.turn()]
    for worker in contestants.values():
        worker.turn()  # allocates, and compiles where asked to
    for round_ in range(asked.rounds):
        for name in list(contestants)[:: -1 if round_ % 2 else 1]:  # ABBA: a trend favours none
            turns[name].append(contestants[name].turn(asked.steps))
        products.append(peak.turn())
    for worker in (*contestants.values(), peak):
        worker.end()
    return [_result(name, what, turns[name], turns["synthoma"], products) for name in contestants]


def _is_ours(peer: str) -> bool:
    return (Path(peer.split("=", 1)[1]) / "src" / "synthoma").is_dir()


def _result(
    name: str,
    what: dict[str, Any],
    turns: list[dict[str, Any]],
    ours: list[dict[str, Any]],
    products: list[dict[str, Any]],
) -> dict[str, Any]:
    """What the turns of a contestant say; ``ratio`` is how much faster *ours* is, pair by pair.

    ``share_of_peak`` is that of the fastest matrix product; by processor time where that is what counts: on a machine
    that others use too, a step of seconds never meets the idle moment that a single product may.
    """
    last, seconds = turns[-1], statistics.median(turn["seconds"] for turn in turns)
    busy = "processor_seconds" if what["device"] == "cpu" else "seconds"
    peak = max(turn["operations"] / turn[busy] for turn in products)
    comparable = turns is ours or what["precision"] == "float32"  # peers do not compute in another precision
    busy_a_step = statistics.median(turn[busy] for turn in turns)
    result = {
        "name": name,
        **what,
        "device_name": last["device"],
        "seconds_a_step": seconds,
        "images_per_second": what["batch"] / seconds,
        "peak_gib": last["peak_bytes"] / GIB,
        "start_gib": last["start_bytes"] / GIB,
        "gflop_a_step": last["operations"] / 1e9,
        "busy_seconds_a_step": busy_a_step,
        "share_of_peak": last["operations"] / busy_a_step / peak if comparable else None,
        "matrix_product_gflop_per_busy_second": peak / 1e9,
    }
    for key, title in (("seconds", "ratio"), ("processor_seconds", "processor_ratio")):
        ratios = sorted(turn[key] / own[key] for turn, own in zip(turns, ours, strict=True))
        result[title] = {"median": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}
    return result


def _table(results: list[dict[str, Any]], asked: argparse.Namespace) -> Table:
    title = (
        f"{asked.size}^{asked.dims}, width {asked.width}, {asked.channels} channel(s) in and out, {asked.precision}"
        f" (peers: float32), {asked.threads} threads, {results[0]['device_name']}, {asked.rounds} rounds"
    )
    table = Table(title=title)
    for column in ("method", "batch", "who", "s a step", "busy s", "images/s", "peak GiB", "GFLOP", "of peak"):
        table.add_column(column)
    table.add_column("ours is faster by (least–most)")
    table.add_column("by processor time")
    for result in results:
        ratios = [""] * 2
        if result["name"] != "synthoma":
            both = result["ratio"], result["processor_ratio"]
            ratios = [f"{ratio['median']:.2f} × ({ratio['least']:.2f}–{ratio['most']:.2f})" for ratio in both]
        table.add_row(
            result["method"],
            str(result["batch"]),
            result["name"],
            f"{result['seconds_a_step']:.3f}",
            f"{result['busy_seconds_a_step']:.3f}",
            f"{result['images_per_second']:.3f}",
            f"{result['peak_gib']:.2f}",
            f"{result['gflop_a_step']:.0f}",
            "" if result["share_of_peak"] is None else f"{100 * result['share_of_peak']:.0f} %",
            *ratios,
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", choices=[*BATCHES], help="all three when not given")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--dims", type=int, default=2, choices=[2, 3])
    parser.add_argument("--upsample", choices=["transpose", "resize"], default="transpose", help="of our generators")
    parser.add_argument("--batch", type=int, help="8; 1 for cycle")
    parser.add_argument("--width", type=int, default=64, help="features of the first layer of every network")
    parser.add_argument("--channels", type=int, default=1, help="of the input and of the output")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16", "fp16"], help="ours only")
    parser.add_argument("--compile", action="store_true", help="torch.compile (ours only)")
    parser.add_argument("--recompute", action="store_true", help="activation checkpointing (ours only)")
    parser.add_argument("--average", action="store_true", help="with the running average of weights (ours only)")
    parser.add_argument("--channels-last", default="auto", choices=["auto", "on", "off"], help="ours only")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--steps", type=int, default=1, help="a turn")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--changed", action="append", default=[], metavar="KEY=VALUE", help="a setting of gan, as JSON")
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
