"""Recipes as text: read from YAML into nested dictionaries, and changed by ``a.b=value``; not yet validated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from synthoma.errors import SettingError, describe, did_you_mean
from synthoma.preprocessing import PreprocessingOptions
from synthoma.recipes.ready import find_recipe

__all__ = ["Changes", "blocks_of", "changed", "check_blocks", "put", "written"]

Changes = Sequence[str] | Mapping[str, Any]
"""Settings to change: ``["training.epochs=20"]`` as on the command line, or ``{"training.epochs": 20}``."""


def written(name: str | Path | None) -> dict[str, Any]:
    """The blocks of a recipe as they are written; none without a name."""
    return blocks_of(find_recipe(name).read_text(encoding="utf-8"), str(name)) if name is not None else {}


def blocks_of(text: str, name: str) -> dict[str, Any]:
    """The blocks of a recipe's YAML text; ``name`` stands in error messages."""
    content = _yaml(text, name)
    if not isinstance(content, dict):
        raise SettingError(describe(name, "blocks of settings (data:, gan:, …)", type(content).__name__))
    return content


def check_blocks(changes: Changes, wanted: Sequence[str]) -> None:
    """Refuse a change in a block that a stage does not use: it would have no effect, and nobody would notice."""
    for key, _ in _pairs(changes):
        if key.split(".")[0] not in wanted:
            expected = "a setting of " + " or ".join(f"{block}.…" for block in wanted)
            near = did_you_mean(key.split(".")[0], wanted) if "." in key else f"Write it as {wanted[0]}.{key}=…"
            raise SettingError(describe(f"--set {key}", expected, f"'{key}'", near))


def changed(content: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """``content`` with the changes. The default steps are spelled out, so that ``steps.resize.size`` is found."""
    block = content.setdefault("preprocessing", {})
    if isinstance(block, dict):
        block.setdefault("steps", PreprocessingOptions().model_dump(mode="json")["steps"])
    for key, value in _pairs(changes):
        put(content, key, value)
    return content


def put(content: Any, key: str, value: Any) -> None:
    """Set ``a.b.c`` in nested dictionaries; in ``preprocessing.steps`` a step is found by its name."""
    *parents, last = key.split(".")
    place = content
    for depth, part in enumerate(parents):
        if isinstance(place, dict):
            place = place.setdefault(part, {})
        elif isinstance(place, list):
            place = _item(place, part, ".".join(parents[: depth + 1]))
        else:
            break
    if isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise SettingError(describe(key, "a setting", f"a value at '{'.'.join(parents)}', which has no settings"))


def _pairs(changes: Changes) -> Iterator[tuple[str, Any]]:
    if isinstance(changes, Mapping):
        yield from changes.items()
        return
    for change in changes:
        key, sign, value = change.partition("=")
        if not sign or not key.strip():
            raise SettingError(describe(f"--set {change}", "KEY=VALUE, such as training.epochs=20", "no '='"))
        yield key.strip(), _yaml(value, f"--set {change}")


def _yaml(text: str, name: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise SettingError(describe(name, "valid YAML", f"{problem}{where}")) from error


def _item(items: list[Any], part: str, key: str) -> Any:
    for index, item in enumerate(items):
        if part == str(index) or (isinstance(item, dict) and item.get("step") == part):
            return item
    names = [item["step"] for item in items if isinstance(item, dict) and "step" in item]
    raise SettingError(describe(key, "an item of the list", f"'{part}'", did_you_mean(part, names) if names else ""))
