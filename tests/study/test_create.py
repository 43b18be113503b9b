"""The study folder: what is in it, who may read it, and what is refused."""

from __future__ import annotations

import json
import re
import stat

import numpy as np
import pytest

from synthoma.cohort import open_cohort
from synthoma.errors import CohortError, InputError, MissingPartError, OutputError
from synthoma.study import Study, check_parts, open_key, open_study
from synthoma.study import parts as parts_module


def test_the_folder_has_what_it_says(create, cohorts):
    study = create(readers=3)
    assert {path.name for path in study.path.iterdir()} == {
        "study.json", "key.json", "secret", "links.txt", "images"
    }  # fmt: skip
    key = open_key(study)
    shown = {one.image for order in study.design.readers for one in order}
    assert {path.stem for path in (study.path / "images").iterdir()} == shown == set(key.images)
    for origin, path in zip(("real", "synthetic"), cohorts, strict=True):
        cohort = open_cohort(path)
        for name, entry in key.images.items():
            if entry.origin == origin:
                assert cohort.table["id"][entry.row] == entry.sample
                image = np.frombuffer(study.image(name), "<i2").reshape(study.design.format.shape)[0]
                assert np.corrcoef(image.ravel(), cohort.channel("flair")[entry.row].ravel())[0, 1] > 0.99
    links = (study.path / "links.txt").read_text().splitlines()
    assert [line.split("  ")[0] for line in links] == ["reader 1", "reader 2", "reader 3", "administrator"]


def test_nothing_but_the_key_tells_an_origin(create):
    study = create()
    key = open_key(study)
    public = (study.path / "study.json").read_text()
    for word in ("origin", "synthetic", "cohort", "patient", "p001", "row"):
        assert word not in public
    assert {path.stat().st_size for path in (study.path / "images").iterdir()} == {2 * 24 * 24}
    assert {path.stat().st_mtime for path in (study.path / "images").iterdir()} == {946684800}
    ids = [one.id for order in study.design.readers for one in order]
    assert len(set(ids)) == len(ids)  # no id is shared by two readers, or by the two showings of one image
    assert not set(ids) & set(key.images)
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in [*ids, *key.images])


@pytest.mark.parametrize("name", ["key.json", "secret", "links.txt"])
def test_secrets_are_the_owners_alone(create, name):
    assert stat.S_IMODE((create().path / name).stat().st_mode) == 0o600


def test_ids_and_secrets_are_new_each_time_and_the_draw_is_not(create):
    one, other = create(name="one"), create(name="other")
    drawn = [
        [[open_key(study).images[shown.image].sample for shown in order] for order in study.design.readers]
        for study in (one, other)
    ]
    assert drawn[0] == drawn[1]
    assert one.secret() != other.secret()
    assert not {p.name for p in (one.path / "images").iterdir()} & {p.name for p in (other.path / "images").iterdir()}


def test_an_existing_folder_is_not_replaced_unasked(create, cohorts, tmp_path):
    create()
    with pytest.raises(OutputError, match="one that exists"):
        create()


def test_what_the_cohorts_must_share(create, cohorts):
    with pytest.raises(CohortError, match="found 't1'"):
        create(channel="t1")
    with pytest.raises(CohortError, match="found no sample"):
        create(modality="CT")
    with pytest.raises(CohortError, match="Did you mean 'tumour'"):
        create(labels=("tumor",))
    with pytest.raises(CohortError, match=r"--items [0-9]+ would do"):
        create(items=60)
    study = create(labels=("tumour",), items=4, name="one")
    assert {entry.label for entry in open_key(study).images.values()} == {"tumour"}
    assert open_key(study).notes == ("class tumour-free: 12 real samples not shown", "class tumour-free: 12 synthetic "
                                     "samples not shown")  # fmt: skip


def test_two_real_cohorts_are_no_study(create, cohorts):
    with pytest.raises(CohortError, match="a class that real and synthetic samples share"):
        create(synthetic=cohorts[0])


def damage(study: Study, how) -> None:
    path = study.path / "study.json"
    content = json.loads(path.read_text())
    how(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda c: c.update(schema_version=2), "a study of schema version 1, found 2"),
        (lambda c: c.update(more=1), "a valid field more"),
        (lambda c: c["readers"][0][0].update(image="../../secret"), "an image of 1152 bytes, found nothing"),
        (lambda c: c["format"].update(shape=[1, 24, 25]), "an image of 1200 bytes, found 1152"),
    ],
)
def test_a_damaged_folder_is_refused(create, how, message):
    study = create()
    damage(study, how)
    with pytest.raises(InputError, match=message):
        open_study(study.path)


def test_what_is_no_study(tmp_path):
    with pytest.raises(InputError, match="a study folder, found nothing"):
        open_study(tmp_path / "x")
    with pytest.raises(InputError, match=r"a folder without study\.json"):
        open_study(tmp_path)


def test_a_key_that_is_elsewhere_or_anothers(create):
    one, other = create(name="one"), create(name="other")
    (one.path / "key.json").rename(one.path.parent / "kept")
    with pytest.raises(InputError, match="the study's key, found nothing"):
        open_key(one)
    (one.path / "key.json").write_text((other.path / "key.json").read_text())
    with pytest.raises(InputError, match="the key of study"):
        open_key(one)


def test_a_secret_that_is_gone(create):
    study = create()
    (study.path / "secret").write_text("short")
    with pytest.raises(InputError, match="too short"):
        study.secret()
    (study.path / "secret").unlink()
    with pytest.raises(InputError, match="the study's secret"):
        study.secret()


def test_a_leak_that_cannot_be_mended_is_said(create, write, tmp_path, monkeypatch):
    """One value of the lowest bit in all synthetic images: the kind of trace that no rounding removes."""
    from synthoma.study import create as create_module

    def marked(cohort, row, channel, rendering, rng):
        image = create_module_render(cohort, row, channel, rendering, rng)
        return image | 1 if cohort.table["origin"][row] == "synthetic" else image

    create_module_render = create_module.render
    monkeypatch.setattr(create_module, "render", marked)
    study = create(items=20)
    assert any("'share of odd values' alone tells" in note for note in open_key(study).notes)


@pytest.mark.parametrize(("database", "part"), [("", "fastapi"), ("postgresql://x", "psycopg")])
def test_a_missing_package_is_said(monkeypatch, database, part):
    monkeypatch.setattr(parts_module, "find_spec", lambda name: None if name == part else object())
    with pytest.raises(MissingPartError, match=f"found no {part}") as error:
        check_parts(database)
    assert error.value.exit_code == 3
    assert "pip install 'synthoma[study" in str(error.value)
