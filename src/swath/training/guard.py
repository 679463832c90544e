"""Steps that would spoil the weights: noticed on all processes together, skipped, and kept to be looked at.

A step is bad if its loss or gradient is not finite, or its gradient norm is many times the running median. One that
holds nothing to learn from is neither good nor bad; a run of nothing else is an error.
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
from swath.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from swath.training.config import TrainConfig
from swath.training.loader import Step
from swath.training.ranks import World, gathered
from swath.words import counted

WINDOW = 100  # good steps whose median counts
LEAST = 20  # before so many, no norm is called too large: a run begins with anything
KEPT = 3  # files per run: each holds the weights
IN_VAIN = 100  # steps at the beginning of a run that taught nothing: it will not come to more


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
        self.taught = 0
        self.empty = 0

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
        """A step was taken. One without any gradient had nothing to learn from, and says nothing of what is usual."""
        self.running = 0
        if norm > 0:
            self.norms.append(norm)
            self.taught += 1
        else:
            self.empty += 1

    @property
    def in_vain(self) -> bool:
        """Whether the run has gone on for long, and no step has taught anything."""
        return self.taught == 0 and self.empty >= IN_VAIN

    def bad(self) -> bool:
        """A step was skipped; whether there were too many of them, one after another."""
        self.running += 1
        self.skipped += 1
        return self.running >= self.most

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {
            "norms": list(self.norms), "running": self.running, "skipped": self.skipped, "taught": self.taught,
            "empty": self.empty,
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Back from a checkpoint."""
        self.norms = deque((float(n) for n in state["norms"]), maxlen=WINDOW)
        self.running, self.skipped = int(state["running"]), int(state["skipped"])
        # Checkpoints of earlier versions do not say: their norms were those of all steps.
        self.taught = int(state.get("taught", sum(n > 0 for n in self.norms)))
        self.empty = int(state.get("empty", 0))


def too_many(step: int, why: str, guard: Guard, kept: Path | None, where: str) -> SwathError:
    """The error that ends a run, and what to try."""
    times = f" ({guard.running} steps one after another)" if guard.running > 1 else ""
    look, on = "", ""
    if kept is not None:
        look = f"look at it with: swath pretrain --replay {kept}; "
        if saved := checkpoints(kept.parent.parent / "checkpoints"):
            on = (
                f", or go on from step {saved[0][0]} past such steps with run.resume and a larger "
                f"training.max_bad_steps than {guard.most}"
            )
    return SwathError(
        f"{why} at step {step + 1}{times}",
        where=where,
        mend=f"{look}begin a new run with a lower training.learning_rate, more training.warmup_steps, "
        f"training.clip_norm 1.0 or training.precision fp32{on}",
    )


def nothing_taught(guard: Guard, where: str) -> SwathError:
    """The error that ends a run of which no step taught anything."""
    skipped = f" ({guard.skipped} were skipped)" if guard.skipped else ""
    return SwathError(
        f"none of {counted(guard.empty + guard.skipped, 'step')} taught anything{skipped}",
        where=where,
        mend="look whether the windows hold valid pixels and labels, and whether mask.ratio hides any of them",
    )


def bad_step_path(folder: Path, step: int) -> Path:
    """Where the bad step number `step` (from 0) is kept."""
    return folder / f"step-{step + 1:08d}.pt"


def keep_bad_step(
    folder: Path, batch: Step, why: str, weights: Mapping[str, Tensor], seed: int, world: World
) -> Path:
    """Saves what shows a bad step again: of a run the first ones, and the last. All processes call it together.

    Args:
        folder: for these files.
        batch: what this process saw.
        why: in words.
        weights: before the step, whole; those of process 0 are written.
        seed: of the run: every draw is keyed by it and the samples' numbers.
        world: this process among all.

    Returns:
        Its file.
    """
    micros = [{"first": m.first, "ids": list(m.batch.ids)} for m in batch.micros]
    everywhere = gathered(micros)
    path = bad_step_path(folder, batch.number)
    there = sorted(folder.glob("step-*.pt"))
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
        if path not in there and len(there) >= KEPT:
            there[-1].unlink(missing_ok=True)
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
