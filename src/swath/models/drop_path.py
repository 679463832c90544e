"""Stochastic depth whose draws belong to samples: how a batch is cut into passes or processes changes none.

A training pass lays a table of uniform numbers beside its samples, a row for each (`path_table`). A block's two draws
are the next two numbers of every sample's row, taken before the block is called, so that a block that is computed a
second time for its gradients gets the same ones, and one that is compiled gets them as an input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

BRANCHES = 2  # of a block: attention and MLP


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch for whole samples (Huang et al., 2016).

    Kept samples are divided by the chance of being kept, so the expectation stays; the identity in eval mode.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"drop path rate {rate} is not in [0, 1)")
        self.rate = rate

    def draw(self, x: Tensor) -> Tensor | None:
        """Factors [2,B] of the two branches of a block for x [B, ...]; None where nothing is dropped, or no table lies
        beside the samples (then `forward` draws by itself).
        """
        if self.rate == 0.0 or not self.training or not _tables:
            return None
        drawn = _tables[-1].take(len(x), BRANCHES)
        return None if drawn is None else (drawn >= self.rate).to(x.dtype) / (1.0 - self.rate)

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """[B, ...] -> [B, ...]; times `kept` [B] where that is drawn already."""
        if self.rate == 0.0 or not self.training:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        if kept is not None:
            return x * kept.to(x.dtype).view(shape)
        keep = 1.0 - self.rate
        return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """What repr() shows of the layer."""
        return f"rate={self.rate}"


class _Table:
    """Uniform numbers of samples, and how far each has come.

    Args:
        numbers: [n,L].
        rows: long [m], the samples that are under way now; None: all.
        taken: long [n], how many numbers each has had; shared by all parts of a table.
    """

    def __init__(self, numbers: Tensor, rows: Tensor | None = None, taken: Tensor | None = None) -> None:
        self.numbers, self.rows = numbers, rows
        self.taken = (
            torch.zeros(len(numbers), dtype=torch.long, device=numbers.device) if taken is None else taken
        )

    def part(self, rows: Tensor) -> _Table:
        """The same, of some of its rows."""
        return _Table(self.numbers, rows if self.rows is None else self.rows[rows], self.taken)

    def take(self, count: int, each: int) -> Tensor | None:
        """The next `each` numbers of `count` rows, [each, count]: so many for each sample under way, side by side (its
        dates, each seen alone); None if those are no multiple of the samples.
        """
        rows = torch.arange(len(self.numbers), device=self.numbers.device) if self.rows is None else self.rows
        times, rest = divmod(count, len(rows))
        if rest or not times:
            return None
        wanted = torch.arange(each * times, device=rows.device)
        # A table is long enough for a pass; what asks for more, gets its numbers again.
        at = (self.taken[rows][:, None] + wanted) % self.numbers.shape[1]
        self.taken[rows] += each * times
        found = self.numbers[rows].gather(1, at)  # [m, each * times]
        return found.view(len(rows), each, times).transpose(0, 1).reshape(each, count)


_tables: list[_Table] = []


@contextlib.contextmanager
def path_table(numbers: Tensor | None) -> Iterator[None]:
    """Blocks draw from these uniform numbers [B,L] while the block runs, a row for each sample; None: as ever."""
    if numbers is None:
        yield
        return
    _tables.append(_Table(numbers))
    try:
        yield
    finally:
        _tables.pop()


@contextlib.contextmanager
def path_rows(rows: Tensor) -> Iterator[None]:
    """What is called meanwhile sees some samples alone, long [m]: those of a group that runs apart from others."""
    if not _tables:
        yield
        return
    _tables.append(_tables[-1].part(rows))
    try:
        yield
    finally:
        _tables.pop()


def path_length(module: nn.Module, passes: int) -> int:
    """Numbers that a sample needs if each block is called `passes` times; 0 if nothing is dropped."""
    dropping = sum(isinstance(m, DropPath) and m.rate > 0 and m.training for m in module.modules())
    return BRANCHES * dropping * passes
