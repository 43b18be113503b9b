"""Stages by a Ray cluster: a laptop's cores or the GPUs of many machines, which share the output folder."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from synthoma.errors import Interrupted, MissingPartError, describe
from synthoma.protocol.graph import Stage, Work
from synthoma.protocol.runners import Ended, as_error
from synthoma.protocol.worker import last_words

__all__ = ["Cluster"]

WAIT_S = 0.5
PATIENCE_S = 3600.0
"""Time to finish a step and save the state after Ctrl-C."""


class Cluster:
    """Every stage that can be done is given to the cluster, which begins it when it has cores and GPUs for it.

    Ray retries nothing itself: a stage whose worker or node is lost comes back as killed.

    Raises:
        MissingPartError: Ray is not installed.
    """

    most = 1_000_000

    def __init__(self, address: str = "", *, cpus: int = 1, gpus: float = 0) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError as error:
            remedy = "pip install synthoma[ray], or --set protocol.runner=local."
            raise MissingPartError(describe("protocol.runner", "the package ray", "none", remedy)) from error
        self._ray = ray
        if not ray.is_initialized():
            ray.init(address=address or None, log_to_driver=False, configure_logging=False)
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0, "scheduling_strategy": "SPREAD"}
        self._remote = ray.remote(_done).options(**options)
        self._begun: dict[Any, str] = {}

    def start(self, stage: Stage) -> None:
        """Give a stage to the cluster."""
        self._begun[self._remote.remote(stage.work)] = stage.name

    def wait(self) -> list[Ended]:
        """Those that ended, after half a second at most."""
        ready, _ = self._ray.wait(list(self._begun), num_returns=len(self._begun), timeout=WAIT_S)
        return [self._end(one) for one in ready]

    def stop(self, *, at_once: bool = False) -> None:
        """Interrupt all that was begun, and wait until states are saved."""
        for one in self._begun:
            self._ray.cancel(one, force=at_once)
        if self._begun:
            self._ray.wait(list(self._begun), num_returns=len(self._begun), timeout=0 if at_once else PATIENCE_S)
        self._begun.clear()

    def _end(self, one: Any) -> Ended:
        name = self._begun.pop(one)
        try:
            words: Mapping[str, str] = self._ray.get(one)
        except self._ray.exceptions.RayError as error:  # its process, its node, or the way to it
            tail = next(iter(str(error).splitlines()), "")
            return Ended(name, killed=type(error).__name__, tail=tail)
        if words and words["kind"] in (KeyboardInterrupt.__name__, Interrupted.__name__):
            return Ended(name, killed=signal.SIGTERM.name)
        return Ended(name, as_error(name, words) if words else None)


def _done(work: Work) -> dict[str, str]:
    """Do a stage in a process of the cluster: what it raised in words, or nothing."""
    try:
        work()
    except (Exception, KeyboardInterrupt) as error:
        return last_words(error)
    return {}
