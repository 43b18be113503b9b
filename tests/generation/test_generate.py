"""Synthetic cohorts: what they hold, what they say of their origin, and what they do not depend on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from synthoma.cohort import check_augmentation, check_generator, open_cohort, patient_of
from synthoma.errors import CheckpointError, CohortError, LeakError, OutputError, SettingError
from synthoma.gans import ConditionalOptions
from synthoma.gans.checkpoints import load_checkpoint, save_checkpoint
from synthoma.gans.perceptual import PerceptualOptions
from synthoma.generation import GenerationOptions
from synthoma.generation.generate import generate, load_generator, weights_sha256
from synthoma.networks.pretrained import VGG19Features
from synthoma.records import Checkpoint, Cohort
from synthoma.training import TrainingOptions
from synthoma.training.loop import train

GAN = ConditionalOptions(width=4, discriminator_width=4, learning_rate=1e-3)
TRAINING = TrainingOptions(epochs=2, batch_size=4, precision="float32", device="cpu", threads=1)
METHODS = ("reconstruct", "transplant", "remove", "redraw")


@pytest.fixture(scope="module")
def checkpoint(ellipse_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a GAN [t1, mask] → [flair] after six steps."""
    folder = train(ellipse_cohort, tmp_path_factory.mktemp("trained") / "run", GAN, TRAINING)
    return folder / "checkpoints" / "last.safetensors"


Make = Callable[..., Cohort]


@pytest.fixture
def make(checkpoint: Path, ellipse_cohort: Cohort, tmp_path: Path) -> Make:
    """``make("transplant", samples=3)`` → the synthetic cohort, opened and verified."""
    numbers = itertools.count()

    def build(method: str, cohort: Cohort = ellipse_cohort, **settings: Any) -> Cohort:
        out = tmp_path / f"{next(numbers)}.cohort"
        return open_cohort(generate(checkpoint, cohort, out, method, GenerationOptions(**settings)), verify=True)

    return build


def row_of(cohort: Cohort, sample: str) -> int:
    (row,) = cohort.rows(id=sample)
    return int(row)


@pytest.mark.parametrize("method", METHODS)
def test_a_synthetic_cohort_is_a_cohort(method: str, make: Make, ellipse_cohort: Cohort, checkpoint: Path) -> None:
    made = make(method)
    assert made.channels == ("flair",)
    assert made.conditions == ("t1", "mask")
    assert made.mask_names == ellipse_cohort.mask_names
    assert made.images.shape[1:] == (1, 32, 32)
    assert set(made.table["origin"]) == {"synthetic"}
    assert float(np.abs(made.images).max()) <= 1
    assert len(set(made.table["id"])) == len(made)
    assert all(name.startswith(f"{method}/") for name in made.table["id"])
    for row in range(len(made)):
        sources = made.table["made_from"][row].split(";")
        real = row_of(ellipse_cohort, sources[0])
        for column in ("patient", "site", "split", "fold", "slice", "spacing_mm", "low_flair", "high_flair"):
            assert made.table[column][row] == ellipse_cohort.table[column][real]
        assert np.array_equal(made.masks[row, 0], ellipse_cohort.masks[real, 0])  # the body is the real one's


@pytest.mark.parametrize("method", METHODS)
def test_the_lineage_leads_back_to_the_patients_that_the_gan_saw(
    method: str, make: Make, ellipse_cohort: Cohort, checkpoint: Path
) -> None:
    made = make(method, seed=3)
    trained = load_checkpoint(checkpoint).lineage
    (name,) = set(made.table["lineage"])
    lineage = made.lineages[name]
    assert (lineage.step, lineage.seed) == ("generate", 3)
    weights = weights_sha256(load_generator(checkpoint)[1])
    assert set(lineage.parents) == {trained.id, weights, *ellipse_cohort.lineages}
    assert lineage.patients_seen == trained.patients_seen == ("p0", "p1", "p2", "p3", "p4")
    assert set(lineage.parents) - {weights} <= set(made.lineages)
    check_generator(made, ["p5"])
    with pytest.raises(LeakError, match="p4"):
        check_generator(made, ["p4", "p5"])


def test_transplants_may_join_a_training_set_and_reconstructions_of_test_patients_may_not(make: Make) -> None:
    for method in ("transplant", "remove"):
        check_augmentation(make(method), ["p5"])
    with pytest.raises(LeakError, match="p5"):
        check_augmentation(make("reconstruct"), ["p5"])


@pytest.mark.parametrize(("split", "patient"), [("test", "p5"), ("validation", "p4")])
def test_reconstruct_is_the_image_for_each_condition_of_a_split(
    split: str, patient: str, make: Make, ellipse_cohort: Cohort, checkpoint: Path
) -> None:
    made = make("reconstruct", reconstruct_split=split)
    rows = ellipse_cohort.rows(split=split)
    assert (
        made.table["reference"].tolist()
        == made.table["made_from"].tolist()
        == ellipse_cohort.table["id"][rows].tolist()
    )
    assert set(made.table["patient"]) == {patient}
    assert made.table["label"].tolist() == ellipse_cohort.table["label"][rows].tolist()
    assert np.array_equal(made.masks, ellipse_cohort.masks[rows])
    network = load_generator(checkpoint)[1]["generator"]
    with torch.no_grad():
        t1 = torch.from_numpy(np.array(ellipse_cohort.images[rows][:, :1]))
        lesion = torch.from_numpy(np.array(ellipse_cohort.masks[rows][:, 1:])).float() * 2 - 1
        wanted = network(torch.cat([t1, lesion], dim=1)).numpy()
    np.testing.assert_allclose(made.images, wanted, atol=1e-5)


def test_a_transplant_is_the_lesion_of_another_training_patient(make: Make, ellipse_cohort: Cohort) -> None:
    inside, scale = 0.9, (0.8, 1.25)
    made = make("transplant", samples=24, inside=inside, scale=scale)
    real = ellipse_cohort
    assert len(made) == 24
    assert set(made.table["label"]) == {"tumour"}
    assert set(made.table["reference"]) == {""}
    assert set(made.table["split"]) == {"train"}
    donors = set()
    for row in range(len(made)):
        target, donor = made.table["made_from"][row].split(";")
        assert patient_of(target) != patient_of(donor)
        assert made.table["patient"][row] == patient_of(target)
        for sample, label in ((target, "tumour-free"), (donor, "tumour")):
            assert real.table["split"][row_of(real, sample)] == "train"
            assert real.table["label"][row_of(real, sample)] == label
        lesion, before = made.lesion(row), real.lesion(row_of(real, donor))
        assert not (lesion & ~real.body(row_of(real, target))).any()
        rounding = 2 * np.sqrt(before.sum() * np.pi)  # half a pixel on either side of the outline
        assert inside * scale[0] ** 2 * before.sum() <= lesion.sum() <= scale[1] ** 2 * before.sum() + rounding
        donors.add(donor)
    assert len(donors) > 4  # of eight
    lesions = {made.masks[row, 1:].tobytes() for row in range(len(made))}
    assert len(lesions) > 20


def test_an_unscaled_transplant_keeps_its_area(make: Make, ellipse_cohort: Cohort) -> None:
    made = make("transplant", samples=10, inside=1, scale=(1, 1), rotate_deg=0)
    for row in range(len(made)):
        donor = row_of(ellipse_cohort, made.table["made_from"][row].split(";")[1])
        assert made.lesion(row).sum() == pytest.approx(ellipse_cohort.lesion(donor).sum(), rel=0.15)


def test_the_transplanted_lesion_shows_in_the_condition(make: Make, ellipse_cohort: Cohort, checkpoint: Path) -> None:
    """The image is drawn from the target's T1 and the moved lesion."""
    made = make("transplant", samples=3)
    network = load_generator(checkpoint)[1]["generator"]
    for row in range(len(made)):
        target = row_of(ellipse_cohort, made.table["made_from"][row].split(";")[0])
        t1 = torch.from_numpy(np.array(ellipse_cohort.images[target : target + 1, :1]))
        lesion = torch.from_numpy(np.array(made.masks[row : row + 1, 1:])).float() * 2 - 1
        with torch.no_grad():
            wanted = network(torch.cat([t1, lesion], dim=1)).numpy()
        np.testing.assert_allclose(made.images[row : row + 1], wanted, atol=1e-5)


def test_as_many_transplants_as_there_are_tumours_when_not_told(make: Make) -> None:
    assert len(make("transplant")) == 8


def test_remove_empties_the_mask_of_tumour_slices(make: Make, ellipse_cohort: Cohort) -> None:
    made = make("remove")
    rows = ellipse_cohort.rows(split="train", label="tumour")
    assert made.table["made_from"].tolist() == ellipse_cohort.table["id"][rows].tolist()
    assert set(made.table["label"]) == {"tumour-free"}
    assert set(made.table["reference"]) == {""}
    assert not made.masks[:, 1:].any()
    assert made.masks[:, 0].any(axis=(1, 2)).all()


@pytest.mark.parametrize(("samples", "wanted"), [(3, 3), (100, 8)])
def test_at_most_so_many_are_removed_and_evenly_spread(samples: int, wanted: int, make: Make) -> None:
    made = make("remove", samples=samples)
    assert len(made) == wanted
    assert {"p0", "p3"} <= set(made.table["patient"])


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_does_not_depend_on_the_batch_size(method: str, make: Make) -> None:
    one, three, many = (make(method, batch_size=size) for size in (1, 3, 64))
    for other in (three, many):
        assert other.table["made_from"].tolist() == one.table["made_from"].tolist()
        assert np.array_equal(other.masks, one.masks)
        np.testing.assert_allclose(other.images, one.images, rtol=0, atol=1e-5)


def test_a_picture_does_not_depend_on_how_many_are_made(make: Make) -> None:
    few, many = make("transplant", samples=3), make("transplant", samples=9)
    for column in ("id", "made_from", "patient", "label"):
        assert few.table[column].tolist() == many.table[column][:3].tolist()
    assert np.array_equal(few.masks, many.masks[:3])
    np.testing.assert_allclose(few.images, many.images[:3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_repeats_to_the_byte(method: str, make: Make) -> None:
    first = make(method, seed=5)
    torch.manual_seed(99)
    again = make(method, seed=5)
    assert first.path is not None
    assert again.path is not None
    for name in ("samples.csv", "images.npy", "masks.npy"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()


def test_another_seed_moves_other_lesions(make: Make) -> None:
    assert not np.array_equal(make("transplant", seed=1).masks, make("transplant", seed=2).masks)


def without(cohort: Cohort, **equal: str) -> Cohort:
    return cohort.select(np.setdiff1d(np.arange(len(cohort)), cohort.rows(**equal)))


@pytest.mark.parametrize(
    ("method", "lacking"),
    [("transplant", "tumour"), ("transplant", "tumour-free"), ("remove", "tumour"), ("reconstruct", "test")],
)
def test_nothing_to_start_from(method: str, lacking: str, make: Make, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    equal = {"split": "test"} if lacking == "test" else {"label": lacking}
    with pytest.raises(CohortError, match=f"expected samples to '{method}', found none"):
        make(method, without(ellipse_cohort, **equal))
    assert not list(tmp_path.iterdir())


def test_a_lone_patient_has_nobody_to_give_a_lesion_to(make: Make, ellipse_cohort: Cohort) -> None:
    lone = ellipse_cohort.select(ellipse_cohort.rows(patient="p0"))
    with pytest.raises(CohortError, match="expected samples to 'transplant', found none"):
        make("transplant", lone)


def test_tumours_without_a_mask_give_no_lesion(make: Make, ellipse_cohort: Cohort) -> None:
    """A case whose segmentation is missing: an empty lesion is not transplanted under the label 'tumour'."""
    bare = ellipse_cohort.select(np.arange(len(ellipse_cohort)))
    bare.masks[bare.rows(patient="p0"), 1:] = 0
    made = make("transplant", bare, samples=12)
    assert len(made) == 12
    assert all(made.lesion(row).any() for row in range(12))
    bare.masks[:, 1:] = 0
    with pytest.raises(CohortError, match="found none"):
        make("transplant", bare)


def test_only_real_samples_are_started_from(make: Make, ellipse_cohort: Cohort) -> None:
    mixed = ellipse_cohort.select(np.arange(len(ellipse_cohort)))
    mixed.table["origin"][mixed.rows(patient="p0")] = "synthetic"
    for method in ("transplant", "remove"):
        sources = ";".join(make(method, mixed).table["made_from"].tolist())
        assert "p0" not in sources


def test_another_layout_is_refused(checkpoint: Path, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    turned = replace(ellipse_cohort, channels=("flair", "t1"))
    with pytest.raises(CheckpointError, match=r"last\.safetensors, [a-z_]+: expected a GAN for .*, found .*"):
        generate(checkpoint, turned, tmp_path / "x", "reconstruct", GenerationOptions())


def test_an_existing_output_is_kept(checkpoint: Path, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "x.cohort"
    generate(checkpoint, ellipse_cohort, out, "reconstruct", GenerationOptions())
    before = (out / "cohort.json").read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        generate(checkpoint, ellipse_cohort, out, "remove", GenerationOptions())
    assert (out / "cohort.json").read_bytes() == before
    generate(checkpoint, ellipse_cohort, out, "remove", GenerationOptions(), overwrite=True)
    assert (out / "cohort.json").read_bytes() != before


def test_an_unknown_method_names_the_nearest(checkpoint: Path, ellipse_cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Did you mean 'transplant'"):
        generate(checkpoint, ellipse_cohort, tmp_path / "x", "transplants", GenerationOptions())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": (1.25, 0.8)}, "generation.scale must be two rising positive factors"),
        ({"scale": (0, 1)}, "generation.scale must be two rising positive factors"),
        ({"inside": 1.1}, "inside"),
        ({"samples": 0}, "samples"),
        ({"methods": ("invent",)}, "methods"),
        ({"sampels": 3}, "sampels"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GenerationOptions(**settings)


def altered(checkpoint: Path, out: Path, **changes: Any) -> Path:
    saved = load_checkpoint(checkpoint)
    save_checkpoint(out, Checkpoint(saved.step, saved.arrays, saved.scalars, saved.options | changes, saved.lineage))  # type: ignore[operator]
    return out


@pytest.mark.parametrize(
    "changes",
    [
        {"gan": {"method": "of-tomorrow"}},
        {"gan": {"of_tomorrow": 1}},
        {"gan": None},
        {"layout": {}},
        {"layout": None},
    ],
    ids=str,
)
def test_settings_of_another_version_are_refused(changes: dict[str, Any], checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"c\.safetensors: expected the settings of a GAN of this version"):
        load_generator(altered(checkpoint, tmp_path / "c.safetensors", **changes))


def test_an_unknown_setting_of_a_checkpoint_is_named(checkpoint: Path, tmp_path: Path) -> None:
    gan = GAN.model_dump(mode="json") | {"of_tomorrow": 1}
    with pytest.raises(CheckpointError, match=r"found others \(gan\.of_tomorrow: Extra inputs are not permitted\)\."):
        load_generator(altered(checkpoint, tmp_path / "c.safetensors", gan=gan))


def test_weights_of_another_width_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    gan = GAN.model_copy(update={"width": 8}).model_dump(mode="json")
    with pytest.raises(CheckpointError, match=r"c\.safetensors: expected weights of the same network"):
        load_generator(altered(checkpoint, tmp_path / "c.safetensors", gan=gan))


def test_drawing_needs_no_file_of_the_perceptual_network(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    """A GAN trained with the perceptual loss alone, whose VGG19 file is gone: the checkpoint is enough."""
    weights = tmp_path / "vgg19.pth"
    torch.save(VGG19Features().state_dict(), weights)
    perceptual = PerceptualOptions(network="vgg19", weights=weights, layer=2)
    gan = ConditionalOptions(width=4, adversarial_weight=0, l1_weight=0, perceptual=perceptual)
    options = TRAINING.model_copy(update={"epochs": 1})
    folder = train(ellipse_cohort, tmp_path / "run", gan, options)
    weights.unlink()
    out = generate(
        folder / "checkpoints/best.safetensors", ellipse_cohort, tmp_path / "x", "remove", GenerationOptions()
    )
    assert len(open_cohort(out)) == 8


def test_redraw_is_every_training_slice_of_either_class_without_a_reference(make: Make, ellipse_cohort: Cohort) -> None:
    made = make("redraw")
    rows = ellipse_cohort.rows(split="train", origin="real")
    assert made.table["made_from"].tolist() == ellipse_cohort.table["id"][rows].tolist()
    assert made.table["label"].tolist() == ellipse_cohort.table["label"][rows].tolist()
    assert len(set(made.table["label"].tolist())) == 2
    assert set(made.table["reference"].tolist()) == {""}
    np.testing.assert_array_equal(made.masks, ellipse_cohort.masks[rows])
