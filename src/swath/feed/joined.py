"""Several sets of shards as one feed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from swath.cube import CubeBatch
from swath.errors import InputError
from swath.feed.contents import Contents, joined_contents
from swath.feed.shard_feed import Crop, IntArray, Order, ShardFeed


class JoinedFeed:
    """Several sets of shards as if they were one: each record once per epoch, all of them shuffled together.

    Args:
        feeds: of equal dates, bands, size and seed, with targets of one form or none.
    """

    def __init__(self, feeds: Sequence[ShardFeed]) -> None:
        frames = {(f.dates, f.bands, f.size, f.seed) for f in feeds}
        if len(frames) != 1:
            raise InputError(
                "sets of shards differ in dates or size", where=feeds[0].shards.where, mend="feed them apart"
            )
        self.feeds = tuple(feeds)
        self._ends = np.cumsum([len(f) for f in feeds])
        self.order = Order(len(self), feeds[0].seed)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def contents(self) -> tuple[Contents, ...]:
        """See `swath.feed.contents`."""
        return (joined_contents([part for feed in self.feeds for part in feed.contents()]),)

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples number first … first + count - 1."""
        places: list[list[Crop]] = [[] for _ in self.feeds]
        numbers: list[list[int]] = [[] for _ in self.feeds]
        for n in range(first, first + count):
            place = self.order.place(n)
            k = int(np.searchsorted(self._ends, place, side="right"))
            feed = self.feeds[k]
            record = int(feed.index[place - (int(self._ends[k - 1]) if k else 0)])
            places[k].append(feed.crop(record, n))
            numbers[k].append(n - first)
        parts = [feed.batch(here) for feed, here in zip(self.feeds, places, strict=True) if here]
        order = np.argsort(np.concatenate([np.asarray(n, np.int64) for n in numbers]))
        return _joined(parts, order)


def _joined(parts: Sequence[CubeBatch], order: IntArray) -> CubeBatch:
    if len(parts) == 1:
        return parts[0]
    chosen = torch.from_numpy(order)

    def join(name: str) -> torch.Tensor:
        return torch.cat([getattr(part, name) for part in parts])[chosen]

    ids = [name for part in parts for name in part.ids]
    has_targets = all(part.target is not None for part in parts)
    return CubeBatch(
        **{name: join(name) for name in ("pixels", "valid", "days", "gain", "bias")},
        bands=parts[0].bands,
        ids=tuple(ids[i] for i in order.tolist()),
        target=join("target") if has_targets else None,
    )
