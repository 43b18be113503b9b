"""``Recipe``: every room's block of settings, read from YAML, changed by ``a.b=value``, validated as one."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from synthoma.cohort import SplitOptions
from synthoma.errors import SettingError, describe, did_you_mean
from synthoma.evaluation import EvaluationOptions
from synthoma.gans import GANS, ConditionalOptions, GanOptions
from synthoma.generation import GenerationOptions
from synthoma.options import Options
from synthoma.phantoms import PhantomOptions
from synthoma.preprocessing import PreprocessingOptions
from synthoma.recipes.protocol import ProtocolOptions
from synthoma.recipes.ready import find_recipe
from synthoma.scans import FolderData, SeveralData
from synthoma.training import TrainingOptions

__all__ = [
    "Blocks",
    "Changes",
    "ProtocolOptions",
    "Recipe",
    "load_recipe",
    "read_blocks",
    "read_recipe",
    "to_yaml",
    "written",
]

Changes = Sequence[str] | Mapping[str, Any]
"""Settings to change: ``["training.epochs=20"]`` as on the command line, or ``{"training.epochs": 20}``."""

TAGS = ("source", "step", "kind", "method")
"""Fields that say which member of a union a block of settings is."""

_Model = TypeVar("_Model", bound=BaseModel)

Data = Annotated[FolderData | SeveralData | PhantomOptions, Field(discriminator="source")]


class Blocks(Options):
    """The settings of a study but for its data: all that the stages after preparation need."""

    preprocessing: PreprocessingOptions = PreprocessingOptions()
    split: SplitOptions = SplitOptions()
    gan: GanOptions = ConditionalOptions()
    training: TrainingOptions = TrainingOptions()
    generation: GenerationOptions = GenerationOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
    protocol: ProtocolOptions = ProtocolOptions()

    @model_validator(mode="before")
    @classmethod
    def _usual_method(cls, content: Any) -> Any:
        """``gan`` without ``method`` means the conditional GAN."""
        if isinstance(content, dict) and isinstance(content.get("gan"), dict) and "method" not in content["gan"]:
            usual = ConditionalOptions.model_fields["method"].default
            content = content | {"gan": {"method": usual} | content["gan"]}
        return content

    @model_validator(mode="after")
    def _channels_fit(self) -> Self:
        asked = self.preprocessing.channels if "gan" in self.model_fields_set else ()
        for name in self.gan.named_channels:
            if asked and name not in asked:
                raise ValueError(f"gan asks for channel '{name}', which preprocessing.channels {asked} leaves out")
        return self

    @model_validator(mode="after")
    def _methods_fit(self) -> Self:
        known = GANS[self.gan.method].makes
        for name in self.generation.methods if "gan" in self.model_fields_set else ():
            if name not in known:
                raise ValueError(f"generation.methods: a {self.gan.method} GAN knows {', '.join(known)}, not {name}")
        return self

    @model_validator(mode="after")
    def _design_fits(self) -> Self:
        if self.protocol.design == "kfold" and not self.split.folds:
            raise ValueError("protocol.design: kfold needs split.folds of 2 or more, got 0")
        if self.protocol.design == "holdout" and not self.split.test:
            raise ValueError("protocol.design: holdout needs test patients, got split.test = 0")
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """What the GAN is to make."""
        return self.generation.methods or GANS[self.gan.method].makes


class Recipe(Blocks):
    """The settings of a whole study."""

    title: str = "A synthetic cohort"
    """What the study is called, at the top of its report."""
    data: Data

    def variant(self, name: str) -> Recipe:
        """This recipe with the changes of one of ``protocol.variants``."""
        content = self.model_dump(mode="json")
        changes = self.protocol.variants[name]
        if "generation.methods" not in changes:
            content["generation"]["methods"] = ()
        for key, value in sorted(changes.items()):  # the whole block before its settings
            _put(content, key, value)
        variant = _validate(Recipe, content, f"variant '{name}'")
        if "generation.methods" in changes:
            return variant
        first = variant.generation.model_copy(update={"methods": variant.methods[:1]})
        return variant.model_copy(update={"generation": first})


def load_recipe(
    name: str | Path | None,
    changes: Changes = (),
    *,
    data: Mapping[str, Any] | None = None,
    wanted: Sequence[str] = (),
) -> Recipe:
    """A ready recipe by name, or the user's own by path, with ``changes`` such as ``training.epochs=20``.

    Args:
        name: ``None`` for the defaults of every block; then ``data`` must be given.
        changes: settings that differ.
        data: settings that replace those of the block ``data``, which is dropped where its source is another one.
        wanted: the blocks that ``changes`` may touch; all when empty.

    Raises:
        SettingError: no such recipe, bad YAML, an unknown setting (the nearest is named) or an invalid value.
    """
    if wanted:
        _check_blocks(changes, wanted)
    content = written(name)
    if data is not None:
        before = content.get("data")
        if isinstance(before, dict) and before.get("source") == data.get("source"):
            data = {**before, **data}
        content["data"] = dict(data)
    return _validate(Recipe, _changed(content, changes), str(name or "settings"))


def read_recipe(text: str, name: str, changes: Changes = ()) -> Recipe:
    """A recipe from YAML text; ``name`` stands in error messages."""
    return _validate(Recipe, _changed(_blocks(text, name), changes), name)


def read_blocks(wanted: Sequence[str], name: str | Path | None = None, changes: Changes = ()) -> Blocks:
    """The settings of a single stage, from a recipe or from the defaults; its data need not be known.

    Args:
        wanted: the blocks that ``changes`` may touch, such as ``("gan", "training")``.
        name: a recipe as :func:`load_recipe` takes it; ``None`` for the defaults.
        changes: settings that differ.

    Raises:
        SettingError: as :func:`load_recipe`, or a change in a block that the stage does not use.
    """
    _check_blocks(changes, wanted)
    content = {block: settings for block, settings in written(name).items() if block not in ("data", "title")}
    return _validate(Blocks, _changed(content, changes), str(name or "settings"))


def to_yaml(recipe: Recipe) -> str:
    """Every setting of a recipe, defaults spelled out, as YAML."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    yaml.dump({name: recipe.model_dump(mode="json")[name] for name in ("title", "data", *Blocks.model_fields)}, text)
    return text.getvalue()


def written(name: str | Path | None) -> dict[str, Any]:
    """The blocks of a recipe as they are written; none without a name."""
    return _blocks(find_recipe(name).read_text(encoding="utf-8"), str(name)) if name is not None else {}


def _blocks(text: str, name: str) -> dict[str, Any]:
    content = _yaml(text, name)
    if not isinstance(content, dict):
        raise SettingError(describe(name, "blocks of settings (data:, gan:, …)", type(content).__name__))
    return content


def _check_blocks(changes: Changes, wanted: Sequence[str]) -> None:
    """Refuse a change in a block that a stage does not use: it would have no effect, and nobody would notice."""
    for key, _ in _pairs(changes):
        if key.split(".")[0] not in wanted:
            expected = "a setting of " + " or ".join(f"{block}.…" for block in wanted)
            near = did_you_mean(key.split(".")[0], wanted) if "." in key else f"Write it as {wanted[0]}.{key}=…"
            raise SettingError(describe(f"--set {key}", expected, f"'{key}'", near))


def _changed(content: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """``content`` with the changes. The default steps are spelled out, so that ``steps.resize.size`` is found."""
    block = content.setdefault("preprocessing", {})
    if isinstance(block, dict):
        block.setdefault("steps", PreprocessingOptions().model_dump(mode="json")["steps"])
    for key, value in _pairs(changes):
        _put(content, key, value)
    return content


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


def _put(content: Any, key: str, value: Any) -> None:
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


def _item(items: list[Any], part: str, key: str) -> Any:
    for index, item in enumerate(items):
        if part == str(index) or (isinstance(item, dict) and item.get("step") == part):
            return item
    names = [item["step"] for item in items if isinstance(item, dict) and "step" in item]
    raise SettingError(describe(key, "an item of the list", f"'{part}'", did_you_mean(part, names) if names else ""))


def _validate(model: type[_Model], content: dict[str, Any], name: str) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SettingError(_explain(first, name)) from error


def _explain(error: Mapping[str, Any], name: str) -> str:
    """One pydantic error as one line: which setting, what was expected, what was found."""
    tags = _tags()
    location = [
        str(part) for before, part in pairwise(("", *error["loc"])) if before == "parts" or str(part) not in tags
    ]
    key = ".".join(location)
    kind = error["type"]
    if kind == "extra_forbidden":
        near = did_you_mean(location[-1], _known(error["loc"][:-1]))
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
    expected = message.removeprefix("Input should be ").rstrip(".")
    return describe(f"{name}: {key}", expected, shown)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The blocks of settings inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin is None and not isinstance(annotation, type(Union[int, str])):  # noqa: UP007 (the type itself is meant)
        return []
    return [model for part in get_args(annotation) for model in _models(part)]


def _tags() -> set[str]:
    """The names that pydantic puts into a location for the member of a union it looked at."""
    return {
        str(value)
        for model in (
            *_models(Data),
            *_models(PreprocessingOptions.model_fields["steps"].annotation),
            *_models(PreprocessingOptions.model_fields["sampling"].annotation),
            *_models(GanOptions),
        )
        for field in TAGS
        if field in model.model_fields
        for value in [model.model_fields[field].default]
    }


def _known(location: Sequence[Any]) -> list[str]:
    """The settings that exist at a location of an error."""
    models: list[type[BaseModel]] = [Recipe]
    for part in location:
        tagged = [m for m in models if part in {_default(m, field) for field in TAGS}]
        if tagged:
            models = tagged
        elif any(part in m.model_fields for m in models):  # else a number in a list, or a name that the user gave
            models = [
                inner for m in models if part in m.model_fields for inner in _models(m.model_fields[part].annotation)
            ]
    return sorted({field for model in models for field in model.model_fields})


def _default(model: type[BaseModel], field: str) -> Any:
    return model.model_fields[field].default if field in model.model_fields else None
