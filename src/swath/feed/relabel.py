"""A feed whose targets are put in other numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from swath.cube import CubeBatch
from swath.errors import InputError
from swath.feed.base import Feed
from swath.feed.contents import Contents, contents_of


class Relabelled:
    """The samples of a feed, their targets changed.

    Args:
        feed: gives targets.
        change: of a batch's target [B,…].
    """

    def __init__(self, feed: Feed, change: Callable[[Tensor], Tensor]) -> None:
        self.feed, self.change = feed, change

    def contents(self) -> tuple[Contents, ...]:
        """Those of the feed."""
        return contents_of(self.feed)

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples number first … first + count - 1."""
        batch = self.feed.take(first, count)
        if batch.target is None:
            raise InputError("has no targets to be changed", where=batch.ids[0])
        return replace(batch, target=self.change(batch.target))
