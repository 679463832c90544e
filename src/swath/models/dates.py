"""Wholly invalid dates leave before the network and their places are filled again behind it.

Dropping a date is the only way to make it equal to a date that was never there: relative positions over time
run over the dates that hold data, and no window, mean or normalisation meets an empty one. Samples of a batch
that keep different numbers of dates are run in groups of equal number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DateGroup:
    """Samples of a batch that keep the same number of dates.

    Attributes:
        rows: long [b], the samples.
        dates: long [b, n], the dates each keeps, in their order in time.
    """

    rows: Tensor
    dates: Tensor

    def take(self, x: Tensor) -> Tensor:
        """The group's samples and dates: [B,T,...] -> [b,n,...]."""
        return x[self.rows[:, None], self.dates]

    def tubes(self, patch_dates: int) -> Tensor:
        """Where the tokens of the kept dates sit among all tokens over time: [b, ceil(n / patch_dates)].

        A token that spans several dates sits where its first date sits; no two can meet, since their first
        dates lie at least `patch_dates` apart.
        """
        return self.dates[:, ::patch_dates] // patch_dates

    def put(self, whole: Tensor, part: Tensor, at: Tensor | None = None) -> Tensor:
        """`whole` [B,...] with the group's samples replaced, at places `at` [b,n] of dimension 1 if given."""
        place = (self.rows,) if at is None else (self.rows[:, None], at)
        return whole.index_put(place, part)


def group_by_dates(valid: Tensor | None) -> list[DateGroup] | None:
    """Groups of samples by how many dates hold data.

    Args:
        valid: bool [B,T,C,H,W], or None for all valid.

    Returns:
        The groups, or None where no date has to leave. A sample without any data keeps its first date, so
        that it has an output, and that output is finite. On a GPU this waits for the device once.
    """
    if valid is None or valid.shape[1] == 1:
        return None
    held = valid.flatten(2).any(dim=-1).cpu()  # [B, T]
    if bool(held.all()):
        return None
    counts = held.sum(dim=1).clamp(min=1)
    order = torch.argsort(~held, dim=1, stable=True)  # the dates with data first, in their order
    groups = []
    for n in torch.unique(counts).tolist():
        rows = (counts == n).nonzero()[:, 0]
        dates = order[rows, : int(n)]
        groups.append(DateGroup(rows.to(valid.device), dates.to(valid.device)))
    return groups
