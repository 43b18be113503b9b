"""The same protocol on a Ray cluster of two nodes, one of which is lost on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthoma.errors import Interrupted, OutputError
from synthoma.protocol.graph import Stage, Work
from synthoma.protocol.ledger import Ledger
from synthoma.protocol.ray_runner import Cluster
from synthoma.protocol.run import run
from synthoma.protocol.schedule import execute
from synthoma.recipes import Recipe, read_recipe
from synthoma.recipes.recipe import to_yaml
from synthoma.storage import check_new
from synthoma.training import RunFolder

ray: Any = pytest.importorskip("ray", reason="Ray is an extra: pip install synthoma[ray]")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without cores of its own, and two nodes with one core each."""
    from ray.cluster_utils import Cluster as TestCluster

    made = TestCluster(initialize_head=True, head_node_args={"num_cpus": 0})
    made.add_node(num_cpus=1)
    made.second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_node_lost_on_the_way_changes_no_table(discs: Recipe, cluster: Any, tmp_path: Path) -> None:
    run(discs, tmp_path / "whole", say=lambda _: None)
    settings = ("protocol.runner=ray", f"protocol.ray_address={cluster.address}", "protocol.retries=5")
    recipe = read_recipe(to_yaml(discs), "discs", settings)
    lines: list[str] = []
    lost = threading.Event()

    def say(text: str) -> None:
        lines.append(text)
        if sum(": done in" in line and ": train" in line for line in lines) == 2 and not lost.is_set():
            lost.set()
            threading.Thread(target=lambda: (time.sleep(0.5), cluster.remove_node(cluster.second))).start()

    run(recipe, tmp_path / "out", say=say)
    assert lost.is_set()
    assert any("its process was ended by" in line and "begun again" in line for line in lines), lines
    for table in sorted((tmp_path / "whole").rglob("evidence.csv")):
        assert (tmp_path / "out" / table.relative_to(tmp_path / "whole")).read_bytes() == table.read_bytes()


def test_an_error_comes_back_and_ctrl_c_saves_what_is_trained(discs: Recipe, cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    runner = Cluster(cluster.address)
    taken = Work(check_new, {"path": tmp_path / "taken"})
    wrong = Stage("wrong", {}, (), (tmp_path / "x",), lambda: False, taken)
    with pytest.raises(OutputError, match=r"wrong: .*taken: expected a new name"):
        execute([wrong], Ledger(tmp_path), runner, say=lambda _: None)

    endless = ("training.epochs=1000000", "training.checkpoint_every=1000000", "training.variety=false")
    recipe = read_recipe(to_yaml(discs), "discs", (*endless, "protocol.design=single", "protocol.runner=ray"))
    gan = tmp_path / "out" / "gan"

    def press() -> None:
        while not (gan / "log.jsonl").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(Interrupted, match="trainings saved their state"):
        run(recipe, tmp_path / "out", say=lambda _: None)
    assert RunFolder(gan).last.is_file()
    assert not RunFolder(gan).finished
