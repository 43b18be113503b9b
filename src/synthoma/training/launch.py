"""Several processes started for the user, by PyTorch's elastic launcher; and how only one of them speaks."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from synthoma import errors
from synthoma.errors import InputError, ProcessError, SynthomaError, describe
from synthoma.gans import GanOptions
from synthoma.storage import write_bytes
from synthoma.training.hardware import device_for
from synthoma.training.options import TrainingOptions
from synthoma.training.processes import check_gpus, is_main
from synthoma.training.run_folder import RunFolder

__all__ = ["has_voice", "launch", "one_voice"]

STARTED = "SYNTHOMA_LAUNCHED"
"""In the environment of a process that :func:`launch` started: it leaves its last words to the one that did."""
WORDS_FILE = "TORCHELASTIC_ERROR_FILE"
"""In the environment of every process that the elastic launcher started: where it reads why one has failed."""
PATIENCE_SECONDS = 3600
"""Time to finish a step and save the state after Ctrl-C."""


def launch(
    cohort: Path, out: Path, gan: GanOptions, options: TrainingOptions, count: int, *, resume: bool = False
) -> Path:
    """Train by ``count`` processes on this machine, a GPU each, or an equal share of the cores; see ``loop.train``.

    Ctrl-C and SIGTERM reach all of them. What one of them raised, this process raises.

    Raises:
        InputError: it is itself one of several processes.
        SettingError: there are fewer GPUs.
        SynthomaError: whatever ends the training; a ``ProcessError`` where a process was killed.
        RuntimeError: a process came to another end.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if "WORLD_SIZE" in os.environ:
        raise InputError(describe("devices", "1, since torchrun has started the processes", count))
    if device_for(options.device).type == "cuda":
        check_gpus(count, "devices")
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // count)))
    words = ["train", str(cohort), "--out", str(out), *(["--resume"] if resume else [])]
    for block, content in (("gan", gan), ("training", options)):
        words += ["--set", f"{block}={content.model_dump_json()}"]
    with tempfile.TemporaryDirectory(prefix="synthoma-") as logs, _surroundings(threads):
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
            signals_to_handle="SIGINT,SIGTERM",
            shutdown_timeout=PATIENCE_SECONDS,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "synthoma", *words)
        except ChildFailedError as failed:
            raise _reason(Path(logs), {rank: failure.exitcode for rank, failure in failed.failures.items()}) from None
        except SignalException:
            if not RunFolder(out).finished:
                raise _reason(Path(logs), {}) from None
    return out


def has_voice() -> bool:
    """Whether this process speaks: it is alone, or the first of those that were started by hand."""
    return is_main() and STARTED not in os.environ


@contextmanager
def one_voice() -> Iterator[None]:
    """Among several processes only the first says why it ends, or the one that started them all; each says it in the
    file that the launcher reads."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get(WORDS_FILE):
            left = {
                "message": str(error),
                "timestamp": int(time.time()),
                "time_ns": time.time_ns(),
                "rank": int(os.environ.get("RANK", "0")),
                "kind": type(error).__name__,
                "traceback": "".join(traceback.format_exception(error)),
            }
            write_bytes(Path(os.environ[WORDS_FILE]), json.dumps(left).encode())
        if has_voice():
            raise
        interrupted = isinstance(error, KeyboardInterrupt)
        sys.exit(errors.Interrupted.exit_code if interrupted else getattr(error, "exit_code", 1))


def _reason(logs: Path, exit_codes: Mapping[int, int]) -> BaseException:
    """Why the processes came to an end: what the first of them said, or which was killed."""
    said = [json.loads(path.read_text(encoding="utf-8")) for path in logs.rglob("error.json")]
    said.sort(key=lambda words: int(words["time_ns"]))
    for words in said:  # an error that was raised on purpose before any that followed from it
        kind = getattr(errors, words["kind"], None)
        if isinstance(kind, type) and issubclass(kind, SynthomaError):
            return _noted(kind(words["message"]), words)
    for words in said:
        if words["kind"] == KeyboardInterrupt.__name__:
            return KeyboardInterrupt()
    killed = next((rank for rank, code in exit_codes.items() if code < 0), None)
    if killed is not None:  # before what the others said, who only lost it
        by = f"that {signal.Signals(-exit_codes[killed]).name} killed it"
        remedy = "Too little memory? Go on with --resume on fewer --devices, or anew with a smaller batch_size."
        return _noted(ProcessError(describe(f"process {killed}", "the end of the training", by, remedy)), *said)
    if said:
        return _noted(RuntimeError(f"process {said[0]['rank']}: {said[0]['kind']}: {said[0]['message']}"), *said)
    return RuntimeError(f"exit codes {dict(exit_codes)}") if exit_codes else KeyboardInterrupt()  # before they began


def _noted(error: Exception, *said: Mapping[str, Any]) -> Exception:
    for words in said:
        error.add_note(f"In process {words['rank']}:\n{words['traceback']}")
    return error


@contextmanager
def _surroundings(threads: str) -> Iterator[None]:
    """Environment and signal handlers for the launcher, which is told to say nothing itself; then as they were."""
    mine = {STARTED: "1", "OMP_NUM_THREADS": threads}
    before = {name: os.environ.get(name) for name in (*mine, "TORCHELASTIC_SIGNALS_TO_HANDLE")}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    os.environ.update(mine)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
