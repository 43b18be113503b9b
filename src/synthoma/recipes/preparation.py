"""The settings of a preparation alone. Without a recipe they are read without the other rooms, and so without torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from synthoma.cohort import SplitOptions
from synthoma.errors import SettingError, describe
from synthoma.options import Options
from synthoma.phantoms import PHANTOM_SOURCES
from synthoma.preprocessing import PreprocessingOptions
from synthoma.recipes.changes import Changes, changed, check_blocks
from synthoma.recipes.checked import validate
from synthoma.recipes.protocol import ProtocolOptions
from synthoma.scans import FolderData

__all__ = ["Preparation", "load_preparation"]


class Preparation(Options):
    """What turns one folder of scans into a cohort."""

    data: FolderData = Field(discriminator="source")
    preprocessing: PreprocessingOptions = PreprocessingOptions()
    split: SplitOptions = SplitOptions()
    protocol: ProtocolOptions = ProtocolOptions()


def load_preparation(
    source: str, path: str | Path, recipe: str | Path | None = None, changes: Changes = ()
) -> Preparation:
    """The settings of a preparation, from a recipe or from the defaults.

    Without a recipe nobody said that a lesion is needed: patients without a segmentation are kept.

    Args:
        source: how the scans are stored: a name of :data:`synthoma.scans.FOLDER_SOURCES`.
        path: their folder.
        recipe: a ready recipe or a file; all of it is checked, since the stages after this one will need it.
        changes: settings that differ, of these blocks only.

    Raises:
        SettingError: no source that reads one folder, no such recipe, an unknown setting or an invalid value.
    """
    if source in PHANTOM_SOURCES:
        remedy = f"Phantoms are drawn, not read: synthoma demo, or a recipe with data.source={source}."
        raise SettingError(describe("source", "one that reads files", f"'{source}'", remedy))
    if source == "several":
        remedy = "Several folders are joined in a recipe (data.parts.NAME.path): synthoma run RECIPE --out STUDY."
        raise SettingError(describe("source", "one that reads a single folder", f"'{source}'", remedy))
    check_blocks(changes, list(Preparation.model_fields))
    data = {"source": source, "path": path}
    if recipe is None:
        bare = {"data": data, "preprocessing": {"require_lesion_mask": False}}
        return validate(Preparation, changed(bare, changes), "settings")
    from synthoma.recipes.recipe import load_recipe

    whole = load_recipe(recipe, changes, data=data)
    return Preparation.model_validate({block: getattr(whole, block) for block in Preparation.model_fields})
