"""The training loop: visible from the first batch to the last checkpoint, and exact when it is resumed."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthoma.cohort import Batches, check_splits
from synthoma.errors import CohortError, Interrupted, SettingError, describe
from synthoma.gans import GANS, ConditionalGAN, GanOptions, Layout
from synthoma.gans.checkpoints import load_arrays, load_checkpoint, save_checkpoint, to_arrays
from synthoma.records import Checkpoint, Cohort, Lineage
from synthoma.seeding import child_seed
from synthoma.training.averaging import Average
from synthoma.training.hardware import device_for, precision_for
from synthoma.training.options import TrainingOptions
from synthoma.training.progress import training_progress
from synthoma.training.run_folder import RunFolder
from synthoma.training.validation import score, spread, write_preview

__all__ = ["learning_rate_factor", "train"]

LOOK_EVERY_SECONDS = 1.0  # reading a loss waits for the device: not every step


def train(
    cohort: Cohort,
    out: Path,
    gan_options: GanOptions,
    options: TrainingOptions,
    *,
    resume: bool = False,
    title: str = "training",
    stop_after: int | None = None,
) -> Path:
    """Train a GAN on the training patients of ``cohort``; returns the run folder ``out``.

    Killed at any moment, it goes on with ``resume=True`` from its last saved state, to the same weights bit for bit
    (on one machine's CPU, with the same number of threads). A run that is finished is left as it is.

    Args:
        stop_after: stop as Ctrl-C does once so many optimiser steps are done.

    Raises:
        OutputError: ``out`` exists and ``resume`` is false.
        SettingError: a setting does not fit the cohort, the hardware, or the run that is resumed.
        Interrupted: Ctrl-C, after the state was saved.
    """
    check_splits(cohort)
    rows = cohort.rows(split="train", origin="real")
    if len(rows) == 0:
        raise CohortError(describe(cohort.path, "samples in split 'train'", "none", "Prepare it again with a split."))
    device = device_for(options.device)
    precision = precision_for(options.precision, device)
    folder = RunFolder(out)
    lineage = _lineage(cohort, rows, gan_options, options)
    asked = {
        "gan": gan_options.model_dump(mode="json"),
        "training": options.model_dump(mode="json"),
        "layout": Layout.of(cohort).to_json(),
        "lineage": lineage.id,
    }
    with _machine(options):
        torch.manual_seed(child_seed(options.seed, "torch"))
        gan = GANS[gan_options.method](gan_options, Layout.of(cohort), device)  # before the folder: it checks settings
        if folder.begin(asked, resume=resume) and folder.finished:
            return folder.path
        average = Average(gan.networks[gan.averaged], options.average_decay)
        if folder.last.is_file():
            state = load_checkpoint(folder.last)
            step, best = _restore(state, gan, average), state.scalars["best"]
            folder.truncate_log(step)
        else:
            gan.start(cohort, rows)
            average.network.load_state_dict(gan.networks[gan.averaged].state_dict())
            step, best = 0, None
        _run(cohort, rows, gan, average, folder, asked, lineage, options, precision, step, best, title, stop_after)
    folder.finish()
    return folder.path


def _run(
    cohort: Cohort,
    rows: np.typing.NDArray[np.intp],
    gan: ConditionalGAN,
    average: Average,
    folder: RunFolder,
    asked: Mapping[str, Any],
    lineage: Lineage,
    options: TrainingOptions,
    precision: torch.dtype,
    step: int,
    best: float | None,
    title: str,
    stop_after: int | None,
) -> None:
    batches = Batches(
        cohort, rows, batch_size=min(options.batch_size, len(rows)), seed=options.seed, augment=options.augment
    )
    validation = spread(cohort.rows(split="validation", origin="real"), options.validation_samples)
    preview = spread(validation if len(validation) else rows, 4)
    steps = options.epochs * len(batches)

    def save(path: Path, *, whole: bool) -> None:
        save_checkpoint(path, _snapshot(gan, average, asked, lineage, step, best, whole=whole))

    with training_progress(title, steps, step) as show, _stopping() as stopped:
        for epoch in range(step // len(batches), options.epochs):
            for network in gan.networks.values():
                network.train()
            sums: dict[str, torch.Tensor] = {}
            begun = looked = time.perf_counter()
            waited, first = 0.0, step
            ready = time.perf_counter()
            for batch in batches.epoch(epoch, skip=step - epoch * len(batches)):
                images = batch.images.to(gan.device, non_blocking=True)
                masks = batch.masks.to(gan.device, non_blocking=True)
                waited += time.perf_counter() - ready
                rate = gan.options.learning_rate * learning_rate_factor(step / steps, options.decay_from)
                for optimiser in gan.optimisers.values():
                    for group in optimiser.param_groups:
                        group["lr"] = rate
                losses = gan.step(images, masks, precision)
                step += 1
                average.update(gan.networks[gan.averaged], step)
                for name, loss in losses.items():
                    sums[name] = sums[name] + loss if name in sums else loss
                if time.perf_counter() - looked > LOOK_EVERY_SECONDS:
                    looked = time.perf_counter()
                    seconds = looked - begun
                    show(step, _finite(losses, step), (step - first) * batches.batch_size / seconds)
                if stopped.is_set() or step == stop_after:
                    save(folder.last, whole=True)
                    raise Interrupted(
                        f"Stopped after {step} of {steps} steps; the state is saved in {folder.last}.\n"
                        "Go on with --resume (synthoma train), or run the same synthoma run again."
                    )
                ready = time.perf_counter()
            seconds = time.perf_counter() - begun
            means = {name: value / (step - first) for name, value in sums.items()}
            folder.log(
                {
                    "kind": "train",
                    "epoch": epoch + 1,
                    "step": step,
                    "seconds": round(seconds, 3),
                    "images_per_second": round((step - first) * batches.batch_size / seconds, 3),
                    "data_wait_share": round(waited / seconds, 5),
                    "learning_rate": rate,
                    "losses": _finite(means, step),
                }
            )
            done = epoch + 1
            final = done == options.epochs
            if len(validation) and (done % options.validate_every == 0 or final):
                values = score(gan, average.network, cohort, validation)
                value = values[options.best_by]
                better = math.isfinite(value) and (best is None or value > best)
                best = value if better else best
                folder.log({"kind": "validation", "epoch": done, "step": step, **values, "best": better})
                if better:
                    save(folder.best, whole=False)
            if done % options.preview_every == 0 or final:
                write_preview(folder.path / "preview" / f"epoch-{done:04d}.png", gan, average.network, cohort, preview)
            if done % options.checkpoint_every == 0 or final:
                save(folder.last, whole=True)


def learning_rate_factor(progress: float, decay_from: float) -> float:
    """1 up to the share ``decay_from`` of all steps, then linear to 0 (pix2pix's schedule)."""
    return 1.0 if progress < decay_from or decay_from == 1 else (1 - progress) / (1 - decay_from)


def _lineage(
    cohort: Cohort, rows: np.typing.NDArray[np.intp], gan_options: GanOptions, options: TrainingOptions
) -> Lineage:
    """What the generator is made from. Validation patients choose its checkpoint, so it has seen them, too."""
    seen = set(cohort.table["patient"][rows].tolist())
    seen |= set(cohort.table["patient"][cohort.rows(split="validation", origin="real")].tolist())
    return Lineage.of(
        "train",
        parents=sorted(set(cohort.table["lineage"][rows].tolist())),
        recipe={"gan": gan_options.model_dump(mode="json"), "training": options.model_dump(mode="json")},
        seed=options.seed,
        patients_seen=seen,
    )


def _snapshot(
    gan: ConditionalGAN,
    average: Average,
    asked: Mapping[str, Any],
    lineage: Lineage,
    step: int,
    best: float | None,
    *,
    whole: bool,
) -> Checkpoint:
    """The state after ``step`` steps; ``whole`` adds what only going on needs."""
    arrays = to_arrays(f"averages/{gan.averaged}", average.network.state_dict())
    if whole:
        for name, network in gan.networks.items():
            arrays |= to_arrays(f"networks/{name}", network.state_dict())
        for name, optimiser in gan.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                arrays |= to_arrays(f"optimisers/{name}/{index}", state)
        arrays["random/cpu"] = torch.get_rng_state().numpy()
        if gan.device.type == "cuda":
            arrays["random/cuda"] = torch.cuda.get_rng_state(gan.device).numpy()
    return Checkpoint(step=step, arrays=arrays, scalars={"best": best}, options=dict(asked), lineage=lineage)


def _restore(state: Checkpoint, gan: ConditionalGAN, average: Average) -> int:
    """Put a whole state back; returns the steps done."""
    load_arrays(average.network, state.part(f"averages/{gan.averaged}"), "checkpoint")
    for name, network in gan.networks.items():
        load_arrays(network, state.part(f"networks/{name}"), "checkpoint")
    for name, optimiser in gan.optimisers.items():
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, array in state.part(f"optimisers/{name}").items():
            index, field = key.split("/")
            moments.setdefault(int(index), {})[field] = torch.from_numpy(np.array(array))
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    torch.set_rng_state(torch.from_numpy(np.array(state.arrays["random/cpu"])))
    if "random/cuda" in state.arrays and gan.device.type == "cuda":
        torch.cuda.set_rng_state(torch.from_numpy(np.array(state.arrays["random/cuda"])), gan.device)
    return state.step


def _finite(losses: Mapping[str, torch.Tensor], step: int) -> dict[str, float]:
    """The losses as numbers; one that is not finite ends the run, whose last saved state stays good."""
    values = {name: float(loss) for name, loss in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise SettingError(
                describe(
                    f"loss '{name}' at step {step}",
                    "a finite number",
                    value,
                    "Try training.precision=float32 or a smaller gan.learning_rate; the last saved state is good.",
                )
            )
    return values


@contextmanager
def _machine(options: TrainingOptions) -> Iterator[None]:
    """Threads and random state for the run; both are given back afterwards."""
    threads = torch.get_num_threads()
    if options.threads:
        torch.set_num_threads(options.threads)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C (or SIGTERM, as clusters send it) sets; a second Ctrl-C stops at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(_number: int, _frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
