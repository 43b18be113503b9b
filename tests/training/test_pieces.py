"""The pieces of the loop: schedule, running average, hardware, scores, the run folder's log."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import nn

from synthoma.errors import CheckpointError, CohortError, InputError, OutputError, SettingError
from synthoma.gans import ConditionalGAN, ConditionalOptions, Engine, Layout
from synthoma.records import Cohort
from synthoma.training import TrainingOptions
from synthoma.training.averaging import Average
from synthoma.training.hardware import device_for, precision_for
from synthoma.training.launch import has_voice, launch, one_voice
from synthoma.training.losses import EpochLosses
from synthoma.training.processes import Processes
from synthoma.training.progress import training_progress
from synthoma.training.run_folder import RunFolder
from synthoma.training.trainer import learning_rate_factor
from synthoma.training.validation import MOST_DB, draw_rows, score, spread


def test_the_learning_rate_is_constant_and_then_falls_in_a_line_to_0() -> None:
    """pix2pix: 100 epochs constant, 100 epochs linear to 0."""
    factors = [learning_rate_factor(step / 1000, 0.5) for step in range(1001)]
    assert factors[:501] == [1.0] * 501
    assert factors[750] == pytest.approx(0.5)
    assert factors[1000] == 0
    np.testing.assert_allclose(np.diff(factors[500:]), -0.002, atol=1e-12)


def test_the_learning_rate_can_fall_from_the_start_or_never() -> None:
    assert [learning_rate_factor(p, 0.0) for p in (0, 0.25, 1)] == [1, 0.75, 0]
    assert [learning_rate_factor(p, 1.0) for p in (0, 0.5, 1)] == [1, 1, 1]


def test_the_average_ramps_up() -> None:
    """a ← d·a + (1 − d)·w with d = min(decay, (1 + t) / (10 + t)): 2/11 at the first step."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, 0.9)
    value = 0.0
    for step in range(1, 201):
        nn.init.constant_(network.weight, math.sin(step))
        average.update(network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        value = decay * value + (1 - decay) * math.sin(step)
        assert average.network.weight.item() == pytest.approx(value, abs=1e-5)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("steps", [1, 7, 200])
def test_the_ramp_in_closed_form(steps: int) -> None:
    """Weights that jump from 0 to 1 and stay: of the 0 is left Π (1 + t) / (10 + t) = (n + 1)! 10! / (n + 10)!."""
    network = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(network.weight)
    average = Average(network, 1 - 1e-9)  # so near 1 that the ramp never ends
    nn.init.ones_(network.weight)
    for step in range(1, steps + 1):
        average.update(network, step)
    left = math.factorial(10) * math.factorial(steps + 1) / math.factorial(steps + 10)
    assert 1 - average.network.get_parameter("weight").item() == pytest.approx(left, rel=1e-9, abs=1e-15)


def test_after_the_ramp_the_average_forgets_at_its_decay() -> None:
    network = nn.Linear(1, 1, bias=False).double()
    average = Average(network, 0.9)
    nn.init.zeros_(network.weight)
    nn.init.ones_(average.network.get_parameter("weight"))
    for step in range(1000, 1050):  # (1 + t) / (10 + t) > 0.9 from t = 80 on
        average.update(network, step)
    assert average.network.get_parameter("weight").item() == pytest.approx(0.9**50, rel=1e-9)


def test_an_average_without_decay_is_the_network_itself() -> None:
    network = nn.Linear(3, 3)
    average = Average(network, 0.0)
    nn.init.normal_(network.weight)
    average.update(network, 1)
    assert torch.equal(average.network.get_parameter("weight"), network.weight)


def test_the_average_takes_over_the_statistics_of_the_norms_and_does_not_learn() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    average = Average(network, 0.999)
    network(torch.randn(4, 1, 8, 8))
    average.update(network, 1)
    for name, buffer in network.named_buffers():
        assert torch.equal(average.network.get_buffer(name), buffer)
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there() -> None:
    assert device_for("auto") == device_for("cpu") == torch.device("cpu")
    with pytest.raises(SettingError, match=r"training\.device: expected a CUDA device, found none"):
        device_for("cuda")


def test_bf16_only_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for has, auto in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("synthoma.training.hardware.cpu_has_bf16", lambda has=has: has)
        assert precision_for("auto", cpu) == auto
        assert precision_for("float32", cpu) == torch.float32
    with pytest.raises(SettingError, match=r"training\.precision: expected hardware with bf16 instructions"):
        precision_for("bf16", cpu)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fp16_is_taken_at_its_word(device: str) -> None:
    assert precision_for("fp16", torch.device(device)) == torch.float16


def losses_of(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


IDS = np.array([f"p{i}" for i in range(30)])


def test_the_mean_of_a_loss_is_over_the_steps_that_have_it() -> None:
    """The generator of a WGAN does not step every time; sums do not overflow where single losses do not."""
    losses = EpochLosses()
    losses.add(1, [np.array([0])], losses_of(critic=3e38))
    losses.add(2, [np.array([1])], losses_of(critic=3e38, generator=5.0))
    losses.add(3, [np.array([2])], losses_of(critic=0.0, generator=7.0))
    assert losses.means(Engine(torch.device("cpu"))) == pytest.approx({"critic": 2e38, "generator": 6.0})
    assert losses.first_not_finite(IDS) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_loss_that_is_not_finite_is_named_with_its_samples(value: float) -> None:
    """Also when nobody has looked for some steps, and the steps have different losses."""
    losses = EpochLosses()
    losses.add(4, [np.array([0]), np.array([1])], losses_of(critic=1.0, penalty=2.0))
    losses.add(5, [np.array([2]), np.arange(20, 30)], losses_of(critic=1.0, penalty=value, generator=value))
    losses.add(6, [np.array([3]), np.array([4])], losses_of(critic=value, penalty=value))
    found = losses.first_not_finite(IDS)
    assert found is not None
    assert found[0] == 5
    assert found[1].splitlines()[0] == (
        "loss 'penalty' at step 5: expected finite numbers, found NaN or infinity, for the samples "
        "p2, p20, p21, p22, p23, p24, p25, p26 and 3 more."
    )
    assert losses.first_not_finite(IDS) is None  # all has been looked at


def test_more_devices_than_gpus_are_refused(
    ellipse_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    message = (
        r"devices: expected at most 2, the GPUs of this machine, found 3\.\nAsk for fewer, or train on the processor"
    )
    assert ellipse_cohort.path is not None
    with pytest.raises(SettingError, match=message):
        launch(ellipse_cohort.path, tmp_path / "run", ConditionalOptions(), TrainingOptions(), 3)
    assert not (tmp_path / "run").exists()


def test_processes_do_not_start_processes(
    ellipse_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ellipse_cohort.path is not None
    with pytest.raises(InputError, match="devices: expected 1, since torchrun has started the processes, found 2"):
        launch(ellipse_cohort.path, tmp_path / "run", ConditionalOptions(), TrainingOptions(device="cpu"), 2)


def test_alone_there_is_nobody_to_ask() -> None:
    alone = Processes()
    assert alone.main
    assert not alone.orphaned
    assert (alone.any(True), alone.any(False)) == (True, False)
    assert alone.first(lambda: 3) == 3
    assert alone.earliest((2, "x")) == (2, "x")
    assert alone.earliest(None) is None
    alone.check_equal(torch.tensor(1.0))


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("launched", [False, True])
def test_only_one_says_why_it_ends_and_each_leaves_a_note(
    rank: int, launched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "error.json"
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(note))
    if launched:
        monkeypatch.setenv("SYNTHOMA_LAUNCHED", "1")
    speaks = rank == 0 and not launched
    with pytest.raises(SettingError if speaks else SystemExit) as raised, one_voice():
        raise SettingError("gan.width: expected 1.")
    assert getattr(raised.value, "code", 2) == 2
    left = json.loads(note.read_text())
    assert (left["message"], left["kind"], left["rank"]) == ("gan.width: expected 1.", "SettingError", rank)
    assert has_voice() == speaks


def test_alone_errors_pass_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match="x"), one_voice():
        raise ValueError("x")
    assert has_voice()


@pytest.mark.parametrize(("n", "most", "wanted"), [(3, 5, [0, 1, 2]), (5, 3, [0, 2, 4]), (9, 1, [0]), (0, 4, [])])
def test_spread_rows_are_few_and_even(n: int, most: int, wanted: list[int]) -> None:
    assert spread(np.arange(n), most).tolist() == wanted


def a_gan(cohort: Cohort) -> ConditionalGAN:
    torch.manual_seed(0)
    return ConditionalGAN(ConditionalOptions(width=4, adversarial_weight=0), Layout.of(cohort), torch.device("cpu"))


def test_the_score_is_scikit_images_over_the_body_by_patient(ellipse_cohort: Cohort) -> None:
    """Two slices of one patient and three of another: the mean of the patients' means, not of the slices."""
    gan = a_gan(ellipse_cohort)
    rows = np.concatenate([ellipse_cohort.rows(patient="p4")[:2], ellipse_cohort.rows(patient="p5")])
    made = draw_rows(gan, gan.networks, ellipse_cohort, rows, "reconstruct")
    by_patient: dict[str, list[tuple[float, float]]] = {}
    for image, row in zip(made, rows, strict=True):
        real, body = ellipse_cohort.images[row, 1].astype(float), ellipse_cohort.masks[row, 0] == 1
        fake = image[0].astype(float)
        _, full = structural_similarity(
            real, fake, data_range=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        psnr = 10 * math.log10(4 / ((real - fake)[body] ** 2).mean())
        by_patient.setdefault(ellipse_cohort.table["patient"][row], []).append((full[body].mean(), psnr))
    ssim, psnr_db = np.mean([np.mean(values, axis=0) for values in by_patient.values()], axis=0)
    found = score(gan, gan.networks, ellipse_cohort, rows)
    assert found["ssim"] == pytest.approx(ssim, abs=1e-5)
    assert found["psnr_db"] == pytest.approx(psnr_db, abs=1e-5)


def test_a_perfect_reconstruction_has_a_number_that_json_can_hold(
    ellipse_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ellipse_cohort.rows(patient="p4")
    truth = ellipse_cohort.images[rows][:, 1:]
    monkeypatch.setattr("synthoma.training.validation.draw_rows", lambda *_: truth)
    gan = a_gan(ellipse_cohort)
    assert score(gan, gan.networks, ellipse_cohort, rows) == pytest.approx({"ssim": 1, "psnr_db": MOST_DB})


def test_slices_without_a_body_are_left_out_and_none_is_an_error(ellipse_cohort: Cohort) -> None:
    gan = a_gan(ellipse_cohort)
    rows = ellipse_cohort.rows(patient="p4")
    masks = np.array(ellipse_cohort.masks)
    masks[rows[0], 0] = 0
    some = score(gan, gan.networks, replace(ellipse_cohort, masks=masks), rows)
    assert some == pytest.approx(score(gan, gan.networks, ellipse_cohort, rows[1:]))
    masks[:, 0] = 0
    with pytest.raises(CohortError, match="validation samples: expected a body in at least one of them, found none"):
        score(gan, gan.networks, replace(ellipse_cohort, masks=masks), rows)


ASKED = {"gan": {"width": 4, "target": ("flair",)}, "training": {"epochs": 2, "seed": 0}, "lineage": "abc"}


def test_a_new_folder_says_what_it_was_asked_and_that_it_is_not_finished(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "run")
    assert not folder.finished
    assert not folder.begin(ASKED, resume=False)
    assert json.loads((folder.path / "run.json").read_text())["options"]["gan"] == {"width": 4, "target": ["flair"]}
    assert not folder.finished
    folder.finish()
    assert folder.finished


def test_an_existing_folder_is_never_written_into_unasked(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(ASKED, resume=False)
    with pytest.raises(OutputError, match=r"expected a new folder, found one that exists\.\nGo on with --resume"):
        folder.begin(ASKED, resume=False)
    assert not folder.begin(ASKED, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_or_file_of_somebody_else_is_left_alone(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(OutputError, match="found one with other files"):
        RunFolder(tmp_path / "thesis").begin(ASKED, resume=resume)
    with pytest.raises(OutputError, match="found a file"):
        RunFolder(tmp_path / "thesis" / "chapter.tex").begin(ASKED, resume=resume)
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


@pytest.mark.parametrize(
    ("block", "key", "value"), [("training", "epochs", 3), ("training", "seed", 1), ("gan", "target", ("t2",))]
)
def test_another_setting_is_named_before_the_lineage_that_changes_with_it(
    tmp_path: Path, block: str, key: str, value: object
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(ASKED, resume=False)
    other = ASKED | {block: ASKED[block] | {key: value}, "lineage": "xyz"}  # type: ignore[operator, dict-item]
    with pytest.raises(SettingError, match=f"^{block}.{key}: expected .*, as in .*run, found"):
        folder.begin(other, resume=True)


def test_other_data_are_named_by_their_lineage(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(ASKED, resume=False)
    with pytest.raises(SettingError, match=r"^lineage: expected 'abc'"):
        folder.begin(ASKED | {"lineage": "xyz"}, resume=True)


@pytest.mark.parametrize("content", ["{", "[]", '{"options": 3}'])
def test_a_damaged_run_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        RunFolder(tmp_path).begin(ASKED, resume=True)


@pytest.mark.parametrize("torn", ["", '{"kind": "train", "ep', '{"kind": "train", "epoch": 3, "step": 9}'])
def test_the_log_goes_back_to_the_saved_step(tmp_path: Path, torn: str) -> None:
    """What was logged after it is done again; a last line that was cut short is dropped."""
    folder = RunFolder(tmp_path)
    for epoch in (1, 2, 3):
        folder.log({"kind": "train", "epoch": epoch, "step": 3 * epoch})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(torn)
    folder.truncate_log(6)
    folder.log({"kind": "train", "epoch": 3, "step": 9})
    epochs = [json.loads(line)["epoch"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert epochs == [1, 2, 3]


def test_a_log_without_a_last_line_break_is_continued_on_a_new_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 3}\n{"step": 6}')  # cut between the record and its line break
    folder.truncate_log(6)
    folder.log({"step": 9})
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [3, 6, 9]


def test_progress_without_a_terminal_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress("training", 10) as show:
        show(4, {"l1": 0.5}, 3.0)  # too early for a line
        show(10, {"l1": 0.25}, 3.0)
    captured = capsys.readouterr()
    lines = (captured.out + captured.err).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("training: 10/10  3.0 images/s  l1 0.250")
