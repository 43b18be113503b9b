"""Recipes: the validated settings of a whole study, one block a room."""

from synthoma.recipes.ready import find_recipe, ready_recipes, summary
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
