"""Recipes: the validated settings of a whole study, one block a room."""

from synthoma.recipes.ready import ready_recipes
from synthoma.recipes.recipe import ProtocolOptions, Recipe, load_recipe, read_recipe

__all__ = ["ProtocolOptions", "Recipe", "load_recipe", "read_recipe", "ready_recipes"]
