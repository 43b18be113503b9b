"""The documentation keeps its word: links lead somewhere, commands, settings and measurements exist.

The examples of DICOM and CT are run, on the phantoms that the page itself draws.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import nibabel as nib
import numpy as np
import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from synthoma.commands.app import app
from synthoma.evaluation import distribution, recognition, similarity, structure, utility
from synthoma.recipes import Recipe, read_recipe
from synthoma.records import Scan
from synthoma.scans import TciaLiverData, find, read

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SETTING = re.compile(r"(?:data|preprocessing|split|gan|training|generation|evaluation|protocol)(?:\.[\w-]+)+")

RUN = (
    "dicom", "lidc", "tcia-liver", "ircadb", "decathlon", "nnunet", "lits",
    "Time and memory", "CT", "Slices, patches, volumes",
)  # fmt: skip
"""Sections of ``data.md`` whose commands are run."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return [text for name, text in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def prose(page: Path) -> str:
    """All but the code blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every ``synthoma …`` line of the shell blocks of a page."""
    return commands_of(page.read_text(encoding="utf-8"))


def commands_of(text: str) -> Iterator[list[str]]:
    """The same of a text; redirections are left off."""
    for block in (block for name, block in BLOCK.findall(text) if name == "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.partition(" > ")[0], comments=True)
            if words[:1] == ["synthoma"]:
                yield words[1:]


def inline(page: Path) -> list[str]:
    """What stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def parse(words: list[str]) -> dict[str, Any]:
    """The parameters of a command, parsed by the application itself but not run."""
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "get_command"):
        name, *words = words
        inner = command.get_command(context, name)
        assert inner is not None, f"no verb '{name}'"
        command = inner
    return dict(command.make_context(command.name, list(words)).params)


def setting_exists(key: str) -> bool:
    """Whether ``a.b.c`` leads to a field of :class:`Recipe`; what lies below a free dictionary is anything."""
    places: list[Any] = [Recipe]
    for part in key.split("."):
        found = []
        for place in places:
            if isinstance(place, type) and issubclass(place, BaseModel):
                if part in place.model_fields:
                    found += _inside(place.model_fields[part].annotation)
                elif "step" in place.model_fields and part == place.model_fields["step"].default:
                    found.append(place)  # a step of the list, by its name
            elif place is dict:
                found.append(dict)
        places = found
    return bool(places)


def _inside(annotation: Any) -> list[Any]:
    """The blocks of settings in a type, ``dict`` for a free dictionary, and ``object`` for a value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if getattr(annotation, "__origin__", None) is dict:
        return [dict]
    models = [place for part in get_args(annotation) for place in _inside(part) if place is not object]
    return models or [object]


def test_the_settings_are_told_apart() -> None:
    for key in ("training.epochs", "preprocessing.steps.resize.size", "data.columns.path", "gan.perceptual.weights"):
        assert setting_exists(key), key
    for key in ("training.epoch", "preprocessing.steps.resise.size", "data.colums", "gan.width.more", "nothing"):
        assert not setting_exists(key), key


@each_page
def test_links_lead_to_files(page: Path) -> None:
    links = [link for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:|#", link)]
    lost = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert not lost


@each_page
def test_links_within_pages_lead_to_headings(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        name, sign, anchor = link.partition("#")
        if sign and ":" not in link:
            other = page.parent / name if name else page
            headings = re.findall(r"^#+ (.+)$", prose(other), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, link


@each_page
def test_commands_are_those_of_the_command_line(page: Path) -> None:
    for words in commands(page):
        try:
            given = parse(words)
        except Exception as error:
            raise AssertionError(f"{page.name}: synthoma {shlex.join(words)}: {error}") from error
        for change in given.get("settings") or ():
            key, sign, _ = change.partition("=")
            assert sign, f"{page.name}: --set {change}"
            assert setting_exists(key), f"{page.name}: --set {change}"


@each_page
def test_commands_in_the_text_are_those_of_the_command_line(page: Path) -> None:
    for text in inline(page):
        words = text.split()
        if words[0] != "synthoma" or len(words) == 1:
            continue
        command: Any = typer.main.get_command(app)
        options = {option for parameter in command.params for option in parameter.opts}
        for word in words[1:]:
            if hasattr(command, "get_command"):
                if word.startswith("-"):
                    continue
                inner = command.get_command(None, word)
                assert inner is not None, f"{page.name}: {text}"
                command = inner
                options |= {o for parameter in inner.params for o in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options | {"--help"}, f"{page.name}: {text}"


@each_page
def test_options_in_the_text_exist(page: Path) -> None:
    waiting, known = [typer.main.get_command(app)], {"--help"}
    while waiting:
        command: Any = waiting.pop()
        known |= {o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)}
        waiting += getattr(command, "commands", {}).values()
    if "benchmarks/" in page.read_text(encoding="utf-8"):
        for script in (ROOT / "benchmarks").glob("*.py"):
            known |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', script.read_text(encoding="utf-8")))
    assert {text.split()[0] for text in inline(page) if text.startswith("--")} <= known


@each_page
def test_settings_in_the_text_exist(page: Path) -> None:
    keys = [text for text in inline(page) if SETTING.fullmatch(text) and not text.endswith((".py", ".yaml"))]
    keys += [match for text in inline(page) for match in re.findall(r"(?:--set '?|^)([a-z_]+\.[\w.-]+)=", text)]
    assert not [key for key in keys if not setting_exists(key)]


@each_page
def test_recipes_are_valid(page: Path) -> None:
    for text in blocks(page, "yaml"):
        default = "" if re.search(r"^data:", text, re.MULTILINE) else "\ndata: {source: brats, path: scans}\n"
        read_recipe(text + default, page.name)


@each_page
def test_python_compiles(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")


def test_every_measurement_is_explained() -> None:
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    families = (similarity, distribution, structure, recognition, utility)
    names = {name for family in families for name in family.DEFINITIONS}
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the commands of ``data.md`` start from: the phantoms drawn by its own block, the abdomens in the
    layouts of other sets too, and the settings that it keeps in files."""
    folder = tmp_path_factory.mktemp("data")
    page = ROOT / "docs" / "data.md"
    (drawing,) = (text for text in blocks(page, "python") if "write_liver_phantom" in text)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", drawing], cwd=folder, env=environment, check=True, capture_output=True)
    for text in blocks(page, "yaml"):
        name = re.match(r"# ([\w-]+\.yaml)", text)
        if name:
            (folder / name[1]).write_text(text, encoding="utf-8")
    options = TciaLiverData(path=folder / "abdomens")
    for number, case in enumerate(find(options).cases):
        scan = read(case, options)
        _as_nifti(folder, scan, number)
        _as_ircadb(folder / "3Dircadb1" / f"3Dircadb1.{number + 1}", scan, folder / "abdomens" / case.patient)
    names: dict[str, Any] = {"labels": {"0": "background", "1": "liver", "2": "cancer"}, "modality": {"0": "CT"}}
    (folder / "Task03_Liver" / "dataset.json").write_text(json.dumps(names))
    names = {"labels": {"background": 0, "liver": [1, 2], "tumour": 2}, "channel_names": {"0": "CT"}}
    (folder / "Dataset503_Liver" / "dataset.json").write_text(json.dumps(names | {"file_ending": ".nii.gz"}))
    return folder


def _tumour(scan: Scan) -> np.ndarray:
    return np.asarray(np.any([scan.masks[name] for name in scan.lesions], axis=0))


def _as_nifti(folder: Path, scan: Scan, number: int) -> None:
    """A case in the layouts of LiTS, the Decathlon and nnU-Net."""
    labels = np.where(_tumour(scan), 2, scan.masks["liver"]).astype(np.uint8)
    for array, names in (
        (
            scan.channels["ct"].astype(np.int16),
            (
                f"LiTS/volume-{number}.nii",
                f"Task03_Liver/imagesTr/liver_{number}.nii.gz",
                f"Dataset503_Liver/imagesTr/liver_{number}_0000.nii.gz",
            ),
        ),
        (
            labels,
            (
                f"LiTS/segmentation-{number}.nii",
                f"Task03_Liver/labelsTr/liver_{number}.nii.gz",
                f"Dataset503_Liver/labelsTr/liver_{number}.nii.gz",
            ),
        ),
    ):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array.T, scan.grid.affine), folder / name)


def _as_ircadb(folder: Path, scan: Scan, files: Path) -> None:
    """A case in the layout of 3D-IRCADb: its CT slices, and the masks as CT images with series of their own."""
    import pydicom

    slices = [pydicom.dcmread(path) for path in files.rglob("*.dcm")]
    slices = sorted((one for one in slices if one.Modality == "CT"), key=lambda one: one.ImagePositionPatient[2])
    masks = {"liver": scan.masks["liver"]} | ({"livertumor1": _tumour(scan)} if _tumour(scan).any() else {})
    for k, one in enumerate(slices):
        (folder / "PATIENT_DICOM").mkdir(parents=True, exist_ok=True)
        one.save_as(folder / "PATIENT_DICOM" / f"image_{k}")
        own = one.SOPInstanceUID, one.SeriesInstanceUID
        one.RescaleIntercept = 0
        for number, (name, mask) in enumerate(masks.items(), start=1):
            one.SOPInstanceUID, one.SeriesInstanceUID = (f"{uid[:60]}.{number}" for uid in own)
            one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
            one.PixelData = (255 * mask[k].astype("<i2")).tobytes()
            (folder / "MASKS_DICOM" / name).mkdir(parents=True, exist_ok=True)
            one.save_as(folder / "MASKS_DICOM" / name / f"image_{k}")


@pytest.mark.slow
@pytest.mark.parametrize("section", RUN)
def test_the_examples_of_a_section_run(phantoms: Path, section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(phantoms)
    for words in section_commands(section):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"synthoma {shlex.join(words)}\n{done.output[-2000:]}\n{done.exception!r}"
        cohort = Path(words[words.index("--out") + 1])
        rejected = (cohort / "rejected.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert not rejected, f"synthoma {shlex.join(words)}: {rejected}"


def section_commands(heading: str) -> list[list[str]]:
    """The commands under a heading of ``data.md``."""
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL)
    found = list(commands_of(body))
    assert found
    return found
