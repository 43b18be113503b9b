"""Stages and what they wait for: a graph, each node of which is known by the hash of all that it depends on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from synthoma import __version__
from synthoma.storage import text_sha256

__all__ = ["Stage", "Work", "keys_of", "ready"]


class Work(NamedTuple):
    """What is done: a function of a module and its named arguments, so that another process can do it as well."""

    function: Callable[..., object]
    arguments: Mapping[str, Any]

    def __call__(self) -> object:
        """Do it."""
        return self.function(**self.arguments)


@dataclass(frozen=True)
class Stage:
    """A step of the study: the settings it depends on, what it waits for, what it leaves, and how to do it."""

    name: str
    """``train``, or in a fold ``run 0 fold 3: train``."""
    settings: Mapping[str, Any]
    """As JSON holds them."""
    parents: tuple[str, ...]
    """Names of the stages before it."""
    outputs: tuple[Path, ...]
    """What it writes, and what is removed when it is to be done anew."""
    done: Callable[[], bool] = field(compare=False)
    """Whether its outputs are complete."""
    work: Work = field(compare=False)
    kind: str = ""
    """What stages share that take about as long: the name without its fold."""
    here: bool = False
    """Whether it is done by the process that runs the study: it starts processes of its own, or reads what lies there
    only."""

    def described(self) -> dict[str, Any]:
        """All that its result depends on but for the results of its parents, as JSON holds it."""
        content: dict[str, Any] = json.loads(json.dumps({"settings": self.settings, "after": list(self.parents)}))
        return content | {"version": __version__}


def keys_of(stages: Sequence[Stage]) -> dict[str, str]:
    """Name → SHA-256 over settings, version and the keys of the parents, who stand before their children.

    Raises:
        ValueError: a name occurs twice, or a parent does not stand before its child.
    """
    keys: dict[str, str] = {}
    for stage in stages:
        missing = [name for name in stage.parents if name not in keys]
        if stage.name in keys or missing:
            raise ValueError(f"stage '{stage.name}' is there twice, or stands before its parents {missing}")
        content = stage.described() | {"parents": [keys[name] for name in stage.parents]}
        keys[stage.name] = text_sha256(json.dumps(content, sort_keys=True, ensure_ascii=False))
    return keys


def ready(stages: Iterable[Stage], done: Iterable[str], begun: Iterable[str]) -> list[Stage]:
    """The stages that nothing is missing for and nobody has begun, in order."""
    finished, taken = set(done), set(begun)
    return [s for s in stages if s.name not in finished | taken and finished.issuperset(s.parents)]
