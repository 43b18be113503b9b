"""What every GAN must do, over the table ``GANS``: a new method inherits the tests by its entries in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synthoma.cohort import AugmentOptions
from synthoma.errors import Interrupted
from synthoma.gans import (
    GANS,
    MASK,
    ConditionalOptions,
    CycleOptions,
    Engine,
    Examples,
    Gan,
    GanOptions,
    Layout,
    WassersteinOptions,
)
from synthoma.options import Options
from synthoma.records import Cohort
from synthoma.training import TrainingOptions
from synthoma.training.loop import train

EVERY_CHANGE = ("brightness", "contrast", "translation", "cutout")
NARROW: dict[str, dict[str, Any]] = {
    "conditional": {"width": 4, "discriminator_width": 4},
    "cycle": {"width": 4, "blocks": 2, "discriminator_width": 4},
    "wasserstein": {"latent": 8, "width": 4, "layers": 3, "critic_width": 4, "n_critic": 2},
}
# Pools so small that images are exchanged from the second step on.
DIFFERENT: dict[str, dict[str, dict[str, Any]]] = {
    "conditional": {
        "study": {},
        "batch-perceptual": {"norm": "batch", "perceptual": {"network": "efficientnet-lite0", "weight": 1}},
        "instance-linear-penalty": {
            "condition": ("mask", "t1"),
            "norm": "instance",
            "base": "linear",
            "upsample": "resize",
            "adversarial": "lsgan",
            "gradient_penalty": 1,
            "body_weight": 3,
            "weight_decay": 0.1,
            "differentiable_augmentation": EVERY_CHANGE,
        },
        "alone": {"norm": "batch", "adversarial_weight": 0},
    },
    "cycle": {
        "study": {"pool_size": 3},
        "input-structure-penalty": {
            "pool_size": 5,
            "base": "input",
            "upsample": "resize",
            "structure": "mind",
            "negatives": 0.3,
            "gradient_penalty": 1,
            "differentiable_augmentation": EVERY_CHANGE,
        },
        "labels": {
            "source": {"label": "tumour"},
            "target": {"label": "tumour-free"},
            "pool_size": 2,
            "norm": "none",
            "adversarial": "bce",
            "identity_weight": 0,
            "structure": "gradient",
        },
    },
    "wasserstein": {
        "study": {},
        "adam-augmented": {
            "target": ("flair",),
            "optimiser": "adam",
            "norm": "instance",
            "critic_norm": "instance",
            "penalty_every": 2,
            "upsample": "resize",
            "drift": 0.001,
            "differentiable_augmentation": ("translation", "cutout"),
        },
    },
}
OPTIONS: dict[str, type[Options]] = {
    "conditional": ConditionalOptions,
    "cycle": CycleOptions,
    "wasserstein": WassersteinOptions,
}
SMALL: dict[str, dict[str, Any]] = {
    method: {name: OPTIONS[method].model_validate(NARROW[method] | changes) for name, changes in cases.items()}
    for method, cases in DIFFERENT.items()
}
CASES = [pytest.param(method, name, id=f"{method}-{name}") for method, cases in SMALL.items() for name in cases]
ONE_EACH = [pytest.param(method, next(iter(cases)), id=method) for method, cases in SMALL.items()]

STEPS, BATCH = 6, 4
TRAINING = TrainingOptions(
    batch_size=BATCH,
    augment=AugmentOptions(rotate_deg=10, gamma=0.2, flip_left_right=True),
    decay_from=0.3,
    precision="float32",
    device="cpu",
    threads=1,
    validate_every=1,
    variety=False,
    preview_every=2,
    checkpoint_every=1,
)


def test_every_method_has_a_small_case() -> None:
    assert set(SMALL) == set(GANS)
    assert all(options.method == method for method, cases in SMALL.items() for options in cases.values())


def build(options: GanOptions, cohort: Cohort, seed: int = 0) -> Gan:
    torch.manual_seed(seed)
    gan = GANS[options.method](options, Layout.of(cohort), torch.device("cpu"))
    gan.start(cohort, cohort.rows(split="train"))
    for network in gan.networks.values():
        network.train()
    return gan


def sides_of(gan: Gan, cohort: Cohort) -> tuple[Any, ...]:
    return gan.sides(cohort, cohort.rows(split="train", origin="real"))


def examples(gan: Gan, cohort: Cohort, rows: Any) -> Examples:
    noise = torch.randn(len(rows), gan.latent, generator=torch.Generator().manual_seed(5)) if gan.latent else None
    return Examples(
        torch.from_numpy(np.array(cohort.images[rows])),
        torch.from_numpy(np.array(cohort.masks[rows])).float(),
        gan.layout.label_indices(cohort.table["label"][rows].tolist()),
        noise,
    )


def parts(gan: Gan, cohort: Cohort) -> list[Examples]:
    return [examples(gan, cohort, side[:BATCH]) for side in sides_of(gan, cohort)]


def steps(gan: Gan, batch: Sequence[Examples], count: int, engine: Engine) -> list[dict[str, Tensor]]:
    losses = []
    for number in range(count):
        engine.begin(number)
        losses.append(gan.step(batch, engine))
    return losses


def twice(gan: Gan) -> int:
    """Steps after which every network has moved twice.

    Twice: with a base the last layer starts at 0, and lets gradients through once it has moved.
    """
    return 2 * gan.averages_every()


def state(gan: Gan) -> dict[str, Tensor]:
    """All that a step may change, and what it must not."""
    modules = gan.networks | gan.memories
    found = {f"{n}.{key}": value.clone() for n, module in modules.items() for key, value in module.state_dict().items()}
    perceptual = getattr(gan, "perceptual", None)
    if perceptual is not None:
        found |= {f"perceptual.{key}": value.clone() for key, value in perceptual.state_dict().items()}
    return found


def without_effect(gan: Gan) -> set[str]:
    """What the losses do not depend on: −E[D(real)] + E[D(fake)] does not change when all scores grow."""
    options = gan.options
    return {"critic.judge.bias"} if options.method == "wasserstein" and options.drift == 0 else set()


@pytest.mark.parametrize(("method", "name"), CASES)
def test_steps_change_every_weight_they_should_and_no_other(method: str, name: str, ellipse_cohort: Cohort) -> None:
    gan = build(SMALL[method][name], ellipse_cohort)
    before = state(gan)
    losses = steps(gan, parts(gan, ellipse_cohort), twice(gan), Engine(gan.device))[-1]
    after = state(gan)
    still = {key for key, value in before.items() if torch.equal(value, after[key])}
    frozen = {key for key in before if key.startswith("perceptual.")}
    assert frozen <= still
    assert still - frozen <= without_effect(gan)
    assert all(not loss.requires_grad and loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    for network in gan.networks.values():
        assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("method", "name"), CASES)
def test_the_judge_scores_each_image_by_itself(method: str, name: str, ellipse_cohort: Cohort) -> None:
    gan = build(SMALL[method][name], ellipse_cohort)
    if gan.judge not in gan.networks:
        assert gan.options.adversarial_weight == 0
        return
    gan.networks[gan.judge].eval()
    batch = parts(gan, ellipse_cohort)[0]
    with torch.no_grad():
        made = gan.draw(gan.networks, batch, gan.makes[0])
        before = gan.scores(made, batch)
        made[1:] = -made[1:]
        after = gan.scores(made, batch)
    assert before.shape[:2] == (len(batch), 1)
    change = (after - before).flatten(1).abs().amax(dim=1)
    assert change[1:].min() > 100 * change[0]


@pytest.mark.parametrize(("method", "name"), CASES)
def test_two_seeds_differ_and_one_repeats(method: str, name: str, ellipse_cohort: Cohort) -> None:
    """The seed of the weights, and that of the steps' random numbers."""

    def after(seed: int, of_steps: int) -> dict[str, Tensor]:
        gan = build(SMALL[method][name], ellipse_cohort, seed)
        steps(gan, parts(gan, ellipse_cohort), twice(gan), Engine(gan.device, seed=of_steps))
        return state(gan)

    first, again, other = after(1, 1), after(1, 1), after(2, 1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first if not key.startswith("perceptual."))
    if method == "wasserstein":  # noise and the penalty's ε
        drawn = after(1, 2)
        assert any(not torch.equal(first[key], drawn[key]) for key in first)


@pytest.mark.parametrize(("method", "name"), CASES)
def test_images_are_intensities_and_drawn_alike_at_any_batch_size(
    method: str, name: str, ellipse_cohort: Cohort
) -> None:
    gan = build(SMALL[method][name], ellipse_cohort)
    steps(gan, parts(gan, ellipse_cohort), twice(gan), Engine(gan.device))
    networks = {drawing: gan.networks[drawing].eval() for drawing in gan.averaged}
    rows = ellipse_cohort.rows(split="train")[:BATCH]
    whole = examples(gan, ellipse_cohort, rows)
    single = [
        Examples(
            whole.images[[i]], whole.masks[[i]], whole.labels[[i]], None if whole.noise is None else whole.noise[[i]]
        )
        for i in range(BATCH)
    ]
    assert gan.makes
    for way in gan.makes:
        with torch.no_grad():
            together = gan.draw(networks, whole, way)
            alone = torch.cat([gan.draw(networks, one, way) for one in single])
        assert together.shape == (BATCH, len(gan.channels(way)[1]), 32, 32)
        assert together.dtype == torch.float32
        assert float(together.abs().max()) <= 1
        assert len({image.numpy().tobytes() for image in together}) == BATCH  # each from its own condition or noise
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("method", "name"), CASES)
def test_drawing_looks_at_nothing_but_what_it_says(method: str, name: str, ellipse_cohort: Cohort) -> None:
    """So not at the target, where there is one: channels, masks and labels it does not name may hold anything."""
    gan = build(SMALL[method][name], ellipse_cohort)
    steps(gan, parts(gan, ellipse_cohort), twice(gan), Engine(gan.device))
    networks = {drawing: gan.networks[drawing].eval() for drawing in gan.averaged}
    whole = examples(gan, ellipse_cohort, ellipse_cohort.rows(split="train")[:BATCH])
    for way in gan.makes:
        shown = gan.channels(way)[0]
        images, masks = whole.images.clone(), whole.masks.clone()
        for index, channel in enumerate(gan.layout.channels):
            if channel not in shown:
                images[:, index] = 0.123
        if MASK not in shown:
            masks = 1 - masks
        labels = whole.labels if gan.latent else whole.labels * 0 - 1
        with torch.no_grad():
            drawn = gan.draw(networks, whole, way)
            assert torch.equal(drawn, gan.draw(networks, Examples(images, masks, labels, whole.noise), way))
            if shown:
                moved = Examples(whole.images.flip(-1), whole.masks.flip(-1), labels, whole.noise)
                assert not torch.equal(drawn, gan.draw(networks, moved, way))


@pytest.mark.parametrize(("method", "name"), CASES)
def test_bf16_steps_keep_float32_weights(method: str, name: str, ellipse_cohort: Cohort) -> None:
    gan = build(SMALL[method][name], ellipse_cohort)
    batch = parts(gan, ellipse_cohort)
    losses = steps(gan, batch, gan.averages_every(), Engine(gan.device, torch.bfloat16))
    for of_step in losses:
        assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in of_step.values())
    assert all(p.dtype == torch.float32 for network in gan.networks.values() for p in network.parameters())
    exact = steps(build(SMALL[method][name], ellipse_cohort), batch, 1, Engine(gan.device))[0]
    for key, loss in exact.items():  # bf16 has 8 bits: near, and not the same number
        torch.testing.assert_close(losses[0][key], loss, rtol=0.1, atol=0.02)
    assert any(not torch.equal(losses[0][key], loss) for key, loss in exact.items())


@pytest.mark.parametrize(("method", "name"), CASES)
def test_fp16_steps_move_finite_float32_weights_or_are_counted_as_skipped(
    method: str, name: str, ellipse_cohort: Cohort
) -> None:
    """Every optimiser has a scaler of its own; a step that overflows leaves the weights as they were."""
    gan = build(SMALL[method][name], ellipse_cohort)
    engine, before = Engine(gan.device, torch.float16), state(gan)
    count = twice(gan)
    steps(gan, parts(gan, ellipse_cohort), count, engine)
    assert set(engine.scalers) == set(gan.optimisers)
    assert all(skipped <= count for skipped in engine.skipped.values())
    for network_name, network in gan.networks.items():
        for key, parameter in network.named_parameters():
            assert parameter.dtype == torch.float32
            assert torch.isfinite(parameter).all(), (network_name, key)
    assert engine.skipped or any(not torch.equal(value, before[key]) for key, value in state(gan).items())


@pytest.mark.parametrize(("method", "name"), CASES)
def test_recomputed_activations_change_nothing_bit_for_bit(method: str, name: str, ellipse_cohort: Cohort) -> None:
    """Statistics of batch norms, dropout and second derivatives included."""
    results = []
    for recompute in (False, True):
        gan = build(SMALL[method][name].model_copy(update={"recompute": recompute}), ellipse_cohort)
        assert any(getattr(network, "recompute", False) for network in gan.networks.values()) is recompute
        losses = steps(gan, parts(gan, ellipse_cohort), twice(gan), Engine(gan.device))
        results.append(state(gan) | losses[-1])
    plain, recomputed = results
    assert [key for key, value in plain.items() if not torch.equal(value, recomputed[key])] == []


def per_epoch(gan: GanOptions, cohort: Cohort) -> int:
    return -(-max(len(side) for side in sides_of(build(gan, cohort), cohort)) // BATCH)


def run(cohort: Cohort, out: Path, gan: GanOptions, *, stops: tuple[int, ...] = (), seed: int = 0) -> dict[str, bytes]:
    """Train for six steps, stopped after each of ``stops`` and resumed; the bytes of all checkpoints."""
    options = TRAINING.model_copy(update={"seed": seed, "epochs": STEPS // per_epoch(gan, cohort)})
    for i, stop in enumerate(stops):
        with pytest.raises(Interrupted, match=f"Stopped after {stop} of {STEPS} steps"):
            train(cohort, out, gan, options, resume=i > 0, stop_after=stop)
        torch.manual_seed(99)  # whatever happened in between
        torch.rand(7)
    train(cohort, out, gan, options, resume=bool(stops))
    return {file.name: file.read_bytes() for file in (out / "checkpoints").iterdir()}


@pytest.mark.parametrize(("method", "name"), CASES)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(
    method: str, name: str, ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    """In the middle of both epochs: weights, averages, optimisers, pools of images."""
    gan = SMALL[method][name]
    whole = run(ellipse_cohort, tmp_path / "whole", gan)
    assert set(whole) == {"last.safetensors", *(["best.safetensors"] if GANS[method].chosen else [])}
    steps_an_epoch = per_epoch(gan, ellipse_cohort)
    assert run(ellipse_cohort, tmp_path / "parts", gan, stops=(steps_an_epoch - 1, steps_an_epoch + 1)) == whole


@pytest.mark.parametrize("stops", ["epoch", "often", "end", "last"])
@pytest.mark.parametrize(("method", "name"), ONE_EACH)
def test_resuming_at_the_end_of_an_epoch_or_of_the_run(
    method: str, name: str, stops: str, ellipse_cohort: Cohort, tmp_path: Path
) -> None:
    """Validation, best checkpoint and preview must not be skipped."""
    gan = SMALL[method][name]
    first = per_epoch(gan, ellipse_cohort)
    at = {"epoch": (first,), "often": (1, first, STEPS - 1), "end": (STEPS,), "last": (STEPS - 1, STEPS)}[stops]
    whole = run(ellipse_cohort, tmp_path / "whole", gan)
    assert run(ellipse_cohort, tmp_path / "parts", gan, stops=at) == whole
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
