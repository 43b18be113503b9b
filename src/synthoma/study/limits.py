"""How often somebody may ask: a bucket of tokens for each name, refilled at a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Limit"]

MOST_NAMES = 10_000


class Limit:
    """So many a second, and so many at once."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Seconds until ``name`` may ask again; 0 if now, which is counted."""
        now = self.clock()
        left, since = self._buckets.pop(name, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.per_second)
        seconds = 0.0 if left >= 1 else (1 - left) / self.per_second
        self._buckets[name] = (left if seconds else left - 1, now)
        if len(self._buckets) > MOST_NAMES:
            self._buckets.popitem(last=False)
        return seconds
