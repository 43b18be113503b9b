"""The conditional GAN's own settings, losses and linear fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from synthoma.errors import SettingError
from synthoma.gans import ConditionalGAN, ConditionalOptions, Engine, Examples, Layout
from synthoma.gans.conditional import fit_linear
from synthoma.records import Cohort

LAYOUT = Layout(("t1", "t2", "flair"), ("body", "core", "oedema"), (32, 32))
CPU = torch.device("cpu")


def examples(images: Tensor, masks: Tensor) -> Examples:
    return Examples(images, masks, torch.zeros(len(images), dtype=torch.int64))


def step(gan: ConditionalGAN, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
    return gan.step([examples(images, masks)], Engine(CPU))


def draw(gan: ConditionalGAN, images: Tensor, masks: Tensor) -> Tensor:
    with torch.no_grad():
        return gan.draw({"generator": gan.networks["generator"].eval()}, examples(images, masks), "reconstruct")


def small(**changes: Any) -> ConditionalOptions:
    return ConditionalOptions.model_validate({"width": 4, "discriminator_width": 4, "dropout": 0} | changes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"condition": ("t1", "flair")}, "'flair' is both condition and target: the GAN would be shown its own answer"),
        ({"target": ("flair", "mask"), "condition": ("t1",)}, "the target must be images; 'mask' can only be"),
        ({"adversarial_weight": 0, "l1_weight": 0}, "all loss weights are 0: there is nothing to learn"),
        ({"condition": ()}, "condition"),
        ({"dropout": 1}, "dropout"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"gradient_penalti": 1}, "gradient_penalti"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**settings)


@pytest.mark.parametrize("setting", ["condition", "target"])
def test_an_unknown_channel_names_the_setting_and_the_nearest(setting: str) -> None:
    options = small(condition=("t1",), target=("t2",)).model_copy(update={setting: ("flare",)})
    with pytest.raises(SettingError, match=f"gan.{setting}: .* found 'flare'.\nDid you mean 'flair'"):
        ConditionalGAN(options, LAYOUT, CPU)


@pytest.mark.parametrize(
    ("shape", "depth", "power"), [((33, 33), None, 2), ((30, 30), None, 2), ((32, 32), 6, 6), ((96, 64), 6, 6)]
)
def test_a_size_that_cannot_be_halved_so_often(shape: tuple[int, int], depth: int | None, power: int) -> None:
    layout = Layout(LAYOUT.channels, LAYOUT.mask_names, shape)
    with pytest.raises(SettingError) as caught:
        ConditionalGAN(small(depth=depth), layout, CPU)
    message = str(caught.value)
    assert f"gan.depth: expected image sides divisible by 2^{power}, found {shape}" in message
    assert "resize.size" in message


@pytest.mark.parametrize("side", [8, 16, 20])
def test_an_image_too_small_for_a_patch(side: int) -> None:
    layout = Layout(LAYOUT.channels, LAYOUT.mask_names, (side, 32))
    with pytest.raises(SettingError, match="image sides of at least 24 pixels") as caught:
        ConditionalGAN(small(), layout, CPU)
    assert "Change resize.size, or set gan.adversarial_weight to 0." in str(caught.value)
    ConditionalGAN(small(adversarial_weight=0), layout, CPU)


def test_the_smallest_image_for_a_patch_can_be_trained_on() -> None:
    gan = ConditionalGAN(small(), Layout(LAYOUT.channels, LAYOUT.mask_names, (24, 24)), CPU)
    losses = step(gan, torch.zeros(2, 3, 24, 24), torch.zeros(2, 3, 24, 24))
    assert torch.isfinite(losses["discriminator"])


def test_the_perceptual_loss_is_for_pictures() -> None:
    layout = Layout(LAYOUT.channels, LAYOUT.mask_names, (32, 32, 32))
    with pytest.raises(SettingError, match=r"gan\.perceptual\.network: expected 2D images"):
        ConditionalGAN(small(perceptual={"network": "efficientnet-lite0"}), layout, CPU)


def test_volumes_can_be_trained_on() -> None:
    gan = ConditionalGAN(small(), Layout(LAYOUT.channels, LAYOUT.mask_names, (32, 32, 32)), CPU)
    images, masks = torch.rand(1, 3, 32, 32, 32), torch.zeros(1, 3, 32, 32, 32)
    assert torch.isfinite(step(gan, images, masks)["l1"])
    assert draw(gan, images, masks).shape == (1, 1, 32, 32, 32)


def test_no_discriminator_without_adversarial_weight() -> None:
    gan = ConditionalGAN(small(adversarial_weight=0), LAYOUT, CPU)
    assert set(gan.networks) == set(gan.optimisers) == {"generator"}
    assert set(step(gan, torch.rand(2, 3, 32, 32), torch.ones(2, 3, 32, 32))) == {"l1"}


def test_the_mask_is_a_condition() -> None:
    """What is drawn depends on the mask where it is a condition, and only there."""
    images, masks = torch.rand(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    moved = masks.clone()
    moved[:, 1, 8:16, 8:16] = 1
    for condition, depends in ((("t1", "mask"), True), (("mask",), True), (("t1",), False)):
        torch.manual_seed(0)
        gan = ConditionalGAN(small(condition=condition), LAYOUT, CPU)
        assert torch.equal(draw(gan, images, masks), draw(gan, images, moved)) is not depends


def test_the_discriminator_sees_condition_and_image() -> None:
    gan = ConditionalGAN(small(condition=("t1", "mask"), target=("t2", "flair")), LAYOUT, CPU)
    first = next(gan.networks["discriminator"].parameters())
    assert first.shape[1] == 1 + 2 + 2


def test_the_body_counts_more_in_the_l1_loss_with_mean_weight_one() -> None:
    """A quarter of the frame is body with weight 3: mean weight 1.5, so 2 inside and 2/3 outside."""
    gan = ConditionalGAN(small(condition=("t1",), body_weight=3), LAYOUT, CPU)
    masks = torch.zeros(1, 3, 32, 32)
    masks[:, 0, :16, :16] = 1
    error = torch.where(masks[:, :1] > 0, 0.5, 0.25)
    target = torch.zeros(1, 1, 32, 32)
    assert float(gan._l1(target + error, target, masks)) == pytest.approx(0.25 * 2 * 0.5 + 0.75 * 2 / 3 * 0.25)
    flat = torch.full_like(target, 0.3)
    assert float(gan._l1(flat, target, masks)) == pytest.approx(0.3)


def test_condition_and_image_are_changed_together_for_the_discriminator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real and fake pairs of one step, and the fake one of the generator's: shifted and cut alike, all channels."""
    gan = ConditionalGAN(small(differentiable_augmentation=("translation", "cutout")), LAYOUT, CPU)
    seen: list[Tensor] = []
    gan.networks["discriminator"].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()))
    images = torch.full((8, 3, 32, 32), 0.5)  # the condition is nowhere 0, so that 0 is what was filled in
    step(gan, images, torch.ones(8, 3, 32, 32))
    real, fake, again = seen
    blank = real[:, :1] == 0
    shares = blank.float().mean(dim=(1, 2, 3))
    assert len(set(shares.tolist())) > 4  # every sample is changed in its own way
    assert torch.equal((real == 0).all(dim=1, keepdim=True), blank)
    assert torch.equal(real == 0, blank.expand_as(real))
    for other in (fake, again):
        assert torch.equal(other[:, :3], real[:, :3])
        assert torch.equal(other[:, 3:] == 0, blank)


@pytest.mark.parametrize("condition", [("t1",), ("t1", "mask"), ("mask",)])
def test_the_linear_fit_is_least_squares_over_the_body(condition: tuple[str, ...], ellipse_cohort: Cohort) -> None:
    options, layout = small(condition=condition), Layout.of(ellipse_cohort)
    rows = ellipse_cohort.rows(split="train")
    weight, bias = fit_linear(options, layout, ellipse_cohort, rows)
    columns, targets = [], []
    for row in rows:
        body = ellipse_cohort.masks[row, 0] == 1
        parts = {"t1": [ellipse_cohort.images[row, 0]], "mask": [m * 2.0 - 1 for m in ellipse_cohort.masks[row, 1:]]}
        columns.append(np.stack([part[body] for name in condition for part in parts[name]], axis=1))
        targets.append(ellipse_cohort.images[row, 1][body])
    x = np.concatenate(columns).astype(np.float64)
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    wanted = np.linalg.lstsq(design, np.concatenate(targets).astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(weight[0], wanted[:-1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(bias[0], wanted[-1], rtol=1e-6, atol=1e-9)


def test_a_fresh_run_draws_the_linear_fit(ellipse_cohort: Cohort) -> None:
    options, layout = small(condition=("t1",), base="linear"), Layout.of(ellipse_cohort)
    rows = ellipse_cohort.rows(split="train")
    gan = ConditionalGAN(options, layout, CPU)
    gan.start(ellipse_cohort, rows)
    weight, bias = fit_linear(options, layout, ellipse_cohort, rows)
    images, masks = torch.from_numpy(np.array(ellipse_cohort.images[:3])), torch.zeros(3, 3, 32, 32)
    drawn = draw(gan, images, masks).numpy()
    t1 = ellipse_cohort.images[:3, 0]
    wanted = np.where(t1 > -1, np.clip(weight[0, 0] * t1 + bias[0], -1, 1), -1)
    np.testing.assert_allclose(drawn[:, 0], wanted, atol=1e-5)
