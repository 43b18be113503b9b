"""What every GAN must do, over the table ``GANS``: a new method inherits the tests with one entry in ``SMALL``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from synthoma.cohort import AugmentOptions
from synthoma.errors import Interrupted
from synthoma.gans import GANS, ConditionalGAN, ConditionalOptions, GanOptions, Layout
from synthoma.gans.perceptual import PerceptualOptions
from synthoma.records import Cohort
from synthoma.training import TrainingOptions
from synthoma.training.loop import train

SMALL: dict[str, dict[str, GanOptions]] = {
    "conditional": {
        "study": ConditionalOptions(width=4, discriminator_width=4),
        "batch-perceptual": ConditionalOptions(
            width=4,
            discriminator_width=4,
            norm="batch",
            perceptual=PerceptualOptions(network="efficientnet-lite0", weight=1),
        ),
        "instance-linear-penalty": ConditionalOptions(
            condition=("mask", "t1"),
            width=4,
            discriminator_width=4,
            norm="instance",
            base="linear",
            upsample="resize",
            adversarial="lsgan",
            gradient_penalty=1,
            body_weight=3,
            weight_decay=0.1,
        ),
        "alone": ConditionalOptions(width=4, norm="batch", adversarial_weight=0),
    }
}
CASES = [pytest.param(method, name, id=f"{method}-{name}") for method, cases in SMALL.items() for name in cases]
ONE_EACH = [pytest.param(method, next(iter(cases)), id=method) for method, cases in SMALL.items()]

# Two epochs of three steps (12 samples, 4 a batch), with everything on that has a state.
TRAINING = TrainingOptions(
    epochs=2,
    batch_size=4,
    augment=AugmentOptions(rotate_deg=10, gamma=0.2, flip_left_right=True),
    decay_from=0.3,
    precision="float32",
    device="cpu",
    threads=1,
    validate_every=1,
    preview_every=2,
    checkpoint_every=1,
)


def test_every_method_has_a_small_case() -> None:
    assert set(SMALL) == set(GANS)
    assert all(options.method == method for method, cases in SMALL.items() for options in cases.values())


def build(options: GanOptions, cohort: Cohort, seed: int = 0) -> ConditionalGAN:
    torch.manual_seed(seed)
    gan = GANS[options.method](options, Layout.of(cohort), torch.device("cpu"))
    gan.start(cohort, cohort.rows(split="train"))
    for network in gan.networks.values():
        network.train()
    return gan


def batch(cohort: Cohort) -> tuple[Tensor, Tensor]:
    rows = cohort.rows(split="train")[:4]
    return torch.from_numpy(np.array(cohort.images[rows])), torch.from_numpy(np.array(cohort.masks[rows])).float()


def weights(gan: ConditionalGAN) -> dict[str, Tensor]:
    found = {f"{n}.{key}": p.detach().clone() for n, net in gan.networks.items() for key, p in net.named_parameters()}
    if gan.perceptual is not None:
        found |= {f"perceptual.{key}": value.clone() for key, value in gan.perceptual.state_dict().items()}
    return found


def biases_without_effect(gan: ConditionalGAN) -> set[str]:
    """A bias whose convolution feeds an instance norm: the mean that the norm takes away takes it along."""
    found = set()
    for name, network in gan.networks.items():
        previous = ""
        for key, module in network.named_modules():
            if isinstance(module, torch.nn.InstanceNorm2d):
                found.add(f"{name}.{previous}.bias")
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                previous = key
    return found


@pytest.mark.parametrize(("method", "name"), CASES)
def test_two_steps_change_every_weight_they_should_and_no_other(method: str, name: str, ellipse_cohort: Cohort) -> None:
    """Two: with the linear base the last layer starts at 0, and lets gradients through once it has moved."""
    gan = build(SMALL[method][name], ellipse_cohort)
    before = weights(gan)
    losses = [gan.step(*batch(ellipse_cohort), torch.float32) for _ in range(2)][-1]
    after = weights(gan)
    still = {key for key, value in before.items() if torch.equal(value, after[key])}
    frozen = {key for key in before if key.startswith("perceptual.")}
    assert frozen <= still
    assert still - frozen <= biases_without_effect(gan)
    assert all(not loss.requires_grad and loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    for network in gan.networks.values():
        assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("method", "name"), CASES)
def test_two_seeds_differ_and_one_repeats(method: str, name: str, ellipse_cohort: Cohort) -> None:
    def after_two(seed: int) -> dict[str, Tensor]:
        gan = build(SMALL[method][name], ellipse_cohort, seed)
        for _ in range(2):
            gan.step(*batch(ellipse_cohort), torch.float32)
        return weights(gan)

    first, again, other = after_two(1), after_two(1), after_two(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first if not key.startswith("perceptual."))


@pytest.mark.parametrize(("method", "name"), CASES)
def test_images_are_intensities_and_drawn_alike_at_any_batch_size(
    method: str, name: str, ellipse_cohort: Cohort
) -> None:
    gan = build(SMALL[method][name], ellipse_cohort)
    images, masks = batch(ellipse_cohort)
    gan.step(images, masks, torch.float32)
    network = gan.networks[gan.averaged].eval()
    with torch.no_grad():
        together = gan.draw(network, images, masks)
        alone = torch.cat([gan.draw(network, images[i : i + 1], masks[i : i + 1]) for i in range(len(images))])
    assert together.shape == (4, len(gan.options.target), 32, 32)
    assert together.dtype == torch.float32
    assert float(together.abs().max()) <= 1
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("method", "name"), CASES)
def test_drawing_does_not_look_at_the_target(method: str, name: str, ellipse_cohort: Cohort) -> None:
    gan = build(SMALL[method][name], ellipse_cohort)
    images, masks = batch(ellipse_cohort)
    network = gan.networks[gan.averaged].eval()
    hidden = images.clone()
    for target in gan.options.target:
        hidden[:, gan.layout.channels.index(target)] = 0.123
    with torch.no_grad():
        assert torch.equal(gan.draw(network, images, masks), gan.draw(network, hidden, masks))


@pytest.mark.parametrize(("method", "name"), CASES)
def test_bf16_steps_keep_float32_weights(method: str, name: str, ellipse_cohort: Cohort) -> None:
    gan = build(SMALL[method][name], ellipse_cohort)
    losses = gan.step(*batch(ellipse_cohort), torch.bfloat16)
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())
    assert all(p.dtype == torch.float32 for network in gan.networks.values() for p in network.parameters())


def run(cohort: Cohort, out: Path, gan: GanOptions, *, stops: tuple[int, ...] = (), seed: int = 0) -> dict[str, bytes]:
    """Train, stopped after each of ``stops`` and resumed; the bytes of both checkpoints."""
    options = TRAINING.model_copy(update={"seed": seed})
    for i, stop in enumerate(stops):
        with pytest.raises(Interrupted, match=f"Stopped after {stop} of 6 steps"):
            train(cohort, out, gan, options, resume=i > 0, stop_after=stop)
        torch.manual_seed(99)  # whatever happened in between
        torch.rand(7)
    train(cohort, out, gan, options, resume=bool(stops))
    return {file.name: file.read_bytes() for file in (out / "checkpoints").iterdir()}


@pytest.mark.parametrize(("method", "name"), CASES)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(
    method: str, name: str, ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    """In the middle of both epochs."""
    gan = SMALL[method][name]
    whole = run(ellipse_cohort, tmp_path / "whole", gan)
    assert set(whole) == {"last.safetensors", "best.safetensors"}
    assert run(ellipse_cohort, tmp_path / "parts", gan, stops=(2, 4)) == whole


@pytest.mark.parametrize("stops", [(3,), (1, 3, 5), (6,), (5, 6)], ids=str)
@pytest.mark.parametrize(("method", "name"), ONE_EACH)
def test_resuming_at_the_end_of_an_epoch_or_of_the_run(
    method: str, name: str, stops: tuple[int, ...], ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    """Step 3 ends the first epoch, step 6 the run: validation, best checkpoint and preview must not be skipped."""
    gan = SMALL[method][name]
    whole = run(ellipse_cohort, tmp_path / "whole", gan)
    assert run(ellipse_cohort, tmp_path / "parts", gan, stops=stops) == whole
    preview = "preview/epoch-0002.png"
    assert (tmp_path / "parts" / preview).read_bytes() == (tmp_path / "whole" / preview).read_bytes()


@pytest.mark.parametrize(("method", "name"), ONE_EACH)
def test_two_runs_with_one_seed_are_identical_and_with_another_differ(
    method: str, name: str, ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    gan = SMALL[method][name]
    torch.manual_seed(1)
    first = run(ellipse_cohort, tmp_path / "first", gan)
    torch.manual_seed(2)  # the caller's random state is none of the run's business
    assert run(ellipse_cohort, tmp_path / "again", gan) == first
    other = run(ellipse_cohort, tmp_path / "other", gan, seed=1)
    assert other["last.safetensors"] != first["last.safetensors"]
