"""The PatchGAN: its size by hand, and what each logit sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from synthoma.errors import SettingError
from synthoma.networks.patchgan import PatchGAN, check_sides

# 6 → 64 with bias 6,144 + 64; 64 → 128: 131,072 + norm 256; 128 → 256: 524,288 + norm 512;
# 256 → 512: 2,097,152 + norm 1,024; 512 → 1 with bias: 8,192 + 1. Kernels are 4 × 4.
BATCH = 6_208 + 131_328 + 524_800 + 2_098_176 + 8_193
# Instance norm: no parameters in the norms. The reference has a bias in the convolutions before them, which the norm
# takes away again: 128 + 256 + 512 parameters without effect, left out here.
INSTANCE = BATCH - (256 + 512 + 1_024)
# No norm: a bias in every convolution.
NONE = INSTANCE + (128 + 256 + 512)


@pytest.mark.parametrize(("norm", "wanted"), [("batch", 2_768_705), ("instance", INSTANCE), ("none", NONE)])
def test_the_parameters_of_the_reference(norm: Any, wanted: int) -> None:
    assert BATCH == 2_768_705  # what pix2pix prints as 2.769 M
    with torch.device("meta"):
        network = PatchGAN(6, norm=norm)
    assert sum(parameter.numel() for parameter in network.parameters()) == wanted


def test_the_reference_makes_30_by_30_logits_of_an_image_of_256() -> None:
    with torch.device("meta"):
        assert PatchGAN(2)(torch.empty(1, 2, 256, 256)).shape == (1, 1, 30, 30)


def moved_logits(network: nn.Module, pixel: tuple[int, int], size: int = 160) -> set[tuple[int, int]]:
    """The logits that change when one pixel does."""
    image = torch.zeros(1, 1, size, size, dtype=torch.float64)
    changed = image.clone()
    changed[0, 0, pixel[0], pixel[1]] = 1e4
    with torch.no_grad():
        difference = (network(changed) - network(image))[0, 0]
    return {(int(y), int(x)) for y, x in difference.nonzero()}


def test_each_logit_sees_70_by_70_pixels() -> None:
    """Logit 8 of an axis begins at pixel 8 · 8 − 31 = 33 (padding 1 + 2 + 4 + 8 + 8 = 23, +8 more a logit less)."""
    torch.manual_seed(0)
    network = PatchGAN(1, width=4, norm="none").double()  # a norm would join all pixels
    image = torch.zeros(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, 8, 8].backward()
    assert image.grad is not None
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    first, last = int(rows.min()), int(rows.max())
    assert last - first + 1 == 70
    assert (int(columns.min()), int(columns.max())) == (first, last)
    for inside in (first, last):
        assert (8, 8) in moved_logits(network, (inside, 80))
        assert (8, 8) in moved_logits(network, (80, inside))
    for outside in (first - 1, last + 1):
        assert (8, 8) not in moved_logits(network, (outside, 80))
        assert (8, 8) not in moved_logits(network, (80, outside))


@pytest.mark.parametrize(("layers", "wanted"), [(1, 16), (2, 34), (3, 70)])
def test_the_field_grows_with_the_layers(layers: int, wanted: int) -> None:
    """Isola et al. 2017, section 6.1.2: 16 × 16 and 70 × 70; by the same rule 34 × 34 between."""
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = PatchGAN(1, width=4, layers=layers, norm="none").double()(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert image.grad is not None
    rows = image.grad[0, 0].nonzero()[:, 0]
    assert int(rows.max() - rows.min()) + 1 == wanted


@pytest.mark.parametrize("shape", [(23, 64), (64, 20), (32, 32, 16)])
def test_an_image_too_small_for_a_logit_is_refused_by_the_setting(shape: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match=r"gan\.x: expected image sides of at least 24 pixels") as caught:
        check_sides("gan.x", shape)
    assert str(caught.value).endswith("Change resize.size.")
    with pytest.raises(SettingError, match="Do without"):
        check_sides("gan.x", shape, "Do without.")


def test_the_smallest_image_has_one_logit() -> None:
    check_sides("gan.x", (24, 24))
    for norm in ("batch", "instance", "none"):
        assert PatchGAN(1, width=2, norm=norm)(torch.randn(2, 1, 24, 24)).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5])
def test_the_smallest_image_grows_with_the_layers(layers: int) -> None:
    side = 3 * 2**layers
    check_sides("gan.x", (side, side), layers=layers)
    for norm in ("batch", "instance", "none"):
        assert PatchGAN(1, width=2, layers=layers, norm=norm)(torch.randn(2, 1, side, side)).shape == (2, 1, 1, 1)
    with pytest.raises(SettingError, match=f"at least {side} pixels"):
        check_sides("gan.x", (side, side - 1), layers=layers)


def test_a_volume_has_logits_too() -> None:
    assert PatchGAN(2, width=4, spatial_dims=3, norm="instance")(torch.randn(1, 2, 32, 32, 32)).shape == (1, 1, 2, 2, 2)
