"""Images as they are stored: the scanner's values, and nothing that tells how an image came to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthoma.cohort import open_cohort, to_scanner_unit
from synthoma.errors import CohortError
from synthoma.study.blinding import fingerprint, separations
from synthoma.study.pixels import _lattice, plan_rendering, render


def everything(real, synthetic, trim=0.01, **changes):
    """Each image of both cohorts, stored."""
    rows = [[(cohort, row) for row in range(len(cohort))] for cohort in (real, synthetic)]
    plan = plan_rendering(*rows, "flair", trim=trim)
    plan = replace(plan, **changes)
    images = [[render(c, r, "flair", plan, np.random.default_rng(r)) for c, r in side] for side in rows]
    return plan, images


@pytest.fixture(scope="module")
def many(write, tmp_path_factory):
    """40 patients in HU, and 40 in a unit of no meaning."""
    folder = tmp_path_factory.mktemp("many")
    return {
        unit: tuple(open_cohort(path) for path in write(folder / unit, patients=40, unit=unit, shape=(40, 40)))
        for unit in ("HU", "arbitrary")
    }


def test_hu_stay_hu(many):
    real, synthetic = many["HU"]
    plan, images = everything(real, synthetic)
    assert (plan.format.unit, plan.format.low, plan.format.high) == ("HU", -993, 393)
    for row in (0, 7):
        truth = to_scanner_unit(synthetic, row, "flair", synthetic.channel("flair")[row])
        stored = images[1][row][0]
        inside = (truth > -993) & (truth < 393)
        assert np.abs(stored[inside] - truth[inside]).max() <= 0.5 + plan.dither / 2 * 700 + 1e-3


def test_a_unit_without_meaning_becomes_twelve_bits_of_each_image(many):
    plan, images = everything(*many["arbitrary"])
    assert (plan.format.unit, plan.format.low, plan.format.high) == ("arbitrary", 0, 4095)
    for side in images:
        for image in side:
            assert image.dtype == np.dtype("<i2")
            assert image.shape == plan.format.shape == (1, 40, 40)
            assert len(image.tobytes()) == plan.format.size
            assert image.min() == 0  # the background of both
    values = many["arbitrary"][1].channel("flair")[3]
    stored = images[1][3][0]
    assert np.corrcoef(values.ravel(), stored.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("unit", ["HU", "arbitrary"])
def test_how_an_image_is_stored_does_not_tell_its_origin(many, unit):
    _, images = everything(*many[unit])
    prints = [[fingerprint(image) for image in side] for side in images]
    assert separations(*prints) == {}
    # ... nor do all fingerprints together, for a classifier that was trained on half of them
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    x = np.array([list(one.values()) for side in prints for one in side])
    y = np.repeat([0, 1], len(prints[0]))
    accuracy = cross_val_score(RandomForestClassifier(40, random_state=1), x, y, cv=5).mean()
    assert accuracy < 0.5 + 3 * np.sqrt(0.25 / len(y))


@pytest.mark.parametrize(
    ("without", "told"),
    [({"dither": 0.0}, {"empty levels"}), ({"trim": 0.0}, {"share at the lowest value"})],
)
def test_without_these_precautions_it_would(many, without, told):
    _, images = everything(*many["HU"], **without)
    assert told <= set(separations(*([fingerprint(image) for image in side] for side in images)))


@pytest.mark.parametrize("side", [24, 200])
@pytest.mark.parametrize("stored", [np.float32, np.float16])
def test_a_lattice_is_found_where_there_is_one(side, stored):
    rng = np.random.default_rng(side)
    smooth = np.clip(rng.normal(-0.2, 0.3, (side, side)), -1, 0.99)
    assert _lattice(smooth.astype(np.float32)) == 0
    eight_bits = (np.round((smooth + 1) * 127.5) / 127.5 - 1).astype(stored)
    assert _lattice(eight_bits) == pytest.approx(1 / 127.5, rel=0.1)
    assert _lattice(np.where(smooth > 0, 0.5, -1)) == 0  # a mask is no lattice
    assert _lattice(np.round(smooth * 10) / 10) == 0  # so coarse that dither would be seen
    assert _lattice(np.full((side, side), -1.0)) == 0


def test_few_images_tell_nothing():
    assert separations([{"a": 0.0}] * 7, [{"a": 1.0}] * 7) == {}
    assert separations([{"a": 0.0}] * 8, [{"a": 1.0}] * 8) == {"a": 1.0}
    assert separations([{"a": 1.0}] * 8, [{"a": 0.0}] * 8) == {"a": 1.0}
    assert separations([{"a": 1.0}] * 8, [{"a": 1.0}] * 8) == {}


def test_a_flat_image_has_a_fingerprint():
    assert fingerprint(np.zeros((1, 4, 4), dtype=np.int16))["share at the lowest value"] == 1


def test_what_has_nothing_in_common_is_refused(many, write, tmp_path):
    real, synthetic = many["HU"]
    one = [(real, 0)]
    with pytest.raises(CohortError, match="one unit, found HU and arbitrary"):
        plan_rendering(one, [(many["arbitrary"][1], 0)], "flair", trim=0.01)
    smaller = open_cohort(write(tmp_path, patients=2, unit="HU")[1])
    with pytest.raises(CohortError, match=r"images of \(40, 40\), found \(24, 24\)"):
        plan_rendering(one, [(smaller, 0)], "flair", trim=0.01)
    table = dict(synthetic.table) | {"low_flair": np.full(40, 500.0), "high_flair": np.full(40, 900.0)}
    with pytest.raises(CohortError, match="HU ranges that overlap, found"):
        plan_rendering(one, [(replace(synthetic, table=table), 0)], "flair", trim=0.01)


def test_without_a_known_range_hu_are_not_claimed(many):
    real, synthetic = many["HU"]
    table = dict(synthetic.table) | {"low_flair": np.full(40, np.nan)}
    plan = plan_rendering([(real, 0)], [(replace(synthetic, table=table), 0)], "flair", trim=0.01)
    assert plan.format.unit == "arbitrary"


def test_a_volume_keeps_its_order_and_the_shape_of_its_pixels(write, tmp_path):
    real, synthetic = (open_cohort(p) for p in write(tmp_path, patients=2, shape=(5, 16, 16), unit="HU"))
    table = dict(synthetic.table) | {"spacing_mm": np.array(["3 1.5 1"] * 2)}
    plan, images = everything(real, replace(synthetic, table=table))
    assert plan.format.shape == (5, 16, 16)
    assert plan.format.aspect == 1.25  # the median of 1, 1, 1.5, 1.5: one for all
    truth = to_scanner_unit(synthetic, 1, "flair", synthetic.channel("flair")[1])
    assert np.abs(np.clip(truth, -993, 393) - images[1][1]).max() <= 0.5 + plan.dither * 350
