"""What a GAN knows of a cohort, and how it refuses what the cohort does not have."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthoma.errors import SettingError
from synthoma.gans import MASK, Layout
from synthoma.records import Cohort

LAYOUT = Layout(("t1", "t2", "flair"), ("body", "core", "oedema"), (32, 32))


def test_of_a_cohort(ellipse_cohort: Cohort) -> None:
    labels = ("tumour", "tumour-free")
    assert Layout.of(ellipse_cohort) == Layout(("t1", "flair"), ("body", "core", "oedema"), (32, 32), labels)


def test_labels_are_those_of_real_samples(ellipse_cohort: Cohort) -> None:
    mixed = ellipse_cohort.select(np.arange(len(ellipse_cohort)))
    mixed.table["origin"][mixed.rows(label="tumour")] = "synthetic"
    assert Layout.of(mixed).labels == ("tumour-free",)


def test_labels_are_those_of_training_samples_or_of_all_before_a_split(ellipse_cohort: Cohort) -> None:
    """What only held-out patients have is no class that could be learned."""
    changed = ellipse_cohort.select(np.arange(len(ellipse_cohort)))
    changed.table["label"][changed.rows(split="test", label="tumour")] = "rare"
    assert Layout.of(changed).labels == ("tumour", "tumour-free")
    changed.table["split"][:] = ""
    assert Layout.of(changed).labels == ("rare", "tumour", "tumour-free")


def test_a_label_has_an_index_and_an_unknown_one_none() -> None:
    layout = replace(LAYOUT, labels=("a", "b"))
    assert layout.label_indices(["b", "c", "a", "b"]).tolist() == [1, -1, 0, 1]
    assert layout.label_indices([]).dtype == torch.int64


def test_json_and_back() -> None:
    for layout in (LAYOUT, replace(LAYOUT, labels=("a", "b"))):
        assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


def test_a_mask_is_a_channel_a_part() -> None:
    assert LAYOUT.width(("t1", MASK)) == 3
    assert LAYOUT.width(("flair",)) == 1


def test_stack_keeps_the_order_asked_for() -> None:
    images, masks = torch.rand(2, 3, 32, 32), torch.randint(0, 2, (2, 3, 32, 32), dtype=torch.uint8)
    stacked = LAYOUT.stack(("flair", MASK, "t1"), images, masks)
    assert stacked.dtype == torch.float32
    assert torch.equal(stacked[:, 0], images[:, 2])
    assert torch.equal(stacked[:, 3], images[:, 0])
    for channel, mask in ((1, 1), (2, 2)):  # not the body
        assert torch.equal(stacked[:, channel] == 1, masks[:, mask] == 1)
        assert torch.equal(stacked[:, channel] == -1, masks[:, mask] == 0)


@pytest.mark.parametrize(
    ("name", "remedy"), [("flare", "Did you mean 'flair'?"), ("masks", "Did you mean 'mask'?"), ("ct9", "Known: flair")]
)
def test_an_unknown_channel_names_the_nearest(name: str, remedy: str) -> None:
    with pytest.raises(SettingError) as caught:
        LAYOUT.check("gan.condition", ("t1", name))
    assert f"gan.condition: expected channels of the cohort, found '{name}'" in str(caught.value)
    assert remedy in str(caught.value)


def test_no_mask_where_there_is_no_lesion() -> None:
    with pytest.raises(SettingError, match="found 'mask'"):
        Layout(("t1",), ("body",), (32, 32)).check("gan.condition", (MASK,))
