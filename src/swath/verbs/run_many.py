"""Many verbs of one comparison, each a process of its own, with their answers kept: what is done is not done again.

Every cell of a comparison's table is a command that a person can type, and is run as one: nothing is shared between
them but files. So each has its own seconds and its own peak of memory, a crash costs one cell, and an interrupted
comparison goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swath.errors import InputError, SwathError
from swath.files import atomic

log = logging.getLogger(__name__)

# Ends the process when whoever started it is gone: it would go on writing into a folder that a resumed comparison gives
# to another. Standard input is a pipe that closes then, however that one ended.
_TOGETHER = (
    "import os, threading\n"
    "def wait():\n"
    "    while os.read(0, 1): pass\n"
    f"    os._exit({128 + signal.SIGTERM})\n"
    "threading.Thread(target=wait, daemon=True).start()\n"
)
# Runs the command line, and leaves what the process has held in a file, in its own memory and on GPUs.
_MEASURED = _TOGETHER + (
    "import sys; from pathlib import Path; from swath import memory; from swath.cli import main\n"
    "out = Path(sys.argv[1]); code = main(sys.argv[2:])\n"
    "out.write_text(f'{memory.peak_resident()} {memory.peak_device()}'); sys.exit(code)"
)


@dataclass(frozen=True)
class Run:
    """One verb of a comparison.

    Attributes:
        name: unique; names the file of its answer, so letters, digits, dots, dashes and underscores only.
        words: the verb and its options, as typed after `swath`.
        after: names of the runs whose files it reads.
    """

    name: str
    words: tuple[str, ...]
    after: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """As a person types it."""
        return shlex.join(("swath", *self.words))

    @property
    def key(self) -> str:
        """Changes with the words."""
        return hashlib.sha256("\0".join(self.words).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Answer:
    """What a run came to.

    Attributes:
        result: as `--json` prints it.
        seconds: of the whole process.
        peak_bytes: the most memory it had resident; 0 where the system does not say.
        device_bytes: the most memory its tensors held on GPUs; 0 where it used none.
    """

    result: Mapping[str, Any]
    seconds: float
    peak_bytes: int
    device_bytes: int = 0


def run_all(
    runs: Sequence[Run],
    folder: Path,
    *,
    jobs: int = 1,
    threads: int = 0,
    progress: Callable[[int, int, Run, Answer], None] | None = None,
    failures: dict[str, SwathError] | None = None,
) -> dict[str, Answer]:
    """Answers by name; those kept in `folder` from before, if the words were the same, are taken as they are.

    Args:
        runs: in an order in which they can be done.
        folder: for the answers.
        jobs: processes at a time.
        threads: of each; 0: as torch chooses.
        progress: told after each run: how many are done, of how many, which, and its answer.
        failures: given, it takes what each failed run said, the others go on, and runs that wait for a failed one are
            left out.

    Raises:
        SwathError: a run failed; the message is its own, and answers that were there by then are kept.
        ValueError: as `check_order`.
    """
    check_order(runs)
    answers: dict[str, Answer] = {}
    left = list(runs)
    with ThreadPoolExecutor(jobs) as pool:
        going: dict[Future[Answer], Run] = {}
        failed: BaseException | None = None
        while left or going:
            for run in [] if failed else _ready(left, answers, jobs - len(going)):
                left.remove(run)
                going[pool.submit(_answer, run, folder, threads)] = run
            done, _ = wait(going, return_when=FIRST_COMPLETED)
            for future in done:
                run = going.pop(future)
                error = future.exception()
                if isinstance(error, SwathError) and failures is not None:
                    failures[run.name] = error
                    log.warning("failed: %s", error)
                    left = [r for r in left if run.name not in _needs(r, runs)]
                    continue
                if error is not None:
                    failed = failed or error
                    continue
                answers[run.name] = future.result()
                if progress is not None:
                    progress(len(answers), len(runs), run, answers[run.name])
            if failed and not going:
                raise failed
    return answers


def check_order(runs: Sequence[Run]) -> None:
    """Raises ValueError unless each name is there once and after all that it waits for."""
    seen: set[str] = set()
    for run in runs:
        missing = [name for name in run.after if name not in seen]
        if run.name in seen or missing:
            what = f"waits for {missing[0]}, which does not come before it" if missing else "is there twice"
            raise ValueError(f"run {run.name} {what}")
        seen.add(run.name)


def _needs(run: Run, runs: Sequence[Run]) -> set[str]:
    """Names of all that must be there before it."""
    by_name = {one.name: one for one in runs}
    found: set[str] = set()
    new = set(run.after)
    while new:
        found |= new
        new = {name for one in new for name in by_name[one].after} - found
    return found


def _ready(left: Sequence[Run], answers: Mapping[str, Answer], free: int) -> Iterator[Run]:
    """Those that can begin now, as many as there is room for."""
    can = [run for run in left if all(name in answers for name in run.after)]
    yield from can[:free]


def kept_answers(runs: Sequence[Run], folder: Path) -> dict[str, Answer]:
    """Answers by name that `folder` has of these words; nothing is run.

    Raises:
        InputError: a file in it is none.
    """
    found = {run.name: _known(run, folder) for run in runs}
    return {name: answer for name, answer in found.items() if answer is not None}


def _known(run: Run, folder: Path) -> Answer | None:
    kept = folder / f"{run.name}.json"
    if not kept.exists():
        return None
    known = _read(kept)
    same = known["key"] == run.key
    if not same:
        return None
    return Answer(known["result"], known["seconds"], known["peak_bytes"], known["device_bytes"])


def _answer(run: Run, folder: Path, threads: int) -> Answer:
    known = _known(run, folder)
    if known is not None:
        return known
    kept = folder / f"{run.name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    measured = folder / f".{run.name}.peak"
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    began = time.monotonic()
    ours, held = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(measured), *run.words, "--json"],
            stdin=ours,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(held)
    seconds = time.monotonic() - began
    peak, on_device = map(int, measured.read_text().split()) if measured.exists() else (0, 0)
    measured.unlink(missing_ok=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise SwathError(
            said[0].removeprefix("error: ") if said else _end(done.returncode, done.stderr),
            where=run.name,
            mend=f"try the command alone: {run.command}",
        )
    answer = Answer(json.loads(done.stdout), seconds, peak, on_device)
    content = {
        "key": run.key,
        "command": run.command,
        "seconds": seconds,
        "peak_bytes": peak,
        "device_bytes": on_device,
        "result": answer.result,
    }
    with atomic(kept) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return answer


def _end(code: int, said: str) -> str:
    """How a process ended that gave no reason: what it wrote last may be no more than its progress."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}" + (", as by a machine that is short of memory" * (name == "SIGKILL"))
    return (said.strip().splitlines() or [f"ended with code {code}"])[-1]


def _read(path: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(path.read_text("utf-8"))
        # Answers that an older version kept say nothing of GPUs.
        wanted = {name: known[name] for name in ("key", "seconds", "peak_bytes", "result")}
        return {**wanted, "device_bytes": known.get("device_bytes", 0)}
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(
            "is no kept answer of a comparison", where=path, mend="remove it; it is made again"
        ) from err
