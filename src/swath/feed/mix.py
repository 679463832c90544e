"""Several feeds as one, mixed by weights; a pure function of (seed, n) like each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from swath.cube import CubeBatch
from swath.errors import ConfigError, InputError
from swath.feed.base import Feed
from swath.feed.contents import Contents, contents_of, joined_contents
from swath.rng import numpy_generator

BLOCK = 256


class MixFeed:
    """Samples of several feeds in the proportion of their weights.

    In each block of 256 numbers, a feed has its share of places, in an order of the block's own; and it counts its
    own samples, so that each feed goes through its records as if it were alone.

    Args:
        feeds: of equal T, C, H and W, with the same bands.
        weights: one for each, above 0.
        seed: of the order.
    """

    def __init__(self, feeds: Sequence[Feed], weights: Sequence[float], *, seed: int = 0) -> None:
        if len(feeds) != len(weights) or not feeds:
            raise ConfigError(f"{len(feeds)} data sets and {len(weights)} weights", where="mix")
        if any(not w > 0 for w in weights):
            raise ConfigError(
                f"{list(weights)} are not all above 0", where="mix", mend="leave out what weighs nothing"
            )
        self.feeds, self.seed = tuple(feeds), seed
        self.quota = quotas(weights)

    def contents(self) -> tuple[Contents, ...]:
        """See `swath.feed.contents`: one of each feed, with its share; nothing where a feed does not say it."""
        found = [contents_of(feed) for feed in self.feeds]
        if not all(found):
            return ()
        return tuple(
            replace(joined_contents(parts), share=int(share))
            for parts, share in zip(found, self.quota, strict=True)
        )

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples number first … first + count - 1."""
        parts = []
        for n in range(first, first + count):
            k, number = self.place(n)
            parts.append(self.feeds[k].take(number, 1))
        return joined(parts)

    def place(self, n: int) -> tuple[int, int]:
        """(feed, its own number) of sample n."""
        block, at = divmod(n, BLOCK)
        order = np.repeat(np.arange(len(self.feeds)), self.quota)
        order = numpy_generator(self.seed, "mix", block).permutation(order)
        k = int(order[at])
        return k, block * int(self.quota[k]) + int((order[:at] == k).sum())


def quotas(weights: Sequence[float]) -> npt.NDArray[np.int64]:
    """Places of each feed in a block: in proportion, rounded by the largest remainders, none without any."""
    share = np.asarray(weights, np.float64) / np.sum(weights) * BLOCK
    places: npt.NDArray[np.int64] = np.maximum(np.floor(share).astype(np.int64), 1)
    while places.sum() < BLOCK:
        places[int((share - places).argmax())] += 1
    while places.sum() > BLOCK:
        places[int((places - share + (places == 1) * -BLOCK).argmax())] -= 1
    return places


def joined(parts: Sequence[CubeBatch]) -> CubeBatch:
    """Batches as one.

    Raises:
        InputError: they differ in shape or bands.
    """
    one = parts[0]
    for part in parts[1:]:
        if part.pixels.shape[1:] != one.pixels.shape[1:] or part.bands != one.bands:
            raise InputError(
                f"its samples are {list(part.pixels.shape[1:])} of {', '.join(b.name for b in part.bands)}, and "
                f"those of {one.ids[0]} {list(one.pixels.shape[1:])} of {', '.join(b.name for b in one.bands)}",
                where=part.ids[0],
                mend="mix data of the same bands, number of dates and window",
            )
    return replace(
        one,
        pixels=torch.cat([p.pixels for p in parts]),
        valid=torch.cat([p.valid for p in parts]),
        days=torch.cat([p.days for p in parts]),
        gain=torch.cat([p.gain for p in parts]),
        bias=torch.cat([p.bias for p in parts]),
        ids=tuple(name for p in parts for name in p.ids),
        target=None,
    )
