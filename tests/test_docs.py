"""The documentation keeps its word: links lead somewhere, commands, settings and measurements exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from synthoma.commands.app import app
from synthoma.evaluation import distribution, recognition, similarity, structure, utility
from synthoma.recipes import Recipe, read_recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SETTING = re.compile(r"(?:data|preprocessing|split|gan|training|generation|evaluation|protocol)(?:\.[\w-]+)+")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return [text for name, text in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def prose(page: Path) -> str:
    """All but the code blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every ``synthoma …`` line of the shell blocks, redirections left off."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.partition(" > ")[0], comments=True)
            if words[:1] == ["synthoma"]:
                yield words[1:]


def inline(page: Path) -> list[str]:
    """What stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def parse(words: list[str]) -> dict[str, Any]:
    """The parameters of a command, parsed by the application itself but not run."""
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "get_command"):
        name, *words = words
        inner = command.get_command(context, name)
        assert inner is not None, f"no verb '{name}'"
        command = inner
    return dict(command.make_context(command.name, list(words)).params)


def setting_exists(key: str) -> bool:
    """Whether ``a.b.c`` leads to a field of :class:`Recipe`; what lies below a free dictionary is anything."""
    places: list[Any] = [Recipe]
    for part in key.split("."):
        found = []
        for place in places:
            if isinstance(place, type) and issubclass(place, BaseModel):
                if part in place.model_fields:
                    found += _inside(place.model_fields[part].annotation)
                elif "step" in place.model_fields and part == place.model_fields["step"].default:
                    found.append(place)  # a step of the list, by its name
            elif place is dict:
                found.append(dict)
        places = found
    return bool(places)


def _inside(annotation: Any) -> list[Any]:
    """The blocks of settings in a type, ``dict`` for a free dictionary, and ``object`` for a value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if getattr(annotation, "__origin__", None) is dict:
        return [dict]
    models = [place for part in get_args(annotation) for place in _inside(part) if place is not object]
    return models or [object]


def test_the_settings_are_told_apart() -> None:
    for key in ("training.epochs", "preprocessing.steps.resize.size", "data.columns.path", "gan.perceptual.weights"):
        assert setting_exists(key), key
    for key in ("training.epoch", "preprocessing.steps.resise.size", "data.colums", "gan.width.more", "nothing"):
        assert not setting_exists(key), key


@each_page
def test_links_lead_to_files(page: Path) -> None:
    links = [link for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:|#", link)]
    lost = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert not lost


@each_page
def test_links_within_pages_lead_to_headings(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        name, sign, anchor = link.partition("#")
        if sign and ":" not in link:
            other = page.parent / name if name else page
            headings = re.findall(r"^#+ (.+)$", prose(other), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, link


@each_page
def test_commands_are_those_of_the_command_line(page: Path) -> None:
    for words in commands(page):
        try:
            given = parse(words)
        except Exception as error:
            raise AssertionError(f"{page.name}: synthoma {shlex.join(words)}: {error}") from error
        for change in given.get("settings") or ():
            key, sign, _ = change.partition("=")
            assert sign, f"{page.name}: --set {change}"
            assert setting_exists(key), f"{page.name}: --set {change}"


@each_page
def test_commands_in_the_text_are_those_of_the_command_line(page: Path) -> None:
    for text in inline(page):
        words = text.split()
        if words[0] != "synthoma" or len(words) == 1:
            continue
        command: Any = typer.main.get_command(app)
        options = {option for parameter in command.params for option in parameter.opts}
        for word in words[1:]:
            if hasattr(command, "get_command"):
                if word.startswith("-"):
                    continue
                inner = command.get_command(None, word)
                assert inner is not None, f"{page.name}: {text}"
                command = inner
                options |= {o for parameter in inner.params for o in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options | {"--help"}, f"{page.name}: {text}"


@each_page
def test_options_in_the_text_exist(page: Path) -> None:
    waiting, known = [typer.main.get_command(app)], {"--help"}
    while waiting:
        command: Any = waiting.pop()
        known |= {o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)}
        waiting += getattr(command, "commands", {}).values()
    if "benchmarks/" in page.read_text(encoding="utf-8"):
        for script in (ROOT / "benchmarks").glob("*.py"):
            known |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', script.read_text(encoding="utf-8")))
    assert {text.split()[0] for text in inline(page) if text.startswith("--")} <= known


@each_page
def test_settings_in_the_text_exist(page: Path) -> None:
    keys = [text for text in inline(page) if SETTING.fullmatch(text) and not text.endswith((".py", ".yaml"))]
    keys += [match for text in inline(page) for match in re.findall(r"(?:--set '?|^)([a-z_]+\.[\w.-]+)=", text)]
    assert not [key for key in keys if not setting_exists(key)]


@each_page
def test_recipes_are_valid(page: Path) -> None:
    for text in blocks(page, "yaml"):
        default = "" if re.search(r"^data:", text, re.MULTILINE) else "\ndata: {source: brats, path: scans}\n"
        read_recipe(text + default, page.name)


@each_page
def test_python_compiles(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")


def test_every_measurement_is_explained() -> None:
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    families = (similarity, distribution, structure, recognition, utility)
    names = {name for family in families for name in family.DEFINITIONS}
    assert not [name for name in sorted(names) if f"`{name}`" not in text]
