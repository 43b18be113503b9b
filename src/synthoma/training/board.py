"""TensorBoard beside ``log.jsonl``: the same numbers, for those who watch their runs there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synthoma.errors import MissingPartError, describe

__all__ = ["check_tensorboard", "open_board"]


def check_tensorboard() -> None:
    """Raise :class:`MissingPartError` where the package is not installed."""
    if find_spec("tensorboard") is None:
        expected, remedy = "the package tensorboard", "pip install tensorboard, or leave it out: log.jsonl has it all."
        raise MissingPartError(describe("training.tensorboard", expected, "none", remedy))


def open_board(folder: Path, step: int) -> Callable[[Mapping[str, Any]], None]:
    """A function that takes the records of ``log.jsonl`` and writes their numbers to an event file in ``folder``.

    What an earlier part of the run wrote after ``step`` is hidden: those steps are about to be done again.
    """
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder), purge_step=step + 1)

    def log(record: Mapping[str, Any]) -> None:
        numbers = {f"{record['kind']}/{name}": value for name, value in record.items()} | {
            f"losses/{name}": value for name, value in record.get("losses", {}).items()
        }
        for name, value in numbers.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                writer.add_scalar(name, value, record["step"])
        writer.flush()

    return log
