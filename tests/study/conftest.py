"""Cohorts to draw studies from, a study, and a server that runs it in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from synthoma.cohort import create_cohort
from synthoma.records import Lineage, Samples
from synthoma.study import Study, StudyOptions, open_study
from synthoma.study.create import create_study
from synthoma.study.server import create_app
from synthoma.study.tokens import csrf_token, link_token, read_cookie

LABELS = ("tumour", "tumour-free")


def picture(rng: np.random.Generator, shape: tuple[int, ...], tumour: bool) -> np.ndarray:
    """A body of smooth texture on background, ([z,] y, x) in (−1, 1); the same law for both origins."""
    side = shape[-1]
    z, y, x = np.meshgrid(*[np.arange(n) for n in (1, *shape)[-3:]], indexing="ij")
    centre = side / 2 + rng.uniform(-1, 1, 2)
    body = np.hypot(y - centre[0], x - centre[1]) < side * rng.uniform(0.38, 0.42)
    waves = np.sin(y / rng.uniform(2, 4) + z / 3) * np.cos(x / rng.uniform(2, 4) + rng.uniform(0, 6))
    image = 0.35 * waves + 0.08 * rng.normal(size=body.shape)
    if tumour:
        image += 0.5 * (np.hypot(y - centre[0] - side / 8, x - centre[1]) < side * 0.12)
    return np.where(body, np.clip(image, -0.85, 0.95), -1).reshape(shape)


def window(unit: str, number: int) -> tuple[float, float]:
    """The scanner's values that stand for −1 and +1: one for all in HU, each patient's own in MR."""
    return (-1000.0, 400.0) if unit == "HU" else (0.0, 200.0 + number)


def write_cohorts(
    folder: Path, *, patients: int = 24, shape: tuple[int, ...] = (24, 24), unit: str = "arbitrary"
) -> tuple[Path, Path]:
    """``real.cohort`` and ``synthetic.cohort``: a sample of each patient in both, the second made from the first.

    What the pictures show follows one law. How they are stored differs as it does in life: real ones come from 8 bits
    and their background is −1; synthetic ones are continuous and their background is nearly −1.
    """
    seen = [f"p{i:03d}" for i in range(patients)]
    prepared = Lineage.of("prepare", parents=("ab",), recipe={}, seed=1, patients_seen=seen)
    trained = Lineage.of("train", parents=(prepared.id,), recipe={}, seed=1, patients_seen=["someone-else"])
    made = Lineage.of("generate", parents=(trained.id,), recipe={}, seed=1, patients_seen=["someone-else"])
    paths = {}
    for origin, lineages in (("real", (prepared,)), ("synthetic", (made, trained, prepared))):
        paths[origin] = folder / f"{origin}.cohort"
        with create_cohort(
            paths[origin],
            channels=("flair",) if origin == "synthetic" else ("t1", "flair"),
            mask_names=("body", "lesion"),
            shape=shape,
            lineages=lineages,
            conditions=("t1", "mask") if origin == "synthetic" else (),
        ) as writer:
            for number, patient in enumerate(seen):
                rng = np.random.default_rng([number, origin == "real"])
                tumour = number % 2 == 0
                image = picture(rng, shape, tumour)
                if origin == "real":
                    image = np.where(image > -1, np.round((image + 1) * 127.5) / 127.5 - 1, -1)
                else:
                    image = np.maximum(image, -0.997 + 0.002 * rng.random(shape))
                image = image.astype(np.float32)
                writer.add(
                    Samples(
                        images=np.stack([image] * (1 if origin == "synthetic" else 2))[None],
                        masks=np.stack([image > -0.95, image > 0.6])[None].astype(np.uint8),
                        channels=writer.channels,
                        mask_names=("body", "lesion"),
                        slices=(7,),
                        labels=(LABELS[number % 2],),
                        patient=patient,
                        site="north",
                        spacing_mm=(1.0,) * len(shape),
                        intensity=dict.fromkeys(
                            writer.channels, (-1000.0, 400.0) if unit == "HU" else (0.0, 200.0 + number)
                        ),
                        unit=unit,
                        modality="CT" if unit == "HU" else "MR",
                    ),
                    split="test",
                    origin=origin,
                    reference=[f"{patient}/0007"] if origin == "synthetic" else (),
                    made_from=[f"{patient}/0007"] if origin == "synthetic" else (),
                    lineage=lineages[0].id,
                    ids=[f"reconstruct/{number:05d}"] if origin == "synthetic" else (),
                )
    return paths["real"], paths["synthetic"]


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    base: str
    links: dict[str, str]
    """``reader 1`` … and ``administrator`` → private link."""

    def token(self, who: str) -> str:
        return self.links[who].partition("#")[2]

    def kill(self) -> None:
        """``kill -9``."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def serving(study: Study, *words: str) -> Iterator[Running]:
    """``synthoma study serve`` on a free port."""
    command = [sys.executable, "-m", "synthoma", "study", "serve", str(study.path), "--port", "0", *words]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    errors = study.path.parent / "server-errors.txt"
    with errors.open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=env)
        assert process.stdout is not None
        links: dict[str, str] = {}
        try:
            for line in process.stdout:
                found = re.match(r"(reader \d+|administrator)\s+(\S+)", line)
                if found:
                    links[found[1]] = found[2]
                if line.startswith("Serving on"):
                    break
            assert links, errors.read_text()
            yield Running(process, links["administrator"].partition("/enter")[0], links)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            process.stdout.close()


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """24 patients of 24 × 24; not to be changed."""
    return write_cohorts(tmp_path_factory.mktemp("cohorts"))


@pytest.fixture
def create(cohorts: tuple[Path, Path], tmp_path: Path) -> Callable[..., Study]:
    """``create(items=8)`` → a study of the cohorts, opened."""

    def make(real: Path = cohorts[0], synthetic: Path = cohorts[1], name: str = "s.study", **changes: Any) -> Study:
        options = {"items": 8, "readers": 2, "repeats": 0.25, "training": 2} | changes
        create_study(real, synthetic, tmp_path / name, StudyOptions(**options))
        return open_study(tmp_path / name)

    return make


@pytest.fixture(scope="session")
def write() -> Callable[..., tuple[Path, Path]]:
    """``write(folder, patients=24)`` → the paths of a real and a synthetic cohort."""
    return write_cohorts


@pytest.fixture(scope="session")
def serve() -> Callable[..., contextlib.AbstractContextManager[Running]]:
    """``with serve(study) as server``: a server in a process of its own."""
    return serving


class Person:
    """Somebody at a browser, without one: opens a link, reads pages, answers."""

    def __init__(self, client: Any, study: Study, who: int) -> None:
        self.client, self.study, self.who = client, study, who
        self.order = study.order(who) if who else ()
        token = link_token(study.secret(), study.design.study, who)
        self.entered = client.post("/api/visit", json={"token": token})
        cookie = client.cookies.get("synthoma_reader" if who else "synthoma_administrator")
        visit = read_cookie(study.secret(), study.design.study, cookie)
        assert visit is not None
        self.headers = {"X-CSRF-Token": csrf_token(study.secret(), visit)}

    def answer(self, place: int, **changes: Any) -> Any:
        """Answer the item at a place, from 0."""
        fields = {
            "item": self.order[place].id, "key": secrets.token_hex(16), "realism": 4, "anatomy": 3, "lesion": None,
            "call": "real", "confidence": 2, "note": "", "seconds": 1.5,
        }  # fmt: skip
        return self.client.post("/api/answers", json=fields | changes, headers=self.headers)


@pytest.fixture
def app(create: Callable[..., Study]) -> Iterator[tuple[Any, Study]]:
    """An application in this process, and its study."""
    study = create()
    application = create_app(study)
    with TestClient(application, base_url="http://127.0.0.1"):
        yield application, study


@pytest.fixture
def visit(app: tuple[Any, Study]) -> Callable[..., Person]:
    """``visit(1)``: reader 1 with a browser of their own; 0 is the administrator."""

    def enter(who: int) -> Person:
        return Person(TestClient(app[0], base_url="http://127.0.0.1", raise_server_exceptions=False), app[1], who)

    return enter
