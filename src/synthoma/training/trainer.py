"""The training loop proper: steps, and what is done between two epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synthoma.cohort import Batches
from synthoma.errors import Interrupted, SettingError
from synthoma.gans import Examples
from synthoma.gans.checkpoints import save_checkpoint
from synthoma.records import Cohort
from synthoma.seeding import child_seed
from synthoma.training.hardware import channels_last_for
from synthoma.training.looks import Looks
from synthoma.training.losses import EpochLosses
from synthoma.training.options import TrainingOptions
from synthoma.training.processes import Processes
from synthoma.training.progress import Update, training_progress
from synthoma.training.run_folder import RunFolder
from synthoma.training.state import State
from synthoma.training.stopping import stopping

__all__ = ["Trainer", "learning_rate_factor"]

Rows = NDArray[np.intp]
LOOK_EVERY_STEPS = 20
"""Steps between two looks at the losses of a GPU."""


class Trainer:
    """One run on its way: what the loop needs at hand at every turn."""

    def __init__(
        self,
        cohort: Cohort,
        sides: tuple[Rows, ...],
        state: State,
        folder: RunFolder,
        options: TrainingOptions,
        processes: Processes,
        title: str,
        stop_after: int | None,
    ) -> None:
        self.cohort, self.sides, self.state, self.folder = cohort, sides, state, folder
        self.options, self.processes, self.title, self.stop_after = options, processes, title, stop_after
        size = min(options.batch_size, *(len(side) for side in sides))
        self.batches = [
            Batches(
                cohort,
                side,
                batch_size=size - size % processes.count,
                seed=child_seed(options.seed, "side", number) if number else options.seed,
                augment=options.augment,
                length=max(len(side) for side in sides),
                share=(processes.rank, processes.count),
            )
            for number, side in enumerate(sides)
        ]
        self.per_epoch = len(self.batches[0])
        self.steps = options.epochs * self.per_epoch
        self.labels = state.gan.layout.label_indices(cohort.table["label"].tolist())
        on_gpu = state.gan.device.type == "cuda"
        self.look_every = LOOK_EVERY_STEPS if on_gpu else 1  # reading a loss waits for the device
        self.channels_last = channels_last_for(options.channels_last, state.gan.device)

    def run(self) -> None:
        """Epoch after epoch from where the state is, to the end.

        Raises:
            Interrupted: somebody wished to stop; the state is saved.
            SettingError: a loss or a weight is not finite; the last saved state stays as it is.
        """
        state, first = self.state, self.processes.first
        if self.steps == 0:
            first(self._save)
            return
        with (
            training_progress(self.title, self.steps, state.step, quiet=not self.processes.main) as show,
            stopping() as stopped,
        ):

            def stop() -> bool:
                wanted = stopped.is_set() or state.step == self.stop_after or self.processes.orphaned
                return self.processes.any(wanted)

            for epoch in range(state.step // self.per_epoch, self.options.epochs):
                record = self._epoch(epoch, show, stop)
                state.check_finite()
                self.processes.check_equal(state.weight_sum())
                ends = record is None or stop()
                first(partial(self._after, epoch + 1, record, ends, show))
                if ends:
                    raise Interrupted(
                        f"Stopped after {state.step} of {self.steps} steps; the state is saved in {self.folder.last}.\n"
                        "Go on with --resume (synthoma train), or run the same synthoma run again."
                    )

    def _epoch(self, epoch: int, show: Update, stop: Callable[[], bool]) -> dict[str, Any] | None:
        """One epoch, or what is left of it; its record for the log, or ``None`` when it was stopped before its end."""
        state, gan, engine = self.state, self.state.gan, self.state.engine
        for network in gan.networks.values():
            network.train()
        losses = EpochLosses()
        first, end, images, waited, rate = state.step, (epoch + 1) * self.per_epoch, 0, 0.0, 0.0
        begun = ready = time.perf_counter()
        skip = first - epoch * self.per_epoch
        for parts in zip(*(batches.epoch(epoch, skip=skip) for batches in self.batches), strict=True):
            examples = [
                Examples(part.images, part.masks, self.labels[part.rows]).to(gan.device, last=self.channels_last)
                for part in parts
            ]
            waited += time.perf_counter() - ready
            images += len(parts[0]) * self.processes.count
            rate = self._set_learning_rate()
            latest = self._step(examples)
            losses.add(state.step, [part.rows for part in parts], latest)
            ends = state.step < end and stop()
            if ends or state.step == end or state.step % self.look_every == 0:
                self._look(losses)
                if state.step < end:  # the means of the epoch are shown at its end
                    speed = images / (time.perf_counter() - begun)
                    show(state.step, {name: float(loss) for name, loss in latest.items()}, speed)
            if ends:
                return None
            ready = time.perf_counter()
        seconds = time.perf_counter() - begun
        return {
            "kind": "train",
            "epoch": epoch + 1,
            "step": state.step,
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 3),
            "data_wait_share": round(waited / seconds, 5),
            "learning_rate": rate,
            "losses": losses.means(engine),
        } | ({"skipped_steps": dict(engine.skipped)} if engine.skipped else {})

    def _step(self, examples: list[Examples]) -> dict[str, torch.Tensor]:
        """One step of the GAN, and of the averages that follow it; the losses."""
        state, gan = self.state, self.state.gan
        state.engine.begin(state.step)
        losses = gan.step(examples, state.engine)
        state.step += 1
        updates, rest = divmod(state.step, gan.averages_every())
        if rest == 0:
            for name, average in state.averages.items():
                average.update(gan.networks[name], updates)
        return losses

    def _set_learning_rate(self) -> float:
        gan = self.state.gan
        factor = learning_rate_factor(self.state.step / self.steps, self.options.decay_from)
        rate: float = gan.options.learning_rate * factor
        for optimiser in gan.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate
        return rate

    def _look(self, losses: EpochLosses) -> None:
        """Stop the run, in all processes, at the first loss that is not finite in one of them."""
        found = self.processes.earliest(losses.first_not_finite(self.cohort.table["id"]))
        if found is not None:
            raise SettingError(found[1])

    def _after(self, epoch: int, record: dict[str, Any] | None, ends: bool, show: Update) -> None:
        """What the first process does after epoch number ``epoch`` (from 1), or after the part of it that was done."""
        final = epoch == self.options.epochs
        if record is not None:
            self._looks.after(epoch, record, final=final)
            show(self.state.step, record["losses"], record["images_per_second"])
        if ends or final or epoch % self.options.checkpoint_every == 0:
            self._save()

    @cached_property
    def _looks(self) -> Looks:
        return Looks(self.cohort, self.sides, self.state, self.folder, self.options, self.title)

    def _save(self) -> None:
        save_checkpoint(self.folder.last, self.state.checkpoint(whole=True))


def learning_rate_factor(progress: float, decay_from: float) -> float:
    """1 up to the share ``decay_from`` of all steps, then linear to 0 (pix2pix's schedule)."""
    return 1.0 if progress < decay_from or decay_from == 1 else (1 - progress) / (1 - decay_from)
