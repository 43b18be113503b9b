"""TensorBoard beside the log: the same numbers, and a clear word where the package is missing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from synthoma.errors import Interrupted, MissingPartError
from synthoma.gans import ConditionalOptions
from synthoma.records import Cohort
from synthoma.training import TrainingOptions
from synthoma.training.loop import train

GAN = ConditionalOptions(width=2, discriminator_width=2)
TRAINING = TrainingOptions(epochs=3, batch_size=4, precision="float32", device="cpu", threads=1, tensorboard=True)


def test_what_to_do_where_it_is_missing(
    ellipse_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("synthoma.training.board.find_spec", lambda name: None if name == "tensorboard" else find(name))
    with pytest.raises(MissingPartError, match=r"training.tensorboard.*\npip install tensorboard") as missing:
        train(ellipse_cohort, tmp_path / "run", GAN, TRAINING)
    assert missing.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_the_numbers_of_the_log(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    """Stopped in the second epoch and taken up again: every number of the log is there, once."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(Interrupted):
        train(ellipse_cohort, tmp_path / "run", GAN, TRAINING, stop_after=4)
    run = train(ellipse_cohort, tmp_path / "run", GAN, TRAINING, resume=True)
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    epochs = [record for record in records if record["kind"] == "train"]
    assert len(epochs) == 3
    for name in epochs[0]["losses"]:
        found = [(event.step, event.value) for event in board.Scalars(f"losses/{name}")]
        assert found == [(record["step"], pytest.approx(record["losses"][name])) for record in epochs]
    (validated,) = [record for record in records if record["kind"] == "validation"]
    assert [event.value for event in board.Scalars("validation/ssim")] == [pytest.approx(validated["ssim"])]
    assert "train/learning_rate" in board.Tags()["scalars"]
    assert "train/kind" not in board.Tags()["scalars"]
