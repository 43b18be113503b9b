"""Killed at any moment, by whatever signal, a training goes on to the same weights."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest

from synthoma.gans.checkpoints import load_checkpoint
from synthoma.records import Cohort

TRAINING = (
    "training.epochs=25",
    "training.precision=float32",
    "training.device=cpu",
    "training.threads=1",
    "training.checkpoint_every=2",
    "training.validate_every=5",
    "training.preview_every=5",
    "training.variety=false",
    "training.augment.rotate_deg=5",
)
# two steps an epoch: 8 training samples of the larger domain, 4 a batch; 12 without domains, 6 a batch
GANS = {
    "cycle": (
        "gan.method=cycle",
        "gan.source={label: tumour}",
        "gan.target={label: tumour-free}",
        "gan.width=2",
        "gan.discriminator_width=2",
        "gan.blocks=1",
        "gan.pool_size=7",
        "training.batch_size=4",
        "gan.differentiable_augmentation=[brightness]",
    ),
    "wasserstein": (
        "gan.method=wasserstein",
        "gan.width=4",
        "gan.critic_width=4",
        "gan.layers=3",
        "gan.latent=8",
        "gan.n_critic=3",
        "training.batch_size=6",
    ),
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
MOST_KILLS = 2
"""Of one run."""


SLOW_STEPS = Path(__file__).with_name("slow_steps.py")
LAST_KILL = 20
"""Epochs, of 25, after which no run is killed: five more leave the time to do it."""


def start(server: ForkServerContext, words: list[str]) -> multiprocessing.process.BaseProcess:
    """The command line in a process of its own, which needs no seconds to import torch."""
    process = server.Process(target=runpy.run_path, args=(str(SLOW_STEPS), {"words": words}))
    process.start()
    return process


def epochs_done(out: Path) -> int:
    """Epochs in the log so far."""
    log = out / "log.jsonl"
    return log.read_text(encoding="utf-8").count('"kind": "train"') if log.is_file() else 0


def wait_for(epoch: int, out: Path, process: multiprocessing.process.BaseProcess) -> None:
    """Until that many epochs are in the log, or the process has ended."""
    while epochs_done(out) < epoch and process.is_alive():
        process.join(0.002)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("method", "runs"), [("cycle", 10), ("wasserstein", 4)])
def test_killed_at_random_and_resumed_equals_undisturbed(
    method: str, runs: int, ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["synthoma.commands", "synthoma.protocol", "synthoma.training.loop"])
    settings = [word for setting in (*GANS[method], *TRAINING) for word in ("--set", setting)]

    def words(out: Path, *more: str) -> list[str]:
        return ["train", str(ellipse_cohort.path), "--out", str(out), *settings, *more]

    def last(out: Path) -> Path:
        return out / "checkpoints" / "last.safetensors"

    start(server, words(tmp_path / "first")).join()  # the server imports what it must
    process = start(server, words(tmp_path / "whole"))
    process.join()
    assert process.exitcode == 0
    assert load_checkpoint(last(tmp_path / "whole")).step == 50
    expected = last(tmp_path / "whole").read_bytes()

    rng = np.random.default_rng(0)
    killed: dict[signal.Signals, int] = dict.fromkeys(SIGNALS, 0)
    from_a_state = 0
    for run in range(runs):
        out, kills = tmp_path / f"run-{run}", 0
        more: tuple[str, ...] = ()
        while True:
            process = start(server, words(out, *more))
            done = epochs_done(out)
            if kills < MOST_KILLS and done < LAST_KILL:
                wait_for(int(rng.integers(done, LAST_KILL + 1)), out, process)
                process.join(rng.uniform(0, 0.04))  # somewhere in the next epoch
            else:
                process.join()
            number = SIGNALS[(run + kills) % len(SIGNALS)]
            if process.is_alive():
                assert process.pid is not None
                os.kill(process.pid, number)
                process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode in (130, -number), process.exitcode
            killed[number] += 1
            kills, more = kills + 1, ("--resume",)
            from_a_state += last(out).is_file()
        assert last(out).read_bytes() == expected, f"run {run}, killed {kills} times"
    assert min(killed.values()) >= 1
    assert from_a_state >= runs / 2
