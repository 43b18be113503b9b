"""The study folder: its format, and opening one. :mod:`synthoma.study.create` makes one.

::

    x.study/
    ├── study.json       what the server reads: the order of each reader, the images' format; no origin
    ├── key.json         which image is what; for export and analysis only; may be kept elsewhere until then
    ├── secret           signs links and cookies (readable by its owner only)
    ├── links.txt        the private link of each reader, and the administrator's (readable by its owner only)
    ├── images/<id>.raw  int16, little-endian, (z, y, x), all of one length; the ids are random
    └── answers.sqlite   answers and their history, unless another database is named
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from synthoma.errors import InputError, describe
from synthoma.options import Options
from synthoma.storage import read_json
from synthoma.study.options import StudyOptions

__all__ = ["Design", "ImageFormat", "Key", "KeyEntry", "Presentation", "Source", "Study", "open_key", "open_study"]

SCHEMA_VERSION = 1
DESIGN, KEY, SECRET, LINKS, IMAGES, ANSWERS = (
    "study.json", "key.json", "secret", "links.txt", "images", "answers.sqlite",
)  # fmt: skip
Phase = Literal["training", "main", "repeat"]


class ImageFormat(Options):
    """What every image file of a study has in common."""

    shape: tuple[int, int, int]
    """(z, y, x); a slice has z = 1."""
    unit: Literal["HU", "arbitrary"]
    """HU, or a scale of its own from 0 (each image's lowest value) to 4095."""
    low: int
    """No image goes below."""
    high: int
    """No image goes above."""
    aspect: float
    """Height of a pixel over its width, in mm."""

    @property
    def size(self) -> int:
        """Bytes of an image."""
        z, y, x = self.shape
        return 2 * z * y * x


class Presentation(Options):
    """One showing of an image to one reader."""

    id: str
    """What the browser calls it: random, and another one for each reader and each showing."""
    image: str
    """The file in ``images/``."""
    phase: Phase
    """``repeat`` is the second showing of an image; the reader is not told."""


class Design(Options):
    """The content of ``study.json``."""

    schema_version: int
    """The version of the folder's format."""
    version: str
    """The version of synthoma that wrote it."""
    study: str
    """The study's random name."""
    title: str
    """What the readers see at the top."""
    notice: str
    """The researcher's own text on the first page."""
    modality: str
    """MR, CT or OT."""
    format: ImageFormat
    """Of every image."""
    readers: tuple[tuple[Presentation, ...], ...]
    """What each reader is shown, in order."""


class Source(Options):
    """A cohort that images were taken from."""

    path: str
    """The folder, as it was given."""
    sha256: str
    """Of its ``cohort.json``, which holds the hashes of the rest."""


class KeyEntry(Options):
    """What an image is."""

    origin: Literal["real", "synthetic"]
    """The one thing that readers must not know."""
    row: int
    """Its row in its cohort."""
    sample: str
    """Its id in its cohort."""
    label: str
    """Its class."""
    patients: tuple[str, ...]
    """Whose images went into it."""
    sha256: str
    """Of the image file."""


class Key(Options):
    """The content of ``key.json``."""

    study: str
    """The study's random name."""
    real: Source
    """Where real images came from."""
    synthetic: Source
    """Where synthetic images came from."""
    channel: str
    """The channel that is shown."""
    options: StudyOptions
    """How the study was drawn."""
    notes: tuple[str, ...]
    """What the creation had to say."""
    images: Mapping[str, KeyEntry]
    """Image → what it is."""


@dataclass(frozen=True)
class Study:
    """An open study folder, without its key."""

    path: Path
    design: Design

    @property
    def database(self) -> str:
        """URL of the database in the folder."""
        return f"sqlite:///{(self.path / ANSWERS).resolve()}"

    @cached_property
    def places(self) -> tuple[dict[str, int], ...]:
        """For each reader, presentation → place in the order, from 0."""
        return tuple({shown.id: place for place, shown in enumerate(order)} for order in self.design.readers)

    def order(self, reader: int) -> tuple[Presentation, ...]:
        """What a reader (from 1) is shown."""
        return self.design.readers[reader - 1]

    def secret(self) -> str:
        """The key that signs links and cookies."""
        try:
            text = (self.path / SECRET).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(describe(self.path / SECRET, "the study's secret", error)) from error
        if len(text) < 32:
            raise InputError(describe(self.path / SECRET, "the study's secret", "a text that is too short"))
        return text

    def image(self, name: str) -> bytes:
        """The bytes of an image, for its name in the design."""
        return (self.path / IMAGES / f"{name}.raw").read_bytes()


def open_study(path: Path | str) -> Study:
    """Open a study folder.

    Raises:
        InputError: the folder is no study, or one of its images is absent or of another size.
    """
    path = Path(path)
    if not (path / DESIGN).is_file():
        found = f"a folder without {DESIGN}" if path.is_dir() else "a file" if path.exists() else "nothing"
        raise InputError(describe(path, "a study folder", found, "Make one with synthoma study create."))
    design = _read(path / DESIGN, Design)
    if design.schema_version != SCHEMA_VERSION:
        expected = f"a study of schema version {SCHEMA_VERSION}"
        raise InputError(describe(path / DESIGN, expected, design.schema_version, "Another synthoma wrote it."))
    for name in sorted({shown.image for order in design.readers for shown in order}):
        file = path / IMAGES / f"{name}.raw"
        size = file.stat().st_size if name.isalnum() and file.is_file() else None
        if size != design.format.size:
            found = "nothing" if size is None else f"{size}"
            raise InputError(describe(file, f"an image of {design.format.size} bytes", found))
    return Study(path, design)


def open_key(study: Study) -> Key:
    """What the images of a study are.

    Raises:
        InputError: the key is not there, damaged, or of another study.
    """
    path = study.path / KEY
    if not path.is_file():
        raise InputError(describe(path, "the study's key", "nothing", "Put it back; without it no origin is known."))
    key = _read(path, Key)
    if key.study != study.design.study:
        raise InputError(describe(path, f"the key of study {study.design.study}", f"that of {key.study}"))
    absent = {shown.image for order in study.design.readers for shown in order} - set(key.images)
    if absent:
        raise InputError(describe(path, "an entry for every image", f"none for {min(absent)}"))
    return key


Model = TypeVar("Model", bound=Options)


def _read(path: Path, kind: type[Model]) -> Model:
    content: Any = read_json(path)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(describe(path, f"a valid field {field}", first["msg"])) from None
