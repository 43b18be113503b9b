"""Named child seeds: every random thing has its own generator, derived from one seed and a name.

Adding a draw in one place then never shifts the draws of another, and sample *i* does not depend on the batch
it was drawn in.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["child_seed", "generator"]


def child_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for ``names`` under ``seed``; the same on every machine."""
    text = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator of its own for ``names`` under ``seed``."""
    return np.random.default_rng(child_seed(seed, *names))
