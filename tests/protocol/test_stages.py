"""What a report shows of the recipe."""

from __future__ import annotations

from synthoma.protocol.stages import without_salt
from synthoma.recipes import load_recipe, to_yaml


def test_the_salt_of_the_pseudonyms_is_not_shown() -> None:
    recipe = load_recipe(None, {"data.salt": "a, secret"}, data={"source": "dicom", "path": "scans"})
    shown = without_salt(recipe)
    assert "secret" in to_yaml(recipe)
    assert "secret" not in to_yaml(shown)
    assert shown.data == recipe.data.model_copy(update={"salt": ""})
