"""The process while a run goes on: deterministic, quiet, and ending cleanly on Ctrl-C; then as it was."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch


@contextlib.contextmanager
def deterministic(threads: int | None = None) -> Iterator[None]:
    """Deterministic algorithms, keeping the caller's random state, settings and threads."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    # torch puts this setting behind a module class that type checkers cannot see.
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    before = torch.get_num_threads()
    # cuBLAS reads it when it starts; without it deterministic mode refuses matrix products on a GPU.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.use_deterministic_algorithms(True)
            # It would fill every new tensor with NaN: a help in finding bugs, and slow.
            memory.fill_uninitialized_memory = False
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            if threads is not None:
                torch.set_num_threads(threads)
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        memory.fill_uninitialized_memory = fill
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        torch.set_num_threads(before)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Neither Lightning's tips and banners nor its advice for loaders of another kind than ours."""
    names = ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|lightning)\b")
            # Our loader begins at the checkpoint's step by itself; Lightning cannot know.
            warnings.filterwarnings("ignore", message=r".*resuming from a checkpoint.*")
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


class StopRequest:
    """Whether a person or a scheduler asked the run to end: the first Ctrl-C or SIGTERM asks, a second one
    interrupts at once. Handlers can only be set in the main thread; elsewhere nothing changes.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, object] = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        logging.getLogger(__name__).warning("stopping after this step and writing a checkpoint")

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Puts the handlers from before back at the end."""
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in self._before.items():
                if handler is not None:
                    # What getsignal returned; its type is wider than what signal takes.
                    signal.signal(number, handler)  # type: ignore[arg-type]

    def listen(self) -> None:
        """Sets the handlers; after Lightning has set its own."""
        for number in self._before:
            signal.signal(number, self._ask)
