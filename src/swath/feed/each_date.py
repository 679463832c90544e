"""Labels for each date of a series: [T,H,W] beside the pixels of T dates, or one map that stands for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from swath.cube import BoolArray, CubeBatch
from swath.errors import InputError
from swath.feed.base import Feed, unknown_target
from swath.feed.contents import Contents, contents_of

A = TypeVar("A", bound=np.generic)


def at_each_date(target: npt.NDArray[A], valid: BoolArray, *, several: bool = False) -> npt.NDArray[A]:
    """One map of labels as labels for each date: [...,H,W] -> [...,T,H,W].

    It stands at the dates on which its pixel was seen, and is unknown at the others: a label of all dates says nothing
    of a date that is missing or under a cloud. Where a pixel was seen on no date it stands at all of them, so that
    no label is lost to the scores.

    Args:
        target: classes or numbers [...,H,W].
        valid: of the pixels, [...,T,C,H,W].
        several: whether the maps are of several quantities, [...,K,H,W], which become [...,T,K,H,W].
    """
    seen = np.any(valid, axis=-3)
    stands = seen | ~np.any(seen, axis=-3, keepdims=True)
    wide = np.expand_dims(target, -4 if several else -3)
    if several:
        stands = np.expand_dims(stands, -3)
    shape = np.broadcast_shapes(wide.shape, stands.shape)
    return np.where(stands, wide, unknown_target(target, shape).astype(target.dtype))


class EachDate:
    """The samples of a feed, whose maps of labels for all dates become labels for each.

    Args:
        feed: gives targets [B,H,W], or [B,K,H,W] of `several` quantities.
        several: whether it does.
    """

    def __init__(self, feed: Feed, *, several: bool = False) -> None:
        self.feed, self.several = feed, several

    def contents(self) -> tuple[Contents, ...]:
        """Those of the feed."""
        return contents_of(self.feed)

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples number first … first + count - 1. Target [B,T,H,W], or [B,T,K,H,W]."""
        batch = self.feed.take(first, count)
        if batch.target is None:
            raise InputError("has no targets to be set at each date", where=batch.ids[0])
        target = at_each_date(batch.target.numpy(), batch.valid.numpy(), several=self.several)
        return replace(batch, target=torch.from_numpy(target))
