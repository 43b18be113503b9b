"""The graph and its ledger: keys that know all that a stage depends on, and what is removed with what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthoma.errors import InputError, OutputError, SettingError
from synthoma.protocol.graph import Stage, Work, keys_of, ready
from synthoma.protocol.ledger import Ledger
from synthoma.protocol.runners import InProcess
from synthoma.protocol.schedule import execute

Make = Callable[..., Stage]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A stage that writes a file."""

    def one(name: str, parents: tuple[str, ...] = (), output: str | None = None, **settings: Any) -> Stage:
        path = tmp_path / (output or f"{name}.txt")
        return Stage(name, settings, parents, (path,), path.is_file, Work(write, {"path": path, "text": name}), name)

    return one


def run(stages: list[Stage], out: Path, *, overwrite: bool = False) -> list[str]:
    """What was done."""
    lines: list[str] = []
    ledger = Ledger(out)
    ledger.check(stages, overwrite=overwrite)
    execute(stages, ledger, InProcess(), say=lines.append)
    return [line.split("] ")[1].removesuffix(" …") for line in lines if line.endswith("…")]


edges = st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=7)


def of(graph: list[set[int]], settings: list[int]) -> list[Stage]:
    """Stage i waits for those of ``graph[i]`` that stand before it."""
    work = Work(print, {})
    return [
        Stage(str(i), {"s": settings[i]}, tuple(str(j) for j in sorted(p) if j < i), (), lambda: True, work)
        for i, p in enumerate(graph)
    ]


@given(edges, st.data())
def test_a_key_changes_with_its_own_settings_and_those_of_its_ancestors_alone(graph: list[set[int]], data: Any) -> None:
    settings = data.draw(st.lists(st.integers(0, 3), min_size=len(graph), max_size=len(graph)))
    changed = data.draw(st.integers(0, len(graph) - 1))
    before = keys_of(of(graph, settings))
    other = [value + 10 * (i == changed) for i, value in enumerate(settings)]
    after = keys_of(of(graph, other))
    depends = {changed}
    for i, parents in enumerate(graph):
        if any(j in depends for j in parents if j < i):
            depends.add(i)
    assert {name for name in before if before[name] != after[name]} == {str(i) for i in depends}


@given(edges, st.randoms())
def test_everything_gets_ready_after_its_parents_and_once(graph: list[set[int]], random: Any) -> None:
    stages = of(graph, [0] * len(graph))
    done: list[str] = []
    begun: set[str] = set()
    while waiting := ready(stages, done, begun):
        for stage in waiting:
            assert set(stage.parents) <= set(done)
            assert stage.name not in begun
        chosen = random.choice(waiting)
        begun.add(chosen.name)
        done.append(chosen.name)
    assert sorted(done) == sorted(stage.name for stage in stages)


def test_parents_must_stand_before_their_children(make: Make) -> None:
    with pytest.raises(ValueError, match="stands before its parents"):
        keys_of([make("b", ("a",)), make("a")])
    with pytest.raises(ValueError, match="twice"):
        keys_of([make("a"), make("a")])


def test_what_is_done_is_not_done_again_and_only_what_depends_on_a_change_is(make: Make, tmp_path: Path) -> None:
    def stages(**c: int) -> list[Stage]:
        return [make("a", x=1), make("b", ("a",)), make("c", ("a",), **c), make("d", ("b", "c"))]

    assert run(stages(), tmp_path) == ["a", "b", "c", "d"]
    assert run(stages(), tmp_path) == []
    with pytest.raises(SettingError, match=r"y: expected None, as in .*, found 2\.\nAdd --overwrite to do 'c' and all"):
        run(stages(y=2), tmp_path)
    assert run(stages(y=2), tmp_path, overwrite=True) == ["c", "d"]
    assert run(stages(y=2), tmp_path) == []


def test_a_stage_with_other_parents_is_another_one(make: Make, tmp_path: Path) -> None:
    run([make("a"), make("b"), make("c", ("a",))], tmp_path)
    with pytest.raises(SettingError, match=r"after: expected \['a'\], as in .*, found \['a', 'b'\]"):
        run([make("a"), make("b"), make("c", ("a", "b"))], tmp_path)


def test_another_version_is_named(make: Make, tmp_path: Path) -> None:
    run([make("a")], tmp_path)
    path = tmp_path / "stages.json"
    content = json.loads(path.read_text())
    content["a"] |= {"version": "0.0.9", "key": "other"}
    path.write_text(json.dumps(content))
    with pytest.raises(SettingError, match=r"version: expected '0\.0\.9', as in"):
        run([make("a")], tmp_path)


def test_settings_without_a_key_are_those_of_an_older_ledger(make: Make, tmp_path: Path) -> None:
    run([make("a", x={"y": 1})], tmp_path)
    (tmp_path / "stages.json").write_text('{"a": {"x": {"y": 1}}}')
    assert run([make("a", x={"y": 1})], tmp_path) == []
    with pytest.raises(SettingError, match=r"x\.y: expected 1, as in .*, found 2"):
        run([make("a", x={"y": 2})], tmp_path)


def test_a_stage_that_comes_back_with_other_settings_is_not_taken_for_the_old_one(make: Make, tmp_path: Path) -> None:
    run([make("a"), make("b", ("a",), x=1)], tmp_path)
    assert run([make("a")], tmp_path) == []
    with pytest.raises(SettingError, match="x: expected 1"):
        run([make("a"), make("b", ("a",), x=2)], tmp_path)
    assert run([make("a"), make("b", ("a",), x=1)], tmp_path) == []


def test_what_was_made_from_something_stale_goes_with_it_though_the_recipe_has_it_no_more(
    make: Make, tmp_path: Path
) -> None:
    run([make("a", x=1), make("b", ("a",)), make("c", ("b",))], tmp_path)
    assert run([make("a", x=2)], tmp_path, overwrite=True) == ["a"]
    assert not (tmp_path / "b.txt").exists()
    assert not (tmp_path / "c.txt").exists()
    assert set(json.loads((tmp_path / "stages.json").read_text())) == {"a"}


def test_an_output_of_another_stage_is_refused_and_never_taken_for_ones_own(make: Make, tmp_path: Path) -> None:
    run([make("evaluate", output="table")], tmp_path)
    with pytest.raises(OutputError, match=r"table: expected nothing before 'pool', found what others made"):
        run([make("pool", output="table")], tmp_path)
    assert run([make("pool", output="table")], tmp_path, overwrite=True) == ["pool"]
    assert "evaluate" not in json.loads((tmp_path / "stages.json").read_text())


def test_partial_files_of_a_killed_process_are_swept_away(make: Make, tmp_path: Path) -> None:
    (tmp_path / ".a.txt.k2j.partial").mkdir()
    (tmp_path / ".b.txt.k2j.partial").mkdir()
    run([make("a")], tmp_path)
    assert not (tmp_path / ".a.txt.k2j.partial").exists()
    assert (tmp_path / ".b.txt.k2j.partial").exists()


@pytest.mark.parametrize("text", ["[]", '{"a": 1}'])
def test_a_ledger_that_is_none(make: Make, tmp_path: Path, text: str) -> None:
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(InputError, match=r"stages\.json: expected the stages of a study"):
        Ledger(tmp_path)


@pytest.mark.parametrize("place", ["../elsewhere", "/etc", "x/../../y"])
def test_a_ledger_that_leads_out_of_the_study_removes_nothing(make: Make, tmp_path: Path, place: str) -> None:
    run([make("a", x=1)], tmp_path)
    content = json.loads((tmp_path / "stages.json").read_text())
    content["b"] = content["a"] | {"after": ["a"], "outputs": [place]}
    (tmp_path / "stages.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="a place in the study"):
        run([make("a", x=2)], tmp_path, overwrite=True)
    assert (tmp_path / "a.txt").exists()


def test_time_is_kept_and_added_up(make: Make, tmp_path: Path) -> None:
    run([make("a")], tmp_path)
    first = Ledger(tmp_path).seconds("a")
    assert first is not None
    (tmp_path / "a.txt").unlink()
    run([make("a")], tmp_path)
    again = Ledger(tmp_path).seconds("a")
    assert again is not None
    assert again >= first
