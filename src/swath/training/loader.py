"""The steps of a run as a stream that can begin anywhere, read ahead by one thread.

Lightning replays a loader from its start on resume and never tells a sampler the epoch. So the loader knows
the step it begins at, and everything in a step is a function of the step.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from swath.cube import CubeBatch
from swath.feed.base import Feed
from swath.feed.shard_feed import StoredFeed
from swath.feed.stored import StoredBatch


@dataclass(frozen=True)
class Micro:
    """One forward pass.

    Attributes:
        first: number of its first sample in the run.
        batch: the samples; from a feed of packed records perhaps as they are stored, until `.to(device)`.
    """

    first: int
    batch: CubeBatch | StoredBatch


@dataclass(frozen=True)
class Step:
    """All that one optimiser step on one rank sees."""

    number: int
    micros: tuple[Micro, ...]

    @property
    def samples(self) -> int:
        """On this rank."""
        return sum(len(m.batch.ids) for m in self.micros)


class StepLoader:
    """Iterates steps `start` … `steps` - 1.

    Args:
        feed: gives samples by number.
        start, steps: the first step and the end.
        batch_size: samples per forward pass.
        accumulate: forward passes per step.
        rank, world: this process among all.
        pin: copy into page-locked memory, for a GPU.
        stored: leave the conversion of packed records to the device, where the feed can: half the bytes go there.
        ahead: steps to prepare while the device computes.

    `waited` adds up the seconds in which the device had nothing to do.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        start: int,
        steps: int,
        batch_size: int,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
        pin: bool = False,
        stored: bool = False,
        ahead: int = 2,
    ) -> None:
        self.feed = feed
        self.start, self.steps = start, steps
        self.batch_size, self.accumulate = batch_size, accumulate
        self.rank, self.world = rank, world
        self.pin = pin
        self.stored = stored
        self.ahead = ahead
        self.waited = 0.0

    def step(self, number: int) -> Step:
        """One step, the same whoever asks and whenever."""
        micros = []
        for k in range(self.accumulate):
            first = ((number * self.accumulate + k) * self.world + self.rank) * self.batch_size
            batch = self._take(first)
            micros.append(Micro(first, _pinned(batch) if self.pin else batch))
        return Step(number, tuple(micros))

    def _take(self, first: int) -> CubeBatch | StoredBatch:
        if self.stored and isinstance(self.feed, StoredFeed):
            return self.feed.take_stored(first, self.batch_size)
        return self.feed.take(first, self.batch_size)

    def __iter__(self) -> Iterator[Step]:
        pool = ThreadPoolExecutor(1, thread_name_prefix="swath-feed")
        waiting: deque[Future[Step]] = deque()
        try:
            for number in range(self.start, self.steps):
                while len(waiting) <= self.ahead and number + len(waiting) < self.steps:
                    waiting.append(pool.submit(self.step, number + len(waiting)))
                began = time.perf_counter()
                step = waiting.popleft().result()
                self.waited += time.perf_counter() - began
                yield step
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _pinned(batch: CubeBatch | StoredBatch) -> CubeBatch | StoredBatch:
    if isinstance(batch, StoredBatch):
        return batch.pin_memory()
    return replace(
        batch,
        pixels=batch.pixels.pin_memory(),
        valid=batch.valid.pin_memory(),
        target=None if batch.target is None else batch.target.pin_memory(),
    )
