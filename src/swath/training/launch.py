"""Several processes on this machine from one command, as torchrun would start them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from swath.training.launched import LAUNCHER

GRACE_SECONDS = 20.0  # for the others to end by themselves once one has
# What a process comes to that a signal ended before it could end in step.
_INTERRUPTED = (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)


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
    Ctrl-C and SIGTERM are passed on to all of them; they end in step, after writing a checkpoint. If this process is
    killed, they end by themselves, where they call `end_with_launcher`.

    Raises:
        KeyboardInterrupt: they were asked to end before they could do so in step.
    """
    port = _free_port()
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            with _passing_on(running) as passed:
                for rank in range(processes):
                    running.append(
                        subprocess.Popen(
                            [sys.executable, *words],
                            env={**os.environ, **_place(rank, processes, port), LAUNCHER: str(os.getpid())},
                            stdout=output if rank == 0 else subprocess.DEVNULL,
                            stderr=None if rank == 0 else errors,
                            process_group=0,  # a terminal's Ctrl-C would reach them twice
                        )
                    )
                first = _wait(running)
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                process.wait()
        if passed and first is not None and running[first].returncode in _INTERRUPTED:
            raise KeyboardInterrupt
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
        for rank, process in enumerate(running):
            if first is None and process.poll() not in (None, 0):
                first, ended_at = rank, time.monotonic()
        if ended_at is not None and time.monotonic() - ended_at > GRACE_SECONDS:
            return first
        time.sleep(0.05)
    if first is None:
        first = next((r for r, p in enumerate(running) if p.returncode != 0), None)
    return first


@contextlib.contextmanager
def _passing_on(running: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Passes on what asks this process to end; gives those signals. Only in the main thread, which alone gets them."""
    passed: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        passed.append(number)
        for process in running:
            if process.poll() is None:
                process.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield passed
        return
    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield passed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
