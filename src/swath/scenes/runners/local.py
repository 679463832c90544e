"""All blocks in this process: one is read, one computed and one packed and written at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from swath.scenes.layers import BlockMap
from swath.scenes.piece import Piece
from swath.scenes.worker import Worker


def run_local(
    worker: Worker,
    todo: Sequence[int],
    put: Callable[[Piece], None],
    on_windows: Callable[[int], None] = lambda count: None,
) -> None:
    """Computes blocks and hands them on.

    Args:
        worker: computes them.
        todo: their numbers.
        put: takes each finished block, in order; called from one other thread.
        on_windows: is told how many windows were dealt with since the last call.
    """

    def finish(index: int, result: BlockMap) -> None:
        put(worker.pack(index, result))

    writing: Future[None] | None = None
    with ThreadPoolExecutor(1, "swath-write") as writer:
        for i, index in enumerate(todo):
            following = todo[i + 1] if i + 1 < len(todo) else None
            result = worker.compute(index, following, on_windows)
            if writing is not None:
                writing.result()  # one block waits at most: memory stays bounded
            writing = writer.submit(finish, index, result)
        if writing is not None:
            writing.result()
