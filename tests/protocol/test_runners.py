"""Stages side by side: in the right order, begun again when killed, stopped by Ctrl-C, left alone by nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from synthoma.errors import Interrupted, MissingPartError, OutputError, ProcessError
from synthoma.protocol import runners
from synthoma.protocol.clock import Clock, in_words
from synthoma.protocol.graph import Stage, Work, keys_of
from synthoma.protocol.ledger import Ledger
from synthoma.protocol.runners import Workers, environment_of, last_lines
from synthoma.protocol.schedule import execute
from synthoma.storage import check_new


def shell(out: Path, name: str, script: str, parents: tuple[str, ...] = (), kind: str = "") -> Stage:
    """A stage that runs a script in a worker (its parent process: ``$PPID``) and leaves the file ``name``."""
    words = ["/bin/sh", "-ec", f"cd {out}; {script}\necho done > {name}"]
    work = Work(subprocess.run, {"args": words, "check": True})
    return Stage(name, {"script": script}, parents, (out / name,), (out / name).is_file, work, kind or name)


def run(stages: list[Stage], out: Path, most: int = 2, retries: int = 1) -> list[str]:
    lines: list[str] = []
    execute(stages, Ledger(out), Workers(most, out / "logs", threads=1), retries=retries, say=lines.append)
    return lines


def test_what_can_be_done_side_by_side_is(tmp_path: Path) -> None:
    """Two stages that wait for each other's file end only if both are under way; the third waits for both."""

    def meet(one: str, other: str) -> str:
        wait = f"for i in $(seq 600); do [ -e {other}-here ] && break; sleep 0.05; done"
        return f"touch {one}-here; {wait}; test -e {other}-here"

    stages = [
        shell(tmp_path, "a", meet("a", "b")), shell(tmp_path, "b", meet("b", "a")),
        shell(tmp_path, "c", "test -e a; test -e b", ("a", "b")),
    ]  # fmt: skip
    lines = run(stages, tmp_path)
    assert [line for line in lines if line.endswith("…")] == ["[1/3] a …", "[2/3] b …", "[3/3] c …"]
    assert run(stages, tmp_path) == [f"[{i}/3] {name}: done before" for i, name in enumerate("abc", 1)]


def test_no_more_than_asked_are_under_way(tmp_path: Path) -> None:
    alone = "mkdir here; sleep 0.2; rmdir here"
    run([shell(tmp_path, name, alone) for name in "abc"], tmp_path, most=1)


def test_a_killed_worker_is_begun_again_and_its_last_lines_are_shown(tmp_path: Path) -> None:
    kill = "[ -e once ] || { touch once; echo going down >&2; kill -9 $PPID; sleep 10; }"
    lines = run([shell(tmp_path, "a", kill), shell(tmp_path, "b", "true", ("a",))], tmp_path)
    assert "[1/2] a: its process was ended by SIGKILL; begun again (1 of 1)" in lines
    assert "    going down" in lines
    assert (tmp_path / "b").is_file()


def test_a_worker_killed_too_often_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    stages = [
        shell(tmp_path, "a", "kill -9 $PPID; sleep 10"), shell(tmp_path, "b", "sleep 0.5"),
        shell(tmp_path, "c", "true", ("b",)), shell(tmp_path, "d", "true", ("a",)),
    ]  # fmt: skip
    with pytest.raises(ProcessError, match="a: expected the end of its work, found that SIGKILL ended its") as caught:
        run(stages, tmp_path, retries=2)
    assert "process 3 times" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    assert [name for name in "abcd" if (tmp_path / name).is_file()] == ["b", "c"]


def test_somebody_elses_sigterm_is_a_kill_too(tmp_path: Path) -> None:
    lines = run([shell(tmp_path, "a", "[ -e once ] || { touch once; kill -15 $PPID; sleep 10; }")], tmp_path)
    assert any("ended by SIGTERM; begun again" in line for line in lines)


def test_an_error_ends_all_and_names_its_stage(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    wrong = Stage("run 0: wrong", {}, (), (tmp_path / "w",), (tmp_path / "w").is_file, Work(check_new, {"path": taken}))
    begun = time.monotonic()
    with pytest.raises(OutputError, match=r"^run 0: wrong: .*taken: expected a new name, found one that") as caught:
        run([shell(tmp_path, "slow", "sleep 30"), wrong], tmp_path)
    assert caught.value.exit_code == 2
    assert time.monotonic() - begun < 25
    assert not (tmp_path / "slow").exists()
    failed = shell(tmp_path, "x", "echo oh no >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"x: CalledProcessError: .*exit status 3"):
        run([failed], tmp_path)
    assert "oh no" in (tmp_path / "logs" / "x.log").read_text()


def test_ctrl_c_stops_the_workers_and_the_same_call_goes_on(tmp_path: Path) -> None:
    """The worker hears of it once, as a wish (SIGTERM), and its child is gone when the call returns."""
    wait = "echo $$ > pid; touch here; [ -e state ] || sleep 30"
    stages = [shell(tmp_path, "a", "true"), shell(tmp_path, "b", wait, ("a",))]

    def press() -> None:
        while not (tmp_path / "here").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="Stopped with 1 of 2 stages done") as caught:
        run(stages, tmp_path)
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert not _alive(int((tmp_path / "pid").read_text()))
    assert Ledger(tmp_path).seconds("b") is not None
    (tmp_path / "state").touch()
    assert run(stages, tmp_path)[0] == "[1/2] a: done before"


def test_workers_do_not_outlive_a_killed_study(tmp_path: Path) -> None:
    text = f"""
import subprocess, sys
from pathlib import Path
from synthoma.protocol.graph import Stage, Work
from synthoma.protocol.runners import Workers
out = Path({str(tmp_path)!r})
workers = Workers(1, out / "logs", threads=1)
words = ["/bin/sh", "-c", f"echo $PPID > {{out}}/pid.part; mv {{out}}/pid.part {{out}}/pid; sleep 60"]
workers.start(Stage("a", {{}}, (), (), lambda: False, Work(subprocess.run, {{"args": words}})))
while True:
    workers.wait()
"""
    study = subprocess.Popen([sys.executable, "-c", text])
    while not (tmp_path / "pid").exists():
        assert study.poll() is None
        time.sleep(0.05)
    worker = int((tmp_path / "pid").read_text())
    study.kill()
    study.wait()
    for _ in range(400):
        if not _alive(worker):
            return
        time.sleep(0.05)
    pytest.fail("the worker goes on without its study")


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_each_worker_has_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert int(environment_of(0, 1, 0, (), 0)["OMP_NUM_THREADS"]) >= 1
    assert environment_of(0, 1000, 0, (), 0) == {"OMP_NUM_THREADS": "1"}
    assert environment_of(0, 2, 3, (), 0) == {"OMP_NUM_THREADS": "3"}
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environment_of(0, 2, 0, (), 0) == {}

    def seen(gpus: str, each: float, slots: int) -> list[str]:
        return [environment_of(i, slots, 1, gpus.split(), each)["CUDA_VISIBLE_DEVICES"] for i in range(slots)]

    assert seen("0 1", 0, 3) == ["0", "1", "0"]
    assert seen("3 5", 1, 2) == ["3", "5"]
    assert seen("0 1", 0.5, 4) == ["0", "0", "1", "1"]
    assert seen("0", 0.25, 4) == ["0"] * 4


def test_gpus_say_how_many_stages_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "_visible_gpus", lambda: ["0", "1"])
    assert Workers(8, tmp_path, gpus_per_stage=1).most == 2
    assert Workers(8, tmp_path, gpus_per_stage=0.5).most == 4
    assert Workers(3, tmp_path, gpus_per_stage=0.5).most == 3
    assert Workers(8, tmp_path).most == 8


def test_time_left_follows_from_stages_of_the_same_kind(tmp_path: Path) -> None:
    kinds = {"a": "t", "b": "t", "c": "t", "d": "u"}
    stages = [shell(tmp_path, name, "true", kind=kind) for name, kind in kinds.items()]
    ledger = Ledger(tmp_path)
    done: set[str] = set()
    clock = Clock(stages, ledger, done, {})
    assert clock.left(1) == ""
    ledger.begin(stages, keys_of(stages), stages[0])
    ledger.add_seconds("a", 600)
    done.add("a")
    assert clock.left(1) == "; at least 20 min left"
    assert clock.left(2) == "; at least 10 min left"
    assert Clock(stages[:3], ledger, done, {"b": time.monotonic() - 300}).left(1) == "; about 15 min left"
    assert Clock(stages[:3], ledger, done, {"b": time.monotonic() - 900}).left(9) == "; about 10 min left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (5400, "1 h 30 min"), (12000, "3 h 20 min")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old\n" + "\n".join(str(i) for i in range(20)) + "\n\n")
    assert last_lines(tmp_path / "log", 4).splitlines() == [str(i) for i in range(12, 20)]
    assert last_lines(tmp_path / "nothing") == ""


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from synthoma.protocol import ray_runner

    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(ray_runner, "import_module", missing)
    with pytest.raises(MissingPartError, match=r"protocol\.runner: expected the package ray, found none") as caught:
        ray_runner.Cluster()
    assert caught.value.exit_code == 3
