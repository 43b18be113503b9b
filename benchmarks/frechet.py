"""The exact Fréchet distance beside means, covariances and SciPy's matrix square root, in one run.

    python benchmarks/frechet.py --width 1280 --n 300 --n 1000

Features are drawn from Gaussians whose spectra fall like 1/k, as those of networks do. Each side takes turns; the ratio
is that of the medians of processor time, which other work on the machine hardly moves. Below it, the time of 1,000
subsamples at n = 300, and the peak of memory of a distance at growing n.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.distances import frechet_distance, half_sampling
from synthoma.evaluation.feature_sets import Sets
from synthoma.seeding import generator

MIB = 2**20


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1280, help="features")
    parser.add_argument("--n", type=int, action="append", help="images a side; repeat it")
    parser.add_argument("--repeats", type=int, default=3, help="of ours; the matrix square root is timed once")
    parser.add_argument("--subsamples", type=int, default=1000, help="draws of half of the patients at n = 300")
    asked = parser.parse_args(arguments)
    for n in asked.n or (300, 1000):
        print(compare(n, asked.width, asked.repeats))
    print(subsampled(300, asked.width, asked.subsamples))
    for n in (asked.width * 2, asked.width * 4):
        print(memory(n, asked.width))


def compare(n: int, width: int, repeats: int) -> str:
    """Processor seconds of both, their ratio, and by how much they differ."""
    x, y = features(n, width, "first"), features(n, width, "second") * 1.1 + 0.1
    ours = [timed(lambda: frechet_distance(x, y)) for _ in range(repeats)]
    theirs, reference = timed(lambda: by_square_root(x, y))
    seconds = statistics.median(own for own, _ in ours)
    difference = abs(ours[0][1] - reference) / abs(reference)
    return (
        f"n = {n}, d = {width}: {seconds:.3f} s against {theirs:.1f} s by sqrtm, {theirs / seconds:.0f} times as fast, "
        f"relative difference {difference:.1e}"
    )


def subsampled(n: int, width: int, draws: int) -> str:
    """Wall seconds of an interval of Fréchet distance, KID and diversity."""
    sets = Sets.of(features(n, width, "first")[:, None], features(n, width, "second")[:, None])
    owners = np.arange(n) // 5
    start = time.perf_counter()
    half_sampling(sets.values, owners, owners, draws, generator(0, "benchmark"))
    return f"{draws} subsamples at n = {n}: {time.perf_counter() - start:.1f} s"


def memory(n: int, width: int) -> str:
    """The peak beyond the features."""
    x, y = features(n, width, "first"), features(n, width, "second")
    tracemalloc.start()
    frechet_distance(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"n = {n}: {peak / MIB:.0f} MiB beyond the features, which are {2 * x.nbytes / MIB:.0f} MiB"


def by_square_root(x: NDArray[Any], y: NDArray[Any]) -> float:
    """As published: means, covariances, and the trace of the matrix square root of their product."""
    from scipy.linalg import sqrtm

    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(first @ second).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * np.trace(root))


def features(n: int, width: int, name: str) -> NDArray[np.float64]:
    """(n, width) with a spectrum like 1/k, turned so that no feature is an axis."""
    basis = np.linalg.qr(generator(0, "basis").normal(size=(width, width)))[0]
    drawn = generator(0, name).normal(size=(n, width)) / np.sqrt(np.arange(1, width + 1))
    return np.asarray(drawn @ basis)


def timed(call: Callable[[], float]) -> tuple[float, float]:
    """Processor seconds and what was returned."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
