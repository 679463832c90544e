"""Blocks shared out among workers that may die: what one held is given to another."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from swath.errors import SwathError
from swath.scenes.piece import Piece

log = logging.getLogger(__name__)
# A block whose worker dies so often is given up: it is the block, not the worker.
TRIES = 3


class WorkerLost(Exception):
    """A worker ended without a word: killed, out of memory, or its machine is gone."""


class WorkerError(SwathError):
    """Workers keep dying."""


class Remote(Protocol):
    """A worker elsewhere."""

    def run(self, index: int, following: int | None) -> Piece:
        """The block of that number, while the one that follows is being read.

        Raises WorkerLost if the worker has gone, and the worker's own SwathError.
        """
        ...

    def close(self) -> None:
        """End the worker, also while it computes."""
        ...


class Tasks:
    """Numbers of blocks, handed out once each unless they come back.

    Args:
        todo: the numbers.
        workers: that share them.
    """

    def __init__(self, todo: Sequence[int], workers: int) -> None:
        self._left = deque(todo)
        self._open = len(todo)
        self._workers = workers
        self._lost: Counter[int] = Counter()
        self._changed = threading.Condition()
        self.stopped = False

    def take(self) -> int | None:
        """The next block; waits while others may still give theirs back. None: all are done, or it was stopped."""
        with self._changed:
            while not self._left and self._open and not self.stopped:
                self._changed.wait()
            return None if self.stopped or not self._open else self._left.popleft()

    def take_ahead(self) -> int | None:
        """One more to read ahead, where there are enough that nobody goes without."""
        with self._changed:
            enough = len(self._left) >= self._workers and not self.stopped
            return self._left.popleft() if enough else None

    def done(self) -> None:
        """A block is finished."""
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def give_back(self, index: int, *, lost: bool) -> None:
        """A block that was not finished. Raises WorkerError if workers have died over it before (`lost`)."""
        with self._changed:
            self._lost[index] += lost
            if self._lost[index] >= TRIES:
                raise WorkerError(
                    f"workers ended {TRIES} times over block {index} without a word (killed, or out of memory)",
                    mend="use fewer workers or a smaller block; what is finished is kept",
                )
            self._left.appendleft(index)
            self._changed.notify_all()

    def stop(self) -> None:
        """Nothing more is handed out."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()


def share_out(
    start: Callable[[], Remote], workers: int, todo: Sequence[int], put: Callable[[Piece], None]
) -> None:
    """Runs blocks on several workers; each has one at work and reads one ahead.

    Args:
        start: makes a worker; called again when one is lost.
        workers: how many.
        todo: numbers of the blocks.
        put: takes finished blocks, one at a time, in any order.

    Raises:
        SwathError: the first that a worker or `put` raises, or WorkerError if workers keep dying.
    """
    tasks = Tasks(todo, workers)
    remotes: dict[int, Remote] = {}
    errors: list[BaseException] = []
    lock = threading.Lock()

    def serve(place: int) -> None:
        remote: Remote | None = None
        current: int | None = None
        following: int | None = None
        try:
            while True:
                current, following = (tasks.take() if following is None else following), None
                if current is None:
                    return
                following = tasks.take_ahead()
                try:
                    if remote is None:
                        remote = start()
                        remotes[place] = remote
                    piece = remote.run(current, following)
                except WorkerLost:
                    if tasks.stopped:
                        return
                    log.warning("a worker was lost over block %d; another one takes it up", current)
                    if remote is not None:
                        remote.close()
                    remote = None
                    for index in (following, current):
                        if index is not None:
                            tasks.give_back(index, lost=index == current)
                    following = None
                    continue
                with lock:
                    if tasks.stopped:
                        return
                    put(piece)
                tasks.done()
        except BaseException as err:
            with lock:
                errors.append(err)
            tasks.stop()

    threads = [
        threading.Thread(target=serve, args=(i,), name=f"swath-worker-{i}", daemon=True)
        for i in range(min(workers, len(todo)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # so that an interrupt is heard
                if tasks.stopped:
                    _close(remotes)
    finally:
        tasks.stop()
        _close(remotes)
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def _close(remotes: dict[int, Remote]) -> None:
    for remote in list(remotes.values()):
        remote.close()
