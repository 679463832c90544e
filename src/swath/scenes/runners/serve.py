"""A worker process: `python -m swath.scenes.runners.serve`, spoken to through its pipes.

It is started anew rather than forked or spawned by multiprocessing: torch and GDAL do not survive a fork once they
have threads, and spawning would import the user's script again.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import struct
import sys
from typing import IO, Any

from swath.errors import SwathError


def send(pipe: IO[bytes], message: Any) -> None:
    """One pickled message, led by its length."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(struct.pack("<Q", len(data)))
    pipe.write(data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """The next message. Raises EOFError where the other end has gone."""
    (length,) = struct.unpack("<Q", _exactly(pipe, 8))
    return pickle.loads(_exactly(pipe, length))


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError
    return data


def main() -> None:
    """Opens the job that comes first, then computes blocks until there are no more."""
    # An interrupt is the first process' business: it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Whatever a library prints must not get between the messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    pipe = sys.stdin.buffer
    try:
        job = receive(pipe)
        try:
            with job.open() as worker:
                while (task := receive(pipe)) is not None:
                    send(out, worker.run(*task))
        except SwathError as err:
            send(out, err)
    except (EOFError, BrokenPipeError):
        os._exit(1)  # the first process has gone; nobody waits for anything


if __name__ == "__main__":
    main()
