"""What a person sees while a run goes on: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger(__name__)


class ProgressBar:
    """Progress of a run with loss, samples per second and time left.

    Args:
        title: what runs.
        steps: of the run.
        start: steps done before.
        every_seconds: between lines where there is no terminal.
        terminal: whether to draw a bar; None: if standard error is a terminal.
    """

    def __init__(
        self,
        title: str,
        steps: int,
        start: int = 0,
        every_seconds: float = 10.0,
        terminal: bool | None = None,
    ) -> None:
        self.title, self.steps, self.start = title, steps, start
        self.every_seconds = every_seconds
        self._bar: Progress | None = None
        if sys.stderr.isatty() if terminal is None else terminal:
            self._bar = _bar()
        if self._bar is not None:
            self._task = self._bar.add_task(title, total=steps, completed=start, loss="-", rate="-", use="")
        self._said = self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(
        self,
        step: int,
        losses: Mapping[str, float] | None = None,
        rate: float | None = None,
        *,
        utilisation: float | None = None,
        memory: float | None = None,
        wait: float | None = None,
    ) -> None:
        """`step` steps are done; the rest where it is new.

        Args:
            step: steps done.
            losses: the loss and its parts.
            rate: samples per second.
            utilisation: share of the device's peak.
            memory: GiB held at most.
            wait: share of the time spent waiting for data.
        """
        words = _use(utilisation, memory, wait)
        if self._bar is not None:
            fields: dict[str, Any] = {}
            if losses is not None:
                fields.update(loss=_losses(losses), use=words)
            if rate is not None:
                fields["rate"] = f"{rate:.0f}"
            self._bar.update(self._task, completed=step, **fields)
            return
        now = time.monotonic()
        if losses is None or (now - self._said < self.every_seconds and step < self.steps):
            return
        self._said = now
        done = step - self.start
        left = (now - self._began) / max(done, 1) * (self.steps - step)
        log.info(
            "%s: step %d of %d, loss %s, %.0f samples/s, %s%s left",
            self.title,
            step,
            self.steps,
            _losses(losses),
            rate or 0.0,
            words and f"{words}, ",
            duration(left),
        )


def _losses(losses: Mapping[str, float]) -> str:
    """Such as "0.1234 (token 0.1, spatial 0.02)"; a single part is the loss itself."""
    parts = [f"{name} {value:.4g}" for name, value in losses.items() if name != "loss"]
    return f"{losses['loss']:.4f}" + (f" ({', '.join(parts)})" if len(parts) > 1 else "")


def _use(utilisation: float | None, memory: float | None, wait: float | None) -> str:
    """Such as "41% of peak, 3.2 GiB, 1% waiting"."""
    words = []
    if utilisation is not None:
        words.append(f"{utilisation:.0%} of peak")
    if memory is not None:
        words.append(f"{memory:.1f} GiB")
    if wait is not None:
        words.append(f"{wait:.0%} waiting")
    return ", ".join(words)


def _bar() -> Progress | None:
    """The bar, or None where rich is not installed (a bare CUDA image)."""
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("loss {task.fields[loss]}"),
        progress.TextColumn("{task.fields[rate]} samples/s"),
        progress.TextColumn("{task.fields[use]}"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def duration(seconds: float) -> str:
    """Such as "42 s", "3 min 5 s", "2 h 7 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
