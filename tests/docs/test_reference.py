"""The reference is made from the code: every setting has a sentence, and every page says what there is."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from synthoma import errors
from synthoma.recipes import Recipe, load_recipe
from synthoma.study.options import StudyOptions

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_setting_has_a_sentence(reference: ModuleType) -> None:
    assert not [one.key for one in reference.settings() if len(one.meaning.split()) < 2]


def test_every_setting_of_a_reader_study_has_a_sentence() -> None:
    assert not [name for name, field in StudyOptions.model_fields.items() if not field.description]


def test_every_setting_of_the_schema_is_in_the_reference(reference: ModuleType) -> None:
    """The JSON schema is made by pydantic, the reference by ours: both must know the same blocks and names."""
    definitions = Recipe.model_json_schema()["$defs"]
    known: dict[str, set[str]] = {}
    for one in reference.settings():
        known.setdefault(one.key.rpartition(".")[2], set()).add(one.key)
    lost = [
        f"{block}.{name}"
        for block, content in definitions.items()
        for name in content.get("properties", {})
        if name not in known
    ]
    assert not lost
    assert len({one.key for one in reference.settings()}) > 250


def test_a_default_in_the_reference_is_that_of_the_recipe(reference: ModuleType) -> None:
    recipe = load_recipe(None, data={"source": "brats", "path": "scans"})
    shown = {one.key: one.default for one in reference.settings() if one.kind in ("", "method: conditional")}
    assert shown["training.epochs"] == f"`{recipe.training.epochs}`"
    assert shown["gan.width"] == f"`{recipe.gan.width}`"
    assert shown["gan.learning_rate"] == f"`{recipe.gan.learning_rate:g}`"
    assert shown["protocol.design"] == f"`{recipe.protocol.design}`"
    assert shown["split.train"] == f"`{recipe.split.train}`"


def test_bounds_are_in_words(reference: ModuleType) -> None:
    shown = {one.key: one.values for one in reference.settings()}
    assert shown["protocol.gpus_per_stage"] == "number, ≥ 0, ≤ 1"
    assert shown["training.epochs"] == "whole number, ≥ 0"
    assert shown["protocol.runner"] == "`local`, `ray`"
    assert shown["data.path"] == "path"


def test_a_step_is_named_as_on_the_command_line(reference: ModuleType) -> None:
    step = next(one for one in reference.settings() if one.key == "preprocessing.steps.resize.size")
    load_recipe(None, [f"{step.key}=64"], data={"source": "brats", "path": "scans"})


def test_tables_have_as_many_cells_as_heads(reference: ModuleType) -> None:
    for name, page in reference.PAGES.items():
        columns = 0
        for line in page().splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert columns == 0 or cells in (0, columns), f"{name}: {line}"
            columns = cells


def test_every_command_is_shown_with_its_help(reference: ModuleType) -> None:
    page = reference.commands_page()
    for words in ("synthoma", "synthoma prepare", "synthoma recipes schema", "synthoma study analyse"):
        assert f"## {words}\n" in page
    assert page.count("Usage: ") == page.count("\n## ")
    assert "--install-completion" in page


def test_every_family_of_the_evaluation_is_among_the_metrics(reference: ModuleType) -> None:
    from synthoma.evaluation.families import METRICS

    assert set(METRICS) <= set(reference.metrics())
    assert all(text for family in reference.metrics().values() for text in family.values())


def test_every_error_has_its_exit_code(reference: ModuleType) -> None:
    page = reference.exit_codes_page()
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.SynthomaError) and name != "SynthomaError":
            assert f"| {kind.exit_code} | `{name}` |" in page
    written = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", written, re.MULTILINE)}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_what_a_page_asks_for_is_there(reference: ModuleType, page: Path) -> None:
    for name in re.findall(r"<!-- reference: (.*?) -->", page.read_text(encoding="utf-8")):
        assert name in reference.PAGES


def test_links_that_leave_the_site_become_words(reference: ModuleType) -> None:
    text = "[`Gan`](../src/synthoma/gans/gan.py), [a](data.md#a), [b](../README.md) and [c [d]](../e.md)"
    assert reference.on_page_markdown(text) == "`Gan`, [a](data.md#a), b and c [d]"
