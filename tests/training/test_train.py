"""Whole runs of a few steps: what they leave in their folder, how they stop, and how they go on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synthoma.cohort import AugmentOptions
from synthoma.errors import CheckpointError, CohortError, Interrupted, OutputError, SettingError
from synthoma.gans import (
    GANS,
    ConditionalOptions,
    CycleOptions,
    Engine,
    Examples,
    Gan,
    GanOptions,
    WassersteinOptions,
)
from synthoma.gans.checkpoints import load_checkpoint, save_checkpoint
from synthoma.generation.generate import load_generator
from synthoma.records import Cohort
from synthoma.training import RunFolder, TrainingOptions
from synthoma.training.loop import train
from synthoma.training.validation import draw_rows, score

GAN = ConditionalOptions(width=4, discriminator_width=4, learning_rate=1e-3)
# 12 training samples, 4 a batch: three steps an epoch
TRAINING = TrainingOptions(
    epochs=4,
    batch_size=4,
    precision="float32",
    device="cpu",
    threads=1,
    augment=AugmentOptions(rotate_deg=5),
    average_decay=0.9,
    validate_every=1,
    preview_every=2,
    checkpoint_every=2,
    variety=False,
)


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def finished(ellipse_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to its end; read only."""
    return train(ellipse_cohort, tmp_path_factory.mktemp("finished") / "run", GAN, TRAINING)


def test_the_folder_of_a_run(finished: Path) -> None:
    assert sorted(contents(finished)) == [
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "log.jsonl",
        "preview/epoch-0002.png",
        "preview/epoch-0004.png",
        "run.json",
    ]
    assert RunFolder(finished).finished


def test_the_log_has_a_record_an_epoch(finished: Path) -> None:
    trained = records(finished, "train")
    assert [(record["epoch"], record["step"]) for record in trained] == [(1, 3), (2, 6), (3, 9), (4, 12)]
    for record in trained:
        assert set(record) == {
            "kind",
            "epoch",
            "step",
            "seconds",
            "images_per_second",
            "data_wait_share",
            "learning_rate",
            "losses",
        }
        assert set(record["losses"]) == {"discriminator", "l1", "adversarial"}
        assert all(math.isfinite(value) for value in record["losses"].values())
        assert 0 <= record["data_wait_share"] <= 1
        assert record["seconds"] > 0
        assert record["images_per_second"] > 0
    # of the last step of the epoch, 12 steps, the second half falling: steps 2, 5, 8, 11
    rates = [1e-3 * learning for learning in (1, 1, (1 - 8 / 12) / 0.5, (1 - 11 / 12) / 0.5)]
    assert [record["learning_rate"] for record in trained] == pytest.approx(rates)


def test_validation_picks_the_best(finished: Path) -> None:
    validated = records(finished, "validation")
    assert [(record["epoch"], record["step"]) for record in validated] == [(1, 3), (2, 6), (3, 9), (4, 12)]
    best = -math.inf
    for record in validated:
        assert set(record) == {"kind", "epoch", "step", "ssim", "psnr_db", "best"}
        assert record["best"] is (record["ssim"] > best)
        best = max(best, record["ssim"])
    chosen = [record for record in validated if record["best"]][-1]
    saved = load_checkpoint(finished / "checkpoints" / "best.safetensors")
    assert saved.step == chosen["step"]
    assert saved.scalars["best"] == best


def test_the_best_checkpoint_reproduces_its_score(finished: Path, ellipse_cohort: Cohort) -> None:
    gan, network, _ = load_generator(finished / "checkpoints" / "best.safetensors")
    found = score(gan, network, ellipse_cohort, ellipse_cohort.rows(split="validation"))
    logged = [record for record in records(finished, "validation") if record["best"]][-1]
    assert found["ssim"] == pytest.approx(logged["ssim"], abs=1e-9)
    assert found["psnr_db"] == pytest.approx(logged["psnr_db"], abs=1e-9)


@pytest.mark.parametrize("best_by", ["ssim", "psnr_db"])
def test_the_best_is_by_the_declared_measure_and_need_not_be_the_last(
    best_by: str, ellipse_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([(0.1, 30.0), (0.9, 20.0), (0.5, 40.0), (0.2, 10.0)])
    monkeypatch.setattr(
        "synthoma.training.looks.score", lambda *_: dict(zip(("ssim", "psnr_db"), next(scores), strict=True))
    )
    options = TRAINING.model_copy(update={"best_by": best_by})
    folder = train(ellipse_cohort, tmp_path / "run", GAN, options)
    best = {"ssim": [True, True, False, False], "psnr_db": [True, False, True, False]}[best_by]
    assert [record["best"] for record in records(folder, "validation")] == best
    step = 3 * (max(i for i, flag in enumerate(best) if flag) + 1)
    assert load_checkpoint(folder / "checkpoints" / "best.safetensors").step == step
    assert load_checkpoint(folder / "checkpoints" / "last.safetensors").step == 12


def test_the_preview_is_a_row_a_sample(finished: Path, ellipse_cohort: Cohort) -> None:
    """Three validation slices; columns t1, core, oedema, what is made, and flair; 32 pixels each."""
    with Image.open(finished / "preview" / "epoch-0004.png") as picture:
        assert picture.size == (5 * 32, 3 * 32)
        assert picture.mode == "L"
        shown = np.asarray(picture, dtype=float)
    rows = ellipse_cohort.rows(split="validation")
    for i, row in enumerate(rows):
        tile = shown[32 * i : 32 * (i + 1)]
        for column, real in ((0, ellipse_cohort.images[row, 0]), (4, ellipse_cohort.images[row, 1])):
            np.testing.assert_allclose(tile[:, 32 * column : 32 * (column + 1)], (real + 1) * 127.5, atol=1)
        assert np.array_equal(tile[:, 32:64] == 255, ellipse_cohort.masks[row, 1] == 1)


def test_the_run_knows_whom_it_has_seen(finished: Path, ellipse_cohort: Cohort) -> None:
    """Training patients, and validation patients, who choose the checkpoint; no test patient."""
    for name in ("best", "last"):
        lineage = load_checkpoint(finished / "checkpoints" / f"{name}.safetensors").lineage
        assert lineage.step == "train"
        assert lineage.patients_seen == ("p0", "p1", "p2", "p3", "p4")
        assert lineage.parents == tuple(set(ellipse_cohort.table["lineage"].tolist()))


def test_the_generator_learns(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    """150 steps bring the L1 loss to less than half of the first epoch's."""
    options = TRAINING.model_copy(update={"epochs": 50, "validate_every": 50, "preview_every": 50})
    gan = GAN.model_copy(update={"width": 8, "norm": "instance", "adversarial_weight": 0.0, "dropout": 0.0})
    folder = train(ellipse_cohort, tmp_path / "run", gan, options)
    losses = [record["losses"]["l1"] for record in records(folder, "train")]
    assert losses[-1] < 0.5 * losses[0]


def test_a_batch_larger_than_the_cohort_is_the_cohort(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    options = TRAINING.model_copy(update={"batch_size": 64, "epochs": 1})
    assert records(train(ellipse_cohort, tmp_path / "run", GAN, options), "train")[0]["step"] == 1


def test_a_short_last_batch_counts(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    options = TRAINING.model_copy(update={"batch_size": 5, "epochs": 1})
    assert records(train(ellipse_cohort, tmp_path / "run", GAN, options), "train")[0]["step"] == 3


def test_the_callers_random_state_and_threads_are_left_alone(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    torch.manual_seed(5)
    torch.set_num_threads(2)
    before, options = torch.get_rng_state(), TRAINING.model_copy(update={"epochs": 1})
    assert options.threads == 1
    train(ellipse_cohort, tmp_path / "run", GAN, options)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2
    with pytest.raises(Interrupted):
        train(ellipse_cohort, tmp_path / "other", GAN, options, stop_after=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2


def test_two_runs_have_equal_files(finished: Path, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    again = contents(train(ellipse_cohort, tmp_path / "run", GAN, TRAINING))
    first = contents(finished)
    assert set(again) == set(first)
    assert all(again[name] == first[name] for name in first if name != "log.jsonl")  # which holds times
    for kind in ("train", "validation"):
        for one, other in zip(records(finished, kind), records(tmp_path / "run", kind), strict=True):
            timed = {"seconds", "images_per_second", "data_wait_share"}
            assert {k: v for k, v in one.items() if k not in timed} == {
                k: v for k, v in other.items() if k not in timed
            }


def test_a_finished_run_is_left_as_it_is(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    options = TRAINING.model_copy(update={"epochs": 1})
    folder = train(ellipse_cohort, tmp_path / "run", GAN, options)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert train(ellipse_cohort, folder, GAN, options, resume=True) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_an_existing_run_is_not_overwritten_unasked(finished: Path, ellipse_cohort: Cohort) -> None:
    before = contents(finished)
    with pytest.raises(OutputError, match="Go on with --resume"):
        train(ellipse_cohort, finished, GAN, TRAINING)
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("block", "key", "value"),
    [
        ("training", "epochs", 5),
        ("training", "seed", 1),
        ("training", "threads", 2),
        ("gan", "width", 8),
        ("gan", "l1_weight", 10.0),
    ],
)
def test_resuming_with_another_setting_names_it(
    block: str, key: str, value: Any, finished: Path, ellipse_cohort: Cohort
) -> None:
    gan = GAN.model_copy(update={key: value}) if block == "gan" else GAN
    options = TRAINING.model_copy(update={key: value}) if block == "training" else TRAINING
    before = contents(finished)
    with pytest.raises(SettingError, match=f"^{block}.{key}: expected .*, found {value}"):
        train(ellipse_cohort, finished, gan, options, resume=True)
    assert contents(finished) == before


def test_resuming_with_other_data_is_refused(finished: Path, ellipse_cohort: Cohort) -> None:
    fewer = ellipse_cohort.select(np.flatnonzero(ellipse_cohort.table["patient"] != "p0"))
    with pytest.raises(SettingError, match=r"^lineage: expected"):
        train(fewer, finished, GAN, TRAINING, resume=True)


def test_a_setting_that_does_not_fit_leaves_no_folder(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Did you mean 'flair'"):
        train(ellipse_cohort, tmp_path / "run", GAN.model_copy(update={"target": ("flare",)}), TRAINING)
    assert not (tmp_path / "run").exists()


def test_nothing_to_train_on(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    held_out = ellipse_cohort.select(ellipse_cohort.rows(split="test"))
    with pytest.raises(CohortError, match="expected samples in split 'train', found none"):
        train(held_out, tmp_path / "run", GAN, TRAINING)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_a_number_ends_the_run_and_the_last_state_is_good(
    ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    options = TRAINING.model_copy(update={"checkpoint_every": 1})
    with pytest.raises(Interrupted):
        train(ellipse_cohort, tmp_path / "run", GAN, options, stop_after=6)
    before = contents(tmp_path / "run")
    bad = ellipse_cohort.select(np.arange(len(ellipse_cohort)))
    bad.images[bad.rows(patient="p0"), 1] = np.nan
    message = (
        r"loss 'discriminator' at step [789]: expected finite numbers, found NaN or infinity, for the samples "
        r"p\d/00\d0, .*\bp0/00\d0\b.*\.\n.*float32"
    )
    with pytest.raises(SettingError, match=message):
        train(bad, tmp_path / "run", GAN, options, resume=True)
    assert contents(tmp_path / "run") == before
    train(ellipse_cohort, tmp_path / "run", GAN, options, resume=True)
    assert RunFolder(tmp_path / "run").finished


@pytest.mark.parametrize("stop_after", [1, None])
def test_weights_that_are_not_finite_are_never_saved(
    stop_after: int | None, ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    """The loss of a step is taken before its weights change: it can be the last finite thing. Ctrl-C saves no wreck."""
    huge = {"learning_rate": 1e39, "adversarial_weight": 0.0}  # beyond float32: each weight is infinite after one step
    gan = GAN.model_copy(update=huge)
    what = "weights of the generator at step 1" if stop_after else "loss 'l1' at step 2"
    with pytest.raises(SettingError, match=f"{what}: expected finite numbers"):
        train(ellipse_cohort, tmp_path / "run", gan, TRAINING, stop_after=stop_after)
    assert not (tmp_path / "run" / "checkpoints").exists()


OTHERS: dict[str, GanOptions] = {
    "conditional": GAN,
    "cycle": CycleOptions(width=4, discriminator_width=4, blocks=1, pool_size=3),
    "wasserstein": WassersteinOptions(width=4, critic_width=4, layers=3, critic_layers=2, latent=8, n_critic=2),
}


@pytest.mark.parametrize("method", OTHERS)
def test_a_loss_that_becomes_infinite_names_itself_its_step_and_its_samples(
    method: str, ellipse_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the fourth epoch; the state of the third, or second, stays and can be gone on from."""
    options, gan = TRAINING.model_copy(update={"checkpoint_every": 1}), OTHERS[method]
    step = GANS[method].step

    def infinite(self: Gan, parts: Sequence[Examples], engine: Engine) -> dict[str, torch.Tensor]:
        losses = step(self, parts, engine)
        if engine.step == bad - 1:
            losses[list(losses)[-1]] = losses[list(losses)[-1]] * math.inf
        return losses

    per_epoch = 2 if method == "cycle" else 3
    bad, folder = 3 * per_epoch + 2, tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(GANS[method], "step", infinite)
        message = (
            rf"^loss '\w+' at step {bad}: expected finite numbers, found NaN or infinity, for the samples "
            r"(p\d/00[123]0, )+p\d/00[123]0\.\n.*the last saved state is good\.$"
        )
        with pytest.raises(SettingError, match=message) as raised:
            train(ellipse_cohort, folder, gan, options)
    assert raised.value.exit_code == 2
    assert load_checkpoint(folder / "checkpoints" / "last.safetensors").step == 3 * per_epoch
    train(ellipse_cohort, folder, gan, options, resume=True)
    whole = train(ellipse_cohort, tmp_path / "whole", gan, options)
    file = "checkpoints/last.safetensors"
    assert contents(folder)[file] == contents(whole)[file]


@pytest.mark.parametrize("method", OTHERS)
def test_no_epochs_keep_the_first_weights(method: str, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    """The untrained control: a checkpoint that draws, and the weights that a training of the same seed starts from."""
    none = TRAINING.model_copy(update={"epochs": 0})
    folder = train(ellipse_cohort, tmp_path / "run", OTHERS[method], none)
    assert RunFolder(folder).finished
    state = load_checkpoint(folder / "checkpoints" / "last.safetensors")
    assert state.step == 0
    gan, networks, _ = load_generator(folder / "checkpoints" / "last.safetensors")
    made = draw_rows(gan, networks, ellipse_cohort, ellipse_cohort.rows(split="validation"), gan.makes[0])
    assert np.isfinite(made).all()
    still = OTHERS[method].model_copy(update={"learning_rate": 1e-30})  # too little for float32
    unmoved = train(ellipse_cohort, tmp_path / "still", still, TRAINING.model_copy(update={"epochs": 1}))
    after = load_checkpoint(unmoved / "checkpoints" / "last.safetensors").part("networks")
    assert set(after) == set(state.part("networks"))
    for name, array in state.part("networks").items():
        if "running_" not in name and "num_batches" not in name:  # statistics of batch norms do move
            assert np.allclose(after[name], array, rtol=0, atol=1e-20), name
    train(ellipse_cohort, folder, OTHERS[method], none, resume=True)  # nothing to do


def test_a_run_that_was_killed_before_its_first_state_starts_anew(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    """Its log, too: what the killed one had logged is not there twice."""
    whole = train(ellipse_cohort, tmp_path / "whole", GAN, TRAINING)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text((whole / "run.json").read_text().replace('"finished": true', '"finished": false'))
    first = (whole / "log.jsonl").read_text().splitlines(keepends=True)[:2]
    (folder / "log.jsonl").write_text("".join(first) + '{"kind": "tra')
    train(ellipse_cohort, folder, GAN, TRAINING, resume=True)
    assert [record["epoch"] for record in records(folder, "train")] == [1, 2, 3, 4]
    assert [record["epoch"] for record in records(folder, "validation")] == [1, 2, 3, 4]
    assert contents(folder)["checkpoints/last.safetensors"] == contents(whole)["checkpoints/last.safetensors"]


def test_a_run_that_was_killed_between_two_states_goes_on_from_the_last(
    finished: Path, ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    """Killed in epoch 4 with a torn line in the log; the saved state is that of epoch 2."""
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(ellipse_cohort, folder, GAN, TRAINING, stop_after=11)
    two = train_to(ellipse_cohort, tmp_path / "two", 6)
    (folder / "checkpoints" / "last.safetensors").write_bytes(two)
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "epo')
    train(ellipse_cohort, folder, GAN, TRAINING, resume=True)
    assert [record["epoch"] for record in records(folder, "train")] == [1, 2, 3, 4]
    assert [record["epoch"] for record in records(folder, "validation")] == [1, 2, 3, 4]
    for name in ("last", "best"):
        file = f"checkpoints/{name}.safetensors"
        assert contents(folder)[file] == contents(finished)[file]


def train_to(cohort: Cohort, folder: Path, step: int) -> bytes:
    with pytest.raises(Interrupted):
        train(cohort, folder, GAN, TRAINING, stop_after=step)
    return (folder / "checkpoints" / "last.safetensors").read_bytes()


def test_a_damaged_state_is_named(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    data = train_to(ellipse_cohort, folder, 2)
    last = folder / "checkpoints" / "last.safetensors"
    last.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"last\.safetensors: expected a safetensors checkpoint"):
        train(ellipse_cohort, folder, GAN, TRAINING, resume=True)


@pytest.mark.parametrize(
    ("drop", "culprit"),
    [
        ("optimisers/generator/3/", "moments of an optimiser"),
        ("networks/discriminator/", "layers.0.bias"),
        ("averages/", "down.0.0.weight"),
    ],
)
def test_a_state_that_lacks_a_part_is_refused(drop: str, culprit: str, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    """As when somebody puts the best checkpoint, which only draws, in the place of the last."""
    folder = tmp_path / "run"
    train_to(ellipse_cohort, folder, 2)
    last = folder / "checkpoints" / "last.safetensors"
    state = load_checkpoint(last)
    kept = {name: array for name, array in state.arrays.items() if not name.startswith(drop)}
    save_checkpoint(last, type(state)(state.step, kept, state.scalars, state.options, state.lineage))
    with pytest.raises(CheckpointError, match=rf"last\.safetensors: .*{culprit}"):
        train(ellipse_cohort, folder, GAN, TRAINING, resume=True)


def in_a_thread(action: Callable[[], None]) -> None:
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


def test_training_works_outside_the_main_thread(finished: Path, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    """Where no signal can be caught: in a notebook's worker, in a server."""
    in_a_thread(lambda: train(ellipse_cohort, tmp_path / "run", GAN, TRAINING) and None)
    file = "checkpoints/last.safetensors"
    assert contents(tmp_path / "run")[file] == contents(finished)[file]


def test_the_signal_handlers_are_given_back(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train_to(ellipse_cohort, tmp_path / "run", 1)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_the_state_and_resume_goes_on(
    number: signal.Signals, ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    """A real signal to a real process: exit code 130, and the resumed run equals one that nobody disturbed."""
    folder = tmp_path / "run"
    options = TRAINING.model_copy(update={"epochs": 40, "validate_every": 20, "preview_every": 40})
    program = f"""
        import sys
        from pathlib import Path
        from synthoma.cohort import open_cohort
        from synthoma.errors import SynthomaError
        from synthoma.gans import ConditionalOptions
        from synthoma.training import TrainingOptions
        from synthoma.training.loop import train
        try:
            train(
                open_cohort({str(ellipse_cohort.path)!r}),
                Path({str(folder)!r}),
                ConditionalOptions.model_validate_json({GAN.model_dump_json()!r}),
                TrainingOptions.model_validate_json({options.model_dump_json()!r}),
            )
        except SynthomaError as error:
            print(error)
            sys.exit(error.exit_code)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (folder / "log.jsonl").is_file():  # the first epoch is over
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "the state is saved in" in output
    assert "Traceback" not in errors
    stopped = load_checkpoint(folder / "checkpoints" / "last.safetensors")
    assert 0 < stopped.step < 120
    train(ellipse_cohort, folder, GAN, options, resume=True)
    whole = train(ellipse_cohort, tmp_path / "whole", GAN, options)
    for name in ("last", "best"):
        file = f"checkpoints/{name}.safetensors"
        assert contents(folder)[file] == contents(whole)[file]
