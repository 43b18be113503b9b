"""The conditional GAN's own settings, losses and linear fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from synthoma.errors import SettingError
from synthoma.gans import ConditionalGAN, ConditionalOptions, Layout
from synthoma.gans.conditional import fit_linear
from synthoma.records import Cohort

LAYOUT = Layout(("t1", "t2", "flair"), ("body", "core", "oedema"), (32, 32))
CPU = torch.device("cpu")


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
    with pytest.raises(SettingError, match="image sides of at least 24 pixels"):
        ConditionalGAN(small(), layout, CPU)
    ConditionalGAN(small(adversarial_weight=0), layout, CPU)


def test_the_smallest_image_for_a_patch_can_be_trained_on() -> None:
    gan = ConditionalGAN(small(), Layout(LAYOUT.channels, LAYOUT.mask_names, (24, 24)), CPU)
    losses = gan.step(torch.zeros(2, 3, 24, 24), torch.zeros(2, 3, 24, 24), torch.float32)
    assert torch.isfinite(losses["discriminator"])


def test_the_perceptual_loss_is_for_pictures() -> None:
    layout = Layout(LAYOUT.channels, LAYOUT.mask_names, (32, 32, 32))
    with pytest.raises(SettingError, match=r"gan\.perceptual\.network: expected 2D images"):
        ConditionalGAN(small(perceptual={"network": "efficientnet-lite0"}), layout, CPU)


def test_volumes_can_be_trained_on() -> None:
    gan = ConditionalGAN(small(), Layout(LAYOUT.channels, LAYOUT.mask_names, (32, 32, 32)), CPU)
    images, masks = torch.rand(1, 3, 32, 32, 32), torch.zeros(1, 3, 32, 32, 32)
    assert torch.isfinite(gan.step(images, masks, torch.float32)["l1"])
    assert gan.draw(gan.networks["generator"].eval(), images, masks).shape == (1, 1, 32, 32, 32)


def test_no_discriminator_without_adversarial_weight() -> None:
    gan = ConditionalGAN(small(adversarial_weight=0), LAYOUT, CPU)
    assert set(gan.networks) == set(gan.optimisers) == {"generator"}
    assert set(gan.step(torch.rand(2, 3, 32, 32), torch.ones(2, 3, 32, 32), torch.float32)) == {"l1"}


def test_the_mask_is_a_condition() -> None:
    """What is drawn depends on the mask where it is a condition, and only there."""
    images, masks = torch.rand(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    moved = masks.clone()
    moved[:, 1, 8:16, 8:16] = 1
    for condition, depends in ((("t1", "mask"), True), (("mask",), True), (("t1",), False)):
        torch.manual_seed(0)
        gan = ConditionalGAN(small(condition=condition), LAYOUT, CPU)
        network = gan.networks["generator"].eval()
        with torch.no_grad():
            assert torch.equal(gan.draw(network, images, masks), gan.draw(network, images, moved)) is not depends


def test_the_discriminator_sees_condition_and_image() -> None:
    gan = ConditionalGAN(small(condition=("t1", "mask"), target=("t2", "flair")), LAYOUT, CPU)
    first = next(gan.networks["discriminator"].parameters())
    assert first.shape[1] == 1 + 2 + 2


def test_the_losses_are_those_of_the_study() -> None:
    """One step by hand: the discriminator's loss before its step, the generator's against the stepped discriminator."""
    import copy

    import torch.nn.functional as F

    torch.manual_seed(0)
    gan = ConditionalGAN(small(condition=("t1",), norm="none"), LAYOUT, CPU)
    images, masks = torch.rand(2, 3, 32, 32) * 2 - 1, torch.zeros(2, 3, 32, 32)
    generator, before = copy.deepcopy(gan.networks["generator"]), copy.deepcopy(gan.networks["discriminator"])
    losses = gan.step(images, masks, torch.float32)
    with torch.no_grad():
        t1, flair = images[:, :1], images[:, 2:]
        fake = generator(t1)
        of = F.binary_cross_entropy_with_logits
        real_logits, fake_logits = before(torch.cat([t1, flair], 1)), before(torch.cat([t1, fake], 1))
        wanted = (of(real_logits, torch.ones_like(real_logits)) + of(fake_logits, torch.zeros_like(fake_logits))) / 2
        torch.testing.assert_close(losses["discriminator"], wanted)
        torch.testing.assert_close(losses["l1"], (fake - flair).abs().mean())
        stepped = gan.networks["discriminator"](torch.cat([t1, fake], 1))  # it took its step before the generator's
        torch.testing.assert_close(losses["adversarial"], of(stepped, torch.ones_like(stepped)))


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
    with torch.no_grad():
        drawn = gan.draw(gan.networks["generator"].eval(), images, masks).numpy()
    t1 = ellipse_cohort.images[:3, 0]
    wanted = np.where(t1 > -1, np.clip(weight[0, 0] * t1 + bias[0], -1, 1), -1)
    np.testing.assert_allclose(drawn[:, 0], wanted, atol=1e-5)
