"""What the tests of several processes start by ``torchrun``: trainings one after the other, their states kept.

``work_together.py TASKS.json``: a list of tasks ``{"name", "cohort", "out", "gan", "training", "stops"}``. Each process
writes ``TASKS.json``'s folder / ``name-RANK.safetensors`` (its whole state) or ``name-RANK.txt`` (what was raised).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from synthoma.cohort import open_cohort
from synthoma.errors import Interrupted, SynthomaError
from synthoma.gans import GanOptions
from synthoma.gans.checkpoints import save_checkpoint
from synthoma.training import TrainingOptions
from synthoma.training.loop import train
from synthoma.training.trainer import Trainer


def work(task: dict[str, Any], folder: Path) -> None:
    whole = Trainer.run

    def run_and_keep(trainer: Trainer) -> None:
        whole(trainer)
        path = folder / f"{task['name']}-{trainer.processes.rank}.safetensors"
        save_checkpoint(path, trainer.state.checkpoint(whole=True))

    cohort = open_cohort(task["cohort"])
    gan: GanOptions = TypeAdapter(GanOptions).validate_python(task["gan"])
    training = TrainingOptions.model_validate(task["training"])
    Trainer.run = run_and_keep  # type: ignore[method-assign]
    try:
        for i, stop in enumerate([*task["stops"], None]):
            try:
                train(cohort, Path(task["out"]), gan, training, resume=i > 0, stop_after=stop)
            except Interrupted:
                assert stop is not None
    finally:
        Trainer.run = whole  # type: ignore[method-assign]


def main(tasks: Path) -> None:
    import os

    for task in json.loads(tasks.read_text()):
        try:
            work(task, tasks.parent)
        except SynthomaError as error:
            (tasks.parent / f"{task['name']}-{os.environ['RANK']}.txt").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
