"""The training loop: visible from the first batch to the last checkpoint, and exact when it is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from synthoma.cohort import check_splits
from synthoma.errors import CohortError, SettingError, describe
from synthoma.gans import GANS, MASK, Engine, Gan, GanOptions, Layout
from synthoma.gans.checkpoints import load_checkpoint
from synthoma.records import UNLABELLED, Cohort, Lineage
from synthoma.seeding import child_seed
from synthoma.training.averaging import Average
from synthoma.training.board import check_tensorboard, open_board
from synthoma.training.hardware import channels_last_for, check_compiler, device_for, keep_memory, precision_for
from synthoma.training.options import TrainingOptions
from synthoma.training.processes import joined
from synthoma.training.run_folder import RunFolder
from synthoma.training.state import State
from synthoma.training.trainer import Trainer

__all__ = ["check_processes", "train"]

Rows = NDArray[np.intp]


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
    (on one machine's CPU, with the same number of threads). A run that is finished is left as it is. Under ``torchrun``
    the processes share every batch, and the first of them writes.

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
    with joined(device) as processes, _machine(options):
        precision = precision_for(options.precision, device)  # refuses before anything is written
        lineage = _lineage(cohort, rows, gan_options, options)
        asked = {
            "gan": gan_options.model_dump(mode="json"),
            "training": options.model_dump(mode="json"),
            "layout": Layout.of(cohort).to_json(),
            "lineage": lineage.id,
        }
        torch.manual_seed(child_seed(options.seed, "torch"))
        gan = GANS[gan_options.method](gan_options, Layout.of(cohort), device)  # before the folder: it checks settings
        if channels_last_for(options.channels_last, device):
            gan.weights_channels_last()
        sides = gan.sides(cohort, rows)
        _check_masks(gan, cohort, rows)
        check_processes(gan, processes.count)
        _check_batch(options.batch_size, sides, processes.count)
        if options.compile:
            check_compiler(device)
        if options.tensorboard:
            check_tensorboard()
        folder = RunFolder(out)
        goes_on = processes.first(partial(folder.begin, asked, resume=resume))
        if goes_on and folder.finished:
            return folder.path
        averages = {name: Average(gan.networks[name], options.average_decay) for name in gan.averaged}
        engine = Engine(device, precision, seed=options.seed, compiled=options.compile)
        state = State(gan, averages, engine, asked, lineage)
        if goes_on:
            state.restore(load_checkpoint(folder.last), str(folder.last))
        else:
            gan.start(cohort, rows)
            for name, average in averages.items():
                average.network.load_state_dict(gan.networks[name].state_dict())
        processes.first(partial(folder.truncate_log, state.step))
        if options.tensorboard and processes.main:
            folder.board = open_board(folder.path / "tensorboard", state.step)
        Trainer(cohort, sides, state, folder, options, processes, title, stop_after).run()
        processes.first(folder.finish)
    return folder.path


def _check_masks(gan: Gan, cohort: Cohort, rows: Rows) -> None:
    """Refuse to train on a condition that some samples do not have."""
    without = rows[cohort.table["label"][rows] == UNLABELLED]
    if MASK in gan.channels(gan.makes[0])[0] and len(without):
        first = min(cohort.table["patient"][without].tolist())
        remedy = "Prepare with preprocessing.require_lesion_mask=true, or leave 'mask' out of gan.condition."
        raise CohortError(
            describe("gan.condition", "a lesion mask of every training patient", f"none of {first}", remedy)
        )


def check_processes(gan: Gan, count: int) -> None:
    """Several processes cannot share a batch norm: each would normalise its own part of the batch.

    Raises:
        SettingError: a network has batch norm and there are several processes.
    """
    norms = [name for name, net in gan.networks.items() if any(isinstance(m, _BatchNorm) for m in net.modules())]
    if count > 1 and norms:
        found = f"batch norm in the {norms[0]}, and {count} processes"
        raise SettingError(describe("gan.norm", "instance or none", found, "Use --set gan.norm=instance."))


def _check_batch(size: int, sides: tuple[Rows, ...], count: int) -> None:
    """Every process gets an equal part of every batch."""
    if size % count:
        expected = f"a multiple of {count}, the number of processes"
        remedy = f"Use --set training.batch_size={size + count - size % count}, or another number of processes."
        raise SettingError(describe("training.batch_size", expected, size, remedy))
    if min(len(side) for side in sides) < count:
        found = min(len(side) for side in sides)
        raise CohortError(describe("training samples", f"at least {count}, one for each process", found))


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


@contextmanager
def _machine(options: TrainingOptions) -> Iterator[None]:
    """Threads and random state for the run; both are given back afterwards."""
    threads = torch.get_num_threads()
    if options.threads:
        torch.set_num_threads(options.threads)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    keep_memory()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(threads)
