"""``synthoma recipes``: the ready recipes, and what can be set."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from synthoma.commands.arguments import Set

__all__ = ["app"]

app = typer.Typer(help="The ready recipes: list, show, schema.", rich_markup_mode=None)


@app.command("list")
def list_recipes() -> None:
    """The recipes that come with synthoma."""
    from synthoma.recipes.ready import ready_recipes, summary

    found = ready_recipes()
    for name, path in found.items():
        typer.echo(f"{name:<{max(map(len, found))}}  {summary(path)}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A ready recipe or a file.")],
    settings: Set = None,
) -> None:
    """Print a recipe.

    As it is written, or with --set every setting of the changed one."""
    from synthoma.recipes.ready import find_recipe

    if not settings:
        typer.echo(find_recipe(name).read_text(encoding="utf-8"), nl=False)
        return
    from synthoma.recipes import load_recipe, to_yaml, written

    changes = [*_open_paths(written(name).get("data")), *settings]  # most ready recipes leave them to the user
    typer.echo(to_yaml(load_recipe(name, changes)), nl=False)


def _open_paths(data: Any, key: str = "data") -> list[str]:
    """A change for every folder that a recipe does not name."""
    from synthoma.phantoms import PHANTOM_SOURCES

    if not isinstance(data, dict) or data.get("source") in PHANTOM_SOURCES:
        return []
    if data.get("source") == "several":
        parts = data.get("parts")
        named = parts.items() if isinstance(parts, dict) else ()
        return [change for name, part in named for change in _open_paths(part, f"{key}.parts.{name}")]
    return [] if "path" in data else [f"{key}.path=FOLDER"]


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe.

    Every setting with its type, bounds and meaning; editors complete by it."""
    import json

    from synthoma.recipes import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2, ensure_ascii=False))
