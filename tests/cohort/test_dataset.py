"""The view for the user's own PyTorch code."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from synthoma.cohort import CohortDataset
from synthoma.errors import CohortError
from synthoma.records import Cohort


def test_items(cohort: Cohort) -> None:
    data = CohortDataset(cohort, cohort.rows(split="train"), channels=("flair",))
    assert isinstance(data, Dataset)
    assert len(data) == 6
    item = data[4]
    assert torch.equal(item["image"], torch.from_numpy(np.array(cohort.images[4, 1:])))
    assert torch.equal(item["mask"], torch.from_numpy(np.array(cohort.masks[4])).float())
    assert (item["id"], item["patient"], item["label"]) == ("b/0011", "b", "tumour")


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers(cohort: Cohort, start: str) -> None:
    loader = DataLoader(CohortDataset(cohort), batch_size=5, num_workers=2, multiprocessing_context=start)
    batches = list(loader)
    assert [name for batch in batches for name in batch["id"]] == cohort.table["id"].tolist()
    assert np.array_equal(torch.cat([batch["image"] for batch in batches]), cohort.images)


def test_only_the_path_is_pickled(cohort: Cohort) -> None:
    data = CohortDataset(cohort, np.array([2, 1]), ("t1",))
    sent = pickle.dumps(data)
    assert len(sent) < 1000 < cohort.images.nbytes
    again = pickle.loads(sent)  # noqa: S301 (our own)
    assert again[0]["id"] == "a/0012"
    assert torch.equal(again[1]["image"], data[1]["image"])
    held = pickle.loads(pickle.dumps(CohortDataset(cohort.select(np.array([3])))))  # noqa: S301 (our own)
    assert held[0]["id"] == "b/0010"


def brighter(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"image": item["image"] + 1}


def test_a_transform_of_dictionaries(cohort: Cohort) -> None:
    """As MONAI's are: a function of an item. It goes along to the workers."""
    plain, changed = CohortDataset(cohort), CohortDataset(cohort, transform=brighter)
    assert torch.equal(changed[3]["image"], plain[3]["image"] + 1)
    assert torch.equal(changed[3]["mask"], plain[3]["mask"])
    again = pickle.loads(pickle.dumps(changed))  # noqa: S301 (our own)
    assert torch.equal(again[3]["image"], changed[3]["image"])


def test_monai_takes_the_items(cohort: Cohort) -> None:
    pytest.importorskip("monai")
    from monai.data import CacheDataset
    from monai.transforms import Compose, Flipd, ScaleIntensityRanged

    keys = ["image", "mask"]
    steps = [Flipd(keys, spatial_axis=1), ScaleIntensityRanged("image", -1, 1, 0, 1)]
    data = CohortDataset(cohort, transform=Compose(steps))
    cached = CacheDataset(CohortDataset(cohort), Compose(steps), progress=False)
    for item in (data[2], cached[2]):
        expected = (torch.from_numpy(np.array(cohort.images[2])).flip(-1) + 1) / 2
        assert torch.allclose(torch.as_tensor(item["image"]), expected, atol=1e-6)
        assert torch.equal(torch.as_tensor(item["mask"]), torch.from_numpy(np.array(cohort.masks[2])).float().flip(-1))


def test_unknown_channel(cohort: Cohort) -> None:
    with pytest.raises(CohortError, match=r"found 'flare'\.\nDid you mean 'flair'"):
        CohortDataset(cohort, channels=("flare",))


def test_importing_the_room_is_cheap() -> None:
    code = "import sys, synthoma.cohort; print([m for m in ('torch', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
