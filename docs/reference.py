"""The pages of the reference, made from the code whenever the site is built: they cannot go stale.

MkDocs calls this file (``hooks`` of ``mkdocs.yml``). A page says ``<!-- reference: settings -->`` where it wants the
settings, and likewise ``commands``, ``metrics``, ``exit-codes`` and ``weights``. To read one without a site::

    python docs/reference.py settings
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

import typer
from pydantic import BaseModel

from synthoma import errors
from synthoma.recipes import Recipe

TAGS = ("source", "step", "kind", "method")
"""Settings that say which of several blocks is meant."""
TAGGED_BLOCKS = ("data", "preprocessing.steps", "preprocessing.sampling", "gan")
"""Blocks of which there are several kinds."""
AGAIN = ("data.parts",)
"""Blocks that hold others which stand elsewhere already: the parts of ``several`` are sources."""
MARK = re.compile(r"^<!-- reference: ([\w-]+) -->$", re.MULTILINE)
LEAVES = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(\.\./[^)\s]+\)")
"""A link to a file that is not part of the site, such as ``[storage.py](../src/synthoma/storage.py)``."""
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):(?=[`<])")
BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
WIDTH = 100
"""Of the text of ``--help``, in letters."""
LONGEST_DEFAULT = 60
"""A longer default is left to ``synthoma recipes show``."""


class Setting(NamedTuple):
    """One setting as the reference shows it."""

    key: str
    kind: str
    """Of which kind of block, ``method: cycle``; empty where there is one only."""
    values: str
    default: str
    meaning: str
    """Empty where nobody wrote a sentence."""


def settings() -> list[Setting]:
    """Every setting of a recipe, in the order in which it is declared."""
    found = [*_of(Recipe, "", "")]
    order = ("title", "data", *(name for name in Recipe.model_fields if name not in ("title", "data")))
    return sorted(found, key=lambda one: order.index(one.key.partition(".")[0]))


def _of(model: type[BaseModel], prefix: str, kind: str) -> Iterator[Setting]:
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        key, content = prefix + name, schema["properties"][name]
        blocks = models(field.annotation)
        meaning = field.description or (_first_lines(model) if name in TAGS and kind else _of_blocks(blocks))
        default = "–" if field.is_required() else _default(content)
        yield Setting(key, kind, _values(content, schema.get("$defs", {})), default, _flat(meaning))
        for block in blocks if key not in AGAIN else ():
            below = f"{key}.{block.model_fields['step'].default}." if key == "preprocessing.steps" else f"{key}."
            yield from _of(block, below, _kind(block) if key in TAGGED_BLOCKS else kind)


def _of_blocks(blocks: list[type[BaseModel]]) -> str:
    """What is said of a setting that is a block of settings itself."""
    if len(blocks) == 1:
        return _first_lines(blocks[0])
    return "One of: " + ", ".join(f"`{_kind(block)}`" for block in blocks) + "." if blocks else ""


def models(annotation: Any) -> list[type[BaseModel]]:
    """The blocks of settings in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models(part)]


def _kind(block: type[BaseModel]) -> str:
    """What tells this block from its neighbours, such as ``method: cycle``."""
    tag = next(
        (tag for tag in TAGS if tag in block.model_fields and isinstance(block.model_fields[tag].default, str)), ""
    )
    return f"{tag}: {block.model_fields[tag].default}" if tag else ""


def _first_lines(documented: type[object]) -> str:
    return (documented.__doc__ or "").partition("\n\n")[0]


def _default(content: Mapping[str, Any]) -> str:
    value = content.get("default", {})
    if isinstance(value, dict) or len(str(value)) > LONGEST_DEFAULT:
        return ""
    if value is None or value in ("", []):
        return "none" if value is None else "empty"
    return f"`{value:g}`" if isinstance(value, float) else f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def _values(content: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """What may be given, in words: types, bounds, names."""
    if "$ref" in content:
        content = defs[content["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in content:
        return " or ".join(dict.fromkeys(_values(part, defs) for part in content["anyOf"]))
    if "oneOf" in content or content.get("type") == "object":
        return "settings"
    if "const" in content:
        return f"`{content['const']}`"
    if "enum" in content:
        return ", ".join(f"`{one}`" for one in content["enum"])
    if content.get("type") == "array":
        if "prefixItems" in content:
            return "[" + ", ".join(_values(part, defs) for part in content["prefixItems"]) + "]"
        return f"list of {_values(content['items'], defs)}" if content.get("items") else "list"
    words = {"integer": "whole number", "number": "number", "boolean": "true or false", "null": "nothing"}
    name = "path" if content.get("format") == "path" else words.get(content.get("type", ""), "text")
    bounds = ", ".join(f"{sign} {content[word]:g}" for word, sign in BOUNDS if word in content)
    return f"{name}, {bounds}" if bounds else name


def _flat(text: str) -> str:
    """Text of a docstring on one line, without the marks of Sphinx."""
    return ROLE.sub("", " ".join(text.split()))


def settings_page() -> str:
    """A heading a block and kind, a table below each."""
    lines: list[str] = []
    before = ("", "")
    for one in settings():
        block = one.key.partition(".")[0]
        if "." not in one.key and block not in ("title",):
            lines += [f"\n## {block}\n"]
            before = (block, "no table yet")
        if (block, one.kind) != before:
            lines += [f"\n### {block}, {one.kind}\n"] if one.kind else []
            lines += ["\n| setting | values | default | meaning |", "|---|---|---|---|"]
            before = (block, one.kind)
        lines.append(_row(f"`{one.key}`", one.values, one.default, one.meaning))
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def metrics() -> dict[str, dict[str, str]]:
    """Of every family of measurements its names and their definitions."""
    from synthoma.evaluation.families import METRICS
    from synthoma.study import analysis

    families = {name: dict(sys.modules[family.__module__].DEFINITIONS) for name, family in METRICS.items()}
    return families | {"reader study": dict(analysis.DEFINITIONS)}


def metrics_page() -> str:
    """A table a family."""
    lines: list[str] = []
    for family, definitions in metrics().items():
        lines += [f"\n## {family.capitalize()}\n", "| name | definition |", "|---|---|"]
        lines += [_row(f"`{name}`", _flat(text)) for name, text in definitions.items()]
    return "\n".join(lines)


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Every command: its words, itself, and its context; groups stand before what is in them."""
    from synthoma.commands.app import app

    def below(command: Any, words: str, parent: Any) -> Iterator[tuple[str, Any, Any]]:
        context = type(command).context_class(command, info_name=words.rpartition(" ")[2], parent=parent)
        context.max_content_width = context.terminal_width = WIDTH
        yield words, command, context
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, f"{words} {name}", context)

    return below(typer.main.get_command(app), "synthoma", None)


def commands_page() -> str:
    """A heading a command, and what its ``--help`` says."""
    return "\n".join(
        f"\n## {words}\n\n```text\n{command.get_help(context)}\n```" for words, command, context in commands()
    )


def exit_codes_page() -> str:
    """A table of the codes with the errors that lead to them."""
    lines = ["| code | error | meaning |", "|---|---|---|", "| 0 | – | Done. |"]
    waiting = [errors.SynthomaError]
    rows: list[tuple[int, str, str]] = [(1, "any other", "A bug: `--debug` shows where it came from.")]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one is not errors.SynthomaError and one.__module__ == errors.__name__:
            rows.append((one.exit_code, f"`{one.__name__}`", _flat(_first_lines(one))))
    return "\n".join([*lines, *(_row(str(code), name, text) for code, name, text in sorted(rows))])


def weights_page() -> str:
    """A table of the pretrained networks."""
    from synthoma.networks.pretrained import WEIGHTS

    lines = ["| network | for | layout of the file | named by |", "|---|---|---|---|"]
    for name, one in WEIGHTS.items():
        named = f"`{one.setting}`" if one.setting else "embedded: nothing to do"
        lines.append(_row(f"`{name}`", one.used_for, one.layout, named))
    return "\n".join(lines)


PAGES = {
    "settings": settings_page,
    "commands": commands_page,
    "metrics": metrics_page,
    "exit-codes": exit_codes_page,
    "weights": weights_page,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page: fill in the reference; of links that leave the site keep the words."""
    return LEAVES.sub(r"\1", MARK.sub(lambda found: PAGES[found[1]](), markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Called by MkDocs with the page made of it: the marks of Sphinx in docstrings go."""
    return ROLE.sub("", html)


if __name__ == "__main__":
    print(PAGES[sys.argv[1]]())
