"""Recipes: the validated settings of a whole study, one block a room.

What reads a recipe brings every room's options and so torch; the list of the ready ones does not, nor do the settings
of a preparation alone (:mod:`synthoma.recipes.preparation`).
"""

from typing import TYPE_CHECKING, Any

from synthoma.recipes.ready import find_recipe, ready_recipes, summary

if TYPE_CHECKING:
    from synthoma.recipes.recipe import (
        Blocks,
        Changes,
        ProtocolOptions,
        Recipe,
        load_recipe,
        read_blocks,
        read_recipe,
        to_yaml,
        written,
    )

__all__ = [
    "Blocks",
    "Changes",
    "ProtocolOptions",
    "Recipe",
    "find_recipe",
    "load_recipe",
    "read_blocks",
    "read_recipe",
    "ready_recipes",
    "summary",
    "to_yaml",
    "written",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("synthoma.recipes.recipe"), name)
