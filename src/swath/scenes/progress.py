"""How far a map is: a bar with km² per second and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from swath.scenes.mapping import Progress
from swath.training.progress import duration
from swath.words import counted

log = logging.getLogger(__name__)


class MapBar:
    """Shows the progress of a map on standard error.

    Args:
        every_seconds: between lines where there is no terminal.
        terminal: whether to draw a bar; None: if standard error is a terminal.
    """

    def __init__(self, every_seconds: float = 10.0, terminal: bool | None = None) -> None:
        self.every_seconds = every_seconds
        self._said = time.monotonic()
        self._first: Progress | None = None
        self._bar = None
        if sys.stderr.isatty() if terminal is None else terminal:
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("map"),
                progress.BarColumn(),
                progress.TextColumn("{task.fields[text]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("map", total=None, text="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, now: Progress) -> None:
        """Windows were dealt with."""
        self._first = self._first or now
        text = line(now, self._first)
        if self._bar is not None:
            self._bar.update(self._task, total=now.windows, completed=now.windows_done, text=text)
        elif time.monotonic() - self._said >= self.every_seconds:
            self._said = time.monotonic()
            log.info("map: %s", text)


def line(now: Progress, first: Progress) -> str:
    """Such as "3 of 12 blocks, 4.1 km²/s, 2 min 3 s left".

    Args:
        now: how far it is.
        first: how far it was at the start of this run: blocks of an earlier run say nothing of this one's speed.
    """
    done, seconds = now.windows_done - first.windows_done, now.seconds - first.seconds
    words = [f"{now.blocks_done} of {counted(now.blocks, 'block')}"]
    if done > 0 and seconds > 0:
        if now.km2 is not None and first.km2 is not None:
            words.append(f"{(now.km2 - first.km2) / seconds:.3g} km²/s")
        words.append(f"{duration((now.windows - now.windows_done) * seconds / done)} left")
    return ", ".join(words)
