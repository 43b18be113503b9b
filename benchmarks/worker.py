"""A process that does work when it is told to, and says how long it took and how much memory it needed.

Every contestant has a process of its own: what one of them asks of the memory allocator does not help the other, and
its peak of memory is its own. Whoever starts it (:class:`Worker`) writes a line for every turn; so several of them can
take turns, and other work on the machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# torch is imported by the processes that need it: a process starts with the peak of memory that its parent had

Work = Callable[[], Any]
SEED = 0
BATCHES = 4
"""Batches that are gone through again and again."""


class Worker:
    """The handle of a worker process: ``what`` it does, see :func:`main`."""

    def __init__(self, **what: Any) -> None:
        self.what = what
        command = [sys.executable, __file__, json.dumps(what)]
        source = what.get("source") or Path(__file__).resolve().parents[1] / "src"
        environment = os.environ | {"PYTHONPATH": str(source)}
        self.process = subprocess.Popen(  # noqa: S603 (our own file)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def turn(self, repeats: int = 1) -> dict[str, Any]:
        """Let it work; raises where it failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{repeats}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker failed: {self.what}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """Let it go."""
        self.process.communicate()


def main() -> None:
    """Do what the argument (JSON) says, as often as each line of the input says, and answer with a line of JSON.

    ``do``: ``train`` (one of our methods, or ``peer``), ``draw`` (images without gradient) or ``product`` (a matrix
    product of 4096²). The first turn prepares, and counts the operations.
    """
    what = argparse.Namespace(**json.loads(sys.argv[1]))
    answers, sys.stdout = sys.stdout, sys.stderr  # the peer prints
    import torch

    torch.set_num_threads(what.threads)
    device = torch.device(what.device)
    start = _peak_bytes(device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    work = {"train": _peer if vars(what).get("peer") else _ours, "draw": _drawing, "product": _product}[what.do](what)
    operations: int | None = None
    for line in sys.stdin:
        if operations is None:  # the first turn, which is not timed
            operations = _operations(work)
            if vars(what).get("compile"):
                work = _ours(what, compiled=True)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
        begun, busy = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - begun) / max(int(line), 1)
        answer = {
            "seconds": seconds,
            "processor_seconds": (time.process_time() - busy) / max(int(line), 1),
            "operations": operations,
            "peak_bytes": _peak_bytes(device),
            "start_bytes": start,
            "device": name,
        }
        print(json.dumps(answer), file=answers, flush=True)


def _operations(work: Work) -> int:
    """Floating-point operations of doing it once, as they are called: what is computed twice counts twice."""
    from torch.utils import flop_counter

    counter = flop_counter.FlopCounterMode(display=False)
    # It follows modules by hooks, which a gradient penalty does not allow.
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]
    with counter:
        work()
    return int(counter.get_total_flops())


class _NoModules(contextlib.nullcontext[None]):
    parents = frozenset({"Global"})


def _peak_bytes(device: Any) -> int:
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _images(what: argparse.Namespace, number: int) -> tuple[Any, Any]:
    """Two stacks of images in [−1, 1], (batch, channels, size, size): the same for all contestants."""
    import torch

    random = torch.Generator().manual_seed(SEED + number)
    shape = (what.batch, what.channels, *[what.size] * what.dims)
    return torch.rand(shape, generator=random) * 2 - 1, torch.rand(shape, generator=random) * 2 - 1


def _names(what: argparse.Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(f"a{i}" for i in range(what.channels)), tuple(f"b{i}" for i in range(what.channels))


def _gan(what: argparse.Namespace) -> Any:
    """One of our methods with the losses of the peer, where the peer has it."""
    import torch
    from pydantic import TypeAdapter

    from synthoma.gans import GANS, GanOptions, Layout

    source, target = _names(what)
    upsample = vars(what).get("upsample", "transpose")
    content = {"method": what.method, "width": what.width, "upsample": upsample, "recompute": what.recompute}
    content |= {
        "conditional": {"condition": source, "target": target, "discriminator_width": what.width},
        "cycle": {"source": {"channels": source}, "target": {"channels": target}, "discriminator_width": what.width},
        "wasserstein": {"target": target, "critic_width": what.width},
    }[what.method]
    options: Any = TypeAdapter(GanOptions).validate_python(content | vars(what).get("changed", {}))
    layout = Layout((*source, *target), ("body",), (what.size,) * what.dims, ("ill", "well"))
    torch.manual_seed(SEED)
    return GANS[what.method](options, layout, torch.device(what.device))


def _examples(what: argparse.Namespace, number: int) -> Any:
    import torch

    from synthoma.gans import Examples

    images = torch.cat(_images(what, number), dim=1)
    noise = torch.randn(what.batch, 128, generator=torch.Generator().manual_seed(number))
    made = Examples(images, torch.ones_like(images[:, :1]), torch.arange(what.batch) % 2, noise)
    last = what.channels_last == "on" or (what.channels_last == "auto" and what.device != "cpu")
    return made.to(torch.device(what.device), last=last)


def _ours(what: argparse.Namespace, compiled: bool = False) -> Work:
    import torch

    from synthoma.gans import Engine
    from synthoma.training.averaging import Average
    from synthoma.training.hardware import keep_memory

    keep_memory()
    precision = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[what.precision]
    gan, engine = _gan(what), Engine(torch.device(what.device), precision, seed=SEED, compiled=compiled)
    averages = {name: Average(gan.networks[name], 0.999) for name in gan.averaged} if what.average else {}
    batches = [_examples(what, number) for number in range(2 * BATCHES)]
    sides = 2 if what.method == "cycle" else 1
    steps = (
        gan.averages_every() if what.method == "wasserstein" else 1
    )  # a step of the generator with those of its critic
    step = 0

    def work() -> None:
        nonlocal step
        for _ in range(steps):
            engine.begin(step)
            gan.step([batches[(sides * step + side) % len(batches)] for side in range(sides)], engine)
            step += 1
        for name, average in averages.items():
            average.update(gan.networks[name], step)

    return work


def _peer(what: argparse.Namespace) -> Work:
    """The peer's own model class, fed with the same images; its losses are its own defaults, and ours."""
    import torch

    sys.path.insert(0, what.peer)
    name = {"conditional": "pix2pix", "cycle": "cycle_gan"}[what.method]
    kind = {"conditional": "Pix2PixModel", "cycle": "CycleGANModel"}[what.method]
    model_class = getattr(importlib.import_module(f"models.{name}_model"), kind)
    depth = what.size.bit_length() - 1
    shared = {
        "gpu_ids": [0] if what.device == "cuda" else [],
        "isTrain": True,
        "checkpoints_dir": ".",
        "name": "benchmark",
        "preprocess": "none",
        "direction": "AtoB",
        "input_nc": what.channels,
        "output_nc": what.channels,
        "ngf": what.width,
        "ndf": what.width,
        "netD": "basic",
        "n_layers_D": 3,
        "init_type": "normal",
        "init_gain": 0.02,
        "lr": 2e-4,
        "beta1": 0.5,
    }
    of_method: dict[str, dict[str, Any]] = {
        "conditional": {
            "netG": {8: "unet_256", 7: "unet_128"}.get(depth),
            "norm": "batch",
            "no_dropout": False,
            "gan_mode": "vanilla",
            "lambda_L1": 100.0,
        },
        "cycle": {
            "netG": "resnet_9blocks",
            "norm": "instance",
            "no_dropout": True,
            "gan_mode": "lsgan",
            "pool_size": 50,
            "lambda_A": 10.0,
            "lambda_B": 10.0,
            "lambda_identity": 0.5,
        },
    }
    own = of_method[what.method]
    if own["netG"] is None:
        raise SystemExit("the peer has U-Nets for images of 128² and 256² only")
    torch.manual_seed(SEED)
    model = model_class(argparse.Namespace(**shared, **own))
    batches = []
    for number in range(2 * BATCHES):
        first, second = _images(what, number)
        batches.append({"A": first, "B": second, "A_paths": [], "B_paths": []})
    step = 0

    def work() -> None:
        nonlocal step
        model.set_input(batches[step % len(batches)])
        model.optimize_parameters()
        step += 1

    return work


def _drawing(what: argparse.Namespace) -> Work:
    """What generation does with a batch."""
    import torch

    gan, examples = _gan(what), _examples(what, 0)
    networks = {name: gan.networks[name].eval() for name in gan.averaged}

    @torch.no_grad()
    def work() -> Any:
        return gan.draw(networks, examples, gan.makes[0]).cpu()

    return work


def _product(what: argparse.Namespace) -> Work:
    import torch

    precision = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[what.precision]
    first, second = (torch.rand(4096, 4096, device=what.device).to(precision) for _ in range(2))
    out = torch.empty_like(first)
    return lambda: torch.mm(first, second, out=out)


if __name__ == "__main__":
    main()
