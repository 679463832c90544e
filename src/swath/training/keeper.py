"""What follows each step of a run: log, validate, look, write a checkpoint, stop if asked; in this order."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from swath.errors import ConfigError
from swath.training.began import KEY, Began
from swath.training.checkpoint import (
    checkpoint_path,
    load_checkpoint,
    prune,
    remove_checkpoint,
    save_checkpoint,
)
from swath.training.environment import StopRequest
from swath.training.folder import RunFolder
from swath.training.loader import Step, StepLoader
from swath.training.metrics_log import MetricsLog
from swath.training.module import TrainingModule
from swath.training.optim import learning_rate
from swath.training.parallel import gathered_weights, load_whole
from swath.training.peak import memory_gib
from swath.training.progress import ProgressBar
from swath.training.ranks import several
from swath.training.throughput import Throughput

Validate = Callable[[nn.Module], Mapping[str, float]]
Record = dict[str, Any]


@dataclass(frozen=True)
class Periodic:
    """Something to look at now and then, handed in from above: pictures, the health of the features.

    Attributes:
        name: under which its numbers stand in the log.
        every: steps between calls; of parts of a step, the step in which they end. The end of the run is one too.
        run: called with (objective in eval mode, steps done), without gradients, in every process; the numbers
            it returns go into the log.
    """

    name: str
    every: int | Fraction
    run: Callable[[nn.Module, int], Mapping[str, float] | None]


@dataclass(frozen=True)
class Work:
    """What a run's speed is measured against.

    Attributes:
        flops: floating-point operations that training on one sample takes; 0 if not known.
        peak: operations per second of this device's large products.
    """

    flops: float = 0.0
    peak: float = 0.0

    def utilisation(self, samples_per_second: float) -> float | None:
        """Share of the peak that goes into the network; None if not known."""
        if self.flops <= 0 or self.peak <= 0:
            return None
        return samples_per_second * self.flops / self.peak


def due(step: int, every: int | Fraction) -> bool:
    """Whether a multiple of `every` steps ends in this one."""
    return step // every > (step - 1) // every


def out_of_patience(best: Mapping[str, Any], patience: int) -> bool:
    """Whether a run has waited long enough for a better validation."""
    return patience > 0 and best.get("waited", 0) >= patience


class Keeper(pl.Callback):
    """Sees to all that is no training.

    A checkpoint at step S comes after everything else that step S does, so that what follows it is all that a
    resumed run has to do. Only process 0 writes.
    """

    def __init__(
        self,
        folder: RunFolder,
        module: TrainingModule,
        metrics_log: MetricsLog | None,
        bar: ProgressBar,
        stop: StopRequest,
        validate: Validate | None,
        callbacks: Sequence[Callable[[Record], None]],
        start: int,
        periodic: Sequence[Periodic] = (),
        work: Callable[[], Work] | None = None,
        began: Began | None = None,
    ) -> None:
        self.folder, self.module, self.config = folder, module, module.config
        self.metrics, self.bar, self.stop = metrics_log, bar, stop  # Lightning sets `log` itself
        self.validate, self.callbacks = validate, callbacks
        self.periodic = tuple(p for p in periodic if p.every > 0)
        self.meter = Throughput()
        self.began = began
        self.step = start
        self.loader: StepLoader | None = None
        self._find_work, self._work = work, Work()
        self._saved = start if start else -1
        self.finished = False  # all steps are done, or patience is over
        self._began = time.perf_counter()
        self._waited, self._since = 0.0, self._began

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop.listen()
        if self._find_work is not None:
            self._work = self._find_work()
        self._began = self._since = time.perf_counter()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.began is not None:
            checkpoint[KEY] = self.began.to_plain()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Step,
        batch_idx: int,
    ) -> None:
        step = self.step = trainer.global_step
        self.meter.add(batch.samples * trainer.world_size)
        last = step >= self.config.steps
        if step % self.config.log_every == 0 or last:
            self._log_step(step)
        else:
            self.bar.update(step)
        every = self.config.validate_every
        if self.validate is not None and (last or (every > 0 and step % every == 0)):
            self._validate(step)
        for look in self.periodic:
            if last or due(step, look.every):
                self._look(look, step)
        # Several processes stop after the same step, one as soon as it is asked.
        stopping = self.module.stopping if several() else self.stop.asked
        self.finished = last or out_of_patience(self.module.best, self.config.patience)
        if step % self.config.checkpoint_every == 0 or self.finished or stopping:
            self._save(trainer, step)
        if stopping or self.finished:
            trainer.should_stop = True

    def _log_step(self, step: int) -> None:
        means = self.module.take_sums()
        rate = self.meter.rate
        now = time.perf_counter()
        waited = 0.0 if self.loader is None else self.loader.waited
        share = (waited - self._waited) / max(now - self._since, 1e-9)
        self._waited, self._since = waited, now
        used = self._work.utilisation(rate / self.module.place.size)
        record: Record = {
            **means,
            "learning_rate": learning_rate(step - 1, self.config),
            "gradient_norm": self.module.norm,
            "skipped": self.module.guard.skipped,
            "samples_per_second": round(rate, 2),
            "utilisation": None if used is None else round(used, 4),
            "data_wait": round(min(1.0, share), 4),
            "memory_gib": round(memory_gib(self.module.numbers.device), 3),
            "seconds": round(now - self._began, 3),
        }
        self._write(step, record)
        self.bar.update(step, means, rate, utilisation=used, memory=record["memory_gib"], wait=share)

    def _write(self, step: int, record: Record) -> None:
        if self.metrics is not None:
            self.metrics.write(step, record)
        if self.module.place.leads:
            for callback in self.callbacks:
                callback({"step": step, **record})

    def _validate(self, step: int) -> None:
        assert self.validate is not None
        with self._evaluating():
            numbers = {name: float(value) for name, value in self.validate(self.module.objective).items()}
            self._write(step, {"validation": numbers})
            if self.config.monitor is not None:
                self._compare(step, numbers)
        self._pause()

    def _look(self, look: Periodic, step: int) -> None:
        with self._evaluating():
            numbers = look.run(self.module.objective, step)
        if numbers:
            self._write(step, {look.name: {name: float(value) for name, value in numbers.items()}})
        self._pause()

    def _pause(self) -> None:
        """What was done since the last step is no training."""
        self.meter.pause()
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """The objective with its mean weights, in eval mode, without gradients, in the run's precision."""
        objective = self.module.objective
        modes = {part: part.training for part in objective.modules()}
        self.module.swap_ema()
        objective.eval()
        try:
            with torch.no_grad(), self.module.numbers.autocast(), gathered_weights(objective):
                yield
        finally:
            self.module.swap_ema()
            for part, mode in modes.items():
                part.training = mode

    def _compare(self, step: int, numbers: Mapping[str, float]) -> None:
        monitor = self.config.monitor
        assert monitor is not None
        if monitor not in numbers:
            raise ConfigError(
                f"the validation gives no '{monitor}'",
                where="training.monitor",
                mend=f"use one of {', '.join(numbers)}",
            )
        value, best = numbers[monitor], self.module.best.get("value")
        # NaN is never better, and anything is better than nothing. The earlier of two equals stays.
        if value != value or (
            best is not None and (value <= best if self.config.monitor_mode == "max" else value >= best)
        ):
            # Kept with the best: a resumed run must not wait anew.
            self.module.best = {**self.module.best, "waited": self.module.best.get("waited", 0) + 1}
            return
        self.module.best = {"step": step, "value": value}
        state = {"state_dict": self.module.whole_state(), **self.module.best}
        if self.module.place.leads:
            save_checkpoint(state, self._best_path(step))

    def _best_path(self, step: int) -> Path:
        return self.folder.checkpoints / f"best-{step:08d}.ckpt"

    def _save(self, trainer: pl.Trainer, step: int) -> None:
        if step == self._saved:
            return
        self.module.fold_sums()
        if self.metrics is not None:
            self.metrics.sync()
        trainer.save_checkpoint(checkpoint_path(self.folder.checkpoints, step))
        self._saved = step
        if not self.module.place.leads:
            return
        prune(self.folder.checkpoints, self.config.keep, step)
        # Only now: until this checkpoint was there, a resumed run could have needed an earlier best one.
        for path in self.folder.checkpoints.glob("best-*.ckpt"):
            if path != self._best_path(self.module.best.get("step", -1)):
                remove_checkpoint(path)

    def restore_best(self) -> int:
        """Puts the weights to end with into the objective; returns their step."""
        objective, best = self.module.objective, self.module.best
        if not self.finished:
            return self.step  # interrupted: the weights stay as they are
        if "step" in best:
            path = self._best_path(best["step"])
            load_whole(objective, load_checkpoint(path)["state_dict"])
            return int(best["step"])
        if self.module.ema:
            self.module.swap_ema()
        return self.step
