"""The floors of the house: what may import what, deferred imports included (docs/decisions.md)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "synthoma"

FLOORS = (
    {"errors", "seeding", "options", "storage", "similarity", "records", "networks"},
    {"scans", "phantoms", "preprocessing", "cohort", "gans"},
    {"training", "generation", "evaluation", "report", "exports", "study"},
    {"recipes"},
    {"protocol"},
    {"verbs"},
    {"commands"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
GROUND = {"storage": {"errors"}, "records": {"errors", "storage"}, "networks": {"errors", "storage"}}
"""The only imports within floor 0; every other room stands beside its neighbours without knowing them."""
FILES_AT_THE_DOOR = {"__init__": "verbs", "__main__": "commands"}
"""The package itself offers the verbs; ``python -m synthoma`` is the command line."""
FOR_RECORDS = {"numpy", "synthoma", *sys.stdlib_module_names}
NOWHERE = {"torchvision"}


def modules(root: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Every file below ``root``, its room, and the modules that it imports anywhere, as full names."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        package = ["synthoma", *parts[:-1]]
        names: list[str] = []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                names += [f"{module}.{alias.name}" for alias in node.names]
        yield path.relative_to(root), FILES_AT_THE_DOOR.get(parts[0], parts[0]), names


def complaints(root: Path) -> list[str]:
    """Everything below ``root`` that breaks a rule."""
    found = []
    for path, room, names in modules(root):
        if room not in FLOOR_OF:
            found.append(f"{path}: the room '{room}' has no floor")
            continue
        for name in names:
            top, *rest = name.split(".")
            if top in NOWHERE:
                found.append(f"{path}: imports {top}")
            if room == "records" and top not in FOR_RECORDS:
                found.append(f"{path}: records import NumPy only, not {top}")
            if top != "synthoma" or rest == ["__version__"]:
                continue
            other = rest[0] if rest and rest[0] in FLOOR_OF else "verbs"
            below = FLOOR_OF[other] < FLOOR_OF[room]
            if other != room and not below and other not in GROUND.get(room, set()):
                found.append(f"{path}: {room} (floor {FLOOR_OF[room]}) imports {other} (floor {FLOOR_OF[other]})")
    return found


def test_every_import_runs_down():
    assert complaints(SOURCE) == []


def test_the_ground_has_no_circle():
    for room, others in GROUND.items():
        for other in others:
            assert room not in GROUND.get(other, set())


def test_every_room_is_there():
    rooms = {FILES_AT_THE_DOOR.get(path.stem, path.stem) for path in SOURCE.iterdir() if path.name != "__pycache__"}
    assert rooms - {"py"} == set(FLOOR_OF)


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("scans/a.py", "from synthoma.training import x", "scans (floor 1) imports training (floor 2)"),
        ("scans/a.py", "def f():\n    import synthoma.cohort.store", "scans (floor 1) imports cohort (floor 1)"),
        ("scans/a.py", "from ..report import page", "scans (floor 1) imports report (floor 2)"),
        ("scans/a.py", "from synthoma import gans", "scans (floor 1) imports gans (floor 1)"),
        ("scans/a.py", "from .. import gans", "scans (floor 1) imports gans (floor 1)"),
        ("report/a.py", "if True:\n    from synthoma import evaluate", "report (floor 2) imports verbs (floor 5)"),
        ("errors.py", "from synthoma.storage import x", "errors (floor 0) imports storage (floor 0)"),
        ("similarity.py", "from synthoma.records import x", "similarity (floor 0) imports records (floor 0)"),
        ("records/a.py", "from torch import nn", "records import NumPy only, not torch"),
        ("gans/a.py", "def f():\n    from torchvision.models import vgg19", "imports torchvision"),
        ("utils/a.py", "", "the room 'utils' has no floor"),
        ("verbs.py", "from synthoma.commands import main", "verbs (floor 5) imports commands (floor 6)"),
    ],
)
def test_a_planted_import_is_found(tmp_path, file, text, complaint):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    (found,) = complaints(tmp_path)
    assert found == f"{file}: {complaint}"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("scans/a.py", "from synthoma.scans.b import c\nfrom . import d\nimport numpy, nibabel"),
        ("training/a.py", "from synthoma.cohort import x\nfrom synthoma import __version__"),
        ("records/a.py", "import json\nimport numpy\nfrom synthoma.storage import x"),
        ("__main__.py", "from synthoma.commands import main"),
        ("commands/a.py", "from synthoma import open_cohort\nimport typer"),
    ],
)
def test_what_is_allowed_passes(tmp_path, file, text):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert complaints(tmp_path) == []
