"""One worker: reads a block while it computes the one before, and packs what is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from types import TracebackType
from typing import Self

import torch

from swath.pages import Kept
from swath.scenes.engine import Engine
from swath.scenes.layers import BlockMap, Layers
from swath.scenes.piece import Piece, pack
from swath.scenes.reading import BlockInput
from swath.scenes.windows import Block

_PACKERS = 4


class Worker:
    """An engine with one thread that reads ahead and a few that compress.

    Args:
        engine: makes blocks.
        layers: what the map holds of them.
    """

    def __init__(self, engine: Engine, layers: Layers) -> None:
        self.engine, self.layers = engine, layers
        self._reader = ThreadPoolExecutor(1, "swath-read")
        self._packers = ThreadPoolExecutor(_PACKERS, "swath-pack")
        # Two of each: a block is read while another is computed, and computed while another is packed.
        self._inputs, self._sums = Kept(), Kept()
        self._ahead: tuple[int, Future[BlockInput]] | None = None
        self._given: BlockInput | None = None

    def compute(
        self, index: int, following: int | None, on_windows: Callable[[int], None] = lambda count: None
    ) -> BlockMap:
        """The block of that number, while the one that follows is being read."""
        block = self.engine.plan.block(index)
        if self._ahead is not None and self._ahead[0] == index:
            future = self._ahead[1]
        else:
            future = self._reader.submit(self._read, block)
        self._ahead = None
        # The one before is let go when this one is there, not sooner: whether reading or computing is quicker makes no
        # difference to how much is held.
        given = self._given = future.result()
        if following is not None:
            self._ahead = following, self._reader.submit(self._read, self.engine.plan.block(following))
        with self._sums.lending():
            return self.engine.compute(block, given, on_windows)

    def _read(self, block: Block) -> BlockInput:
        # All blocks' memory is alike, whatever their halos: which of it is free is then of no account.
        share = Fraction(block.read.height * block.read.width, self.engine.plan.read_pixels)
        with self._inputs.lending(share):
            return self.engine.read(block)

    def pack(self, index: int, result: BlockMap) -> Piece:
        """A block as the file will hold it."""
        return pack(self.engine.plan, index, result, self.layers, self._packers)

    def run(self, index: int, following: int | None) -> Piece:
        """Computes and packs."""
        return self.pack(index, self.compute(index, following))

    def close(self) -> None:
        """Stop the threads."""
        self._reader.shutdown(cancel_futures=True)
        self._packers.shutdown(cancel_futures=True)
        self._given = None
        self._inputs.close()
        self._sums.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """That many threads for torch, and as many as before afterwards; None: as it is."""
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
