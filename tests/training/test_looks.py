"""What is looked at between two epochs: diversity, its warning, and images that are no numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synthoma.cohort import create_cohort, open_cohort
from synthoma.errors import SettingError
from synthoma.gans import (
    GANS,
    ConditionalOptions,
    CycleOptions,
    Domain,
    Examples,
    GanOptions,
    Layout,
    WassersteinGAN,
    WassersteinOptions,
)
from synthoma.networks.features import lite0_features
from synthoma.networks.pretrained import efficientnet_lite0
from synthoma.records import Cohort, Lineage, Samples
from synthoma.training import TrainingOptions
from synthoma.training.loop import train
from synthoma.training.validation import Variety, draw_rows

TRAINING = TrainingOptions(
    epochs=4, batch_size=6, precision="float32", device="cpu", threads=1, validate_every=4, preview_every=4
)
WGAN = WassersteinOptions(width=4, critic_width=4, layers=3, critic_layers=2, latent=8, n_critic=1)
GAN = ConditionalOptions(width=4, discriminator_width=4)
EACH: dict[str, GanOptions] = {
    "conditional": GAN,
    "cycle": CycleOptions(width=4, discriminator_width=4, blocks=1),
    "wasserstein": WGAN,
}


def log(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == "train"]


def variety(options: GanOptions, cohort: Cohort) -> Variety:
    torch.manual_seed(0)
    gan = GANS[options.method](options, Layout.of(cohort), torch.device("cpu"))
    return Variety(gan, cohort, gan.sides(cohort, cohort.rows(split="train")))


@pytest.mark.parametrize("method", EACH)
def test_diversity_is_logged_every_epoch(method: str, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    records = log(train(ellipse_cohort, tmp_path / "run", EACH[method], TRAINING))
    assert len(records) == 4
    assert all(np.isfinite(record["diversity"]) and record["diversity"] >= 0 for record in records)


def test_without_variety_there_is_none(
    ellipse_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a constant generator goes unnoticed."""
    monkeypatch.setattr(WassersteinGAN, "draw", constant)
    off = TRAINING.model_copy(update={"variety": False})
    assert not any({"diversity", "warning"} & set(r) for r in log(train(ellipse_cohort, tmp_path / "run", WGAN, off)))
    assert "diversity" not in capsys.readouterr().err


def constant(gan: Any, _networks: Mapping[str, nn.Module], examples: Examples, _way: str) -> Tensor:
    return torch.zeros(len(examples), len(gan.names), *gan.layout.shape)


def test_a_collapsed_generator_is_warned_of_once_aloud(
    ellipse_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the first half, where no generator can do much yet."""
    monkeypatch.setattr(WassersteinGAN, "draw", constant)
    records = log(train(ellipse_cohort, tmp_path / "run", WGAN, TRAINING, title="wgan"))
    assert [record["diversity"] for record in records] == [0, 0, 0, 0]
    words = "diversity 0.00, below 0.5: mode collapse?"
    assert [record.get("warning") for record in records] == [None, None, words, words]
    said = [line for line in capsys.readouterr().err.splitlines() if "diversity" in line]
    assert said == [f"wgan: epoch 3: {words}"]


def test_one_that_was_diverse_before_is_warned_of_at_once(
    ellipse_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.8, 0.4, 0.6, 0.3])
    monkeypatch.setattr(Variety, "__call__", lambda *_: next(values))
    records = log(train(ellipse_cohort, tmp_path / "run", WGAN, TRAINING))
    assert [("warning" in record) for record in records] == [False, True, False, True]
    assert capsys.readouterr().err.count("mode collapse") == 1


def test_the_diversity_is_the_mean_distance_over_that_of_real_images(ellipse_cohort: Cohort) -> None:
    """By NumPy, from the features; for two channels the mean over the channels."""
    looks = variety(WGAN, ellipse_cohort)
    rows = ellipse_cohort.rows(split="train")
    network = efficientnet_lite0()[0].eval()

    def distance(images: NDArray[np.float32]) -> float:
        means = []
        for channel in range(2):
            features = lite0_features(network, torch.from_numpy(images[:, channel])).numpy()
            between = np.linalg.norm(features[:, None] - features[None], axis=2)
            means.append(between[np.triu_indices(len(features), 1)].mean())
        return float(np.mean(means))

    gan = looks.gan
    made = draw_rows(gan, gan.networks, ellipse_cohort, rows, "sample")
    expected = distance(made) / distance(np.asarray(ellipse_cohort.images[rows], dtype=np.float32))
    assert looks(gan.networks) == pytest.approx(expected, rel=1e-6)


def test_real_images_are_as_diverse_as_real_images(ellipse_cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = variety(GAN, ellipse_cohort)

    def real(gan: Any, _networks: Mapping[str, nn.Module], examples: Examples, _way: str) -> Tensor:
        return gan.layout.stack(gan.options.target, examples.images, examples.masks)  # type: ignore[no-any-return]

    monkeypatch.setattr(type(looks.gan), "draw", real)
    assert looks(looks.gan.networks) == pytest.approx(1)


def test_too_few_images_or_equal_ones_have_no_diversity(ellipse_cohort: Cohort) -> None:
    few = CycleOptions(source=Domain(label="tumour"), target=Domain(label="tumour-free"), width=4, blocks=1)
    one = ellipse_cohort.select(np.array([0, 1, 2]))  # two with a tumour, one without
    assert variety(few, one)(variety(few, one).gan.networks) is None
    equal = ellipse_cohort.select(ellipse_cohort.rows(split="train"))
    equal.images[:] = equal.images[:1]
    assert variety(GAN, equal)(variety(GAN, equal).gan.networks) is None


@pytest.fixture
def volumes(tmp_path: Path) -> Cohort:
    """Four patients of 8 × 32 × 32."""
    rng = np.random.default_rng(0)
    lineage = Lineage.of("prepare", parents=("a",), recipe={}, seed=0, patients_seen=("a", "b", "c", "d"))
    folder = tmp_path / "volumes.cohort"
    with create_cohort(
        folder, channels=("t1", "flair"), mask_names=("body", "core"), shape=(16, 32, 32), lineages=(lineage,)
    ) as writer:
        for patient in "abcd":
            masks = np.ones((1, 2, 16, 32, 32), dtype=np.uint8)
            sample = Samples(
                images=rng.uniform(-1, 1, (1, 2, 16, 32, 32)).astype(np.float32),
                masks=masks,
                channels=("t1", "flair"),
                mask_names=("body", "core"),
                slices=(-1,),
                labels=("tumour",),
                patient=patient,
                site="x",
                spacing_mm=(1.0, 1.0, 1.0),
                intensity={"t1": (0.0, 1.0), "flair": (0.0, 1.0)},
                unit="arbitrary",
                modality="MR",
            )
            writer.add(sample, split="train" if patient != "d" else "validation", fold=0, lineage=lineage.id)
    return open_cohort(folder)


@pytest.mark.parametrize("method", ["conditional", "wasserstein"])
def test_volumes_are_looked_at_in_their_middle_slice(method: str, volumes: Cohort, tmp_path: Path) -> None:
    options = TRAINING.model_copy(update={"epochs": 1, "batch_size": 2})
    gan = EACH[method].model_copy(update={"adversarial_weight": 0.0} if method == "conditional" else {})
    record = log(train(volumes, tmp_path / "run", gan, options))[0]
    assert record["diversity"] > 0
    looks = variety(gan, volumes)
    middle = volumes.images[volumes.rows(split="train")][:, :, 8]
    names = [volumes.channels.index(name) for name in looks.gan.channels(looks.way)[1]]
    assert looks.real == pytest.approx(looks._distance(torch.from_numpy(np.array(middle[:, names]))))


def test_images_that_are_no_numbers_end_the_run(
    ellipse_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and losses may be finite when activations are not."""
    monkeypatch.setattr(WassersteinGAN, "draw", lambda *given: constant(*given) / 0)
    with pytest.raises(SettingError, match=r"images drawn \(sample\): expected finite numbers, found NaN or infinity"):
        train(ellipse_cohort, tmp_path / "run", WGAN, TRAINING)
    assert not (tmp_path / "run" / "checkpoints").exists()
