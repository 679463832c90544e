"""Several worker processes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from swath.scenes.job import Job
from swath.scenes.piece import Piece
from swath.scenes.runners.pool import WorkerLost, share_out
from swath.scenes.runners.serve import receive, send


class ProcessWorker:
    """One worker process.

    Args:
        job: what it works on; must survive pickling.
    """

    def __init__(self, job: Job) -> None:
        paths = os.pathsep.join(p for p in sys.path if p)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "swath.scenes.runners.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self._job: Job | None = job

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def run(self, index: int, following: int | None) -> Piece:
        """The block of that number. Raises WorkerLost if the process has ended, and its own SwathError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if self._job is not None:
                send(self._process.stdin, self._job)
                self._job = None
            send(self._process.stdin, (index, following))
            answer = receive(self._process.stdout)
        except (EOFError, OSError, ValueError) as err:
            raise WorkerLost from err
        if isinstance(answer, Piece):
            return answer
        assert isinstance(answer, BaseException)
        raise answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue


def run_processes(job: Job, workers: int, todo: Sequence[int], put: Callable[[Piece], None]) -> None:
    """Computes blocks on several processes and hands them on, in any order.

    Args:
        job: says how a worker begins.
        workers: how many.
        todo: numbers of the blocks.
        put: takes finished blocks, one at a time.

    Raises:
        SwathError: the first of a worker or of `put`.
    """
    share_out(lambda: ProcessWorker(job), workers, todo, put)
