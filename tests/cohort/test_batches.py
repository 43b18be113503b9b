"""Batches: a function of seed, epoch, row and round; never of batch size, of the beginning, or of where samples lie."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from synthoma.cohort import AugmentOptions, Batches
from synthoma.errors import CohortError, SettingError
from synthoma.records import Cohort

EVERYTHING = AugmentOptions(
    flip_left_right=True,
    flip_up_down=True,
    rotate_deg=20,
    scale=0.2,
    shift=0.1,
    gamma=0.3,
    contrast=0.2,
    brightness=0.1,
)


@pytest.fixture(scope="module")
def many() -> Cohort:
    """23 samples in memory."""
    rng = np.random.default_rng(0)
    return Cohort(
        path=None,
        table={"id": np.array([str(i) for i in range(23)])},
        images=rng.uniform(-1, 1, (23, 2, 15, 12)).astype(np.float32),
        masks=(rng.random((23, 3, 15, 12)) > 0.5).astype(np.uint8),
        channels=("t1", "flair"),
        mask_names=("body", "core", "oedema"),
        unit="arbitrary",
        modality="MR",
        conditions=(),
        lineages={},
    )


def by_row(batches: Batches, epoch: int, skip: int = 0) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    found = {}
    for batch in batches.epoch(epoch, skip=skip):
        for i, row in enumerate(batch.rows.tolist()):
            found[row] = batch.images[i], batch.masks[i]
    return found


def test_without_augmentation_samples_come_as_stored(cohort: Cohort) -> None:
    rows = cohort.rows(split="train")
    batches = Batches(cohort, rows, batch_size=4, seed=0)
    assert len(batches) == 2
    sizes = [len(batch) for batch in batches.epoch(0)]
    assert sizes == [4, 2]
    found = by_row(batches, 0)
    assert sorted(found) == rows.tolist()
    for row, (image, mask) in found.items():
        assert image.dtype == mask.dtype == torch.float32
        assert np.array_equal(image.numpy(), cohort.images[row])
        assert np.array_equal(mask.numpy(), cohort.masks[row])


@hypothesis_settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 23), other=st.integers(1, 23), epoch=st.integers(0, 3), seed=st.integers(0, 5))
def test_samples_do_not_depend_on_batch_size(many: Cohort, size: int, other: int, epoch: int, seed: int) -> None:
    rows = np.arange(23)
    one = by_row(Batches(many, rows, batch_size=size, seed=seed, augment=EVERYTHING), epoch)
    two = by_row(Batches(many, rows, batch_size=other, seed=seed, augment=EVERYTHING), epoch)
    assert list(one) == list(two)  # one order
    for row in one:
        assert torch.equal(one[row][0], two[row][0])
        assert torch.equal(one[row][1], two[row][1])


@hypothesis_settings(max_examples=10, deadline=None)
@given(skip=st.integers(0, 9), drop=st.booleans())
def test_taking_up_an_epoch_in_the_middle(many: Cohort, skip: int, drop: bool) -> None:
    batches = Batches(many, np.arange(23), batch_size=4, seed=3, augment=EVERYTHING, drop_last=drop)
    whole = list(batches.epoch(5))
    rest = list(batches.epoch(5, skip=skip))
    assert len(whole) == len(batches) == (5 if drop else 6)
    assert len(rest) == max(0, len(whole) - skip)
    for a, b in zip(whole[skip:], rest, strict=True):
        assert a.rows.tolist() == b.rows.tolist()
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.masks, b.masks)


def test_epochs_and_seeds_differ(many: Cohort) -> None:
    batches = Batches(many, np.arange(23), batch_size=8, seed=0, augment=AugmentOptions(rotate_deg=10))
    first, second = by_row(batches, 0), by_row(batches, 1)
    assert list(first) != list(second)
    assert all(not torch.equal(first[row][0], second[row][0]) for row in first)
    other = by_row(Batches(many, np.arange(23), batch_size=8, seed=1, augment=AugmentOptions(rotate_deg=10)), 0)
    assert all(not torch.equal(first[row][0], other[row][0]) for row in first)


def test_unshuffled(many: Cohort) -> None:
    rows = np.array([5, 3, 9])
    batches = Batches(many, rows, batch_size=2, seed=0, shuffle=False)
    assert [batch.rows.tolist() for batch in batches.epoch(7)] == [[5, 3], [9]]


def test_in_memory_equals_on_disk(cohort: Cohort) -> None:
    rows = np.array([7, 1, 4])
    one, two = (
        by_row(Batches(cohort, rows, batch_size=2, seed=0, augment=EVERYTHING, in_memory=held), 0)
        for held in (True, False)
    )
    for row in rows.tolist():
        assert torch.equal(one[row][0], two[row][0])
    assert Batches(cohort, rows, batch_size=2, seed=0).in_memory  # small: by itself


def test_batches_may_be_changed_without_harm(cohort: Cohort) -> None:
    for held in (True, False):
        batches = Batches(cohort, np.arange(4), batch_size=4, seed=0, in_memory=held)
        next(iter(batches.epoch(0))).images.zero_()
        assert all(image.abs().sum() > 0 for image, _ in by_row(batches, 0).values())


def test_leaving_an_epoch_stops_the_thread(many: Cohort) -> None:
    epoch = Batches(many, np.arange(23), batch_size=2, seed=0).epoch(0)
    next(epoch)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    epoch.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_an_error_in_the_thread_arrives(many: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(many, np.arange(23), batch_size=2, seed=0)

    def fail(*given: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(batches, "_batch", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches.epoch(0))


def test_the_next_batch_is_prepared_meanwhile(many: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(many, np.arange(20), batch_size=2, seed=0)
    prepare: Callable[..., Any] = batches._batch

    def slow(*given: Any) -> Any:
        time.sleep(0.01)
        return prepare(*given)

    monkeypatch.setattr(batches, "_batch", slow)
    waits, ready = [], time.perf_counter()
    for _ in batches.epoch(0):
        waits.append(time.perf_counter() - ready)
        time.sleep(0.03)
        ready = time.perf_counter()
    assert np.median(waits[1:]) < 0.005


@hypothesis_settings(max_examples=20, deadline=None)
@given(length=st.integers(23, 80), size=st.integers(1, 23), seed=st.integers(0, 3))
def test_a_longer_epoch_goes_through_all_before_one_comes_again(
    many: Cohort, length: int, size: int, seed: int
) -> None:
    batches = Batches(many, np.arange(23), batch_size=size, seed=seed, length=length)
    rows = np.concatenate([batch.rows for batch in batches.epoch(1)])
    assert len(rows) == length
    for start in range(0, length, 23):
        part = rows[start : start + 23]
        assert len(set(part.tolist())) == len(part)
    assert length < 46 or rows[:23].tolist() != rows[23:46].tolist()
    one = Batches(many, np.arange(23), batch_size=size, seed=seed)
    assert np.concatenate([batch.rows for batch in one.epoch(1)]).tolist() == rows[:23].tolist()


def test_a_sample_that_comes_again_in_an_epoch_is_changed_anew(many: Cohort) -> None:
    """Each round of an epoch; what the first round draws is the same whether others follow or not."""

    def drawn(length: int | None, size: int = 4) -> dict[int, list[torch.Tensor]]:
        batches = Batches(many, np.arange(5), batch_size=size, seed=3, augment=EVERYTHING, length=length)
        found: dict[int, list[torch.Tensor]] = {}
        for batch in batches.epoch(2):
            for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
                found.setdefault(row, []).append(image)
        return found

    once, thrice = drawn(None), drawn(15)
    for row, images in thrice.items():
        assert len(images) == 3
        assert torch.equal(images[0], once[row][0])
        for one, other in itertools.combinations(images, 2):
            assert not torch.equal(one, other)
        for one, other in zip(images, drawn(15, size=3)[row], strict=True):  # wherever in a batch it stands
            assert torch.equal(one, other)


@hypothesis_settings(max_examples=20, deadline=None)
@given(processes=st.integers(1, 4), share=st.integers(1, 4), length=st.integers(23, 50), skip=st.integers(0, 3))
def test_the_shares_of_the_processes_are_the_batch(
    many: Cohort, processes: int, share: int, length: int, skip: int
) -> None:
    """In order, and of equal size to the last; what cannot be shared equally is left out at the end of an epoch."""

    def batches(rank: int, count: int) -> Batches:
        return Batches(
            many,
            np.arange(23),
            batch_size=share * processes,
            seed=2,
            augment=EVERYTHING,
            length=length,
            share=(rank, count),
        )

    whole = list(batches(0, 1).epoch(3, skip=skip))
    shares = [list(batches(rank, processes).epoch(3, skip=skip)) for rank in range(processes)]
    assert len({len(parts) for parts in shares}) == 1
    for number, parts in enumerate(zip(*shares, strict=True)):
        assert len({len(part) for part in parts}) == 1
        rows = np.concatenate([part.rows for part in parts])
        assert rows.tolist() == whole[number].rows.tolist()[: len(rows)]
        images = torch.cat([part.images for part in parts])
        assert torch.equal(images, whole[number].images[: len(rows)])
    assert length - skip * share * processes - sum(len(part) for parts in shares for part in parts) < processes or (
        skip * share * processes >= length
    )


def test_a_batch_that_cannot_be_shared_is_refused(many: Cohort) -> None:
    message = r"training\.batch_size: expected a multiple of 3, the number of processes, found 4"
    with pytest.raises(SettingError, match=message):
        Batches(many, np.arange(23), batch_size=4, seed=0, share=(0, 3))


def test_what_cannot_be_batched(many: Cohort) -> None:
    with pytest.raises(CohortError, match="samples to draw batches from, found none"):
        Batches(many, np.array([], dtype=int), batch_size=2, seed=0)
    for size, drop in ((0, False), (24, True)):
        with pytest.raises(SettingError, match=f"batch_size: expected 1 to 23, the number of samples, found {size}"):
            Batches(many, np.arange(23), batch_size=size, seed=0, drop_last=drop)
