"""What a report shows of the recipe, and what the cohorts of an evaluation are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthoma.errors import InputError
from synthoma.protocol.stages import by_folder_name, without_salt
from synthoma.recipes import load_recipe, to_yaml


def test_the_salt_of_the_pseudonyms_is_not_shown() -> None:
    recipe = load_recipe(None, {"data.salt": "a, secret"}, data={"source": "dicom", "path": "scans"})
    shown = without_salt(recipe)
    assert "secret" in to_yaml(recipe)
    assert "secret" not in to_yaml(shown)
    assert shown.data == recipe.data.model_copy(update={"salt": ""})


def test_cohorts_are_called_by_their_folders() -> None:
    named = by_folder_name(["a/reconstruct.cohort", Path("b/other")])
    assert named == {"reconstruct": Path("a/reconstruct.cohort"), "other": Path("b/other")}
    with pytest.raises(InputError, match=r"expected folders of different names, found 'x' twice: a/x and b/x\.cohort"):
        by_folder_name(["a/x", "b/x.cohort"])
