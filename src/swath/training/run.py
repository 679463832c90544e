"""`fit`: runs an objective or a task to its end, or on from where it was killed."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

import swath
from swath.errors import ConfigError
from swath.feed.base import Feed
from swath.training.checkpoint import (
    AtomicCheckpointIO,
    checkpoint_path,
    load_checkpoint,
    newest_good,
    prune,
    remove_checkpoint,
    save_checkpoint,
)
from swath.training.config import TrainConfig
from swath.training.environment import StopRequest, deterministic, quiet_lightning
from swath.training.folder import RunFolder, open_run
from swath.training.loader import Step, StepLoader
from swath.training.metrics_log import MetricsLog, read_metrics
from swath.training.module import TrainingModule
from swath.training.optim import learning_rate
from swath.training.precision import Precision, choose_device, choose_precision
from swath.training.progress import ProgressBar
from swath.training.throughput import Throughput

log = logging.getLogger(__name__)

Validate = Callable[[nn.Module], Mapping[str, float]]
Record = dict[str, Any]


@dataclass(frozen=True)
class FitResult:
    """What a run came to. The objective holds the weights that `step` names.

    Attributes:
        steps: steps done, of the whole run.
        step: the step whose weights the objective now holds (the best one, if a number was monitored).
        loss: of the last line of the log.
        metrics: the validation at `step`, or the last one; empty without a validation.
        samples_per_second: at the end, without validations and checkpoints.
        seconds: of this call.
        precision: what was computed in, on what, and why.
        interrupted: the run was asked to stop; `resume=True` goes on.
        records: all lines of metrics.jsonl.
    """

    steps: int
    step: int
    loss: float
    metrics: Mapping[str, float]
    samples_per_second: float
    seconds: float
    precision: Precision
    interrupted: bool = False
    records: tuple[Record, ...] = field(default=(), repr=False)


def fit(
    objective: nn.Module,
    feed: Feed,
    config: TrainConfig,
    run_dir: RunFolder | Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    validate: Validate | None = None,
    callbacks: Sequence[Callable[[Record], None]] = (),
    title: str = "training",
    terminal: bool | None = None,
) -> FitResult:
    """Trains in place.

    Args:
        objective: from `swath.pretraining` or `swath.tasks`.
        feed: gives samples by number.
        config: of the run.
        run_dir: a folder to open, or one that `open_run` opened (then resume and overwrite are its own).
        resume: go on from the newest good checkpoint.
        overwrite: remove an earlier run in the folder first.
        validate: called with the objective in eval mode, without gradients, in the run's precision; returns
            named numbers.
        callbacks: called with each line of metrics.jsonl.
        title: of the progress bar.
        terminal: draw a bar; None: if there is a terminal.

    Returns:
        What the run came to. A run that is killed at any moment and resumed ends with the same bits.

    Raises:
        OutputError: the folder holds a run already.
        ConfigError: the options do not fit together, or are not those the run began with.
        SwathError: the loss became NaN.
    """
    _check(config, validate)
    if isinstance(run_dir, RunFolder):
        folder = run_dir
    else:
        folder = open_run(run_dir, resume=resume, overwrite=overwrite)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    found = newest_good(folder.checkpoints) if folder.resume else None
    start = 0
    if found is not None:
        start = found[0]
        config.check_continues(found[2]["swath"]["config"], folder.path)
    # Said and recorded: it decides both speed and digits.
    log.info("%s in %s on %s: %s", title, precision.name, device, precision.why)
    began = time.perf_counter()
    stop = StopRequest()
    module = TrainingModule(objective, config, precision)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet_lightning())
        stack.enter_context(deterministic(config.threads))
        stack.enter_context(stop.kept())
        metrics_log = MetricsLog(folder.metrics, start)
        stack.callback(metrics_log.close)
        bar = stack.enter_context(ProgressBar(title, config.steps, start, terminal=terminal))
        if start == 0:
            metrics_log.write(0, {"run": _facts(precision)})
        keeper = _Keeper(folder, module, metrics_log, bar, stop, validate, callbacks, start)
        if start < config.steps:
            objective.train()
            loader = StepLoader(
                feed,
                start=start,
                steps=config.steps,
                batch_size=config.batch_size,
                accumulate=config.accumulate,
                pin=device == "cuda",
            )
            trainer = _trainer(config, device, folder, keeper)
            trainer.fit(module, loader, ckpt_path=None if found is None else str(found[1]))
        elif found is not None:
            module.load_state_dict(found[2]["state_dict"])
            module.on_load_checkpoint(found[2])
        step = keeper.restore_best()
    records = tuple(read_metrics(folder.metrics))
    losses = [r["loss"] for r in records if "loss" in r]
    shown = [r["validation"] for r in records if "validation" in r and r["step"] <= step]
    steps = keeper.step
    return FitResult(
        steps=steps,
        step=step,
        loss=float("nan") if not losses or losses[-1] is None else float(losses[-1]),
        metrics=dict(shown[-1]) if shown else {},
        samples_per_second=keeper.meter.rate,
        seconds=time.perf_counter() - began,
        precision=precision,
        interrupted=steps < config.steps,
        records=records,
    )


def _check(config: TrainConfig, validate: Validate | None) -> None:
    if config.monitor is not None and validate is None:
        raise ConfigError("there is no validation to monitor", where="monitor", mend="set it to null")


def _facts(precision: Precision) -> Record:
    """What decides speed and digits besides the config."""
    return {
        "precision": precision.name,
        "device": precision.device,
        "why": precision.why,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "swath": swath.__version__,
    }


def _trainer(config: TrainConfig, device: str, folder: RunFolder, keeper: _Keeper) -> pl.Trainer:
    return pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_steps=config.steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=str(folder.path),
        callbacks=[keeper],
        plugins=[AtomicCheckpointIO()],
    )


class _Keeper(pl.Callback):
    """After each step: log, validate, write a checkpoint, stop if asked; in this order.

    A checkpoint at step S comes after everything else that step S does, so that what follows it is all that a
    resumed run has to do.
    """

    def __init__(
        self,
        folder: RunFolder,
        module: TrainingModule,
        metrics_log: MetricsLog,
        bar: ProgressBar,
        stop: StopRequest,
        validate: Validate | None,
        callbacks: Sequence[Callable[[Record], None]],
        start: int,
    ) -> None:
        self.folder, self.module, self.config = folder, module, module.config
        self.metrics, self.bar, self.stop = metrics_log, bar, stop  # Lightning sets `log` itself
        self.validate, self.callbacks = validate, callbacks
        self.meter = Throughput()
        self.step = start
        self._saved = start if start else -1
        self._began = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop.listen()

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
        if step % self.config.checkpoint_every == 0 or last or self.stop.asked:
            self._save(trainer, step)
        if self.stop.asked:
            trainer.should_stop = True

    def _log_step(self, step: int) -> None:
        self.module.raise_if_bad()
        record: Record = {
            **self.module.take_sums(),
            "learning_rate": learning_rate(step - 1, self.config),
            "gradient_norm": float(self.module.norm),
            "samples_per_second": round(self.meter.rate, 2),
            "seconds": round(time.perf_counter() - self._began, 3),
        }
        self._write(step, record)
        self.bar.update(step, record["loss"], self.meter.rate)

    def _write(self, step: int, record: Record) -> None:
        self.metrics.write(step, record)
        for callback in self.callbacks:
            callback({"step": step, **record})

    def _validate(self, step: int) -> None:
        assert self.validate is not None
        self.module.raise_if_bad()
        with self._evaluating():
            numbers = {name: float(value) for name, value in self.validate(self.module.objective).items()}
            self._write(step, {"validation": numbers})
            if self.config.monitor is not None:
                self._compare(step, numbers)
        self.meter.pause()

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """The objective with its mean weights, in eval mode, without gradients, in the run's precision."""
        objective = self.module.objective
        modes = {part: part.training for part in objective.modules()}
        self.module.swap_ema()
        objective.eval()
        try:
            with torch.no_grad(), self.module.numbers.autocast():
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
                where="monitor",
                mend=f"use one of {', '.join(numbers)}",
            )
        value, best = numbers[monitor], self.module.best.get("value")
        # NaN is never better, and anything is better than nothing. The earlier of two equals stays.
        if value != value or (
            best is not None and (value <= best if self.config.monitor_mode == "max" else value >= best)
        ):
            return
        self.module.best = {"step": step, "value": value}
        state = {"state_dict": self.module.objective.state_dict(), **self.module.best}
        save_checkpoint(state, self._best_path(step))

    def _best_path(self, step: int) -> Path:
        return self.folder.checkpoints / f"best-{step:08d}.ckpt"

    def _save(self, trainer: pl.Trainer, step: int) -> None:
        if step == self._saved:
            return
        self.module.raise_if_bad()
        self.metrics.sync()
        trainer.save_checkpoint(checkpoint_path(self.folder.checkpoints, step))
        self._saved = step
        prune(self.folder.checkpoints, self.config.keep, step)
        # Only now: until this checkpoint was there, a resumed run could have needed an earlier best one.
        for path in self.folder.checkpoints.glob("best-*.ckpt"):
            if path != self._best_path(self.module.best.get("step", -1)):
                remove_checkpoint(path)

    def restore_best(self) -> int:
        """Puts the weights to end with into the objective; returns their step."""
        objective, best = self.module.objective, self.module.best
        if self.step < self.config.steps:
            return self.step  # interrupted: the weights stay as they are
        if best:
            path = self._best_path(best["step"])
            objective.load_state_dict(load_checkpoint(path)["state_dict"])
            return int(best["step"])
        if self.module.ema:
            self.module.swap_ema()
        return self.step
