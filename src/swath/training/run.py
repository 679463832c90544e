"""`fit`: runs an objective or a task to its end, or on from where it was killed."""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import nn

import swath
from swath.errors import ConfigError
from swath.feed.augment import resized
from swath.feed.base import Feed
from swath.feed.contents import Contents, contents_of
from swath.memory import freed_memory_kept
from swath.models.attention import recompute_attention
from swath.training.began import Began, kept_precision
from swath.training.checkpoint import AtomicCheckpointIO, load_checkpoint, newest_good
from swath.training.claim import claimed
from swath.training.config import TrainConfig
from swath.training.copies import Copies
from swath.training.environment import StopRequest, deterministic, quiet_lightning
from swath.training.folder import RunFolder, check_run, open_run
from swath.training.guard import nothing_taught
from swath.training.keeper import Keeper, Periodic, Record, Validate, Work, out_of_patience
from swath.training.loader import StepLoader
from swath.training.metrics_log import MetricsLog, read_metrics
from swath.training.module import TrainingModule
from swath.training.parallel import checkpoint_blocks, compile_blocks
from swath.training.peak import peak_of, step_flops
from swath.training.precision import Precision, choose_device, choose_precision
from swath.training.progress import ProgressBar
from swath.training.ranks import World, decided, joined

log = logging.getLogger(__name__)


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
    validated_on: tuple[Contents, ...] = (),
    callbacks: Sequence[Callable[[Record], None]] = (),
    periodic: Sequence[Periodic] = (),
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
        validated_on: the records behind `validate`, which a run that goes on must find as they were.
        callbacks: called with each line of metrics.jsonl, in process 0.
        periodic: what is looked at now and then.
        title: of the progress bar.
        terminal: draw a bar; None: if there is a terminal.

    Returns:
        What the run came to. A run that is killed at any moment and resumed ends with the same bits.

    Raises:
        OutputError: the folder holds a run already, or another process works in it.
        ConfigError: the options do not fit together, or are not those the run began with.
        InputError: the data are not those the run began with.
        SwathError: the loss became NaN.
    """
    device = choose_device(config.device, "training.device")
    with joined(device) as place, contextlib.ExitStack() as stack:
        _check(config, validate, place)

        def open_folder() -> RunFolder:
            path = run_dir.path if isinstance(run_dir, RunFolder) else Path(run_dir)
            if not isinstance(run_dir, RunFolder):
                check_run(path, resume=resume, overwrite=overwrite)
            stack.enter_context(claimed(path))
            if isinstance(run_dir, RunFolder):
                return run_dir
            return open_run(path, resume=resume, overwrite=overwrite)

        folder = decided(open_folder)
        return _fit(
            objective, feed, config, folder, place, device, validate, validated_on, callbacks, periodic, title,
            terminal,
        )  # fmt: skip


def _begin(folder: RunFolder, config: TrainConfig, place: World, began: Began) -> tuple[int, str, str | None]:
    """(steps done, checkpoint to go on from, its precision), "" and None for none; `began`: as a run would now."""
    found = newest_good(folder.checkpoints) if folder.resume else None
    if found is None:
        return 0, "", None
    step, path, state = found
    begun = state["swath"]
    samples = begun.get("samples_per_step")  # not in checkpoints of version 0.1
    if samples is None and place.size > 1 and config.strategy == "fsdp":
        raise ConfigError(
            "a run of an older version cannot go on with fsdp",
            where=folder.path,
            mend="set training.strategy to ddp",
        )
    config.check_continues(begun["config"], folder.path, samples=samples, world=place.size)
    earlier = Began.of(state)
    if earlier is not None:
        earlier.check_same(began.learned, began.held, folder.path)
    return step, str(path), None if earlier is None else earlier.precision


def _fit(
    objective: nn.Module,
    feed: Feed,
    config: TrainConfig,
    folder: RunFolder,
    place: World,
    device: str,
    validate: Validate | None,
    validated_on: tuple[Contents, ...],
    callbacks: Sequence[Callable[[Record], None]],
    periodic: Sequence[Periodic],
    title: str,
    terminal: bool | None,
) -> FitResult:
    precision = choose_precision(config.precision, device)
    began_with = Began(precision.name, contents_of(feed), validated_on)
    start, checkpoint, earlier = decided(lambda: _begin(folder, config, place, began_with))
    precision = kept_precision(precision, earlier)
    began_with = replace(began_with, precision=precision.name)
    # Said and recorded: it decides both speed and digits.
    log.info("%s in %s on %s: %s", title, precision.name, device, precision.why)
    if config.augment.resize:
        log.info("training windows are resized to %d pixels a side", config.augment.resize)
    began = time.perf_counter()
    stop = StopRequest()
    # FSDP2 divides the weights for good: it gets a copy, and the caller's module the whole weights at the end.
    divided = place.size > 1 and config.strategy == "fsdp"
    trained = copy.deepcopy(objective) if divided else objective
    if config.activation_checkpointing is True:
        checkpoint_blocks(trained)
    if config.compile:
        compile_blocks(trained)
    module = TrainingModule(trained, config, precision, world=place, bad_steps=folder.bad_steps, stop=stop)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet_lightning())
        stack.enter_context(deterministic(config.threads))
        stack.enter_context(freed_memory_kept())
        if config.activation_checkpointing == "attention":
            stack.enter_context(recompute_attention())
        stack.enter_context(stop.kept())
        metrics_log = MetricsLog(folder.metrics, start) if place.leads else None
        if metrics_log is not None:
            stack.callback(metrics_log.close)
        bar = ProgressBar(title, config.steps, start, terminal=terminal if place.leads else False)
        stack.enter_context(bar)
        if start == 0 and metrics_log is not None:
            metrics_log.write(0, {"run": _facts(precision, config, place)})
        if config.loggers and place.leads:
            callbacks = (*callbacks, stack.enter_context(Copies(config.loggers, folder.path)))

        def work() -> Work:
            # Of the caller's module: where weights are divided, it is whole still.
            sample = resized(feed.take(0, 1), config.augment.resize)
            return Work(step_flops(objective, sample, config.seed), peak_of(precision))

        keeper = Keeper(
            folder, module, metrics_log, bar, stop, validate, callbacks, start, periodic, work, began_with
        )
        over = start >= config.steps or _waited_enough(checkpoint, config)
        if not over:
            trained.train()
            keeper.loader = StepLoader(
                feed,
                start=start,
                steps=config.steps,
                batch_size=config.batch_size,
                accumulate=config.accumulate,
                rank=place.rank,
                world=place.size,
                pin=device == "cuda",
                stored=device == "cuda",
            )
            trainer = _trainer(config, device, folder, keeper, place)
            trainer.fit(module, keeper.loader, ckpt_path=checkpoint or None)
            if keeper.finished and module.guard.taught == 0:
                raise nothing_taught(module.guard, type(objective).__name__)
        elif checkpoint:
            state = load_checkpoint(checkpoint)
            module.load_state_dict(state["state_dict"])
            module.on_load_checkpoint(state)
            keeper.finished = True
        step = keeper.restore_best()
        if divided:
            objective.load_state_dict(module.whole_state())
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
        interrupted=not keeper.finished,
        records=records,
    )


def _waited_enough(checkpoint: str, config: TrainConfig) -> bool:
    """Whether the run to go on with had ended before its last step."""
    if not checkpoint or config.patience == 0:
        return False
    return out_of_patience(load_checkpoint(checkpoint)["swath"]["best"], config.patience)


def _check(config: TrainConfig, validate: Validate | None, place: World) -> None:
    if config.monitor is not None and validate is None:
        raise ConfigError(
            "there is no validation to monitor", where="training.monitor", mend="set it to null"
        )
    if config.devices > 1 and place.size == 1:
        raise ConfigError(
            f"{config.devices} processes are asked for, and this is one",
            where="training.devices",
            mend=f"start it with: torchrun --nproc-per-node {config.devices} …",
        )


def _facts(precision: Precision, config: TrainConfig, place: World) -> Record:
    """What decides speed and digits besides the config."""
    return {
        "precision": precision.name,
        "device": precision.device,
        "why": precision.why,
        "threads": torch.get_num_threads(),
        "processes": place.size,
        "samples_per_step": config.samples_per_step(place.size),
        "torch": torch.__version__,
        "swath": swath.__version__,
    }


def _trainer(config: TrainConfig, device: str, folder: RunFolder, keeper: Keeper, place: World) -> pl.Trainer:
    plugins: list[Any] = [AtomicCheckpointIO()]
    strategy: Any = "auto"
    if place.size > 1:
        plugins.append(TorchElasticEnvironment())
        if config.strategy == "fsdp":
            # With its defaults, processes of one machine would share batches instead of dividing them.
            strategy = pl.strategies.ModelParallelStrategy(
                data_parallel_size=place.size, tensor_parallel_size=1, save_distributed_checkpoint=False
            )
        else:
            # A parameter that a batch does not need (dates that are unknown) is no error.
            strategy = pl.strategies.DDPStrategy(find_unused_parameters=True)
    return pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=place.local_size,
        num_nodes=place.size // place.local_size,
        strategy=strategy,
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
        plugins=plugins,
    )
