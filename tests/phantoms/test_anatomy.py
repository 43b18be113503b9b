"""Template, random fields, geometry."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from synthoma.errors import MissingPartError
from synthoma.phantoms.anatomy import Grid, grow_ventricles, load_template, smooth_field


def test_grid_is_the_brats_grid() -> None:
    assert Grid(1.0).shape == (240, 240, 155)
    assert Grid(2.0).shape == (120, 120, 78)


def test_tissue_maps_add_up() -> None:
    template = load_template()
    inside = template.brain > 0
    total = template.grey + template.white + template.csf
    np.testing.assert_allclose(total[inside], 1, atol=1e-5)
    assert not total[~inside].any()


def test_template_has_human_volumes() -> None:
    template = load_template()
    millilitres = {name: getattr(template, name).sum() / 1000 for name in ("brain", "grey", "white", "ventricles")}
    assert 1500 < millilitres["brain"] < 2000
    assert 600 < millilitres["grey"] < 1100
    assert 400 < millilitres["white"] < 800
    assert 8 < millilitres["ventricles"] < 40


def test_tumours_may_start_on_both_sides_in_white_matter() -> None:
    template = load_template()
    x, y, z = template.places.T
    assert (template.white[x, y, z] > 0.8).all()
    middle = template.brain.shape[0] / 2
    assert 0.4 < np.mean(x < middle) < 0.6
    assert template.ventricles[x, y, z].max() < 0.05


def test_smooth_field_has_unit_variance_and_is_smooth() -> None:
    field = smooth_field(3, "a", Grid(2.0), 12.0)
    assert field.shape == (120, 120, 78)
    assert field.std() == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(field, axis=0)).max() < 1.2  # 2 mm are a sixth of the lattice


def test_smooth_field_is_the_same_in_space_on_any_grid() -> None:
    fine, coarse = smooth_field(3, "a", Grid(1.0), 20.0), smooth_field(3, "a", Grid(2.0), 20.0)
    np.testing.assert_allclose(fine[::2, ::2, ::2], coarse, atol=1e-5)


def test_smooth_fields_of_other_names_and_seeds_are_independent() -> None:
    grid = Grid(4.0)
    fields = [smooth_field(seed, name, grid, 8.0).ravel() for seed, name in ((1, "a"), (1, "b"), (2, "a"))]
    correlations = np.corrcoef(fields)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.05


@pytest.mark.parametrize(("growth_mm", "sign"), [(3.0, 1), (-2.0, -1)])
def test_ventricles_grow_and_shrink(growth_mm: float, sign: int) -> None:
    from scipy import ndimage

    template = load_template()
    axes = [np.arange(0, n, 3, dtype=np.float32) for n in template.brain.shape]
    where = list(np.meshgrid(*axes, indexing="ij"))
    before, after = (
        ndimage.map_coordinates(template.ventricles, points, order=1).sum()
        for points in (where, grow_ventricles(where, growth_mm, template))
    )
    assert sign * (after - before) > 0.1 * before


def test_without_nilearn_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingPartError, match="pip install nilearn"):
        load_template.__wrapped__()
