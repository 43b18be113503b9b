"""Patches round findings, slices by finding, stacks and other axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthoma.errors import ScanError
from synthoma.preprocessing import (
    Normalise,
    PatchSampling,
    PreprocessingOptions,
    Reorient,
    Resize,
    ResizeVolume,
    SliceSampling,
    preprocess,
    sample,
)
from synthoma.records import Grid, Samples, Scan

SHAPE, SPACING = (24, 60, 80), (2.5, 1.0, 0.5)
DIRECTION = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0))


def ball(middle: tuple[float, float, float], radius_mm: float) -> Any:
    offsets = [np.arange(n) - m for n, m in zip(SHAPE, middle, strict=True)]
    z, y, x = np.ix_(*[o * s for o, s in zip(offsets, SPACING, strict=True)])
    return (z**2 + y**2 + x**2 < radius_mm**2).astype(np.uint8)


def lung(**fields: Any) -> Scan:
    """Two nodules, one of them benign, in a body that fills most of the frame; a voxel tells where it is."""
    body = np.zeros(SHAPE, dtype=np.uint8)
    body[:, 4:56, 6:74] = 1
    ct = (
        np.broadcast_to(np.arange(80) / 100 + np.arange(60)[:, None] / 1000, SHAPE) + np.arange(24)[:, None, None] / 1e4
    )
    masks = {"body": body, "nodule-1": ball((8, 20, 30), 6), "nodule-2": ball((15, 40, 60), 4), "lung": body}
    basic: dict[str, Any] = {
        "channels": {"ct": (ct - 0.5).astype(np.float32)},
        "masks": masks,
        "grid": Grid(SHAPE, SPACING, (3.0, -20.0, 7.0), DIRECTION),
        "patient": "P1",
        "modality": "CT",
        "unit": "HU",
        "intensity": {"ct": (-1000.0, 400.0)},
        "labels": {"nodule-1": "malignant", "nodule-2": "benign"},
        "organs": ("lung",),
    }
    return Scan(**(basic | fields))


def patches(scan: Scan, **sampling: Any) -> Samples:
    return sample(scan, PreprocessingOptions(sampling=PatchSampling(**({"size_mm": 16, "size": 32} | sampling))))


def test_a_patch_lies_round_its_finding_and_has_its_label() -> None:
    samples = patches(lung())
    assert samples.labels == ("malignant", "benign")
    assert samples.slices == (8, 15)
    assert samples.names == ("nodule-1-0008", "nodule-2-0015")
    assert samples.images.shape == (2, 1, 32, 32)
    assert samples.mask_names == ("body", "nodule"), "organs are no lesions, findings one part"
    assert samples.spacing_mm == (0.5, 0.5)
    assert samples.intensity == {"ct": (-1000.0, 400.0)}
    for row, radius in enumerate((6, 4)):
        lesion = samples.masks[row, 1]
        y, x = np.nonzero(lesion)
        assert abs(y.mean() - 15.5) < 1
        assert abs(x.mean() - 15.5) < 1
        assert lesion.sum() * 0.25 == pytest.approx(np.pi * radius**2, rel=0.1), "true proportions"
    # each voxel says where it was read: x in steps of 0.5 mm, y of 0.5 mm between rows of 1 mm
    found = samples.images[0, 0] + 0.5 - 8 / 1e4
    rows, columns = 20 + (np.arange(32) - 15.5) / 2, 30 + np.arange(32) - 15.5
    assert np.abs(found - (columns / 100 + rows[:, None] / 1000)).max() < 0.0051


def test_cubes_and_several_slices() -> None:
    cubes = patches(lung(), dims=3, size=16)
    assert cubes.images.shape == (2, 1, 16, 16, 16)
    assert cubes.spacing_mm == (1.0, 1.0, 1.0)
    assert cubes.names == ("nodule-1", "nodule-2")
    for row, radius in enumerate((6, 4)):
        assert cubes.masks[row, 1].sum() == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.15)
    slices = patches(lung(), slices_per_finding=3)
    assert slices.slices == (7, 8, 9, 14, 15, 16)
    assert slices.labels == ("malignant",) * 3 + ("benign",) * 3
    assert patches(lung(), min_lesion_mm3=500).labels == ("malignant",)
    with pytest.raises(ValidationError, match="dims 3: expected stack and slices_per_finding 1"):
        PatchSampling(dims=3, stack=3)


def test_findings_without_numbers_are_connected_pieces() -> None:
    two = lung().masks["nodule-1"] | lung().masks["nodule-2"]
    scan = lung(
        masks={"body": lung().masks["body"], "oedema": two, "core": two // 2}, labels={}, label="LGG", organs=()
    )
    samples = patches(scan)
    assert samples.names == ("lesion-1-0008", "lesion-2-0015")
    assert samples.labels == ("LGG", "LGG")
    assert patches(scan.with_(label="")).labels == ("tumour", "tumour")
    assert samples.mask_names == ("body", "oedema", "core")


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]))
def test_tumour_free_patches_lie_in_the_body_and_away_from_lesions(seed: int, dims: Any) -> None:
    samples = patches(lung(), tumour_free=4, seed=seed, dims=dims, size=16)
    free = [i for i, label in enumerate(samples.labels) if label == "tumour-free"]
    assert len(free) == 4
    assert samples.masks[free, 1].sum() == 0
    assert (samples.masks[free, 0].reshape(4, -1).mean(axis=1) >= 0.5).all()
    assert len(set(samples.names)) == len(samples.names)
    again = patches(lung(), tumour_free=4, seed=seed, dims=dims, size=16)
    assert np.array_equal(samples.images, again.images)
    other = patches(lung(patient="P2"), tumour_free=4, seed=seed, dims=dims, size=16)
    assert not np.array_equal(samples.images, other.images)


def test_tumour_free_patches_where_there_is_no_room_or_no_mask() -> None:
    inside = lung(masks={**lung().masks, "liver": ball((8, 20, 30), 5)}, organs=("lung", "liver"))
    samples = patches(inside, tumour_free=2, tumour_free_inside="liver")
    assert samples.labels == ("malignant", "benign")
    assert samples.notes == ("0 of 2 tumour-free patches: no room for more",)
    with pytest.raises(ScanError, match=r"P1: sampling\.tumour_free_inside: expected a mask 'spleen' with voxels"):
        patches(lung(), tumour_free=2, tumour_free_inside="spleen")
    healthy = lung(masks={"body": lung().masks["body"], "nodule": lung().masks["nodule-1"] * 0}, labels={}, organs=())
    assert patches(healthy, tumour_free=3).labels == ("tumour-free",) * 3
    with pytest.raises(ScanError, match="P1: sampling: expected at least one patch, found no finding"):
        patches(healthy)


def test_a_patch_beyond_the_scan_is_background() -> None:
    scan = lung(masks={"body": lung().masks["body"], "nodule-1": ball((0, 2, 3), 4)}, organs=())
    samples = patches(scan, stack=3)
    assert samples.channels == ("ct@-1", "ct", "ct@+1")
    assert (samples.images[0, :, 0, 0] == -1).all()
    assert np.array_equal(samples.images[0, 0], samples.images[0, 1]), "the first slice is repeated"
    assert not np.array_equal(samples.images[0, 1], samples.images[0, 2])
    assert patches(scan, dims=3, size=16).masks[0, 0, 0].sum() == 0


def slices(scan: Scan, **sampling: Any) -> Samples:
    return sample(scan, PreprocessingOptions(sampling=SliceSampling(min_lesion_fraction=0, **sampling)))


def test_slices_have_the_label_of_the_finding_that_they_cut() -> None:
    samples = slices(lung(), label="finding")
    assert len(samples.slices) == 24
    cut = {name: set(np.flatnonzero(lung().masks[name].any(axis=(1, 2)))) for name in ("nodule-1", "nodule-2")}
    for z, label in zip(samples.slices, samples.labels, strict=True):
        expected = "malignant" if z in cut["nodule-1"] else "benign" if z in cut["nodule-2"] else "tumour-free"
        assert label == expected
    assert samples.notes == ()
    near = lung(masks={**lung().masks, "nodule-2": ball((9, 40, 60), 4)})
    both = slices(near, label="finding")
    assert both.notes == ("3 slices dropped: they cut findings of different labels",)
    assert not {8, 9, 10} & set(both.slices)
    same = slices(near.with_(labels={"nodule-1": "benign", "nodule-2": "benign"}), label="finding")
    assert len(same.slices) == 24
    half = slices(lung(labels={"nodule-1": "malignant"}), label="finding")
    assert half.notes == ("3 slices dropped: the lesions that they cut have no label",)
    assert set(half.labels) == {"malignant", "tumour-free"}


def test_single_findings_are_one_part_unless_named() -> None:
    assert slices(lung()).mask_names == ("body", "nodule")
    union = slices(lung()).masks[:, 1]
    assert np.array_equal(union, lung().masks["nodule-1"] | lung().masks["nodule-2"])
    one = sample(
        lung(), PreprocessingOptions(lesion_masks=("nodule-2",), sampling=SliceSampling(min_lesion_fraction=0))
    )
    assert np.array_equal(one.masks[:, 1], lung().masks["nodule-2"])
    with pytest.raises(ScanError, match="P1: expected the lesion mask 'lung', found nodule, nodule-1, nodule-2"):
        sample(lung(), PreprocessingOptions(lesion_masks=("lung",)))
    with pytest.raises(ScanError, match="P1: expected a lesion mask, found none"):
        sample(lung(organs=tuple(lung().masks)), PreprocessingOptions())


def test_stacks_are_neighbours_as_channels() -> None:
    scan = lung()
    clamped = slices(scan, stack=5)
    assert clamped.channels == ("ct@-2", "ct@-1", "ct", "ct@+1", "ct@+2")
    assert set(clamped.intensity) == set(clamped.channels)
    ct = scan.channels["ct"]
    for z in range(24):
        expected = ct[np.clip(np.arange(z - 2, z + 3), 0, 23)]
        assert np.array_equal(clamped.images[z], expected)
    dropped = slices(scan, stack=5, stack_edges="drop")
    assert dropped.slices == tuple(range(2, 22))
    assert np.array_equal(dropped.images, clamped.images[2:22])
    with pytest.raises(ValidationError, match="expected an odd number, found 2"):
        SliceSampling(stack=2)


@pytest.mark.parametrize(
    ("axis", "code", "shape"), [("coronal", "LIP", (60, 32, 32)), ("sagittal", "PIL", (80, 32, 32))]
)
@pytest.mark.parametrize("last", [Resize(size=32), ResizeVolume(size=32)])
def test_slices_of_another_axis(axis: Any, code: str, shape: Any, last: Any) -> None:
    scan = lung(intensity={})
    options = PreprocessingOptions(
        steps=(Reorient(), Normalise(method="window", window=(-1, 1)), last),
        sampling=SliceSampling(axis=axis, min_lesion_fraction=0),
    )
    turned = preprocess(scan, options)
    assert turned.grid.orientation == code
    assert turned.grid.shape == (shape if isinstance(last, Resize) else (32, 32, 32))
    samples = sample(turned, options)
    assert samples.images.shape[2:] == (32, 32)
    assert samples.spacing_mm is not None
    assert samples.spacing_mm[0] == pytest.approx(samples.spacing_mm[1])
    centre = (lung().grid.affine @ [30, 20, 8, 1])[:3]
    voxel = np.linalg.inv(turned.grid.affine) @ [*centre, 1]
    x, y, z = np.rint(voxel[:3]).astype(int)
    assert turned.masks["nodule-1"][z, y, x] == 1, "the finding is where it was in the patient"
    picture = turned.channels["ct"]
    assert picture[z, y, x] == pytest.approx(scan.channels["ct"][8, 20, 30], abs=0.03)


def test_a_volume_needs_no_axis() -> None:
    assert preprocess(lung(), PreprocessingOptions(steps=(Reorient(), Normalise()))).grid == lung().grid
