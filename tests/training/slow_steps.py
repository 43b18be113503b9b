"""The command line with steps that take 20 ms more, so that an epoch is seen to end before the next one does.

Run by ``test_killed.py`` with the arguments in ``words``.
"""

from __future__ import annotations

import time

from torch import Tensor

from synthoma.commands import main
from synthoma.gans import Examples
from synthoma.training.trainer import Trainer

at_once = Trainer._step


def step(self: Trainer, examples: list[Examples]) -> dict[str, Tensor]:
    """A step after a pause."""
    time.sleep(0.02)
    return at_once(self, examples)


Trainer._step = step  # type: ignore[method-assign]
main(globals()["words"])
