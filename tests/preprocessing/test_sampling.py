"""From scan to samples: which slices, which labels, which patients not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from synthoma.errors import ScanError
from synthoma.preprocessing import (
    STEPS,
    Normalise,
    PreprocessingOptions,
    Resize,
    SkullStrip,
    SliceSampling,
    Step,
    VolumeSampling,
    preprocess,
    sample,
)
from synthoma.records import Grid, Scan

LESION_PIXELS = (0, 0, 1, 40, 80, 120, 0, 0)


def prepared(**fields: Any) -> Scan:
    """Eight slices 20 x 20 in [−1, 1]: an empty one, then bodies of 200 pixels with growing lesions."""
    body, lesion = np.zeros((8, 400), dtype=np.uint8), np.zeros((8, 400), dtype=np.uint8)
    body[1:, :200] = 1
    for z, count in enumerate(LESION_PIXELS):
        lesion[z, :count] = 1
    draw = np.random.default_rng(0)
    channels = {n: draw.uniform(-0.9, 0.9, (8, 20, 20)).astype(np.float32) for n in ("t1", "flair")}
    masks = {
        "oedema": lesion.reshape(8, 20, 20),
        "body": body.reshape(8, 20, 20),
        "necrosis": np.zeros((8, 20, 20), np.uint8),
    }
    grid = Grid((8, 20, 20), (5.0, 0.9, 0.9), (0.0, 0.0, 0.0), Grid.unknown((1, 1, 1)).direction)
    basic: dict[str, Any] = {"channels": channels, "masks": masks, "grid": grid, "patient": "P1", "site": "A"}
    return Scan(**(basic | {"intensity": {"t1": (0.0, 10.0), "flair": (5.0, 90.0)}} | fields))


def options(**sampling: Any) -> PreprocessingOptions:
    return PreprocessingOptions(sampling=SliceSampling(**({"min_lesion_fraction": 0.1} | sampling)))


def test_samples_hold_what_the_scan_had() -> None:
    scan = prepared()
    samples = sample(scan, options())
    assert samples.slices == (1, 3, 4, 5, 6, 7)  # 0 has no body, 2 too small a lesion
    assert samples.labels == ("tumour-free", "tumour", "tumour", "tumour", "tumour-free", "tumour-free")
    assert samples.channels == ("t1", "flair")
    assert samples.mask_names == ("body", "oedema", "necrosis")
    assert samples.images.shape == (6, 2, 20, 20)
    assert samples.masks.shape == (6, 3, 20, 20)
    assert samples.images.dtype == np.float32
    assert samples.masks.dtype == np.uint8
    assert np.array_equal(samples.images[1, 1], scan.channels["flair"][3])
    assert np.array_equal(samples.masks[1, 1], scan.masks["oedema"][3])
    assert samples.spacing_mm == (0.9, 0.9)
    assert samples.intensity == {"t1": (0.0, 10.0), "flair": (5.0, 90.0)}
    assert (samples.patient, samples.site, samples.unit, samples.modality) == ("P1", "A", "arbitrary", "MR")
    assert sample(prepared(grid=Grid.unknown((8, 20, 20))), options()).spacing_mm is None


def test_small_lesions_blank_slices_and_little_bodies() -> None:
    assert sample(prepared(), options(small_lesion="tumour")).labels[1] == "tumour"
    scan = prepared()
    scan.channels["flair"][4] = -1  # type: ignore[index]
    assert 4 not in sample(scan, options()).slices
    assert 4 in sample(scan, PreprocessingOptions(channels=("t1",))).slices
    assert 4 in sample(scan, options(max_blank_fraction=1)).slices
    with pytest.raises(ScanError, match="P1: sampling: expected at least one slice, found 0 of 8 with enough body"):
        sample(prepared(), options(min_body_fraction=0.6))


def test_wanted_channels_and_parts_come_in_the_wanted_order() -> None:
    chosen = PreprocessingOptions(channels=("flair", "t1"), lesion_masks=("necrosis",))
    samples = sample(prepared(), chosen)
    assert samples.channels == ("flair", "t1")
    assert samples.mask_names == ("body", "necrosis")
    assert np.array_equal(samples.images[0, 0], prepared().channels["flair"][1])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([0, 0, 50]), min_size=6, max_size=40), st.integers(1, 12))
def test_thinning_keeps_the_share_of_tumours(counts: list[int], per_patient: int) -> None:
    n = len(counts)
    lesion = np.zeros((n, 100), dtype=np.uint8)
    for z, count in enumerate(counts):
        lesion[z, :count] = 1
    scan = Scan(
        {"t1": np.zeros((n, 10, 10), dtype=np.float32)},
        {"lesion": lesion.reshape(n, 10, 10)},
        Grid.unknown((n, 10, 10)),
        "P1",
        intensity={"t1": (0.0, 1.0)},
    )
    samples = sample(scan, options(per_patient=per_patient))
    assert len(samples.slices) == min(n, per_patient) == len(set(samples.slices))
    assert list(samples.slices) == sorted(samples.slices)
    wanted = min(n, per_patient) * sum(c > 0 for c in counts) / n
    assert abs(samples.labels.count("tumour") - wanted) <= 1
    if per_patient > 1 and 0 < sum(c > 0 for c in counts) < n:
        assert set(samples.labels) == {"tumour", "tumour-free"}


def test_thinned_slices_are_spread_evenly() -> None:
    scan = prepared(masks={"lesion": np.zeros((8, 20, 20), dtype=np.uint8)})
    assert sample(scan, options(per_patient=4)).slices == (1, 3, 5, 7)
    assert sample(scan, options(per_patient=1)).slices == (4,)


def test_labels_without_lesion_masks() -> None:
    body_only = {"body": np.ones((8, 20, 20), dtype=np.uint8)}
    loose = PreprocessingOptions(require_lesion_mask=False, lesion_masks=("oedema",))
    samples = sample(prepared(masks=body_only), loose)
    assert set(samples.labels) == {"unlabelled"}
    assert samples.mask_names == ("body", "oedema")
    assert samples.masks[:, 1].sum() == 0
    assert set(sample(prepared(masks=body_only, label="LGG"), loose).labels) == {"LGG"}
    assert set(sample(prepared(label="LGG"), options(label="scan")).labels) == {"LGG"}
    assert "LGG" not in sample(prepared(label="LGG"), options()).labels
    with pytest.raises(ScanError, match="P1: expected a lesion mask, found none"):
        sample(prepared(masks=body_only), options())
    with pytest.raises(ScanError, match="P1: sampling: expected a label from the source, found none"):
        sample(prepared(), options(label="scan"))


def test_what_a_scan_lacks_is_named() -> None:
    with pytest.raises(ScanError, match="P1: expected the channel 't2', found flair, t1"):
        sample(prepared(), PreprocessingOptions(channels=("t1", "t2")))
    with pytest.raises(ScanError, match="P1: expected the channel 't2', found flair, t1"):
        preprocess(prepared(), PreprocessingOptions(channels=("t2",)))
    with pytest.raises(ScanError, match="P1: expected the lesion mask 'cyst', found necrosis, oedema"):
        sample(prepared(), PreprocessingOptions(lesion_masks=("cyst",)))
    with pytest.raises(ScanError, match="P1: channel t1: expected values in \\[−1, 1\\], found scanner values"):
        sample(prepared(intensity={}), options())


def volumes(**sampling: Any) -> PreprocessingOptions:
    return PreprocessingOptions(sampling=VolumeSampling(**sampling))


def test_a_volume_is_one_sample() -> None:
    scan = prepared()
    samples = sample(scan, volumes())
    assert samples.images.shape == (1, 2, 8, 20, 20)
    assert np.array_equal(samples.images[0, 1], scan.channels["flair"])
    assert samples.mask_names == ("body", "oedema", "necrosis")
    assert np.array_equal(samples.masks[0], np.stack([scan.masks[name] for name in samples.mask_names]))
    assert (samples.slices, samples.labels, samples.spacing_mm) == ((0,), ("tumour",), (5.0, 0.9, 0.9))
    assert samples.intensity == {"t1": (0.0, 10.0), "flair": (5.0, 90.0)}
    assert sample(prepared(grid=Grid.unknown((8, 20, 20))), volumes()).spacing_mm is None
    assert (samples.images.dtype, samples.masks.dtype) == (np.float32, np.uint8)


def test_the_label_of_a_volume() -> None:
    empty = {"body": np.ones((8, 20, 20), np.uint8), "oedema": np.zeros((8, 20, 20), np.uint8)}
    assert sample(prepared(masks=empty), volumes()).labels == ("tumour-free",)
    assert sample(prepared(masks=empty, label="LGG"), volumes()).labels == ("tumour-free",)
    assert sample(prepared(masks=empty, label="LGG"), volumes(label="scan")).labels == ("LGG",)
    loose = volumes().model_copy(update={"require_lesion_mask": False, "lesion_masks": ("oedema",)})
    samples = sample(prepared(masks={}, label="LGG"), loose)
    assert (samples.labels, samples.mask_names) == (("LGG",), ("body", "oedema"))
    assert samples.masks[0, 0].all()
    assert not samples.masks[0, 1].any()
    assert sample(prepared(masks={}), loose).labels == ("unlabelled",)


def test_a_volume_that_cannot_be_a_sample() -> None:
    with pytest.raises(ScanError, match="P1: sampling: expected a label from the source, found none"):
        sample(prepared(), volumes(label="scan"))
    with pytest.raises(ScanError, match="P1: channel t1: expected values in \\[−1, 1\\], found scanner values"):
        sample(prepared(intensity={}), volumes())
    nothing = prepared().masks | {"body": np.zeros((8, 20, 20), np.uint8)}
    with pytest.raises(ScanError, match="P1: sampling: expected a body mask with voxels, found an empty one"):
        sample(prepared(masks=nothing), volumes())


def test_the_kind_of_sampling_is_slices_unless_named() -> None:
    read = PreprocessingOptions.model_validate
    assert read({"sampling": {"per_patient": 5}}).sampling == SliceSampling(per_patient=5)
    assert read({"sampling": {}}).sampling == read({}).sampling == SliceSampling()
    assert read({"sampling": {"kind": "volumes"}}).sampling == VolumeSampling()
    assert read({"sampling": VolumeSampling()}).sampling == VolumeSampling()
    for chosen in (SliceSampling(per_patient=3), VolumeSampling(label="scan")):
        assert read(read({"sampling": chosen}).model_dump(mode="json")).sampling == chosen


def test_the_whole_chain(head: Any, make_scan: Callable[..., Scan]) -> None:
    image, brain = head
    lesion = np.zeros_like(brain)
    lesion[5:8, 50:60, 50:60] = True
    raw = make_scan({"flair": image, "t1": image[:, :, ::-1] * 3, "lesion": lesion})
    chosen = PreprocessingOptions(channels=("flair",), steps=(SkullStrip(), Normalise(), Resize(size=64, crop="body")))
    scan = preprocess(raw, chosen)
    samples = sample(scan, chosen)
    assert list(scan.channels) == ["flair"]
    assert samples.images.shape[1:] == (1, 64, 64)
    assert samples.labels.count("tumour") == 3
    assert np.abs(samples.images).max() <= 1
    assert (samples.images[:, 0, 0, 0] == -1).all()
    assert np.array_equal(raw.channels["flair"], image.astype(np.float32))  # pure
    assert any("brain found" in note for note in scan.notes)
    low, high = samples.intensity["flair"]
    assert 0 <= low < high < 120
    assert [step.step for step in PreprocessingOptions().steps] == ["reorient", "skull_strip", "normalise", "resize"]


def test_the_table_names_every_step() -> None:
    for name, step in STEPS.items():
        assert step().step == name  # type: ignore[attr-defined]
        assert isinstance(TypeAdapter(Step).validate_python({"step": name}), step)
    assert PreprocessingOptions.model_validate({"steps": [{"step": "normalise", "width": 2}]}).steps == (
        Normalise(width=2),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": []}, "expected one of normalise and windows, found none"),
        ({"steps": [Normalise(), Normalise()]}, "expected one of normalise and windows for MR scans, found norm"),
        ({"steps": [{"step": "blur"}]}, "does not match any of the expected tags"),
        ({"channels": ["t1", "t1"]}, "channels: expected each name once, found t1, t1"),
        ({"lesion_masks": ["body"]}, "found 'body', which is always there"),
        ({"sampling": {"kind": "cubes"}}, "does not match any of the expected tags"),
        ({"sampling": {"kind": "volumes", "per_patient": 3}}, "Extra inputs are not permitted"),
        ({"colour": 1}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PreprocessingOptions(**settings)


def test_importing_the_room_is_cheap() -> None:
    heavy = "('scipy', 'skimage', 'SimpleITK', 'torch')"
    code = f"import sys, synthoma.preprocessing; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
