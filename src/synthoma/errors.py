"""Every exception that synthoma raises on purpose.

::

    SynthomaError                 exit code
    ├── InputError                2   what the user gave: a file, a folder, a setting
    │   ├── ScanError                 a scan that cannot be read as what it claims to be
    │   ├── SettingError              an unknown or invalid setting
    │   ├── CohortError               a cohort folder that is incomplete, altered or unfit
    │   ├── CheckpointError           a checkpoint that is damaged or belongs to something else
    │   └── OutputError               an output that exists, or a disk that is full or read-only
    ├── MissingPartError          3   an optional package, weight file or program that is not there
    ├── RefusalError              4   what synthoma will not do, though it could
    │   ├── LeakError                 one patient on two sides
    │   └── PrivacyError              a release without, or against, the privacy audit
    ├── ProcessError              1   a process that shared the work was killed
    └── Interrupted             130   Ctrl-C, after the work was saved

Messages follow one template (:func:`describe`): what is wrong (file or setting), what was expected, what was found,
what to do. One or two lines; the command line prints them without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "CohortError",
    "InputError",
    "Interrupted",
    "LeakError",
    "MissingPartError",
    "OutputError",
    "PrivacyError",
    "ProcessError",
    "RefusalError",
    "ScanError",
    "SettingError",
    "SynthomaError",
    "describe",
    "did_you_mean",
]


def describe(what: object, expected: object, found: object, remedy: str = "") -> str:
    """The one template of error messages: ``what: expected …, found …. remedy``."""
    text = f"{what}: expected {expected}, found {found}."
    return f"{text}\n{remedy}" if remedy else text


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` for the nearest known name, or the list of names when none is near."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else "Known: " + ", ".join(names) + "."


class SynthomaError(Exception):
    """Base of all; never raised itself."""

    exit_code = 1


class InputError(SynthomaError):
    """What the user gave cannot be used."""

    exit_code = 2


class ScanError(InputError):
    """A scan that cannot be read as what it claims to be."""


class SettingError(InputError):
    """An unknown or invalid setting."""


class CohortError(InputError):
    """A cohort folder that is incomplete, altered or unfit for the request."""


class CheckpointError(InputError):
    """A checkpoint that is damaged or belongs to another configuration."""


class OutputError(InputError):
    """An output that exists already, or a disk that is full or cannot be written."""


class MissingPartError(SynthomaError):
    """An optional package, weight file or external program that is not there."""

    exit_code = 3


class RefusalError(SynthomaError):
    """What synthoma will not do, though it could."""

    exit_code = 4


class LeakError(RefusalError):
    """One patient on two sides."""


class PrivacyError(RefusalError):
    """A release without, or against, the privacy audit."""


class ProcessError(SynthomaError):
    """One of several processes was killed: by the system for want of memory, or by somebody."""


class Interrupted(SynthomaError):  # noqa: N818 (it is no error: the user asked for it)
    """Ctrl-C, after the work so far was saved."""

    exit_code = 130
