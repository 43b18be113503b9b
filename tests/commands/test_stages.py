"""``train``, ``generate``, ``evaluate``, ``report``, ``run`` and ``demo`` as a user types them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthoma.cohort import open_cohort
from synthoma.training import RunFolder


def test_the_stages_leave_what_the_next_one_reads(typed, study, tmp_path, quick):
    said = typed("info", study / "gan")
    assert "conditional GAN, [t1, mask] → [flair], finished" in said.out
    assert "epochs    1 of 1" in said.out
    assert "best      epoch 1: SSIM" in said.out
    made = open_cohort(study / "reconstruct.cohort")
    assert (made.channels, made.conditions) == (("flair",), ("t1", "mask"))
    said = typed("evaluate", study / "real.cohort", study / "reconstruct.cohort", "--out", tmp_path / "judged", *quick)
    assert said.code == 0, said.err
    for arm in ("synthetic", "source image", "least squares", "mean training image"):
        assert f"\n  psnr  {arm} " in said.out
    assert (tmp_path / "judged" / "evidence" / "similarity.json").is_file()
    compared = json.loads((tmp_path / "judged" / "compared.json").read_text())
    assert not Path(compared["real"]).is_absolute()
    assert "psnr  synthetic" in typed("info", tmp_path / "judged").out
    page = tmp_path / "report.html"
    said = typed("report", tmp_path / "judged", "--out", page)
    assert (said.code, said.out) == (0, f"The report: {page}\n")
    assert page.read_text(encoding="utf-8").startswith("<!")


@pytest.mark.parametrize("method", ["transplant", "remove"])
def test_other_methods(typed, study, tmp_path, method):
    words = ("generate", study / "gan", study / "real.cohort", "--method", method, "--out", tmp_path / "x.cohort")
    assert typed(*words, "--set", "generation.use=last", "--set", "generation.samples=3").code == 0
    assert len(open_cohort(tmp_path / "x.cohort")) == 3


def test_every_output_that_exists_is_refused(typed, study, tmp_path, quick, small_gan):
    real, gan, made, judged = (tmp_path / name for name in ("real.cohort", "gan", "reconstruct.cohort", "judged"))
    for source in (real, gan, made):
        shutil.copytree(study / source.name, source)
    evaluate = ("evaluate", real, made, "--out", judged, *quick)
    assert typed(*evaluate).code == 0
    report = ("report", judged, "--out", tmp_path / "report.html")
    assert typed(*report).code == 0
    for words in (("train", real, "--out", gan, *small_gan), ("generate", gan, real, "--out", made), evaluate, report):
        said = typed(*words)
        assert said.code == 2, words
        assert "one that exists" in said.err
        assert "--overwrite" in said.err
        assert len(said.err.splitlines()) == 2
        again = typed(*words, "--overwrite")
        assert again.code == 0, again.err


def test_a_run_stays_when_the_new_one_cannot_begin(typed, study, tmp_path, small_gan):
    shutil.copytree(study / "gan", tmp_path / "gan")
    before = (tmp_path / "gan/checkpoints/last.safetensors").read_bytes()
    words = ("train", study / "real.cohort", "--out", tmp_path / "gan", "--overwrite", *small_gan)
    said = typed(*words, "--set", "gan.condition=[t2, mask]")
    assert (said.code, "gan.condition: expected channels of the cohort, found 't2'" in said.err) == (2, True)
    assert (tmp_path / "gan/checkpoints/last.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["gan"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--set", "gan.widht=4"),
            "settings: gan.widht: expected a known setting, found 'widht'.\nDid you mean 'wid",
        ),
        (("--set", "gan.width=many"), "settings: gan.width: expected a valid integer"),
        (("--set", "gan.width=0"), "settings: gan.width: expected greater than or equal to 1, found 0."),
        (("--set", "width=4"), "--set width: expected a setting of gan.… or training.…, found 'width'."),
        (("--set", "generation.seed=4"), "--set generation.seed: expected a setting of gan.… or training.…"),
        (
            ("--set", "training.precision=float64"),
            "settings: training.precision: expected 'auto', 'float32', 'bf16' or 'fp16'",
        ),
        (("--set", "gan.target=[t1]"), "settings: gan: 't1' is both condition and target"),
        (("--set", "training.device=cuda"), "training.device: expected a CUDA device, found none."),
        (("--recipe", "demmo"), "recipe 'demmo': expected a ready recipe or a file"),
        (("--resume", "--overwrite"), "train: expected either resume or overwrite, found both."),
    ],
)
def test_a_wrong_setting_of_training(typed, real, tmp_path, words, message):
    import torch

    if "training.device=cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    said = typed("train", real, "--out", tmp_path / "gan", *words)
    assert said.code == 2
    assert said.err.startswith(f"error: {message}")
    assert len(said.err.splitlines()) <= 2
    assert not (tmp_path / "gan").exists()


def test_vgg19_without_its_file_is_a_missing_part(typed, real, tmp_path, small_gan):
    words = ("train", real, "--out", tmp_path / "gan", *small_gan, "--set", "gan.perceptual.network=vgg19")
    said = typed(*words)
    assert said.code == 3
    assert "gan.perceptual.weights: expected a file with torchvision's vgg19 weights, found none." in said.err
    assert not (tmp_path / "gan").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "nowhere", "--out", "x"), "nowhere: expected a cohort folder, found nothing."),
        (("generate", "nowhere", "nowhere", "--out", "x"), "expected"),
        (("evaluate", "nowhere", "nowhere", "--out", "x"), "nowhere: expected a cohort folder, found nothing."),
        (
            ("report", "nowhere", "--out", "x"),
            "nowhere: expected the folder of a study or an evaluation, found",
        ),
        (
            ("info", "nowhere"),
            "nowhere: expected the folder of a cohort, a run, a study or an evaluation, found",
        ),
        (("run", "demmo", "--out", "x"), "recipe 'demmo': expected a ready recipe or a file, found neither."),
        (("run", "brats-cgan", "--out", "x"), "brats-cgan: data.path: expected a value, found none."),
    ],
)
def test_a_wrong_path(typed, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    said = typed(*words)
    assert said.code == 2
    assert message in said.err
    assert len(said.err.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_generate_needs_a_known_method_and_a_checkpoint(typed, study, tmp_path):
    said = typed("generate", study / "gan", study / "real.cohort", "--method", "remov", "--out", tmp_path / "x.cohort")
    assert (said.code, "Did you mean 'remove'?" in said.err) == (2, True)
    (tmp_path / "gan").mkdir()
    said = typed("generate", tmp_path / "gan", study / "real.cohort", "--out", tmp_path / "x.cohort")
    assert (said.code, "last.safetensors: expected a checkpoint, found nothing." in said.err) == (2, True)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def test_a_checkpoint_that_carries_code_is_never_run(typed, study, tmp_path):
    shutil.copytree(study / "gan", tmp_path / "gan")
    trap = tmp_path / "trap"
    for name in ("best", "last"):
        (tmp_path / f"gan/checkpoints/{name}.safetensors").write_bytes(pickle.dumps(Payload(str(trap)), protocol=2))
    said = typed("generate", tmp_path / "gan", study / "real.cohort", "--out", tmp_path / "x.cohort")
    assert said.code == 2
    assert "files that carry code (.pt, .pkl) never are." in said.err
    resumed = typed("train", study / "real.cohort", "--out", tmp_path / "gan", "--resume")
    assert resumed.code == 2
    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Payload(str(trap)), protocol=2))
    assert typed("weights", "verify", tmp_path / "weights.pth").code == 2
    assert not trap.exists()


def test_a_leak_is_refused_with_exit_code_4(typed, study, scans, tmp_path, small, quick):
    """The same patients split in another way: the GAN has seen those who are test patients now."""
    other, made = tmp_path / "other.cohort", tmp_path / "made.cohort"
    assert typed("prepare", "brats", scans, "--out", other, *small, "--set", "split.seed=3").code == 0
    test = set(open_cohort(other).table["patient"][open_cohort(other).rows(split="test")].tolist())
    (seen,) = [x for x in open_cohort(study / "reconstruct.cohort").lineages.values() if x.step == "train"]
    assert test <= set(seen.patients_seen), "choose another seed"
    assert typed("generate", study / "gan", other, "--out", made).code == 0
    said = typed("evaluate", other, made, "--out", tmp_path / "judged", *quick)
    assert said.code == 4
    for patient in test:
        assert patient in said.err
    assert not (tmp_path / "judged" / "evidence.csv").exists()


def test_two_cohorts_of_one_name_cannot_be_told_apart(typed, study, tmp_path, quick):
    shutil.copytree(study / "reconstruct.cohort", tmp_path / "reconstruct.cohort")
    said = typed(
        "evaluate", study / "real.cohort", study / "reconstruct.cohort", tmp_path / "reconstruct.cohort",
        "--out", tmp_path / "judged", *quick,
    )  # fmt: skip
    assert said.code == 2
    assert "synthetic cohorts: expected folders of different names, found 'reconstruct' twice" in said.err


def train_in_a_process(cohort: Path, out: Path, settings: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "synthoma", "train", cohort, "--out", out, *settings]
    return subprocess.Popen([str(word) for word in command], text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def wait_for(process: subprocess.Popen[str], path: Path) -> None:
    for _ in range(6000):
        if path.is_file() and path.stat().st_size:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_stopped_training_goes_on(typed, real, tmp_path, small_gan, number, code):
    rare = ("validate_every=100", "preview_every=100")
    settings = [*small_gan, "--set", "training.epochs=15", "--set", "training.checkpoint_every=1"]
    settings += [word for setting in rare for word in ("--set", f"training.{setting}")]
    process = train_in_a_process(real, tmp_path / "gan", settings)
    wait_for(process, tmp_path / "gan" / "checkpoints" / "last.safetensors")
    os.kill(process.pid, number)
    _, err = process.communicate()
    assert process.returncode == code
    if number == signal.SIGINT:
        assert err.startswith("Stopped after ")
        assert "Go on with --resume" in err
        assert len(err.splitlines()) == 2
        said = typed("train", real, "--out", tmp_path / "gan", *settings)
        assert (said.code, "Go on with --resume" in said.err) == (2, True)
        said = typed("train", real, "--out", tmp_path / "gan", *settings, "--resume", "--set", "gan.l1_weight=3")
        assert said.code == 2
        assert "gan.l1_weight: expected 100.0, as in" in said.err
    assert not RunFolder(tmp_path / "gan").finished
    assert "not finished: go on with" in typed("info", tmp_path / "gan").out
    said = typed("train", real, "--out", tmp_path / "gan", *settings, "--resume")
    assert said.code == 0, said.err
    assert RunFolder(tmp_path / "gan").finished
    lines = (tmp_path / "gan" / "log.jsonl").read_text().splitlines()
    epochs = [line["epoch"] for line in map(json.loads, lines) if line["kind"] == "train"]
    assert epochs[-1] == 15
    assert len(set(epochs)) == len(epochs)


TINY_DEMO = (
    "data.patients=6", "data.spacing_mm=4", "training.threads=1", "preprocessing.steps.resize.size=32", "gan.width=4",
    "gan.discriminator_width=4", "training.epochs=1", "split={train: 0.5, validation: 0.25, test: 0.25, folds: 0}",
    "preprocessing.sampling.per_patient=6", "generation.samples=4", "evaluation.families=[similarity]",
    "evaluation.bootstrap_draws=100",
)  # fmt: skip


@pytest.mark.slow
def test_the_demo_ends_in_a_report_and_goes_on_when_it_is_run_again(typed, shell, tmp_path):
    words = ["demo", "--out", tmp_path / "demo", *(w for setting in TINY_DEMO for w in ("--set", setting))]
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    page = tmp_path / "demo" / "report.html"
    assert done.stdout.endswith(f"The report: {page}\n")
    assert page.is_file()
    table = (tmp_path / "demo" / "evidence.csv").read_bytes()
    again = typed(*words)
    assert again.code == 0
    assert again.out.count("done before") == again.out.count("[")
    page.unlink()
    assert typed(*words).code == 0
    assert page.is_file()
    assert (tmp_path / "demo" / "evidence.csv").read_bytes() == table
    other = typed(*words, "--set", "generation.rotate_deg=5")
    assert other.code == 2
    assert "rotate_deg: expected 30.0, as in" in other.err
    anew = typed(*words, "--set", "generation.rotate_deg=5", "--overwrite")
    assert anew.code == 0
    assert "train: done before" in anew.out
    assert "generate transplant …" in anew.out
    said = typed("report", tmp_path / "demo", "--out", tmp_path / "again.html")
    assert said.code == 0
    assert "rotate_deg" in (tmp_path / "again.html").read_text(encoding="utf-8")
    said = typed("info", tmp_path / "demo")
    assert "cohorts   real.cohort, synthetic/reconstruct.cohort" in said.out


def test_a_folder_of_something_else_is_no_study(typed, tmp_path):
    (tmp_path / "mine").write_text("precious")
    said = typed("demo", "--out", tmp_path)
    assert (said.code, "expected a new folder or that of a study, found another one." in said.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
