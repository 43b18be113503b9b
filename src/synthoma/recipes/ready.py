"""The recipes that come with synthoma: ``*.yaml`` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from synthoma.errors import SettingError, describe, did_you_mean

__all__ = ["find_recipe", "ready_recipes", "summary"]


def ready_recipes() -> Mapping[str, Path]:
    """Name → file of each recipe that comes with synthoma."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def find_recipe(name: str | Path) -> Path:
    """The file of a ready recipe by its name, or of the user's own by its path.

    Raises:
        SettingError: neither exists.
    """
    ready = ready_recipes()
    if str(name) in ready:
        return ready[str(name)]
    path = Path(name)
    if path.is_file():
        return path
    expected = "a ready recipe or a file"
    raise SettingError(describe(f"recipe '{name}'", expected, "neither", did_you_mean(str(name), ready)))


def summary(path: Path) -> str:
    """The first comment line of a recipe: what it is for."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            return line.lstrip("# ").strip()
    return ""
