"""A cohort comes back as it was written, and is refused when it did not."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synthoma.cohort import create_cohort, describe_cohort, open_cohort, to_scanner_unit
from synthoma.errors import CohortError
from synthoma.records import COLUMNS, Cohort, Samples

names = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters=";"), min_size=1, max_size=8)


@st.composite
def patients_samples(draw: Any, shape: tuple[int, ...]) -> Samples:
    n = draw(st.integers(1, 3))
    images = draw(arrays(np.float32, (n, 2, *shape), elements=st.floats(-1, 1, width=32)))
    low = draw(st.floats(-1e6, 1e6))
    return Samples(
        images=images,
        masks=draw(arrays(np.uint8, (n, 1, *shape), elements=st.integers(0, 1))),
        channels=("t1", "flair"),
        mask_names=("body",),
        slices=tuple(draw(st.lists(st.integers(0, 999), min_size=n, max_size=n, unique=True))),
        labels=tuple(draw(st.lists(names, min_size=n, max_size=n))),
        patient=draw(names),
        site=draw(st.one_of(st.just(""), names)),
        spacing_mm=draw(st.one_of(st.none(), st.just((0.5,) * len(shape)))),
        intensity={"t1": (low, draw(st.floats(low, 1e7))), "flair": (0.0, 1.0)},
        unit=draw(st.sampled_from(["arbitrary", "HU"])),
        modality=draw(st.sampled_from(["MR", "CT", "OT"])),
    )


@hypothesis_settings(max_examples=30, deadline=None)
@given(data=st.data(), shape=st.sampled_from([(3, 4), (2, 3, 4)]))
def test_round_trip(data: Any, shape: tuple[int, ...]) -> None:
    written = data.draw(st.lists(patients_samples(shape), min_size=1, max_size=4, unique_by=lambda s: s.patient))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.cohort"
        options = {"channels": ("t1", "flair"), "mask_names": ("body",)}
        with create_cohort(path, shape=shape, notes=("Grüße",), **options) as writer:
            for one in written:
                writer.add(one, origin="synthetic")  # equal images are no leak there
        cohort = open_cohort(path, verify=True)
        assert np.array_equal(cohort.images, np.concatenate([one.images for one in written]))
        assert np.array_equal(cohort.masks, np.concatenate([one.masks for one in written]))
        assert cohort.table["slice"].tolist() == [i for one in written for i in one.slices]
        assert cohort.table["label"].tolist() == [text for one in written for text in one.labels]
        assert cohort.table["patient"].tolist() == [one.patient for one in written for _ in one.slices]
        assert cohort.table["site"].tolist() == [one.site for one in written for _ in one.slices]
        assert cohort.table["modality"].tolist() == [one.modality for one in written for _ in one.slices]
        assert cohort.table["unit"].tolist() == [one.unit for one in written for _ in one.slices]
        assert cohort.modality.split("+") == sorted({one.modality for one in written})
        assert cohort.unit.split("+") == sorted({one.unit for one in written})
        assert cohort.table["low_t1"].tolist() == [one.intensity["t1"][0] for one in written for _ in one.slices]
        assert cohort.table["high_t1"].tolist() == [one.intensity["t1"][1] for one in written for _ in one.slices]
        assert cohort.notes == ("Grüße",)


def test_files_are_what_they_say(cohort: Cohort) -> None:
    assert cohort.path is not None
    images = np.load(cohort.path / "images.npy", allow_pickle=False)
    assert images.dtype == np.float32
    assert images.shape == (12, 2, 12, 12)
    with (cohort.path / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "low_t1", "high_t1", "low_flair", "high_flair"]
    assert rows[3]["id"] == "b/0010"
    assert rows[3]["spacing_mm"] == "1 1.25"
    assert rows[3]["image_sha256"] == hashlib.sha256(images[3].tobytes()).hexdigest()
    content = json.loads((cohort.path / "cohort.json").read_text())
    for name, digest in content["sha256"].items():
        assert hashlib.sha256((cohort.path / name).read_bytes()).hexdigest() == digest
    assert sorted(content["sha256"]) == ["images.npy", "masks.npy", "samples.csv"]
    assert isinstance(cohort.images, np.memmap)
    assert set(cohort.table["lineage"].tolist()) == set(cohort.lineages)
    assert cohort.patients_seen == ("a", "b", "c", "d")


def test_way_back_to_the_scanner(cohort: Cohort) -> None:
    image = np.array([-1.0, 0.0, 1.0], np.float32)
    assert to_scanner_unit(cohort, 0, "t1", image) == pytest.approx([-3.5, 46.5, 96.5])
    with pytest.raises(CohortError, match="Did you mean 'flair'"):
        to_scanner_unit(cohort, 0, "flare", image)


def test_unknown_range_is_said(tmp_path: Path, samples: Callable[..., Samples], settings: Callable[..., Any]) -> None:
    with create_cohort(tmp_path / "x.cohort", **settings()) as writer:
        writer.add(samples("a", intensity={"t1": (0.0, 1.0)}), origin="synthetic")
    cohort = open_cohort(tmp_path / "x.cohort")
    with pytest.raises(CohortError, match="a/0010, channel flair: expected its range"):
        to_scanner_unit(cohort, 0, "flair", cohort.images[0, 1])


def test_describe(cohort: Cohort) -> None:
    described = describe_cohort(cohort)
    json.dumps(described, allow_nan=False)
    assert described["split"] == {
        "test": {"samples": 3, "patients": 1},
        "train": {"samples": 6, "patients": 2},
        "validation": {"samples": 3, "patients": 1},
    }
    assert described["origin"] == {"real": {"samples": 12, "patients": 4}}
    assert described["shape"] == [12, 12]


def change_bytes(path: Path, *, at: int = -1, to: bytes = b"\x3f") -> None:
    content = bytearray(path.read_bytes())
    content[at : len(content) if at == -1 else at + len(to)] = to
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
def test_altered_bytes_are_found_by_verify(cohort: Cohort, name: str) -> None:
    assert cohort.path is not None
    change_bytes(cohort.path / name, to=b"\x05")
    with pytest.raises(CohortError, match=rf"{name}: expected the content that was written \(SHA-256\), found another"):
        open_cohort(cohort.path, verify=True)


def test_altered_table_is_found_by_verify(cohort: Cohort) -> None:
    assert cohort.path is not None
    table = cohort.path / "samples.csv"
    table.write_text(table.read_text().replace(",north,", ",south,"))
    assert set(open_cohort(cohort.path).table["site"].tolist()) == {"south"}
    with pytest.raises(CohortError, match=r"samples\.csv"):
        open_cohort(cohort.path, verify=True)


def test_altered_lineage_is_found_by_verify(cohort: Cohort) -> None:
    assert cohort.path is not None
    header = cohort.path / "cohort.json"
    content = json.loads(header.read_text())
    content["lineages"][0]["patients_seen"].remove("d")  # a way round the guard
    header.write_text(json.dumps(content))
    with pytest.raises(CohortError, match="found one that was altered"):
        open_cohort(cohort.path, verify=True)


def edit_header(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "cohort.json").read_text()) | changes
    (folder / "cohort.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def edit_table(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    lines = (folder / "samples.csv").read_text().splitlines()
    (folder / "samples.csv").write_text("\n".join(change(lines)) + "\n")


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no header": (lambda f: (f / "cohort.json").unlink(), "a folder without cohort.json"),
    "no images": (lambda f: (f / "images.npy").unlink(), "images.npy: .* found nothing"),
    "no table": (lambda f: (f / "samples.csv").unlink(), "samples.csv: .* found nothing"),
    "cut images": (lambda f: (f / "images.npy").write_bytes((f / "images.npy").read_bytes()[:-1]), "truncated"),
    "cut header": (lambda f: (f / "images.npy").write_bytes((f / "images.npy").read_bytes()[:60]), "truncated"),
    "empty images": (lambda f: (f / "images.npy").write_bytes(b""), "truncated"),
    "long images": (lambda f: (f / "masks.npy").write_bytes((f / "masks.npy").read_bytes() + b"x"), "1 bytes more"),
    "text": (lambda f: (f / "masks.npy").write_text("hello"), "damaged"),
    "archive": (lambda f: archive(f / "masks.npy"), "another kind of file"),
    "broken JSON": (lambda f: (f / "cohort.json").write_text("{"), "readable JSON"),
    "list": (lambda f: (f / "cohort.json").write_text("[]"), "no version"),
    "future": (lambda f: edit_header(f, schema_version=99), "schema version 2, found 99.\nA later synthoma wrote it"),
    "past": (lambda f: edit_header(f, schema_version=1), "schema version 2, found 1.\n.*: prepare it again"),
    "lacking": (lambda f: edit_header(f, unit=None), "a valid field unit"),
    "unknown field": (lambda f: edit_header(f, extra=1), "a valid field extra"),
    "bad lineage": (lambda f: edit_header(f, lineages=[{"id": "x"}]), "the fields of a lineage"),
    "lost lineage": (lambda f: edit_header(f, lineages=[]), "lineages that cohort.json lists"),
    "other n": (lambda f: edit_header(f, n=11), r"float32 of shape \(11, 2, 12, 12\), found float32 of shape \(12"),
    "short table": (lambda f: edit_table(f, lambda rows: rows[:-1]), "expected 12 samples, found 11"),
    "other column": (lambda f: edit_table(f, lambda r: [r[0].replace("site", "Site"), *r[1:]]), "found Site, site"),
    "ragged": (lambda f: edit_table(f, lambda r: [*r[:-1], r[-1] + ",1"]), "sample 12: expected 20 fields, found 21"),
    "no number": (lambda f: edit_table(f, lambda r: [*r[:-1], r[-1].replace(",12,", ",x,")]), "column slice"),
    "other dtype": (lambda f: np.save(f / "masks.npy", np.zeros((12, 2, 12, 12), np.float64)), "found float64"),
    "Fortran": (lambda f: np.save(f / "masks.npy", np.zeros((12, 2, 12, 12), np.uint8, order="F")), "uint8 of shape"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_refused_without_verify(cohort: Cohort, kind: str) -> None:
    assert cohort.path is not None
    damage, message = DAMAGE[kind]
    damage(cohort.path)
    with pytest.raises(CohortError, match=message) as caught:
        open_cohort(cohort.path)
    assert len(str(caught.value).splitlines()) <= 2
    assert str(cohort.path) in str(caught.value)


class Trap:
    """An object whose pickle runs code."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("trap-was-sprung"),)


def test_pickles_are_not_opened(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cohort.path is not None
    monkeypatch.chdir(tmp_path)
    np.save(cohort.path / "masks.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(CohortError, match=r"masks\.npy"):
        open_cohort(cohort.path)
    (cohort.path / "masks.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CohortError, match=r"masks\.npy"):
        open_cohort(cohort.path)
    assert not (tmp_path / "trap-was-sprung").exists()


def test_what_is_no_cohort(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="expected a cohort folder, found nothing"):
        open_cohort(tmp_path / "absent")
    with pytest.raises(CohortError, match=r"found a folder without cohort\.json"):
        open_cohort(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CohortError, match="found a file"):
        open_cohort(tmp_path / "file")
