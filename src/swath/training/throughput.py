"""How many samples per second, over the last while."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Throughput:
    """A meter over a sliding window of steps.

    Args:
        steps: how many of the last steps count.
        clock: seconds; tests hand in their own.

    The first step is left out: it pays for allocation, autotuning and compilation.
    """

    def __init__(self, steps: int = 50, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._ends: deque[tuple[float, int]] = deque(maxlen=steps + 1)
        self._total = 0
        self._before = 0.0

    def add(self, samples: int) -> None:
        """A step of so many samples has just ended."""
        self._total += samples
        self._ends.append((self._clock(), self._total))

    def pause(self) -> None:
        """What follows (a validation) is no step; the rate stays until two steps have ended after it."""
        self._before = self.rate
        self._ends.clear()

    @property
    def rate(self) -> float:
        """Samples per second; 0 until two steps have ended."""
        if len(self._ends) < 2:
            return self._before
        (t0, n0), (t1, n1) = self._ends[0], self._ends[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else self._before

    @property
    def total(self) -> int:
        """All samples so far."""
        return self._total
