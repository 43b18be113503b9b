"""What the tests of the documentation share."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """``docs/reference.py``, which is no part of the package."""
    specification = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def blocks() -> Callable[[str], list[tuple[str, str]]]:
    """Of a page of ``docs`` its code blocks: language and text."""
    return lambda page: BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
