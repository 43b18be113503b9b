"""Features of EfficientNet-Lite0, their cache, lesion patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthoma.errors import SettingError
from synthoma.evaluation import features as module
from synthoma.evaluation.features import Features, lesion_patches, torch_device
from synthoma.networks.features import batch_for_network, feature_size


def test_network_golden(goldens):
    ramp = torch.linspace(-1, 1, 224 * 224).reshape(1, 1, 224, 224).repeat(1, 3, 1, 1)
    with torch.inference_mode():
        vector = module._network("cpu")[0].extract_features(ramp).mean(dim=(2, 3))[0].double().numpy()
    golden = goldens["efficientnet_lite0_ramp"]
    assert vector.shape == (1280,)
    assert vector.sum() == pytest.approx(golden["sum"], abs=1e-3)
    assert np.linalg.norm(vector) == pytest.approx(golden["l2"], abs=1e-3)
    assert vector.argmax() == golden["argmax"]


def test_input_of_the_network():
    images = torch.full((2, 100, 120), -1.0)
    images[1] = 1.0
    batch = batch_for_network(images)
    assert batch.shape == (2, 3, 100, 120)
    assert batch[0].unique().tolist() == [pytest.approx(-127 / 128)]
    assert batch[1].unique().tolist() == [pytest.approx(1.0)]


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((96, 96), (96, 96)),
        ((299, 200), (299, 200)),
        ((48, 48), (96, 96)),
        ((512, 512), (299, 299)),
        ((598, 299), (299, 150)),
    ],
)
def test_size_shown(shape, shown):
    assert feature_size(shape) == shown


def test_shrinking_is_antialiased():
    """A checkerboard of single pixels shrunk to half is grey; without antialiasing it would alias."""
    board = torch.from_numpy(np.where(np.indices((598, 598)).sum(axis=0) % 2, 1.0, -1.0)[None].astype(np.float32))
    batch = batch_for_network(board)
    assert batch.shape[-2:] == (299, 299)
    assert float(batch.std()) < 0.05


def test_features_do_not_depend_on_company_and_channels_are_separate():
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (3, 2, 96, 96)).astype(np.float32)
    together = Features()(images)
    assert together.shape == (3, 2, 1280)
    assert together.dtype == np.float64
    assert Features()(images[1:2, 1:])[0, 0] == pytest.approx(together[1, 1], abs=1e-4)


def test_cache_is_found_by_content_and_never_by_chance(tmp_path, monkeypatch):
    images = np.random.default_rng(1).uniform(-1, 1, (2, 1, 96, 96)).astype(np.float32)
    first = Features(tmp_path)(images)
    stored = list(tmp_path.glob("features-*.npy"))
    assert len(stored) == 1

    def must_not_run(*_):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_extract", must_not_run)
        assert np.array_equal(Features(tmp_path)(images), first)
        changed = images.copy()
        changed[0, 0, 5, 5] += 0.01
        with pytest.raises(AssertionError, match="computed again"):
            Features(tmp_path)(changed)
    stored[0].write_bytes(b"\x93NUMPY damaged")
    assert np.array_equal(Features(tmp_path)(images), first)
    np.save(stored[0], np.array([{"code": 1}], dtype=object), allow_pickle=True)
    assert np.array_equal(Features(tmp_path)(images), first)  # an object array is never unpickled


def test_an_image_is_computed_once_for_all_who_ask(monkeypatch):
    images = np.random.default_rng(2).uniform(-1, 1, (3, 1, 96, 96)).astype(np.float32)
    asked = []
    true = module._extract
    monkeypatch.setattr(module, "_extract", lambda batch, *how: asked.append(len(batch)) or true(batch, *how))
    features = Features()
    features(images[:2])
    features(images)
    assert asked == [2, 1]


def test_lesion_patch_is_around_the_lesion_and_inside_the_frame(real):
    rows = real.rows(split="train")[:2]
    masks = np.zeros_like(real.masks[rows])
    masks[0, 1, 0:6, 40:48] = 1  # in a corner: 8 wide → 16 px (the least)
    masks[1, 1, 20:32, 10:20] = 1  # 12 high → 18 px
    images = np.full_like(real.images[rows], -1)
    images[0, 1, :16, 32:] = 0.5
    images[1, 1, 17:35, 6:24] = 0.5
    patches = lesion_patches(replace(real, images=images, masks=masks), np.arange(2), ("flair",))
    assert patches.shape == (2, 1, 96, 96)
    assert patches == pytest.approx(0.5, abs=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_missing_cuda_is_said():
    assert torch_device("auto").type == "cpu"
    with pytest.raises(SettingError, match="expected a CUDA device, found none"):
        torch_device("cuda")
