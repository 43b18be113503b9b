"""The training loop: visible from the first batch to the last checkpoint, and exact when it is resumed."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synthoma.cohort import Batches, check_splits
from synthoma.errors import CohortError, Interrupted, SettingError, describe
from synthoma.gans import GANS, MASK, GanOptions, Layout
from synthoma.gans.checkpoints import load_checkpoint, save_checkpoint
from synthoma.records import UNLABELLED, Cohort, Lineage
from synthoma.seeding import child_seed
from synthoma.training.averaging import Average
from synthoma.training.hardware import device_for, precision_for
from synthoma.training.options import TrainingOptions
from synthoma.training.progress import Update, training_progress
from synthoma.training.run_folder import RunFolder
from synthoma.training.state import State, not_finite
from synthoma.training.validation import score, spread, write_preview

__all__ = ["learning_rate_factor", "train"]

Rows = NDArray[np.intp]
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
    if MASK in gan_options.condition and (cohort.table["label"][rows] == UNLABELLED).any():
        without = sorted(set(cohort.table["patient"][rows[cohort.table["label"][rows] == UNLABELLED]].tolist()))
        remedy = "Prepare with preprocessing.require_lesion_mask=true, or leave 'mask' out of gan.condition."
        raise CohortError(
            describe("gan.condition", "a lesion mask of every training patient", f"none of {without[0]}", remedy)
        )
    device = device_for(options.device)
    precision_for(options.precision, device)  # refuses before anything is written
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
        state = State(gan, Average(gan.networks[gan.averaged], options.average_decay), asked, lineage)
        if folder.last.is_file():
            state.restore(load_checkpoint(folder.last), str(folder.last))
        else:
            gan.start(cohort, rows)
            state.average.network.load_state_dict(gan.networks[gan.averaged].state_dict())
        folder.truncate_log(state.step)
        _run(cohort, rows, state, folder, options, title, stop_after)
    folder.finish()
    return folder.path


def _run(
    cohort: Cohort,
    rows: Rows,
    state: State,
    folder: RunFolder,
    options: TrainingOptions,
    title: str,
    stop_after: int | None,
) -> None:
    """Epoch after epoch from where ``state`` is; what is done between two epochs."""
    gan, network = state.gan, state.average.network
    precision = precision_for(options.precision, gan.device)
    batches = Batches(
        cohort, rows, batch_size=min(options.batch_size, len(rows)), seed=options.seed, augment=options.augment
    )
    validation = spread(cohort.rows(split="validation", origin="real"), options.validation_samples)
    preview = spread(validation if len(validation) else rows, 4)
    steps = options.epochs * len(batches)
    with training_progress(title, steps, state.step) as show, _stopping() as stopped:

        def stop() -> bool:
            return stopped.is_set() or state.step == stop_after

        for epoch in range(state.step // len(batches), options.epochs):
            record = _epoch(state, batches, epoch, options, precision, show, stop)
            state.check_finite()
            done, final = epoch + 1, epoch + 1 == options.epochs
            if record is not None:  # None: stopped within the epoch
                folder.log(record)
                show(state.step, record["losses"], record["images_per_second"])
                if len(validation) and (done % options.validate_every == 0 or final):
                    _validate(state, folder, cohort, validation, done, options.best_by)
                if done % options.preview_every == 0 or final:
                    write_preview(folder.path / "preview" / f"epoch-{done:04d}.png", gan, network, cohort, preview)
            if record is None or done % options.checkpoint_every == 0 or final or stop():
                save_checkpoint(folder.last, state.checkpoint(whole=True))
            if record is None or stop():
                raise Interrupted(
                    f"Stopped after {state.step} of {steps} steps; the state is saved in {folder.last}.\n"
                    "Go on with --resume (synthoma train), or run the same synthoma run again."
                )


def _epoch(
    state: State,
    batches: Batches,
    epoch: int,
    options: TrainingOptions,
    precision: torch.dtype,
    show: Update,
    stop: Callable[[], bool],
) -> dict[str, Any] | None:
    """One epoch, or what is left of it; its record for the log, or ``None`` when it was stopped before its end."""
    gan, steps = state.gan, options.epochs * len(batches)
    for network in gan.networks.values():
        network.train()
    sums: dict[str, torch.Tensor] = {}
    first, end, waited = state.step, (epoch + 1) * len(batches), 0.0
    begun = looked = ready = time.perf_counter()
    for batch in batches.epoch(epoch, skip=first - epoch * len(batches)):
        images = batch.images.to(gan.device, non_blocking=True)
        masks = batch.masks.to(gan.device, non_blocking=True)
        waited += time.perf_counter() - ready
        rate = gan.options.learning_rate * learning_rate_factor(state.step / steps, options.decay_from)
        for optimiser in gan.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate
        losses = gan.step(images, masks, precision)
        state.step += 1
        state.average.update(gan.networks[gan.averaged], state.step)
        for name, loss in losses.items():
            sums[name] = sums[name] + loss if name in sums else loss
        if time.perf_counter() - looked > LOOK_EVERY_SECONDS:
            looked = time.perf_counter()
            show(state.step, _finite(losses, state.step), (state.step - first) * batches.batch_size / (looked - begun))
        if state.step < end and stop():
            return None
        ready = time.perf_counter()
    seconds, done = time.perf_counter() - begun, state.step - first
    return {
        "kind": "train",
        "epoch": epoch + 1,
        "step": state.step,
        "seconds": round(seconds, 3),
        "images_per_second": round(done * batches.batch_size / seconds, 3),
        "data_wait_share": round(waited / seconds, 5),
        "learning_rate": rate,
        "losses": _finite({name: value / done for name, value in sums.items()}, state.step),
    }


def _validate(state: State, folder: RunFolder, cohort: Cohort, rows: Rows, epoch: int, best_by: str) -> None:
    """Score the averaged generator on validation patients; keep it when it is the best so far."""
    values = score(state.gan, state.average.network, cohort, rows)
    better = state.best is None or values[best_by] > state.best
    if better:
        state.best = values[best_by]
        save_checkpoint(folder.best, state.checkpoint(whole=False))
    folder.log({"kind": "validation", "epoch": epoch, "step": state.step, **values, "best": better})


def learning_rate_factor(progress: float, decay_from: float) -> float:
    """1 up to the share ``decay_from`` of all steps, then linear to 0 (pix2pix's schedule)."""
    return 1.0 if progress < decay_from or decay_from == 1 else (1 - progress) / (1 - decay_from)


def _lineage(cohort: Cohort, rows: Rows, gan_options: GanOptions, options: TrainingOptions) -> Lineage:
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


def _finite(losses: Mapping[str, torch.Tensor], step: int) -> dict[str, float]:
    """The losses as numbers; one that is not finite ends the run, whose last saved state stays good."""
    values = {name: float(loss) for name, loss in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise SettingError(not_finite(f"loss '{name}'", step, value))
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
