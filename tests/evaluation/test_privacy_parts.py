"""Registration, equal sets, the permutation test, authenticity and the attacks, each against something independent."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import binomtest, gaussian_kde, norm

from synthoma.evaluation.audited import Sides, equal_sets
from synthoma.evaluation.closer import authentic, closer_to_training
from synthoma.evaluation.membership import attack, auc_interval, density_ratio, nearest_distance
from synthoma.evaluation.near_duplicates import Neighbours, calibrate, distance_of, nearest
from synthoma.evaluation.registration import coarse_correlations, mean_of, prepare


def textures(seed, count, side=96):
    random = np.random.default_rng(seed)
    images = gaussian_filter(random.normal(size=(count, side, side)), (0, side / 16, side / 16))
    return (images / np.abs(images).max()).astype(np.float32)[:, None]


def test_the_fine_correlation_is_the_partial_one():
    """Without a transformation: that of the residuals of a least-squares fit on the mean image and a constant."""
    both = textures(0, 9)
    prepared, mean = prepare(both), mean_of(prepare(both))
    middle = np.s_[8:-8, 8:-8]
    base = np.column_stack([mean.fine[0, 0][middle].ravel(), np.ones(80 * 80)])
    rest = []
    for image in prepared.fine[:, 0]:
        vector = image[middle].ravel().astype(float)
        rest.append(vector - base @ np.linalg.lstsq(base, vector, rcond=None)[0])
    expected = np.corrcoef(rest[0], 0.7 * rest[1] + rest[2])[0, 1]
    mixed = 0.7 * both[1:2] + both[2:3]
    found = nearest(prepare(mixed * 0.5), prepared.take(np.array([0])), mean, np.array(["p"]))
    assert found.correlation[0] >= expected - 1e-3  # no worse than without turning or shifting
    own = nearest(prepared.take(np.array([3])), prepared.take(np.array([3])), mean, np.array(["p"]))
    assert own.correlation[0] == pytest.approx(1, abs=1e-5)
    assert np.isnan(own.lead[0])


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 3), st.booleans(), st.integers(-8, 8), st.integers(-8, 8), st.floats(0.3, 1), st.floats(-0.2, 0.2)
)
def test_every_declared_transformation_is_undone(turns, flip, down, right, scale, offset):
    real = textures(1, 6)
    changed = np.roll(np.rot90(real[2:3, :, :, ::-1] if flip else real[2:3], turns, axes=(2, 3)), (down, right), (2, 3))
    prepared = prepare(real)
    names = np.array([f"p{i}" for i in range(6)])
    found = nearest(prepare(scale * 0.7 * changed + offset), prepared, mean_of(prepared), names)
    assert found.real[0] == 2
    assert found.correlation[0] > 0.99
    assert found.lead[0] > 1


def test_nothing_is_like_a_flat_image():
    real = textures(2, 5)
    flat = np.full((3, 1, 96, 96), 0.3, dtype=np.float32)
    flat[1], flat[2, 0, 40, 40] = -1, 0.31
    best, _ = coarse_correlations(prepare(flat), prepare(real), mean_of(prepare(real)))
    assert np.abs(best).max() < 1e-3
    both = np.concatenate([real, flat])
    found = nearest(prepare(real), prepare(both), mean_of(prepare(real)), np.arange(8))
    assert found.real.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shape", [(20, 20), (48, 32), (97, 97), (200, 150), (6, 40, 40)])
def test_any_size_finds_itself(shape):
    random = np.random.default_rng(4)
    images = gaussian_filter(random.normal(size=(5, 2, *shape)), (0, 0, *(max(1, n / 12) for n in shape)))
    images = (images / np.abs(images).max()).astype(np.float32)
    prepared = prepare(images)
    found = nearest(prepared, prepared, mean_of(prepared), np.arange(5))
    assert found.real.tolist() == [0, 1, 2, 3, 4]
    assert found.correlation.min() > 0.999


def test_distance_of_unit_residuals():
    assert distance_of(np.array([1.0, 0.5, 0.0, -1.0])) == pytest.approx([0, 1, np.sqrt(2), 2])


def test_thresholds_keep_their_false_alarms():
    """1 in 20 cohorts whose z and leads come from where those of held-out images come; never below the highest."""
    random = np.random.default_rng(5)
    alarms = 0
    for _ in range(400):
        z, lead = random.normal(1, 0.2, 260), random.exponential(0.1, 260)
        rest = (np.zeros(260, dtype=int), np.zeros((260, 2)))
        everybody = Neighbours(rest[0], np.tanh(z), lead, *rest)
        held, made = (
            Neighbours(rest[0][s], everybody.correlation[s], lead[s], rest[0][s], rest[1][s])
            for s in (slice(60), slice(60, 260))
        )
        limits = calibrate(held, 60, 200)
        assert limits.z >= z[:60].max()
        assert limits.lead >= lead[:60].max()
        alarms += bool(limits.exceeded(made).any())
    assert binomtest(alarms, 400).proportion_ci(0.999).low < 0.05


class _Real:
    def __init__(self, patients, sites):
        self.table = {"patient": np.asarray(patients), "site": np.asarray(sites)}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("AB"), st.integers(1, 5)), min_size=2, max_size=12))
def test_equal_sets_are_equal_patient_by_patient(people):
    patients = np.repeat([f"p{i}" for i in range(len(people))], [n for *_, n in people])
    sites = np.repeat([site for _, site, _ in people], [n for *_, n in people])
    member = np.repeat([own for own, *_ in people], [n for *_, n in people])
    sides = Sides(np.flatnonzero(member), np.flatnonzero(~member), np.array([], dtype=int))
    found = equal_sets(_Real(patients, sites), sides, 0)
    expected = sum(
        min(sum(own and s == site for own, s, _ in people), sum(not own and s == site for own, s, _ in people))
        for site in "AB"
    )
    assert found.pairs == expected
    assert member[found.members].all()
    assert not member[found.held_out].any()
    for pair in range(found.pairs):
        ours, theirs = found.members[found.member_pair == pair], found.held_out[found.held_out_pair == pair]
        assert len(ours) == len(theirs) == len(np.unique(ours)) > 0
        assert len(np.unique(patients[ours])) == len(np.unique(patients[theirs])) == 1
        assert set(sites[ours]) == set(sites[theirs])


def draw(random, pairs, per, count, d):
    """Distances of ``count`` images to images of ``pairs`` + ``pairs`` patients, all of one distribution."""
    centres = np.repeat(random.normal(size=(2 * pairs, d)), per, axis=0)
    real = np.sqrt(0.5) * (centres + random.normal(size=(2 * pairs * per, d)))
    made = random.normal(size=(count, d))
    squares = (made**2).sum(1)[:, None] + (real**2).sum(1) - 2 * made @ real.T
    return np.sqrt(np.maximum(squares, 0)), np.repeat(np.arange(pairs), per)


@pytest.mark.parametrize(("pairs", "d"), [(8, 4), (12, 24)])
def test_the_share_of_independent_data_is_half_within_its_interval(pairs, d):
    random = np.random.default_rng(6)
    inside, rejected, shares, repeats = 0, 0, [], 400
    for _ in range(repeats):
        distances, pair = draw(random, pairs, 4, 150, d)
        half = pairs * 4
        near, far = distances[:, :half], distances[:, half:]
        found = closer_to_training(near.min(1), far.min(1), pair[near.argmin(1)], pair[far.argmin(1)], pairs, 0)
        inside += found.low <= 0.5 <= found.high
        rejected += found.p <= 0.05
        shares.append(found.share)
    assert binomtest(inside, repeats).proportion_ci(0.999).high > 0.95
    assert inside / repeats > 0.92
    assert binomtest(rejected, repeats).proportion_ci(0.999).low < 0.05
    assert np.mean(shares) == pytest.approx(0.5, abs=4 * np.std(shares) / np.sqrt(repeats))


def test_the_swaps_are_all_counted():
    """Two pairs decide: 3 of 4 images are nearer to training; of 8 swaps 2 are as high as that (the third is empty)."""
    near, far = np.array([1.0, 1, 1, 2]), np.array([2.0, 2, 2, 1])
    found = closer_to_training(near, far, np.array([0, 0, 1, 2]), np.array([2, 2, 2, 0]), 3, 0)
    # balance by pair: 0: +2 − 1 = 1; 1: +1; 2: 0
    assert found.share == 0.75
    assert found.p == 0.25
    assert closer_to_training(near, near, np.array([0, 0, 1, 2]), np.array([2, 2, 2, 0]), 3, 0).share == 0.5
    assert closer_to_training(near, far, np.zeros(4, int), np.ones(4, int), 2, 0).p is None


def test_distances_and_shares_golden():
    """T = (0,0), (4,0), (0,4); H = (1,1), (5,5), (3,0); S = (0,1), (4,1), (2,0), (5,4): 1 of 4 nearer to T, 1 tie."""
    t, h = np.array([[0, 0], [4, 0], [0, 4.0]]), np.array([[1, 1], [5, 5], [3, 0.0]])
    s = np.array([[0, 1], [4, 1], [2, 0], [5, 4.0]])
    to_t, to_h = (np.linalg.norm(s[:, None] - side, axis=2) for side in (t, h))
    assert to_t.min(1) == pytest.approx([1, 1, 2, 4.12310563])
    found = closer_to_training(to_t.min(1), to_h.min(1), to_t.argmin(1), to_h.argmin(1), 3, 0)
    assert found.share == (1 + 0.5) / 4


def test_authenticity_golden():
    t, g = np.array([0.0, 1, 3, 7, 8]), np.array([0.5, 3.2, 20, 7.6])
    found = authentic(np.abs(g[:, None] - t), np.abs(t[:, None] - t))
    assert found.tolist() == [False, False, True, False]  # 25 %


def test_attack_counts_patients_not_images():
    patients = np.repeat(["a", "b", "c", "d"], 2)
    member = np.array([True] * 4 + [False] * 4)
    found = attack(np.array([0, 9, 1, 1, 5, 0, 2, 2.0]), patients, member)  # highest: 9, 1 against 5, 2
    assert (found.auc, found.members, found.others, found.tpr) == (0.5, 2, 2, 0.5)
    tied = attack(np.zeros(8), patients, member)
    assert (tied.auc, tied.tpr) == (0.5, 0)


def test_attacks_find_copies_and_nothing_else():
    random = np.random.default_rng(7)
    members, others = random.normal(size=(2, 150, 16))
    candidates, patients = np.concatenate([members, others]), np.arange(300)
    member = patients < 150
    found = {}
    for copies in (0, 75, 1500):
        made = random.normal(size=(1500, 16))
        made[:copies] = members[random.integers(150, size=copies)] + 0.1 * random.normal(size=(copies, 16))
        distances = np.linalg.norm(candidates[:, None] - made, axis=2)
        near = attack(nearest_distance(distances), patients, member)
        ratio = attack(density_ratio(candidates, patients, made), patients, member)
        found[copies] = (near, ratio)
    for result in found[0]:
        assert result.low < 0.5 < result.high
        assert result.tpr < 0.06
    assert found[75][0].low > 0.5
    for result in found[1500]:
        assert result.auc > 0.999
        assert result.tpr > 0.99


def test_density_is_that_of_scipy():
    """Ratio of gaussian_kde's of Scott's width in one dimension, where every patient is alone and leaves itself out."""
    random = np.random.default_rng(8)
    x, g = random.normal(size=(40, 1)), random.normal(0.5, 1, size=(60, 1))
    scale = np.concatenate([x, g]).std()
    found = density_ratio(x, np.arange(40), g)
    for i in (0, 7, 21):
        others = np.delete(x, i)
        made = gaussian_kde(g[:, 0], bw_method=scale * 60 ** (-1 / 5) / g.std(ddof=1)).logpdf(x[i])
        # the width of the real density counts the candidate itself: 40
        real = gaussian_kde(others, bw_method=scale * 40 ** (-1 / 5) / others.std(ddof=1)).logpdf(x[i])
        assert found[i] == pytest.approx(float((made - real)[0]), rel=1e-6)


@pytest.mark.parametrize(("m", "n", "shift"), [(10, 10, 0.0), (10, 10, 1.5), (20, 30, 0.5), (40, 40, 2.0)])
def test_the_interval_of_an_area_covers(m, n, shift):
    random = np.random.default_rng(9)
    true, inside = norm.cdf(shift / np.sqrt(2)), 0
    for _ in range(1000):
        area = float((random.normal(shift, 1, m)[:, None] > random.normal(0, 1, n)).mean())
        low, high = auc_interval(area, m, n)
        inside += low <= true <= high
    assert 0.93 <= inside / 1000 <= 0.975


def test_the_interval_of_an_area_at_its_ends():
    low, high = auc_interval(1.0, 10, 10)
    assert 0.6 < low < 0.9
    assert high == 1
    assert auc_interval(0.0, 10, 10) == pytest.approx((0, 1 - low), abs=1e-6)
    widths = [np.diff(auc_interval(0.7, n, n))[0] for n in (5, 10, 20, 40)]
    assert all(a > b for a, b in pairwise(widths))
