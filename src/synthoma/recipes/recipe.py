"""``Recipe``: every room's block of settings, read from YAML, changed by ``a.b=value``, validated as one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from synthoma.cohort import SplitOptions
from synthoma.evaluation import EvaluationOptions
from synthoma.gans import GANS, ConditionalOptions, GanOptions
from synthoma.generation import GenerationOptions
from synthoma.options import Options
from synthoma.phantoms import PhantomOptions
from synthoma.preprocessing import PreprocessingOptions
from synthoma.recipes.changes import Changes, blocks_of, changed, check_blocks, put, written
from synthoma.recipes.checked import validate
from synthoma.recipes.protocol import ProtocolOptions
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
            put(content, key, value)
        variant = validate(Recipe, content, f"variant '{name}'")
        if "generation.methods" in changes:
            return variant
        first = variant.generation.model_copy(update={"methods": variant.methods[:1]})
        return variant.model_copy(update={"generation": first})


def load_recipe(
    name: str | Path | None,
    changes: Changes = (),
    *,
    data: Mapping[str, Any] | None = None,
) -> Recipe:
    """A ready recipe by name, or the user's own by path, with ``changes`` such as ``training.epochs=20``.

    Args:
        name: ``None`` for the defaults of every block; then ``data`` must be given.
        changes: settings that differ.
        data: settings that replace those of the block ``data``, which is dropped where its source is another one.

    Raises:
        SettingError: no such recipe, bad YAML, an unknown setting (the nearest is named) or an invalid value.
    """
    content = written(name)
    if data is not None:
        before = content.get("data")
        if isinstance(before, dict) and before.get("source") == data.get("source"):
            data = {**before, **data}
        content["data"] = dict(data)
    return validate(Recipe, changed(content, changes), str(name or "settings"))


def read_recipe(text: str, name: str, changes: Changes = ()) -> Recipe:
    """A recipe from YAML text; ``name`` stands in error messages."""
    return validate(Recipe, changed(blocks_of(text, name), changes), name)


def read_blocks(wanted: Sequence[str], name: str | Path | None = None, changes: Changes = ()) -> Blocks:
    """The settings of a single stage, from a recipe or from the defaults; its data need not be known.

    Args:
        wanted: the blocks that ``changes`` may touch, such as ``("gan", "training")``.
        name: a recipe as :func:`load_recipe` takes it; ``None`` for the defaults.
        changes: settings that differ.

    Raises:
        SettingError: as :func:`load_recipe`, or a change in a block that the stage does not use.
    """
    check_blocks(changes, wanted)
    content = {block: settings for block, settings in written(name).items() if block not in ("data", "title")}
    return validate(Blocks, changed(content, changes), str(name or "settings"))


def to_yaml(recipe: Recipe) -> str:
    """Every setting of a recipe, defaults spelled out, as YAML."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    yaml.dump({name: recipe.model_dump(mode="json")[name] for name in ("title", "data", *Blocks.model_fields)}, text)
    return text.getvalue()
