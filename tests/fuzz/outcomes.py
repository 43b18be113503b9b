"""What became of reading a folder: good, rejected with reasons, or a violation.

A violation is any other exception than those for bad scans, ten seconds of processor time, a gigabyte of memory, a
claim that ended in a MemoryError, a message that is long, has control characters or names a patient, output on the
terminal, or a scan that is none.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from types import FrameType

import numpy as np

from synthoma.errors import MissingPartError, ScanError
from synthoma.records import Scan
from synthoma.scans import FOLDER_SOURCES, DataOptions, find, read

__all__ = ["MOST_SECONDS", "outcome_of"]

MOST_SECONDS = 10
"""Of processor time for one case: the machine may be busy with other work."""
_MOST_GROWTH = 2**30
"""By which a case may raise the peak of memory."""
_NAMES = ("Somebody^", "hospital 4711")
_LONGEST_LINE = 2000


class _Hang(BaseException):
    """Processor time is over; no reader may catch it."""


def outcome_of(options: DataOptions) -> tuple[str, tuple[str, ...], str]:
    """Kind, reasons and traceback of reading all that a folder holds."""
    reasons: list[str] = []
    wrong: list[str] = []
    trace = ""
    peak = _peak_bytes()
    try:
        with _limited_time(), _terminal() as printed:
            _read_all(options, reasons, wrong)
    except _Hang:
        wrong.append(f"more than {MOST_SECONDS} s of processor time")
        trace = traceback.format_exc()
    except Exception as error:  # that is what is looked for
        wrong.append(f"{type(error).__name__}: {str(error)[:300]}")
        trace = traceback.format_exc()
    if printed.getvalue():
        wrong.append(f"printed: {printed.getvalue()[:300]}")
    if _peak_bytes() - peak > _MOST_GROWTH:
        wrong.append(f"memory grew by {(_peak_bytes() - peak) / 2**20:.0f} MiB")
    wrong += [complaint for reason in reasons if (complaint := _complaint(reason))]
    if wrong:
        return "violation", tuple(wrong), trace
    return "rejected" if reasons else "good", tuple(reasons), ""


def _read_all(options: DataOptions, reasons: list[str], wrong: list[str]) -> None:
    try:
        found = find(options)
    except (ScanError, MissingPartError) as error:
        reasons.append(str(error))
        wrong += _causes(error)
        return
    reasons += [
        "\n".join([f"{out.name}: {out.reason}", *([out.remedy] if out.remedy else [])]) for out in found.left_out
    ]
    if options.source in FOLDER_SOURCES:
        FOLDER_SOURCES[options.source].contents(options, found.cases)
    for case in found.cases:
        try:
            scan = read(case, options)
        except (ScanError, MissingPartError) as error:
            reasons.append(str(error))
            wrong += _causes(error)
        else:
            wrong += _faults(scan)


def _faults(scan: Scan) -> list[str]:
    """What is wrong with a scan that was read without complaint."""
    faults = []
    for name, channel in scan.channels.items():
        if not np.isfinite(channel).all() or channel.size == 0:
            faults.append(f"channel {name} is empty or not finite")
    for name, mask in scan.masks.items():
        if mask.size and mask.max() > 1:
            faults.append(f"mask {name} holds {mask.max()}")
    affine = scan.grid.affine
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine)) > 0 or not scan.channels:
        faults.append(f"no channel, or a grid that is no grid: {affine.tolist()}")
    notes = [complaint for note in scan.notes if (complaint := _complaint(note, least=0))]
    return faults + notes


def _complaint(message: str, least: int = 1) -> str:
    """What is wrong with a message: one or two lines, without control characters or the names of patients."""
    lines = message.split("\n")
    if not least <= len(lines) <= 2 or any(len(line) > _LONGEST_LINE for line in lines):
        return f"a message of {len(lines)} lines and {len(message)} letters: {message[:200]!r}"
    if not all(line.isprintable() for line in lines):
        return f"a message with control characters: {message[:200]!r}"
    return f"a message with a patient's name: {message[:200]!r}" if any(name in message for name in _NAMES) else ""


def _causes(error: BaseException | None) -> list[str]:
    """A claim that only a limit of the system stopped."""
    while error is not None:
        if isinstance(error, MemoryError):
            return [f"rejected by a MemoryError: {str(error)[:200]}"]
        error = error.__cause__
    return []


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def _limited_time() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Hang

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _terminal() -> Iterator[io.StringIO]:
    """Receives what Python and libraries in C print, warnings included, each as often as it is raised."""
    text = io.StringIO()
    kept = {number: os.dup(number) for number in (1, 2)}
    with tempfile.TemporaryFile() as caught, warnings.catch_warnings():
        warnings.simplefilter("always")
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)  # as Python does
        sys.stdout.flush()
        sys.stderr.flush()
        for number in kept:
            os.dup2(caught.fileno(), number)
        try:
            yield text
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
            caught.seek(0)
            text.write(re.sub(r"\S*/site-packages/", "", caught.read(4000).decode(errors="replace")))
