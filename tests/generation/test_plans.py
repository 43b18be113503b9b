"""What every way to draw must keep to, over the table ``PLANS``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from synthoma.cohort import check_generator, check_splits
from synthoma.errors import LeakError, SettingError
from synthoma.gans import GANS, ConditionalOptions, CycleOptions, GanOptions, WassersteinOptions
from synthoma.generation import GenerationOptions
from synthoma.generation.generate import PLANS, generate
from synthoma.generation.options import Method
from synthoma.records import Cohort

SMALL: dict[str, GanOptions] = {
    "conditional": ConditionalOptions(width=2, discriminator_width=2),
    "cycle": CycleOptions.model_validate(
        {"source": {"modality": "MR"}, "target": {"modality": "CT"}, "width": 2, "blocks": 1, "discriminator_width": 2}
    ),
    "wasserstein": WassersteinOptions(latent=4, width=2, layers=3, critic_width=2),
}
PAIRS = [pytest.param(method, way, id=f"{method}-{way}") for method, way in PLANS]
Made = Callable[..., Cohort]


def test_every_method_has_plans_for_all_it_makes_and_no_other() -> None:
    assert set(SMALL) == set(GANS)
    assert set(PLANS) == {(method, way) for method, gan in GANS.items() for way in gan.makes}
    assert {way for _, way in PLANS} == set(get_args(Method))


@pytest.mark.parametrize(("method", "way"), PAIRS)
def test_a_synthetic_cohort_is_a_cohort(method: str, way: str, made_by: Made, mixed_cohort: Cohort) -> None:
    made = made_by(SMALL[method], mixed_cohort, way)
    assert made.mask_names == mixed_cohort.mask_names
    assert made.images.shape == (len(made), len(made.channels), 32, 32)
    assert float(np.abs(made.images).max()) <= 1
    assert made.table["id"].tolist() == [f"{way}/{number:05d}" for number in range(len(made))]
    assert set(made.table["origin"]) == {"synthetic"}
    assert set(made.table["label"]) <= {"tumour", "tumour-free"}
    real = set(mixed_cohort.table["id"].tolist())
    for row in range(len(made)):
        sources = [name for name in made.table["made_from"][row].split(";") if name]
        assert set(sources) <= real
        assert made.table["reference"][row] in {"", *sources}
        assert made.masks[row, 0].any()
        assert made.table["label"][row] == "tumour" or not made.masks[row, 1:].any()
        assert (made.table["unit"][row] == "HU") == (made.table["modality"][row] == "CT")  # never mixed up
        for name in made.channels:
            low, high = (float(made.table[f"{end}_{name}"][row]) for end in ("low", "high"))
            assert low < high
            assert (low < -500) == (made.table["unit"][row] == "HU")  # a window of CT, or one of MR
    check_splits(made)


@pytest.mark.parametrize(("method", "way"), PAIRS)
def test_the_lineage_names_the_patients_that_the_gan_saw(
    method: str, way: str, made_by: Made, mixed_cohort: Cohort
) -> None:
    """Training patients, and those of validation, which may choose its checkpoint."""
    made = made_by(SMALL[method], mixed_cohort, way, seed=3)
    (name,) = set(made.table["lineage"])
    lineage = made.lineages[name]
    assert (lineage.step, lineage.seed) == ("generate", 3)
    assert lineage.patients_seen == ("c0", "c1", "c2", "m0", "m1", "m2")
    (weights,) = set(lineage.parents) - set(made.lineages)
    assert re.fullmatch("[0-9a-f]{64}", weights)  # the SHA-256 of what drew it
    assert set(mixed_cohort.lineages) < set(lineage.parents)
    check_generator(made, ["c3", "m3"])
    with pytest.raises(LeakError, match="m2"):
        check_generator(made, ["c3", "m2"])


@pytest.mark.parametrize(("method", "way"), PAIRS)
def test_nothing_depends_on_the_batch_size(method: str, way: str, made_by: Made, mixed_cohort: Cohort) -> None:
    one, many = (made_by(SMALL[method], mixed_cohort, way, batch_size=size) for size in (1, 8))
    for column in one.table:
        if column not in ("image_sha256", "lineage"):  # rounding, and the settings
            assert np.array_equal(one.table[column], many.table[column]), column
    np.testing.assert_allclose(one.images, many.images, rtol=0, atol=1e-5)
    assert np.array_equal(one.masks, many.masks)


@pytest.mark.parametrize(("method", "way"), PAIRS)
def test_the_same_seed_repeats_to_the_byte(method: str, way: str, made_by: Made, mixed_cohort: Cohort) -> None:
    first, again = (made_by(SMALL[method], mixed_cohort, way, seed=5) for _ in range(2))
    assert first.path is not None
    assert again.path is not None
    for name in ("samples.csv", "images.npy", "masks.npy"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()


@pytest.mark.parametrize("method", SMALL)
def test_what_a_gan_does_not_know_is_refused_by_name(
    method: str, checkpoint_for: Any, mixed_cohort: Cohort, tmp_path: Path
) -> None:
    checkpoint = checkpoint_for(SMALL[method], mixed_cohort)
    for way in {way for _, way in PLANS} - set(GANS[method].makes):
        with pytest.raises(SettingError) as caught:
            generate(checkpoint, mixed_cohort, tmp_path / "x", way, GenerationOptions())
        known = ", ".join(GANS[method].makes)
        wanted = f"generation.methods: expected one of {known}, which a {method} GAN knows, found '{way}'."
        assert wanted in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_training_samples_of_one_label_are_enough_to_generate(made_by: Made, mixed_cohort: Cohort) -> None:
    """The labels of the cohort that is generated from need not be those of the training."""
    tumours = mixed_cohort.select(mixed_cohort.rows(label="tumour"))
    made = made_by(SMALL["cycle"], tumours, "translate", trained_on=mixed_cohort)
    assert made.table["made_from"].tolist() == ["m3/0005", "m3/0006"]


VOLUMES = [
    ("conditional", "reconstruct", 1),
    ("conditional", "transplant", 3),
    ("conditional", "remove", 1),
    ("conditional", "redraw", 2),
    ("wasserstein", "sample", 3),
]


@pytest.mark.parametrize(("method", "way", "count"), VOLUMES)
def test_volumes(method: str, way: str, count: int, made_by: Made, volume_cohort: Cohort) -> None:
    changes: dict[str, Any] = {"depth": 3} if method == "conditional" else {"layers": 3, "critic_layers": 2}
    if method == "conditional":
        changes |= {"adversarial_weight": 0.0}  # too thin to be judged patch by patch
    gan = SMALL[method].model_copy(update=changes)
    made = made_by(gan, volume_cohort, way, samples=3)
    assert len(made) == count
    assert made.images.shape[2:] == made.masks.shape[2:] == (8, 32, 32)
    assert set(made.table["spacing_mm"]) == {"4 1 1"}
    if way == "transplant":
        assert len({made.masks[row, 1].tobytes() for row in range(3)}) == 3
        before = volume_cohort.lesion(0).sum()
        for row in range(3):
            assert not (made.lesion(row) & ~volume_cohort.body(1)).any()
            assert 0.95 * 0.8**3 * before * 0.7 <= made.lesion(row).sum() <= 1.25**3 * before * 1.4  # and rounding
