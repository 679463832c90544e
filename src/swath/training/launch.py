"""Several processes on this machine from one command, as torchrun would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

GRACE_SECONDS = 20.0  # for the others to end by themselves once one has


@dataclass(frozen=True)
class Launched:
    """What the processes came to.

    Attributes:
        code: exit code: 0 if all ended well, else that of the first that did not.
        output: what process 0 wrote to standard output.
        error: what a process other than 0 that failed first wrote to standard error.
    """

    code: int
    output: str
    error: str = ""


def launch(words: Sequence[str], processes: int) -> Launched:
    """Runs `python *words` in so many processes and waits for all.

    Process 0 speaks to this terminal. If one fails, the others are ended: they would wait for it for ever.
    Ctrl-C in a terminal reaches all of them by itself; they end in step, after writing a checkpoint.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        running = [
            subprocess.Popen(
                [sys.executable, *words],
                env={**os.environ, **_place(rank, processes, port)},
                stdout=output if rank == 0 else subprocess.DEVNULL,
                stderr=None if rank == 0 else errors,
            )
            for rank in range(processes)
        ]
        try:
            first = _wait(running)
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                process.wait()
        output.seek(0)
        errors.seek(0)
        code = 0 if first is None else running[first].returncode
        said = "" if not first else errors.read().decode("utf-8", "replace")
        return Launched(code, output.read().decode("utf-8", "replace"), said)


def _place(rank: int, processes: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # As torchrun does: on a CPU the processes share the cores.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes))),
    }


def _wait(running: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The number of the first process that failed, None if none did."""
    ended_at: float | None = None
    first: int | None = None
    while any(p.poll() is None for p in running):
        try:
            for rank, process in enumerate(running):
                if first is None and process.poll() not in (None, 0):
                    first, ended_at = rank, time.monotonic()
            if ended_at is not None and time.monotonic() - ended_at > GRACE_SECONDS:
                return first
            time.sleep(0.05)
        except KeyboardInterrupt:
            continue  # the processes got it as well, and write their checkpoint
    if first is None:
        first = next((r for r, p in enumerate(running) if p.returncode != 0), None)
    return first


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
