"""What libraries in C print past Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["silenced"]


@contextmanager
def silenced() -> Iterator[None]:
    """Nothing reaches stderr within. libtiff and OpenJPEG print what they dislike; what matters of it is raised too."""
    try:
        before = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
