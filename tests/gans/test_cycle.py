"""The CycleGAN's own settings, domains and ways to draw. Its step is compared in ``test_reference.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from synthoma.errors import CohortError, SettingError
from synthoma.gans import CycleGAN, CycleOptions, Engine, Examples, Layout
from synthoma.records import Cohort

LAYOUT = Layout(("t1", "t2", "flair"), ("body", "core"), (32, 32))
CPU = torch.device("cpu")


def small(**changes: Any) -> CycleOptions:
    return CycleOptions.model_validate({"width": 2, "blocks": 1, "discriminator_width": 2} | changes)


def some(n: int = 2, shape: tuple[int, ...] = (32, 32), seed: int = 0) -> Examples:
    images = torch.rand(n, 3, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Examples(images, torch.ones(n, 2, *shape), torch.zeros(n, dtype=torch.int64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": {"label": "a"}, "target": {"label": "a"}}, "source and target are the same domain"),
        ({"source": {"channels": ("t1",)}, "target": {"channels": ("t1",)}}, "there is nothing to translate"),
        ({"source": {"channels": ("t1", "mask")}}, "the domains must be images; 'mask' is none"),
        ({"target": {"channels": ("mask",)}}, "the domains must be images"),
        ({"source": {"chanels": ("t1",)}}, "chanels"),
        ({"pool_size": -1}, "pool_size"),
        ({"cycle_ssim": 1.1}, "cycle_ssim"),
        ({"negatives": 1}, "negatives"),
        ({"identity_weight": -1}, "identity_weight"),
        ({"adversarial_weight": 0}, "adversarial_weight"),
        ({"structure": "ssim"}, "structure"),
        ({"differentiable_augmentation": ("rotation",)}, "differentiable_augmentation"),
        ({"n_critic": 2}, "n_critic"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**changes)


def test_the_defaults_are_the_papers() -> None:
    """Zhu et al. 2017, section 4 and appendix 7.1, and the code that goes with them."""
    options = CycleOptions()
    assert (options.width, options.blocks, options.norm, options.upsample) == (64, 9, "instance", "transpose")
    assert (options.cycle_weight, options.identity_weight, options.pool_size) == (10, 0.5, 50)
    assert (options.adversarial, options.adversarial_weight) == ("lsgan", 1)
    assert (options.learning_rate, options.beta1, options.beta2) == (2e-4, 0.5, 0.999)
    assert (options.base, options.structure, options.gradient_penalty) == ("none", "none", 0)
    assert (options.cycle_ssim, options.negatives) == (0, 0)
    assert options.differentiable_augmentation == ()


@pytest.mark.parametrize("side", ["source", "target"])
def test_an_unknown_channel_names_the_setting_and_the_nearest(side: str) -> None:
    with pytest.raises(SettingError, match=f"gan.{side}.channels: .* found 'flare'.\nDid you mean 'flair'"):
        CycleGAN(small(**{side: {"channels": ("flare",)}}), LAYOUT, CPU)


@pytest.mark.parametrize(("shape", "found"), [((30, 32), "30×32"), ((32, 34), "32×34"), ((32, 32, 26), "32×32×26")])
def test_sides_must_be_divisible_by_4(shape: tuple[int, ...], found: str) -> None:
    layout = Layout(LAYOUT.channels, LAYOUT.mask_names, shape)
    with pytest.raises(SettingError, match=f"expected image sides divisible by 4, found {found}.\nChange resize.size."):
        CycleGAN(small(), layout, CPU)


def test_an_image_too_small_for_a_patch() -> None:
    layout = Layout(LAYOUT.channels, LAYOUT.mask_names, (20, 32))
    with pytest.raises(SettingError, match="image sides of at least 24 pixels") as caught:
        CycleGAN(small(), layout, CPU)
    assert str(caught.value).endswith("Change resize.size or gan.discriminator_layers.")


def test_a_change_of_the_input_needs_as_many_channels() -> None:
    domains = {"source": {"channels": ("t1", "t2")}, "target": {"channels": ("flair",)}}
    with pytest.raises(SettingError, match=r"gan\.base: expected as many channels in both domains, found 2 and 1"):
        CycleGAN(small(base="input", **domains), LAYOUT, CPU)
    with pytest.raises(SettingError, match=r"gan\.negatives: expected as many channels in both domains, found 2 and 1"):
        CycleGAN(small(negatives=0.5, **domains), LAYOUT, CPU)
    gan = CycleGAN(small(**domains), LAYOUT, CPU)
    losses = gan.step([some(), some(seed=1)], Engine(CPU))
    assert not any(name.startswith("identity") for name in losses)  # no generator can be shown its own domain
    networks = {name: gan.networks[name] for name in gan.averaged}
    with torch.no_grad():
        assert gan.draw(networks, some(), "translate").shape == (2, 1, 32, 32)
        assert gan.draw(networks, some(), "back").shape == (2, 2, 32, 32)
        assert gan.draw(networks, some(), "cycle").shape == (2, 2, 32, 32)


@pytest.mark.parametrize("identity", [0.0, 0.5])
def test_each_generator_runs_as_often_as_it_must(identity: float) -> None:
    """Translation, reconstruction and (only where it counts) identity; the discriminators' step runs none again."""
    gan = CycleGAN(small(identity_weight=identity), LAYOUT, CPU)
    runs: list[str] = []
    for name, network in gan.networks.items():
        network.register_forward_hook(lambda _m, _i, _o, name=name: runs.append(name))
    gan.step([some(), some(seed=1)], Engine(CPU))
    of_generators = 3 if identity else 2
    assert {name: runs.count(name) for name in gan.networks} == {
        "generator_target": of_generators,
        "generator_source": of_generators,
        "discriminator_target": 3,
        "discriminator_source": 3,
    }


def test_real_and_fake_images_of_a_step_are_changed_alike_for_a_discriminator() -> None:
    gan = CycleGAN(small(differentiable_augmentation=("cutout",), pool_size=0), LAYOUT, CPU)
    seen: list[Tensor] = []
    gan.networks["discriminator_target"].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0] == 0))
    gan.step([some(8), some(8, seed=1)], Engine(CPU))
    by_generator, real, fake = seen
    assert torch.equal(by_generator, real)
    assert torch.equal(real, fake)
    assert len({hole.numpy().tobytes() for hole in real}) > 4


def test_negatives_are_the_real_images_of_the_other_domain() -> None:
    """A discriminator is shown them beside real and made ones, and its loss is that of both in the shares asked for."""
    parts = [some(), some(seed=1)]
    found: dict[float, dict[str, Tensor]] = {}
    moved: dict[float, Tensor] = {}
    for share in (0.0, 0.25):
        torch.manual_seed(0)
        gan = CycleGAN(small(negatives=share, pool_size=0), LAYOUT, CPU)
        judge = gan.networks["discriminator_target"]
        seen: list[Tensor] = []
        judge.register_forward_pre_hook(lambda _m, inputs, seen=seen: seen.append(inputs[0].detach().clone()))
        logits: list[Tensor] = []
        judge.register_forward_hook(lambda _m, _i, out, logits=logits: logits.append(out.detach()))
        found[share] = gan.step(parts, Engine(CPU))
        assert len(seen) == (4 if share else 3)  # the generator's step, real, made, negatives
        moved[share] = torch.cat([p.grad.flatten() for p in judge.parameters() if p.grad is not None])
    assert torch.equal(seen[1], parts[1].images[:, 2:])
    assert torch.equal(seen[3], parts[0].images[:, :1])
    wrong = 0.5 * ((logits[1] - 1).square().mean() + logits[3].square().mean())
    torch.testing.assert_close(found[0.25]["negatives_target"], wrong)
    torch.testing.assert_close(found[0.25]["discriminator_target"], found[0.0]["discriminator_target"])
    assert "negatives_target" not in found[0.0]
    # the gradient is that of ¾ of one loss and ¼ of the other
    torch.manual_seed(0)
    fresh = CycleGAN(small(pool_size=0), LAYOUT, CPU).networks["discriminator_target"]
    real, made, other = (fresh(image) for image in seen[1:])
    loss = 0.5 * ((real - 1).square().mean() + 0.75 * made.square().mean() + 0.25 * other.square().mean())
    wanted = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(fresh.parameters()))])
    torch.testing.assert_close(moved[0.25], wanted, rtol=1e-4, atol=1e-6)


def test_the_structure_loss_is_between_an_image_and_its_translation() -> None:
    """With the base ``input`` the first translation is the image itself: its structure costs nothing yet."""
    for structure in ("gradient", "mind"):
        gan = CycleGAN(small(base="input", structure=structure), LAYOUT, CPU)
        first = gan.step([some(), some(seed=1)], Engine(CPU))
        assert {float(first[f"structure_{side}"]) for side in ("source", "target")} == {0.0}
        assert float(first["cycle_source"]) == float(first["cycle_target"]) == 0
    torch.manual_seed(0)
    gan = CycleGAN(small(structure="mind"), LAYOUT, CPU)
    assert float(gan.step([some(), some(seed=1)], Engine(CPU))["structure_target"]) > 0.01


def test_the_distance_there_and_back_is_l1_or_ssim_in_the_shares_asked_for() -> None:
    found = {}
    for share in (0.0, 0.25, 1.0):
        torch.manual_seed(0)
        found[share] = CycleGAN(small(cycle_ssim=share), LAYOUT, CPU).step([some(), some(seed=1)], Engine(CPU))
    for name in ("cycle_source", "cycle_target"):
        l1, mixed, ssim = (float(found[share][name]) for share in (0.0, 0.25, 1.0))
        assert mixed == pytest.approx(0.75 * l1 + 0.25 * ssim, rel=1e-5)
        assert ssim > 0.9 > l1  # random networks: nothing comes back


def test_an_image_smaller_than_the_window_of_ssim() -> None:
    layout = Layout(LAYOUT.channels, LAYOUT.mask_names, (8, 32))
    CycleGAN(small(discriminator_layers=1), layout, CPU)
    expected = r"gan\.cycle_ssim: expected 0 for images of less than 11 pixels a side, found 0\.5"
    with pytest.raises(SettingError, match=expected):
        CycleGAN(small(discriminator_layers=1, cycle_ssim=0.5), layout, CPU)


def test_volumes_can_be_trained_on() -> None:
    gan = CycleGAN(small(), Layout(LAYOUT.channels, LAYOUT.mask_names, (24, 24, 24)), CPU)
    losses = gan.step([some(1, (24, 24, 24)), some(1, (24, 24, 24), 1)], Engine(CPU))
    assert all(torch.isfinite(loss) for loss in losses.values())
    networks = {name: gan.networks[name] for name in gan.averaged}
    with torch.no_grad():
        assert gan.draw(networks, some(1, (24, 24, 24)), "cycle").shape == (1, 1, 24, 24, 24)


def test_what_is_drawn_is_composed_of_the_two_generators() -> None:
    torch.manual_seed(0)
    gan = CycleGAN(small(), LAYOUT, CPU)
    networks = {name: gan.networks[name].eval() for name in gan.averaged}
    examples = some()
    with torch.no_grad():
        to_flair = networks["generator_target"](examples.images[:, :1])
        assert torch.equal(gan.draw(networks, examples, "translate"), to_flair)
        assert torch.equal(gan.draw(networks, examples, "redraw"), to_flair)
        assert torch.equal(gan.draw(networks, examples, "back"), networks["generator_source"](examples.images[:, 2:]))
        assert torch.equal(gan.draw(networks, examples, "cycle"), networks["generator_source"](to_flair))


@pytest.mark.parametrize(
    ("way", "shown", "made"),
    [("translate", "t1", "flair"), ("redraw", "t1", "flair"), ("back", "flair", "t1"), ("cycle", "t1", "t1")],
)
def test_the_channels_of_each_way(way: str, shown: str, made: str) -> None:
    assert CycleGAN(small(), LAYOUT, CPU).channels(way) == ((shown,), (made,))


def gan_for(cohort: Cohort, **changes: Any) -> CycleGAN:
    return CycleGAN(small(**changes), Layout.of(cohort), CPU)


def training(cohort: Cohort) -> Any:
    return cohort.rows(split="train", origin="real")


def patients(cohort: Cohort, rows: Any) -> set[str]:
    return set(cohort.table["patient"][rows].tolist())


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({"channels": ()}, {"channels": ("t1", "t2", "flair")}),
        ({"channels": ("t1", "t2", "flair"), "label": "tumour"}, {"label": "tumour"}),
    ],
)
def test_domains_that_are_equal_once_the_cohort_is_known(source: dict[str, Any], target: dict[str, Any]) -> None:
    message = "gan.target: expected another domain than gan.source, found the same, t1, t2, flair.\n"
    with pytest.raises(SettingError, match=message):
        CycleGAN(small(source=source, target=target), LAYOUT, CPU)
    CycleGAN(small(source=source, target=target | {"site": "north"}), LAYOUT, CPU)


def test_two_channels_are_taken_from_different_patients(ellipse_cohort: Cohort) -> None:
    rows = training(ellipse_cohort)
    source, target = gan_for(ellipse_cohort).sides(ellipse_cohort, rows)
    of_source, of_target = patients(ellipse_cohort, source), patients(ellipse_cohort, target)
    assert not of_source & of_target
    assert of_source | of_target == patients(ellipse_cohort, rows)
    assert len(of_source) == len(of_target) == 2
    for side, names in ((source, of_source), (target, of_target)):  # all samples of each
        assert side.tolist() == [row for row in rows.tolist() if ellipse_cohort.table["patient"][row] in names]
    again = gan_for(ellipse_cohort).sides(ellipse_cohort, rows)
    assert all(np.array_equal(a, b) for a, b in zip(again, (source, target), strict=True))


def test_both_channels_of_all_patients_when_asked_for(ellipse_cohort: Cohort) -> None:
    rows = training(ellipse_cohort)
    for side in gan_for(ellipse_cohort, disjoint_patients=False).sides(ellipse_cohort, rows):
        assert np.array_equal(side, rows)


@settings(deadline=None, max_examples=50)
@given(sites=st.lists(st.sampled_from(["a", "b", "c"]), min_size=12, max_size=12), data=st.data())
def test_overlapping_domains_never_share_a_patient_and_waste_none(
    sites: list[str], data: st.DataObject, ellipse_cohort: Cohort
) -> None:
    """Domains that some patients are only in one of: those stay there, and the others even the two sides out."""
    cohort = ellipse_cohort.select(training(ellipse_cohort))
    cohort.table["patient"][:] = (
        [f"p{i:02d}"[:2] for i in range(12)] if data.draw(st.booleans()) else list("abcdefghijkl")
    )
    cohort.table["site"][:] = [site.ljust(1) for site in sites]
    options: dict[str, Any] = {
        "source": {"site": data.draw(st.sampled_from("abc"))},
        "target": {"channels": ("flair",)},
    }
    rows = np.arange(12)
    in_source = set(cohort.table["patient"][cohort.table["site"] == options["source"]["site"]].tolist())
    everyone = set(cohort.table["patient"].tolist())
    gan = gan_for(cohort, **options)
    if not in_source:
        with pytest.raises(CohortError, match=r"gan\.source\.site"):
            gan.sides(cohort, rows)
        return
    source, target = gan.sides(cohort, rows)
    of_source, of_target = patients(cohort, source), patients(cohort, target)
    assert len(source)
    assert len(target)
    assert not of_source & of_target
    assert of_source <= in_source
    assert of_source | of_target == everyone


def test_one_patient_cannot_be_on_two_sides(ellipse_cohort: Cohort) -> None:
    lone = ellipse_cohort.select(ellipse_cohort.rows(patient="p0"))
    with pytest.raises(CohortError, match=r"gan\.disjoint_patients: .* two training patients, found one"):
        gan_for(lone).sides(lone, training(lone))
    assert len(gan_for(lone, disjoint_patients=False).sides(lone, training(lone))[0]) == 3


def test_domains_by_label_are_the_samples_of_each(ellipse_cohort: Cohort) -> None:
    """One patient may have samples of both: they are different samples."""
    gan = gan_for(ellipse_cohort, source={"label": "tumour-free"}, target={"label": "tumour"})
    source, target = gan.sides(ellipse_cohort, training(ellipse_cohort))
    assert np.array_equal(source, ellipse_cohort.rows(split="train", label="tumour-free"))
    assert np.array_equal(target, ellipse_cohort.rows(split="train", label="tumour"))
    assert gan.channels("translate") == (("t1", "flair"), ("t1", "flair"))


@pytest.mark.parametrize(
    ("column", "value", "remedy"),
    [
        ("label", "tumor", "Did you mean 'tumour'?"),
        ("site", "nort", "Did you mean 'north'?"),
        ("modality", "CT", "Known: MR."),
    ],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_domain_that_is_not_there_names_the_nearest(
    side: str, column: str, value: str, remedy: str, ellipse_cohort: Cohort
) -> None:
    gan = gan_for(ellipse_cohort, **{side: {column: value}})
    with pytest.raises(CohortError) as caught:
        gan.sides(ellipse_cohort, training(ellipse_cohort))
    assert (
        str(caught.value)
        == f"gan.{side}.{column}: expected training samples of {column} '{value}', found none.\n{remedy}"
    )


def test_two_conditions_that_no_sample_meets_together(ellipse_cohort: Cohort) -> None:
    """What is missing is said of the first column that leaves nobody."""
    gan = gan_for(ellipse_cohort, source={"label": "tumour", "site": "south"})
    rows = ellipse_cohort.rows(split="train", site="north")
    with pytest.raises(CohortError, match=r"gan\.source\.site: .* 'south', found none\.\nDid you mean 'north'"):
        gan.sides(ellipse_cohort, rows)


def test_what_validation_looks_at_is_the_source_domain(ellipse_cohort: Cohort) -> None:
    rows = ellipse_cohort.rows(split="validation")
    gan = gan_for(ellipse_cohort, source={"label": "tumour"}, target={"label": "tumour-free"})
    assert np.array_equal(gan.starts(ellipse_cohort, rows), ellipse_cohort.rows(split="validation", label="tumour"))
    assert np.array_equal(gan_for(ellipse_cohort).starts(ellipse_cohort, rows), rows)
