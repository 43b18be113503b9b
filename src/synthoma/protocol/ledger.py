"""The ledger of a study, ``stages.json``: with which settings each stage was begun, and how long it took."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthoma.errors import InputError, OutputError, SettingError, describe
from synthoma.options import first_difference
from synthoma.protocol.graph import Stage, keys_of
from synthoma.storage import read_json, writable, write_json

__all__ = ["Ledger"]


class Ledger:
    """Name of a stage → its settings, parents, version, key, outputs (relative to the study), and seconds of work.

    It keeps stages that the recipe no longer has: if they come back, their outputs are still what they were.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.path = Path(out), Path(out) / "stages.json"
        self.entries: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            content = read_json(self.path)
            if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
                raise InputError(
                    describe(self.path, "the stages of a study", "something else", "Choose another --out.")
                )
            for place in (place for entry in content.values() for place in entry.get("outputs", ())):
                if Path(place).is_absolute() or ".." in Path(place).parts:  # it may be removed one day
                    raise InputError(describe(self.path, "a place in the study", repr(place), "Choose another --out."))
            self.entries = content

    def is_done(self, stage: Stage, key: str) -> bool:
        """Whether the stage was begun with this key, or before keys were kept, and its outputs are complete."""
        return stage.name in self.entries and self._key(stage, key) == key and stage.done()

    def differs(self, stage: Stage, key: str) -> bool:
        """Whether the stage was begun with another key."""
        return stage.name in self.entries and self._key(stage, key) != key

    def seconds(self, name: str) -> float | None:
        """Of work on a stage so far; ``None`` where nobody measured."""
        found: float | None = self.entries.get(name, {}).get("seconds")
        return found

    def begin(self, stages: Sequence[Stage], keys: Mapping[str, str], stage: Stage) -> None:
        """Note that a stage is about to be done. Partial files that a killed process left beside its outputs go."""
        before = self.seconds(stage.name)
        outputs = [path.relative_to(self.out).as_posix() for path in stage.outputs]
        self.entries[stage.name] = stage.described() | {"key": keys[stage.name], "outputs": outputs, "seconds": before}
        order = {s.name: number for number, s in enumerate(stages)}
        self.entries = dict(sorted(self.entries.items(), key=lambda entry: order.get(entry[0], len(order))))
        write_json(self.path, self.entries)
        for path in stage.outputs:
            for rest in (*path.parent.glob(f".{path.name}.*.partial"), *path.parent.glob(f".{path.name}.*.old")):
                _remove(rest)

    def add_seconds(self, name: str, seconds: float) -> None:
        """Add to the time of a stage."""
        self.entries[name]["seconds"] = round((self.seconds(name) or 0.0) + seconds, 3)
        write_json(self.path, self.entries)

    def check(self, stages: Sequence[Stage], *, overwrite: bool) -> None:
        """See that what lies there belongs to these stages; with ``overwrite`` remove what does not.

        What is removed takes with it all that was made from it, whether or not the recipe still has it.

        Raises:
            SettingError: a stage was done with other settings and ``overwrite`` is false.
            OutputError: there is an output that another stage made, and ``overwrite`` is false.
        """
        keys = keys_of(stages)
        stale = []
        for stage in stages:
            entry = self.entries.get(stage.name)
            if entry is None:
                there = next((path for path in stage.outputs if path.exists()), None)
                if there is None:
                    continue
                if not overwrite:
                    remedy = "Add --overwrite to replace it, or choose another --out."
                    raise OutputError(describe(there, f"nothing before '{stage.name}'", "what others made", remedy))
            elif self._key(stage, keys[stage.name]) == keys[stage.name]:
                continue
            elif not overwrite:
                raise self._refusal(entry, stage)
            stale.append(stage)
        if stale:
            self._remove(stale)

    def _key(self, stage: Stage, now: str) -> str:
        """The key that a stage was begun with. Entries without one hold the settings alone, as version 0.1 wrote."""
        entry = self.entries[stage.name]
        if "key" in entry:
            return str(entry["key"])
        return now if first_difference(entry, stage.described()["settings"]) is None else ""

    def _refusal(self, entry: Mapping[str, Any], stage: Stage) -> SettingError:
        now = stage.described()
        before = entry if "key" in entry else now | {"settings": entry}
        differs = first_difference(before["settings"], now["settings"])
        differs = (
            differs or first_difference({k: before[k] for k in now}, now) or ("the stages before it", "others", "")
        )
        key, old, new = differs
        remedy = f"Add --overwrite to do '{stage.name}' and all after it anew, or choose another --out."
        return SettingError(describe(key, f"{old!r}, as in {self.out}", repr(new), remedy))

    def _remove(self, stale: Sequence[Stage]) -> None:
        """Remove outputs before entries: stopped in between, the same call is refused or asked for again."""
        names = {stage.name for stage in stale}
        paths = {path for stage in stale for path in stage.outputs}
        while True:
            more = {
                name
                for name, entry in self.entries.items()
                if name not in names
                and (
                    names & set(entry.get("after", ())) or paths & {self.out / one for one in entry.get("outputs", ())}
                )
            }
            if not more:
                break
            names |= more
            paths |= {self.out / one for name in more for one in self.entries[name].get("outputs", ())}
        for path in sorted(paths, reverse=True):
            _remove(path)
        self.entries = {name: entry for name, entry in self.entries.items() if name not in names}
        write_json(self.path, self.entries)


def _remove(path: Path) -> None:
    with writable(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
