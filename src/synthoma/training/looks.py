"""What is looked at between two epochs: the variety of the images, the validation patients, a preview."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.gans.checkpoints import save_checkpoint
from synthoma.records import Cohort
from synthoma.training.options import TrainingOptions
from synthoma.training.run_folder import RunFolder
from synthoma.training.state import State
from synthoma.training.validation import COLLAPSE, Variety, score, spread, write_preview

__all__ = ["Looks"]

Rows = NDArray[np.intp]
PREVIEWED = 4
"""Samples in a preview picture."""


class Looks:
    """Looks at the networks that draw, and writes what it sees into the run folder."""

    def __init__(
        self,
        cohort: Cohort,
        sides: tuple[Rows, ...],
        state: State,
        folder: RunFolder,
        options: TrainingOptions,
        title: str,
    ) -> None:
        self.cohort, self.state, self.folder, self.options, self.title = cohort, state, folder, options, title
        held_out = state.gan.starts(cohort, cohort.rows(split="validation", origin="real"))
        self.validation = spread(held_out, options.validation_samples) if state.gan.compared else held_out[:0]
        self.preview = spread(held_out if len(held_out) else sides[0], PREVIEWED)
        self.variety = Variety(state.gan, cohort, sides) if options.variety else None
        self.was_diverse = self.warned = False

    def after(self, epoch: int, record: dict[str, Any], *, final: bool) -> None:
        """After epoch number ``epoch``: complete its record for the log, and do what is due."""
        self._variety(record)
        self.folder.log(record)
        if len(self.validation) and (epoch % self.options.validate_every == 0 or final):
            self._validate(epoch)
        if epoch % self.options.preview_every == 0 or final:
            path = self.folder.path / "preview" / f"epoch-{epoch:04d}.png"
            write_preview(path, self.state.gan, self.state.drawing, self.cohort, self.preview)

    def _variety(self, record: dict[str, Any]) -> None:
        """Put the diversity of a fixed draw into the record of an epoch, and warn, once aloud, where it has collapsed.

        The first images of a training are all alike: it has collapsed when they had been different before, or when they
        still are alike in the second half.
        """
        value = None if self.variety is None else self.variety(self.state.drawing)
        if value is None:
            return
        record["diversity"] = round(value, 4)
        if value >= COLLAPSE:
            self.was_diverse = True
        elif self.was_diverse or record["epoch"] > self.options.epochs / 2:
            record["warning"] = f"diversity {value:.2f}, below {COLLAPSE}: mode collapse?"
            if not self.warned:
                print(f"{self.title}: epoch {record['epoch']}: {record['warning']}", file=sys.stderr, flush=True)
            self.warned = True

    def _validate(self, epoch: int) -> None:
        """Score the averaged networks on validation patients; keep them where they are the best so far."""
        state = self.state
        values = score(state.gan, state.drawing, self.cohort, self.validation)
        better = state.gan.chosen and (state.best is None or values[self.options.best_by] > state.best)
        if better:
            state.best = values[self.options.best_by]
            save_checkpoint(self.folder.best, state.checkpoint(whole=False))
        self.folder.log({"kind": "validation", "epoch": epoch, "step": state.step, **values, "best": better})
