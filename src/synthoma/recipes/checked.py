"""Settings that are checked: a block of them against its model, and pydantic's errors as one line a person can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from synthoma.errors import SettingError, describe, did_you_mean

__all__ = ["validate"]

TAGS = ("source", "step", "kind", "method")
"""Fields that say which member of a union a block of settings is."""

_Model = TypeVar("_Model", bound=BaseModel)


def validate(model: type[_Model], content: Mapping[str, Any], name: str) -> _Model:
    """``content`` as a ``model``; ``name`` stands in the error message.

    Raises:
        SettingError: an unknown setting (the nearest is named) or an invalid value.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SettingError(_explain(model, first, name)) from error


def _explain(model: type[BaseModel], error: Mapping[str, Any], name: str) -> str:
    """One pydantic error as one line: which setting, what was expected, what was found."""
    location, there = _place(model, error["loc"])
    key = ".".join(location)
    kind = error["type"]
    if kind == "extra_forbidden":
        near = did_you_mean(location[-1], {field for block in there for field in block.model_fields})
        return describe(f"{name}: {key}", "a known setting", f"'{location[-1]}'", near)
    if kind == "missing":
        return describe(f"{name}: {key}", "a value", "none", f"Give one: --set {key}=…")
    found = error["input"]
    shown = repr(found) if not isinstance(found, dict) else "settings"
    message = str(error["msg"]).removeprefix("Value error, ")
    if kind == "value_error":
        return f"{name}: {key}: {message}." if key else f"{name}: {message}."
    if kind == "union_tag_invalid":
        expected = str(error["ctx"]["expected_tags"])
        discriminator = str(error["ctx"]["discriminator"]).strip("'")
        wrong = str(error["ctx"]["tag"])
        near = did_you_mean(wrong, [tag.strip(" '") for tag in expected.split(",")])
        return describe(f"{name}: {key}.{discriminator}", f"one of {expected}", f"'{wrong}'", near)
    if kind == "union_tag_not_found":
        discriminator = str(error["ctx"]["discriminator"]).strip("'")
        return describe(f"{name}: {key}.{discriminator}", "a value", "none", f"Give one: --set {key}.{discriminator}=…")
    if kind in ("tuple_type", "list_type"):
        near = f"Write [{found}]." if isinstance(found, str | int | float) else ""
        return describe(f"{name}: {key}", "a list", shown, near)
    if kind == "too_short":
        least = error["ctx"]["min_length"]
        return describe(f"{name}: {key}", f"at least {least} item{'s' * (least > 1)}", shown)
    expected = message.removeprefix("Input should be ").rstrip(".")
    return describe(f"{name}: {key}", expected, shown)


def _place(model: type[BaseModel], location: Sequence[Any]) -> tuple[list[str], list[type[BaseModel]]]:
    """The setting at a location of an error, without the tags that pydantic puts there for the member of a union it
    looked at; and the blocks of settings that it may be in."""
    key: list[str] = []
    blocks, named = [model], False
    for part in location:
        tagged = [block for block in blocks if any(part == _default(block, field) for field in TAGS)]
        if tagged and len(blocks) > 1 and not named:
            blocks = tagged
            continue
        key.append(str(part))
        # else a number in a list, or a name that the user gave
        inside = [] if named else [b.model_fields[part].annotation for b in blocks if part in b.model_fields]
        named = any(get_origin(annotation) is dict for annotation in inside)
        if inside:
            blocks = [block for annotation in inside for block in _models(annotation)]
    return key, blocks


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The blocks of settings inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _default(model: type[BaseModel], field: str) -> Any:
    return model.model_fields[field].default if field in model.model_fields else None
