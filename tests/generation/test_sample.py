"""Cohorts from noise: how many of which label, and that an image is decided by seed, number and label alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthoma.errors import CohortError, SettingError
from synthoma.gans import Gan, Layout, WassersteinGAN, WassersteinOptions
from synthoma.generation import GenerationOptions
from synthoma.generation.generate import load_generator
from synthoma.generation.noise import sample
from synthoma.records import Cohort

Made = Callable[..., Cohort]
GAN = WassersteinOptions(latent=4, width=2, layers=3, critic_width=2)
NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def gan(mixed_cohort: Cohort) -> Gan:
    return WassersteinGAN(GAN, Layout.of(mixed_cohort), torch.device("cpu"))


def labels_of(cohort: Cohort, gan: Gan, **settings: Any) -> list[str]:
    return [plan.label for plan in sample(gan, cohort, GenerationOptions(**settings))]


def test_images_from_noise_are_nobodys(made_by: Made, mixed_cohort: Cohort) -> None:
    made = made_by(GAN, mixed_cohort, "sample")
    table = made.table
    assert made.conditions == ()
    assert made.channels == ("t1", "flair")
    assert set(table["made_from"]) == set(table["reference"]) == {""}
    assert table["patient"].tolist() == [f"synthetic-{number:05d}" for number in range(1, len(made) + 1)]
    assert not set(made.patients) & set(mixed_cohort.patients)
    assert set(table["split"]) == {"train"}
    assert set(table["fold"].tolist()) == {-1}
    assert not made.masks[:, 1:].any()  # nobody drew a lesion
    assert len({image.tobytes() for image in made.images}) == len(made)


def test_as_many_and_of_the_mix_of_the_training_when_not_told(made_by: Made, mixed_cohort: Cohort) -> None:
    made = made_by(GAN, mixed_cohort, "sample")
    training = mixed_cohort.table["label"][mixed_cohort.rows(split="train")].tolist()
    assert Counter(made.table["label"].tolist()) == Counter(training) == {"tumour": 8, "tumour-free": 4}


@settings(deadline=None, max_examples=60)
@given(
    shares=st.lists(st.integers(0, 12), min_size=1, max_size=4).filter(any),
    count=st.integers(1, 60),
    scale=st.sampled_from([1.0, 0.01, 7.3]),
)
def test_the_mix_is_exact_by_largest_remainder(
    shares: list[int], count: int, scale: float, mixed_cohort: Cohort
) -> None:
    """In fractions, so that nothing is rounded: every label its share rounded down, the largest remainders one more."""
    layout = Layout(mixed_cohort.channels, mixed_cohort.mask_names, (32, 32), NAMES)
    gan = WassersteinGAN(GAN, layout, torch.device("cpu"))
    mix = {name: scale * share for name, share in zip(NAMES, shares, strict=False)}
    labels = labels_of(mixed_cohort, gan, mix=mix, samples=count)
    found = Counter(labels)
    assert sum(found.values()) == count
    exact = {name: Fraction(count * share, sum(shares)) for name, share in zip(NAMES, shares, strict=False)}
    up = [name for name in exact if found[name] == int(exact[name]) + 1]
    down = [name for name in exact if found[name] == int(exact[name])]
    assert len(up) + len(down) == len(exact)
    rest = {name: value - int(value) for name, value in exact.items()}
    assert min((rest[name] for name in up), default=Fraction(1)) >= max((rest[name] for name in down), default=0)
    for name, share in exact.items():  # and spread evenly: no label is kept for the end
        for so_far, place in enumerate([i for i, label in enumerate(labels) if label == name]):
            assert share
            assert abs(so_far - place * found[name] / count) <= len(found)


@pytest.mark.parametrize(
    ("mix", "samples", "wanted"),
    [
        ({"tumour": 1, "tumour-free": 1}, 5, {"tumour": 3, "tumour-free": 2}),  # of equals the first by name
        ({"tumour": 0.25, "tumour-free": 0.75}, 8, {"tumour": 2, "tumour-free": 6}),
        ({"tumour": 3}, 4, {"tumour": 4}),
        ({"tumour": 0, "tumour-free": 2}, 3, {"tumour-free": 3}),
        ({"tumour": 1, "tumour-free": 999}, 10, {"tumour-free": 10}),
    ],
    ids=str,
)
def test_mixes_by_hand(
    mix: dict[str, float], samples: int, wanted: dict[str, int], gan: Gan, mixed_cohort: Cohort
) -> None:
    assert Counter(labels_of(mixed_cohort, gan, mix=mix, samples=samples)) == wanted


def test_two_equal_shares_take_turns(gan: Gan, mixed_cohort: Cohort) -> None:
    labels = labels_of(mixed_cohort, gan, mix={"tumour": 1, "tumour-free": 1}, samples=7)
    assert labels == list(itertools.islice(itertools.cycle(("tumour", "tumour-free")), 7))


@pytest.mark.parametrize(
    ("label", "remedy"), [("tumor", "Did you mean 'tumour'?"), ("???", "Known: tumour, tumour-free.")]
)
def test_an_unknown_label_names_the_nearest(label: str, remedy: str, made_by: Made, mixed_cohort: Cohort) -> None:
    with pytest.raises(SettingError) as caught:
        made_by(GAN, mixed_cohort, "sample", mix={"tumour": 1, label: 1})
    message = f"generation.mix: expected labels that the GAN was trained on, found '{label}'.\n{remedy}"
    assert str(caught.value) == message


@pytest.mark.parametrize("mix", [{"tumour": -1}, {"tumour": 0}, {"tumour": 2, "tumour-free": -1}], ids=str)
def test_a_mix_that_makes_no_sense(mix: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"generation\.mix must be shares of labels"):
        GenerationOptions(mix=mix)


def test_an_image_is_decided_by_seed_number_and_label(made_by: Made, mixed_cohort: Cohort) -> None:
    """Not by how many are made, by the mix, or by the size of a batch."""
    ten = made_by(GAN, mixed_cohort, "sample", mix={"tumour": 1, "tumour-free": 1}, samples=10)
    many = made_by(GAN, mixed_cohort, "sample", mix={"tumour": 1, "tumour-free": 1}, samples=30, batch_size=5)
    other = made_by(GAN, mixed_cohort, "sample", mix={"tumour": 4, "tumour-free": 1}, samples=10, batch_size=1)
    np.testing.assert_allclose(ten.images, many.images[:10], rtol=0, atol=1e-5)
    alike = ten.table["label"] == other.table["label"]
    assert 3 < alike.sum() < 10
    for row in range(10):
        same = np.allclose(ten.images[row], other.images[row], rtol=0, atol=1e-5)
        assert same == alike[row]
    assert not np.allclose(
        ten.images, made_by(GAN, mixed_cohort, "sample", samples=10, seed=1).images, rtol=0, atol=1e-5
    )


def test_the_images_are_the_generators(made_by: Made, checkpoint_for: Any, mixed_cohort: Cohort) -> None:
    """Noise from the seed named "sample" and the number; the class one-hot; by the averaged network."""
    from synthoma.seeding import generator

    made = made_by(GAN, mixed_cohort, "sample", samples=6, seed=2)
    network = load_generator(checkpoint_for(GAN, mixed_cohort))[1]["generator"]
    for row in range(6):
        noise = generator(2, "sample", row).standard_normal(4, dtype=np.float32)
        label = [float(made.table["label"][row] == name) for name in ("tumour", "tumour-free")]
        with torch.no_grad():
            wanted = network(torch.from_numpy(noise)[None], torch.tensor([label]))[0].numpy()
        np.testing.assert_allclose(made.images[row], wanted, rtol=0, atol=1e-5)


def test_modality_unit_window_and_spacing_are_those_usual_for_the_label(made_by: Made, mixed_cohort: Cohort) -> None:
    """The window is the median of the label's training samples of that modality: one between CT and MR is of none."""
    mixed = mixed_cohort.select(np.arange(len(mixed_cohort)))
    mixed.table["label"][mixed.rows(patient="m0")] = "tumour-free"
    made = made_by(GAN, mixed, "sample", trained_on=mixed_cohort)
    for label, modality, unit, low in (("tumour", "CT", "HU", -995), ("tumour-free", "MR", "arbitrary", 0)):
        rows = made.rows(label=label)
        assert set(made.table["modality"][rows]) == {modality}
        assert set(made.table["unit"][rows]) == {unit}
        assert set(made.table["low_t1"][rows].tolist()) == {low}
        assert set(made.table["high_flair"][rows].tolist()) == {low + 201}
    of_ct = made.table["spacing_mm"][made.rows(label="tumour")]
    assert set(of_ct) <= {"2 2", "3 3"}
    mixed.table["spacing_mm"][mixed.rows(id="c0/0005")] = "2 2"  # now the most frequent among the tumours by CT
    made = made_by(GAN, mixed, "sample", trained_on=mixed_cohort)
    assert set(made.table["spacing_mm"][made.rows(label="tumour")]) == {"2 2"}


def test_the_site_is_the_one_that_all_training_samples_of_the_label_share(made_by: Made, mixed_cohort: Cohort) -> None:
    """Two centres are no one's: such an image comes from neither."""
    mixed = mixed_cohort.select(np.arange(len(mixed_cohort)))
    training = mixed.rows(split="train", label="tumour")
    assert set(mixed.table["site"][training]) == {"north", "south"}
    assert set(made_by(GAN, mixed, "sample", trained_on=mixed_cohort).table["site"]) == {""}
    mixed.table["site"][training] = "north"
    made = made_by(GAN, mixed, "sample", trained_on=mixed_cohort)
    assert set(made.table["site"][made.rows(label="tumour")]) == {"north"}
    assert set(made.table["site"][made.rows(label="tumour-free")]) == {""}


def test_a_label_of_the_cohort_that_the_gan_never_saw(made_by: Made, mixed_cohort: Cohort) -> None:
    """Without a mix the labels are those of the cohort, which may be another than the training's."""
    other = mixed_cohort.select(np.arange(len(mixed_cohort)))
    other.table["label"][other.rows(label="tumour")] = "rare"
    with pytest.raises(
        SettingError, match=r"generation\.mix: expected labels that the GAN was trained on, found 'rare'"
    ):
        made_by(GAN, other, "sample", trained_on=mixed_cohort)
    assert len(made_by(GAN, other, "sample", trained_on=mixed_cohort, mix={"tumour": 1}, samples=2)) == 2


def test_a_label_that_the_cohort_lacks_borrows_from_the_others(made_by: Made, mixed_cohort: Cohort) -> None:
    """The GAN knows it all the same."""
    tumours = mixed_cohort.select(mixed_cohort.rows(label="tumour"))
    made = made_by(GAN, tumours, "sample", trained_on=mixed_cohort, mix={"tumour-free": 1}, samples=3)
    assert set(made.table["label"]) == {"tumour-free"}
    assert np.isfinite(made.table["low_t1"]).all()


@pytest.mark.parametrize("extra", [{}, {"mix": {"tumour": 1}}, {"mix": {"tumour": 1}, "samples": 4}], ids=str)
def test_no_training_samples_to_look_like(extra: dict[str, Any], made_by: Made, mixed_cohort: Cohort) -> None:
    held_out = mixed_cohort.select(mixed_cohort.rows(split="test"))
    with pytest.raises(CohortError, match="expected samples to 'sample', found none"):
        made_by(GAN, held_out, "sample", trained_on=mixed_cohort, **extra)


def test_the_body_is_what_is_not_background(
    made_by: Made, mixed_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring of tissue: the body is the ring and what it encloses; a frame without background is body all over."""
    ring = torch.full((2, 32, 32), -1.0)
    ring[0, 8:24, 8:24] = 0.5  # seen in one channel is seen
    ring[:, 12:20, 12:20] = -1.0
    full = torch.full((2, 32, 32), -0.5)
    monkeypatch.setattr(WassersteinGAN, "draw", lambda *_: torch.stack([ring, full]))
    made = made_by(GAN, mixed_cohort, "sample", samples=2)
    wanted = np.zeros((32, 32), dtype=np.uint8)
    wanted[8:24, 8:24] = 1
    assert np.array_equal(made.masks[0, 0], wanted)
    assert made.masks[1, 0].all()
