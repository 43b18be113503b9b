"""The folder of a training run: what it was asked to do, its log, its states, its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synthoma.errors import CheckpointError, OutputError, SettingError, describe
from synthoma.options import first_difference
from synthoma.storage import read_json, writable, write_bytes, write_json

__all__ = ["RunFolder"]


class RunFolder:
    """``run.json``, ``log.jsonl``, ``checkpoints/last.safetensors``, ``checkpoints/best.safetensors``, ``preview/``."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.last = self.path / "checkpoints" / "last.safetensors"
        self.best = self.path / "checkpoints" / "best.safetensors"
        self.board: Callable[[Mapping[str, Any]], None] | None = None
        """Told what is logged, where TensorBoard is wanted."""

    @property
    def finished(self) -> bool:
        """Whether the run was trained to its end."""
        return (self.path / "run.json").is_file() and bool(self._run().get("finished"))

    def begin(self, options: Mapping[str, Any], *, resume: bool) -> bool:
        """Make the folder, or check that an existing one asked for the same; returns whether there is a saved state.

        Raises:
            OutputError: the folder exists and ``resume`` is false.
            SettingError: the folder was begun with other settings.
        """
        if (self.path / "run.json").is_file():
            if not resume:
                raise OutputError(
                    describe(
                        self.path,
                        "a new folder",
                        "one that exists",
                        "Go on with --resume, or start anew with --overwrite.",
                    )
                )
            self._same(options)
            return self.last.is_file()
        if self.path.exists() and (not self.path.is_dir() or any(f.suffix != ".partial" for f in self.path.iterdir())):
            found = "one with other files" if self.path.is_dir() else "a file"
            raise OutputError(describe(self.path, "a new folder, or that of a run", found, "Choose another --out."))
        with writable(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "run.json", {"options": options, "finished": False})
        return False

    def finish(self) -> None:
        """Say that the run was trained to its end."""
        write_json(self.path / "run.json", self._run() | {"finished": True})

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to ``log.jsonl``."""
        with writable(self.path), (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")
        if self.board is not None:
            self.board(record)

    def truncate_log(self, step: int) -> None:
        """Drop what was logged after ``step``: those steps are about to be done again."""
        path = self.path / "log.jsonl"
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                break  # a line cut short when the machine stopped
            if record["step"] <= step:
                kept.append(line + "\n")
        write_bytes(path, "".join(kept).encode())

    def _run(self) -> dict[str, Any]:
        content = read_json(self.path / "run.json", CheckpointError)
        if not isinstance(content, dict) or not isinstance(content.get("options"), dict):
            raise CheckpointError(describe(self.path / "run.json", "the settings of a run", "something else"))
        return content

    def _same(self, options: Mapping[str, Any]) -> None:
        before, now = self._run()["options"], json.loads(json.dumps(options))
        # the lineage last: it differs with every setting, and it is the setting that the user wants to know
        settings = [{key: value for key, value in block.items() if key != "lineage"} for block in (before, now)]
        differs = first_difference(*settings) or first_difference(before, now)
        if differs is not None:
            key, expected, found = differs
            remedy = "A run goes on only with its own settings; train anew with another --out, or --overwrite."
            raise SettingError(describe(key, f"{expected!r}, as in {self.path}", repr(found), remedy))
