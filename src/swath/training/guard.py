"""Steps that would spoil the weights: noticed on all processes together, skipped, and kept to be looked at.

A step is bad if its loss or gradient is not finite, or its gradient norm is many times the running median.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swath.errors import InputError, SwathError
from swath.training.checkpoint import load_checkpoint, save_checkpoint
from swath.training.config import TrainConfig
from swath.training.loader import Step
from swath.training.ranks import World, gathered

WINDOW = 100  # good steps whose median counts
LEAST = 20  # before so many, no norm is called too large: a run begins with anything
KEPT = 3  # files per run: each holds the weights


class Guard:
    """Judges steps; its state belongs to the checkpoint, so that a resumed run judges alike.

    Args:
        config: `skip_above` and `max_bad_steps`.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.factor, self.most = config.skip_above, config.max_bad_steps
        self.norms: deque[float] = deque(maxlen=WINDOW)
        self.running = 0
        self.skipped = 0

    def fault(self, loss: float, norm: float) -> str:
        """Why a step is bad in a few words; empty if it is good. Changes nothing."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return "the loss or its gradient became NaN or infinite"
        if self.factor is not None and len(self.norms) >= LEAST:
            middle = statistics.median(self.norms)
            if norm > self.factor * middle:
                return f"the gradient norm of {norm:.3g} is more than {self.factor:g} times its median {middle:.3g}"
        return ""

    def good(self, norm: float) -> None:
        """A step was taken."""
        self.norms.append(norm)
        self.running = 0

    def bad(self) -> bool:
        """A step was skipped; whether there were too many of them, one after another."""
        self.running += 1
        self.skipped += 1
        return self.running >= self.most

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"norms": list(self.norms), "running": self.running, "skipped": self.skipped}

    def load(self, state: Mapping[str, Any]) -> None:
        """Back from a checkpoint."""
        self.norms = deque((float(n) for n in state["norms"]), maxlen=WINDOW)
        self.running, self.skipped = int(state["running"]), int(state["skipped"])


def too_many(step: int, why: str, guard: Guard, kept: Path | None, where: str) -> SwathError:
    """The error that ends a run, and what to try."""
    times = f" ({guard.running} steps one after another)" if guard.running > 1 else ""
    look = "" if kept is None else f"; look at it with: swath pretrain --replay {kept}"
    return SwathError(
        f"{why} at step {step + 1}{times}",
        where=where,
        mend="lower the learning rate, warm up longer, set clip_norm to 1.0 or precision to fp32; "
        f"the last checkpoint is still good{look}",
    )


def bad_step_path(folder: Path, step: int) -> Path:
    """Where the bad step number `step` (from 0) is kept."""
    return folder / f"step-{step + 1:08d}.pt"


def keep_bad_step(
    folder: Path, batch: Step, why: str, weights: Mapping[str, Tensor], seed: int, world: World
) -> Path:
    """Saves what shows a bad step again; the first few of a run only. All processes call it together.

    Args:
        folder: for these files.
        batch: what this process saw.
        why: in words.
        weights: before the step, whole; those of process 0 are written.
        seed: of the run: every draw is keyed by it and the samples' numbers.
        world: this process among all.

    Returns:
        Its file, or the last of those kept before.
    """
    micros = [{"first": m.first, "ids": list(m.batch.ids)} for m in batch.micros]
    everywhere = gathered(micros)
    path = bad_step_path(folder, batch.number)
    there = sorted(folder.glob("step-*.pt"))
    if path not in there and len(there) >= KEPT:
        return there[-1]
    if world.leads:
        state: dict[str, Any] = {
            "format_version": 1,
            "step": batch.number,
            "why": why,
            "seed": seed,
            "micros": [m for rank in everywhere for m in rank],
            "generator": torch.get_rng_state(),
            "weights": {name: tensor.detach().cpu() for name, tensor in weights.items()},
        }
        if torch.cuda.is_available():
            state["cuda_generator"] = torch.cuda.get_rng_state()
        save_checkpoint(state, path)
    return path


def load_bad_step(path: Path | str) -> dict[str, Any]:
    """What `keep_bad_step` wrote.

    Raises:
        InputError: it is missing, damaged or something else.
    """
    state = load_checkpoint(path)
    if state.get("format_version") != 1 or "micros" not in state:
        raise InputError(
            "is no bad step of a run", where=path, mend="give a file of a run's bad_steps folder"
        )
    return state
