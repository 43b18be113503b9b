"""A tiny valid folder to damage files of, made by the writers of the sources' tests."""

from __future__ import annotations

import functools
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from synthoma.options import Options
from synthoma.scans import GeometryRule

__all__ = ["BENT", "Seed", "built", "victims", "writers"]

BENT = GeometryRule(irregular="resample", mixed="split")
"""The rule that refuses least."""


@dataclass(frozen=True)
class Seed:
    """A folder that a source reads, and the files of it that are of one format."""

    options: Options
    victims: tuple[Path, ...]


@functools.cache
def writers() -> ModuleType:
    """The builders of ``tests/scans/conftest.py``."""
    file = Path(__file__).resolve().parents[1] / "scans" / "conftest.py"
    spec = importlib.util.spec_from_file_location("scan_writers", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["scan_writers"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def built(builder: str, root: Path, pattern: str, **settings: Any) -> Seed:
    """The folder of one of :data:`BUILDERS`, its files that fit ``pattern`` being the victims."""
    options = writers().BUILDERS[builder](root).options
    return Seed(options.model_copy(update=settings), victims(root, pattern))


def victims(root: Path, pattern: str) -> tuple[Path, ...]:
    """Files below ``root`` by a pattern of :meth:`Path.rglob`, sorted."""
    return tuple(sorted(path for path in root.rglob(pattern) if path.is_file()))
