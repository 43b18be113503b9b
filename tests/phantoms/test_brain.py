"""The phantom brain: physics, anatomy and randomness of the rendered patients."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from synthoma.phantoms import BrainPhantomOptions
from synthoma.phantoms.brain import BrainParameters, BrainScan, draw, render

Patients = list[tuple[BrainParameters, BrainScan]]


def _means(scan: BrainScan, channel: str) -> dict[str, float]:
    """Mean signal where one tissue fills the voxel; tumour tissue where half will do: rims are thin."""
    values = scan.channels[channel][scan.brain]
    least = {"white": 0.95, "grey": 0.9, "csf": 0.9}
    means = {}
    for name, share in scan.fractions.items():
        pure = share > least.get(name, 0.6)
        if pure.sum() >= 20:
            means[name] = float(values[pure].mean())
    return means


def test_fractions_add_up(rendered_patients: Patients) -> None:
    for _, scan in rendered_patients:
        shares = np.stack(list(scan.fractions.values()))
        assert shares.min() >= -1e-6
        np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-4)


def test_contrast_of_healthy_tissue_follows_physics(evenly_lit_patients: list[BrainScan]) -> None:
    for scan in evenly_lit_patients:
        t1, t2, flair = (_means(scan, channel) for channel in ("t1", "t2", "flair"))
        assert t1["white"] > 1.05 * t1["grey"] > 1.5 * t1["csf"]
        assert t2["csf"] > 1.3 * t2["grey"] > 1.3 * t2["white"]
        assert flair["grey"] > 1.05 * flair["white"]  # the reverse of T1
        assert flair["csf"] < 0.5 * flair["white"]


def test_contrast_of_tumours_follows_physics(evenly_lit_patients: list[BrainScan]) -> None:
    seen = set()
    for scan in evenly_lit_patients:
        flair, t2, before, after = (_means(scan, channel) for channel in ("flair", "t2", "t1", "t1ce"))
        seen |= set(flair)
        assert flair["oedema"] > 1.25 * flair["white"]
        assert t2["oedema"] > 1.3 * t2["white"]
        assert before["oedema"] < 0.97 * before["white"]
        if "enhancing" in after:
            rim = after["enhancing"] / before["enhancing"]
            assert rim > 1.25 * after["white"] / before["white"]
            assert after["enhancing"] > after["white"]
        if "necrosis" in after:
            assert after["necrosis"] < 0.85 * after["white"]
    assert {"oedema", "enhancing", "necrosis"} <= seen


def test_labels_lie_in_the_brain_and_never_in_csf(rendered_patients: Patients) -> None:
    for _, scan in rendered_patients:
        assert not scan.labels[~scan.brain].any()
        csf = scan.fractions["csf"] + scan.fractions["vessel"]
        assert csf[scan.labels[scan.brain] > 0].max() <= 0.4
        assert set(np.unique(scan.labels)) <= {0, 1, 2, 4}


def test_every_patient_has_a_tumour_and_tumour_free_slices(rendered_patients: Patients) -> None:
    for parameters, scan in rendered_patients:
        millilitres = (scan.labels > 0).sum() * 27 / 1000
        assert 2 < millilitres < 250, parameters.name
        with_tumour = (scan.labels > 0).any(axis=(0, 1)).sum()
        assert with_tumour < 0.7 * scan.brain.any(axis=(0, 1)).sum()


def test_labels_are_nested(rendered_patients: Patients) -> None:
    """Necrosis is enclosed by the rim: hardly any of its surface touches oedema or healthy brain."""
    touching = total = 0
    for _, scan in rendered_patients:
        necrosis, core = scan.labels == 1, np.isin(scan.labels, (1, 4))
        shell = ndimage.binary_dilation(necrosis) & ~necrosis
        touching += (shell & ~core).sum()
        total += shell.sum()
    assert total > 100
    assert touching < 0.25 * total


def test_background_is_zero_and_brain_is_not(rendered_patients: Patients) -> None:
    for _, scan in rendered_patients:
        for image in scan.channels.values():
            assert image.dtype == np.int16
            assert not image[~scan.brain].any()
            assert image[scan.brain].min() >= 1
            assert 200 < np.median(image[scan.brain]) < 6000


def test_brain_lies_left_posterior_superior(rendered_patients: Patients) -> None:
    """Stem and cerebellum, low and at the back, give the lowest quarter its mass towards high y."""
    for _, scan in rendered_patients:
        columns = np.flatnonzero(scan.brain.any(axis=(0, 1)))
        low = scan.brain[:, :, columns[0] : columns[0] + len(columns) // 4]
        middle = scan.brain[:, :, columns[len(columns) // 2]]
        assert np.nonzero(low)[1].mean() > np.nonzero(middle)[1].mean()
        # The vertex is narrow.
        assert scan.brain[:, :, columns[-2]].sum() < 0.5 * middle.sum()


def test_left_of_the_array_is_the_right_of_the_patient() -> None:
    """A tumour that starts at the template's right side appears at low x: the array runs to the left."""
    from synthoma.phantoms.anatomy import load_template

    places = load_template().places
    middle = load_template().brain.shape[0] / 2
    parameters = draw(BrainPhantomOptions(), 0)
    for side in (-1, 1):
        there = np.flatnonzero(side * (places[:, 0] - middle) > 25)  # template x runs to the right
        place = (there[len(there) // 2] + 0.5) / len(places)
        tumour = dataclasses.replace(parameters.tumour, place=float(place), oedema_reach_mm=7.0)
        scan = render(dataclasses.replace(parameters, tumour=tumour), 4.0)
        x = np.nonzero(scan.labels)[0].mean()
        assert side * (x - scan.labels.shape[0] / 2) < -2


def test_sites_alternate_and_differ_in_contrast(rendered_patients: Patients) -> None:
    assert [parameters.site for parameters, _ in rendered_patients] == list("ABABAB")
    ratio = {"A": [], "B": []}
    for parameters, scan in rendered_patients:
        t2 = _means(scan, "t2")
        ratio[parameters.site].append(t2["csf"] / t2["white"])
    assert min(ratio["A"]) > max(ratio["B"])  # longer echo: heavier T2 weighting


def test_flair_is_no_linear_function_of_t1_and_mask(rendered_patients: Patients) -> None:
    """A network has something to learn that a fit pixel by pixel cannot know."""
    for _, scan in rendered_patients:
        t1, flair = (scan.channels[name][scan.brain].astype(float) for name in ("t1", "flair"))
        labels = scan.labels[scan.brain]
        columns = [t1, *(labels == value for value in (1, 2, 4)), np.ones_like(t1)]
        design = np.stack(columns, axis=1).astype(float)
        linear = design @ np.linalg.lstsq(design, flair, rcond=None)[0]
        truth = np.stack([scan.fractions[name] for name in scan.fractions], axis=1)
        tissue = truth @ np.linalg.lstsq(truth, flair, rcond=None)[0]
        assert np.var(flair - tissue) < 0.6 * np.var(flair - linear)


def test_draw_does_not_depend_on_the_number_of_patients() -> None:
    few, many = BrainPhantomOptions(patients=3, seed=5), BrainPhantomOptions(patients=300, seed=5, workers=2)
    assert draw(few, 2) == draw(many, 2)
    assert draw(few, 1) != draw(few, 2)


def test_seeds_differ() -> None:
    first, second = (draw(BrainPhantomOptions(seed=seed), 0) for seed in (1, 2))
    assert first.tumour != second.tumour
    assert first.anatomy != second.anatomy
    assert first.scan.gain != second.scan.gain


def test_rendering_twice_is_identical() -> None:
    parameters = draw(BrainPhantomOptions(seed=5), 1)
    first, second = render(parameters, 4.0), render(parameters, 4.0)
    for channel, image in first.channels.items():
        np.testing.assert_array_equal(image, second.channels[channel])
    np.testing.assert_array_equal(first.labels, second.labels)


def test_core_sizes_keep_to_the_options() -> None:
    options = BrainPhantomOptions(smallest_core_mm=5, largest_core_mm=6)
    assert all(5 <= draw(options, index).tumour.core_radius_mm <= 6 for index in range(50))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patients": 0}, "greater than or equal to 1"),
        ({"spacing_mm": 0.5}, "greater than or equal to 1"),
        ({"spacing_mm": 9}, "less than or equal to 4"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"smallest_core_mm": 20, "largest_core_mm": 10}, r"smallest_core_mm \(20\) must not be above"),
        ({"patient": 3}, "Extra inputs are not permitted"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BrainPhantomOptions(**settings)
