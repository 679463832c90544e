"""Processes that were launched end with the one that launched them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import os, signal, sys, time
from pathlib import Path
from swath.training.launched import end_with_launcher
end_with_launcher()
asked = []
if sys.argv[2] == "listens":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: asked.append(n))
Path(sys.argv[1], os.environ["RANK"]).write_text(str(os.getpid()))
while not asked:
    time.sleep(0.02)
Path(sys.argv[1], "asked" + os.environ["RANK"]).write_text(str(asked))
"""
PARENT = """
import sys
from swath.training.launch import launch
sys.exit(launch(["-c", sys.argv[1], *sys.argv[2:]], 2).code)
"""


def started(folder: Path, way: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A launcher in a session of its own, and the numbers of its two processes."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, str(folder), way],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    files = [folder / str(rank) for rank in range(2)]
    deadline = time.monotonic() + 60
    while not all(f.exists() and f.read_text() for f in files):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process, [int(f.read_text()) for f in files]


def there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{number}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_until_gone(numbers: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(map(there, numbers)):
        assert time.monotonic() < deadline, "they go on without their launcher"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("group", [False, True], ids=["to the launcher", "to its group, as a terminal does"])
def test_what_asks_the_launcher_to_end_reaches_all_once(
    tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    process, children = started(tmp_path, "listens")
    (os.killpg if group else os.kill)(process.pid, number)
    assert process.wait(30) == 0
    assert [(tmp_path / f"asked{rank}").read_text() for rank in range(2)] == [f"[{int(number)}]"] * 2
    wait_until_gone(children)


def test_a_killed_launcher_leaves_nobody_behind(tmp_path: Path) -> None:
    process, children = started(tmp_path, "listens")
    process.kill()
    process.wait(30)
    wait_until_gone(children)


def test_processes_that_cannot_end_in_step_are_an_interrupt(tmp_path: Path) -> None:
    process, children = started(tmp_path, "is deaf")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGINT  # as Python ends on a KeyboardInterrupt
    wait_until_gone(children)
