"""What goes with a release says the same everywhere: versions, pins, users, completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (ROOT / "apptainer.def").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENV", "USER", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: instruction and what follows it."""
    kept = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in kept.splitlines() if line)]


def sections() -> dict[str, str]:
    """Of the Apptainer recipe: name and content."""
    parts = re.split(r"^%(\w+)\n", APPTAINER, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_torch_is_pinned_alike() -> None:
    pins = set(re.findall(r"torch==([\d.]+)(?=\s|$)", MAKEFILE + APPTAINER + DOCKERFILE, re.MULTILINE))
    (constrained,) = re.findall(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pages = " ".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert pins | set(re.findall(r"torch==([\d.]+\d)", pages)) == {constrained}


def test_the_image_is_made_of_known_instructions_and_runs_as_nobody_special() -> None:
    found = instructions()
    assert {word for word, _ in found} == KNOWN
    last = [i for i, (word, _) in enumerate(found) if word == "FROM"][-1]
    users = [rest for word, rest in found[last:] if word == "USER"]
    assert users == ["synthoma"]
    assert "useradd --uid 10001 --create-home synthoma" in DOCKERFILE
    assert all("chromium" not in rest for _, rest in found)
    assert all("-c /tmp/constraints.txt" in rest for word, rest in found[last:] if word == "RUN" and "pip" in rest)


def test_containers_take_the_python_that_was_tested_and_files_that_exist() -> None:
    assert (
        re.findall(r"^(?:FROM|From:) ([\w.:-]+)", DOCKERFILE + APPTAINER, re.MULTILINE)
        == ["python:3.11-slim-bookworm"] * 3
    )
    copied = [rest for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    sources = [name for rest in copied for name in rest.split()[:-1]]
    sources += [line.split()[0] for line in sections()["files"].splitlines() if line.strip()]
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in sources:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in allowed, name


def test_extras_that_containers_take_exist() -> None:
    asked = re.findall(r"\[([a-z,]+)\]", DOCKERFILE + APPTAINER + MAKEFILE)
    assert {name for names in asked for name in names.split(",")} <= {*PROJECT["optional-dependencies"], "docs"}


@pytest.mark.parametrize("name", ["post", "test", "runscript", "environment"])
def test_scripts_of_the_apptainer_recipe_are_well_formed(name: str) -> None:
    done = subprocess.run(["sh", "-n", "-c", sections()[name]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_apptainer_recipe_asks_for_has_a_default() -> None:
    defaults = re.findall(r"^\s+(\w+)=", sections()["arguments"], re.MULTILINE)
    assert set(re.findall(r"{{ (\w+) }}", sections()["post"])) == set(defaults)


def test_the_citation_is_that_of_this_version() -> None:
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version"} <= citation.keys()
    assert (citation["title"], citation["version"]) == (PROJECT["name"], PROJECT["version"])
    assert citation["license"] == PROJECT["license"]


def test_every_target_that_the_pages_name_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    named = {name for page in pages for name in re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8"))}
    assert {"docs", "build", "sbom"} <= named <= targets


def test_words_are_completed() -> None:
    """As bash asks for them."""
    command = [sys.executable, "-c", "from synthoma.commands import main; main()"]
    for words, position, expected in (
        ("synthoma tr", "1", ["train"]),
        ("synthoma train --re", "2", ["--recipe", "--resume"]),
    ):
        asked = {"COMP_WORDS": words, "COMP_CWORD": position, "_SYNTHOMA_COMPLETE": "complete_bash"}
        done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=False)
        assert done.stdout.split() == expected, done.stderr


def test_completing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from synthoma.commands.app import app; import typer; typer.main.get_command(app);"
        "print([name for name in ('torch', 'numpy', 'pydantic', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
