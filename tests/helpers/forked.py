"""`swath` in processes of their own that start at once: forked from one in which the libraries are loaded already.

A test that kills a run twenty times would otherwise spend nearly all of its time on importing torch and Lightning
twenty times. What is killed is a whole process that runs the verb from its command line, as ever.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Forked:
    """A process of the server: the few methods of `subprocess.Popen` that the tests need."""

    def __init__(self, server: Server, pid: int) -> None:
        self.server, self.pid = server, pid
        self.code: int | None = None

    def poll(self) -> int | None:
        """The exit code, below 0 for a signal; None while it runs."""
        if self.code is None:
            self.code = self.server.ask(wait=self.pid, block=False)
        return self.code

    def wait(self) -> int:
        """The exit code, once it has ended."""
        if self.code is None:
            self.code = self.server.ask(wait=self.pid, block=True)
        assert self.code is not None
        return self.code

    def send_signal(self, number: int) -> None:
        """Only while it has not been waited for: its number is its own until then."""
        assert self.code is None
        os.kill(self.pid, number)


class Server:
    """Holds the libraries and forks; to be used in a `with`."""

    def __init__(self, modules: Iterable[str]) -> None:
        words = [sys.executable, str(Path(__file__)), *modules]
        # One thread: what is forked has no others.
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)

    def ask(self, **question: Any) -> Any:
        """One question, one answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, words: Iterable[str], errors: Path) -> Forked:
        """`swath WORDS` in a new process, its standard error written to a file."""
        return Forked(self, self.ask(words=list(words), errors=str(errors)))


def _serve(modules: list[str]) -> None:
    import importlib

    for module in modules:
        importlib.import_module(module)
    for line in sys.stdin:
        asked = json.loads(line)
        answer: int | None = None
        if "words" in asked:
            answer = os.fork()
            if answer == 0:
                _run(asked["words"], asked["errors"])
        elif "wait" in asked:
            pid, status = os.waitpid(asked["wait"], 0 if asked["block"] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)


def _run(words: list[str], errors: str) -> None:
    from swath.cli import main

    code = 1
    try:
        for stream, path in ((0, os.devnull), (1, os.devnull), (2, errors)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), stream)
        code = main(words)
        sys.stderr.flush()
    finally:
        os._exit(code)  # what the server would do when it ends is not this process's


if __name__ == "__main__":
    _serve(sys.argv[1:])
