"""Options of a training run. No torch here, so that the command line's help stays fast."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from swath.errors import ConfigError
from swath.feed.config import AugmentConfig

# Changing one of these between a run and its continuation changes no step of it.
FREE_ON_RESUME = (
    "checkpoint_every",
    "log_every",
    "keep",
    "threads",
    "device",
    "devices",
    "strategy",
    "activation_checkpointing",
    "max_bad_steps",
    "loggers",
)
# May change as long as a step still sees as many samples: `check_continues` looks at their product.
SAMPLES_PER_STEP = ("batch_size", "accumulate")


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        steps: optimiser steps.
        batch_size: samples per forward pass on each device; a step sees batch_size x accumulate x devices.
        accumulate: forward passes per step.
        learning_rate: at the top of the schedule.
        min_learning_rate: at its end, or what it does not fall below.
        warmup_steps: steps in which it rises linearly from 0, before the schedule.
        schedule: how it falls: "cosine": half a cosine; "polynomial": a straight line to the power of `schedule_power`;
            "step": times `decay_factor` after every `decay_every` steps; "constant": not at all.
        schedule_power: of "polynomial".
        decay_factor: of "step".
        decay_every: of "step", in steps.
        optimizer: "adamw", or "adam": weight decay is then a part of the gradient, as in publications that trained so.
        weight_decay: of the optimiser.
        betas: of the optimiser.
        decay_rule: "pretrain": all but biases and one-dimensional parameters decay, positions and mask tokens
            too (MAE, SpectralGPT); "finetune": positions do not; "all": biases and the rest as well (Swin-MAE).
        layer_decay: the learning rate falls by this factor from each layer to the one below it, counted from the head;
            1: it is the same for all.
        freeze: "encoder": it stays as it is (bands that its weights do not know are then never learned); "none".
        unfreeze_start: with a frozen encoder, the step at which its last block begins to train.
        unfreeze_every: steps after which the block below follows, and so on down to the pixels; 0: nothing follows
            and nothing begins.
        clip_norm: gradients are scaled down to this norm; None: not at all.
        skip_above: a step whose gradient norm is more than this many times the median of the last hundred is
            skipped, as one with NaN is; None: only NaN and infinity.
        max_bad_steps: so many bad steps one after another end the run.
        ema_decay: validate, select and end with an exponential mean of the weights; None: with the weights.
        precision: "auto" is bf16 autocast on a GPU and on CPUs with AMX, else fp32.
        device: "auto" is the GPU if there is one.
        devices: processes (and GPUs) on this machine; under torchrun or SLURM those are counted instead.
        strategy: how several processes share the work: "ddp" copies the weights, "fsdp" (FSDP2) divides them;
            "auto" is ddp.
        activation_checkpointing: keep only the inputs of blocks for the backward pass: a third more time, far
            less memory. "attention" computes the attention of windows again, and nothing else: a little of both.
        compile: compile the blocks with torch.compile; slow to begin, faster on a GPU.
        seed: of every draw.
        augment: what is done to the samples.
        validate_every: steps between calls of the validation, and at the end; 0: only at the end.
        monitor: the number of the validation that chooses the weights to end with; None: the last weights.
        monitor_mode: whether more or less of it is better.
        patience: the run ends after so many validations one after another in which that number was not the best so
            far; 0: it goes on to its last step. The schedule of the learning rate stays that of all steps.
        checkpoint_every: steps between checkpoints; the end of a run writes one too.
        keep: how many checkpoints stay on the disk.
        log_every: steps between lines of metrics.jsonl.
        threads: of torch on the CPU; None: as they are.
        loggers: copies of metrics.jsonl for others to read: "tensorboard", "mlflow", "wandb".
    """

    steps: int = 1000
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    min_learning_rate: float = 0.0
    warmup_steps: int = 0
    schedule: Literal["cosine", "polynomial", "step", "constant"] = "cosine"
    schedule_power: float = 1.0
    decay_factor: float = 0.1
    decay_every: int = 0
    optimizer: Literal["adamw", "adam"] = "adamw"
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    decay_rule: Literal["pretrain", "finetune", "all"] = "pretrain"
    layer_decay: float = 1.0
    freeze: Literal["none", "encoder"] = "none"
    unfreeze_start: int = 0
    unfreeze_every: int = 0
    clip_norm: float | None = None
    skip_above: float | None = 50.0
    max_bad_steps: int = 5
    ema_decay: float | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    activation_checkpointing: bool | Literal["attention"] = False
    compile: bool = False
    seed: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validate_every: int = 0
    monitor: str | None = None
    monitor_mode: Literal["max", "min"] = "max"
    patience: int = 0
    checkpoint_every: int = 500
    keep: int = 2
    log_every: int = 10
    threads: int | None = None
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "accumulate", "devices", "max_bad_steps")
        for name in (*counts, "checkpoint_every", "keep", "log_every"):
            _require(getattr(self, name) >= 1, name, f"{getattr(self, name)} is below 1", "give 1 or more")
        for name in (
            "learning_rate",
            "min_learning_rate",
            "weight_decay",
            "warmup_steps",
            "validate_every",
            "patience",
        ):
            value = getattr(self, name)
            _require(0 <= value < math.inf, name, f"{value} is negative or not finite", "give 0 or more")
        _require(
            self.warmup_steps <= self.steps,
            "warmup_steps",
            f"{self.warmup_steps} is more than the {self.steps} steps of the run",
            "warm up for a tenth of the run or less",
        )
        _require(
            self.min_learning_rate <= self.learning_rate,
            "min_learning_rate",
            f"{self.min_learning_rate} is above the learning rate of {self.learning_rate}",
            "give less",
        )
        self._check_schedule()
        known = self.optimizer in ("adamw", "adam")
        _require(known, "optimizer", f"unknown optimizer '{self.optimizer}'", "use adamw or adam")
        _require(
            self.patience == 0 or (self.monitor is not None and self.validate_every > 0),
            "patience",
            "it waits for a number of the validation to improve",
            "set training.monitor and training.validate_every, or this to 0",
        )
        betas_fit = len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas)
        _require(betas_fit, "betas", f"{self.betas} are not two numbers in [0, 1)", "try 0.9 and 0.95")
        decay = self.layer_decay
        _require(0 < decay <= 1, "layer_decay", f"{decay} is not above 0 and up to 1", "try 0.75, or 1")
        for name in ("unfreeze_start", "unfreeze_every"):
            _require(getattr(self, name) >= 0, name, f"{getattr(self, name)} is negative", "give 0 or more")
        if self.freeze == "none":
            mend = "set training.freeze to encoder, or leave it out"
            for name in ("unfreeze_start", "unfreeze_every"):
                _require(not getattr(self, name), name, "nothing is frozen", mend)
        elif self.unfreeze_start:
            begins = self.unfreeze_every > 0
            _require(
                begins,
                "unfreeze_start",
                "nothing is unfrozen",
                "give training.unfreeze_every, or leave it out",
            )
        if self.clip_norm is not None:
            fits = 0 < self.clip_norm < math.inf
            _require(fits, "clip_norm", f"{self.clip_norm} is not above 0 and finite", "give null or 1.0")
        if self.skip_above is not None:
            fits = 1 < self.skip_above < math.inf
            _require(fits, "skip_above", f"{self.skip_above} is not above 1 and finite", "try 50, or null")
        if self.ema_decay is not None:
            _require(0 < self.ema_decay < 1, "ema_decay", f"{self.ema_decay} is not in (0, 1)", "try 0.99")
        if self.strategy == "fsdp":
            what = "a mean of divided weights is not kept"
            _require(self.ema_decay is None, "ema_decay", what, "set it to null, or training.strategy to ddp")
        if self.threads is not None:
            _require(self.threads >= 1, "threads", f"{self.threads} is below 1", "give 1 or more")

    def _check_schedule(self) -> None:
        known = ("cosine", "polynomial", "step", "constant")
        mend = f"use one of {', '.join(known)}"
        _require(self.schedule in known, "schedule", f"unknown schedule '{self.schedule}'", mend)
        power = self.schedule_power
        _require(
            0 < power < math.inf,
            "schedule_power",
            f"{power} is not above 0 and finite",
            "give 1.0 for a straight line",
        )
        factor, stepped = self.decay_factor, self.schedule == "step"
        _require(0 < factor <= 1, "decay_factor", f"{factor} is not above 0 and up to 1", "try 0.1")
        _require(
            self.decay_every >= 1 if stepped else self.decay_every == 0,
            "decay_every",
            f"{self.decay_every} steps with schedule {self.schedule}",
            "give 1 or more with schedule step, and leave it out otherwise",
        )
        for name, value, needs in (
            ("schedule_power", power != 1.0, "polynomial"),
            ("decay_factor", factor != 0.1, "step"),
        ):
            fits = not value or self.schedule == needs
            _require(
                fits,
                name,
                f"means nothing to schedule {self.schedule}",
                f"leave it out, or use schedule {needs}",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, tuples as lists."""
        data = dataclasses.asdict(self)
        data["betas"] = list(self.betas)
        data["loggers"] = list(self.loggers)
        return data

    def samples_per_step(self, world: int = 1) -> int:
        """What one optimiser step sees over all processes."""
        return self.batch_size * self.accumulate * world

    def check_continues(
        self, earlier: dict[str, Any], where: object, *, samples: int | None = None, world: int = 1
    ) -> None:
        """Raises ConfigError if a run begun with `earlier` would not continue as if nothing had happened.

        Args:
            earlier: the config it began with.
            where: for the message.
            samples: per step of the run so far; None: one process of `earlier`.
            world: processes now. Fewer or more of them may go on if a step still sees as many samples.
        """
        now, usual = self.to_dict(), TrainConfig().to_dict()
        began = samples if samples is not None else earlier["batch_size"] * earlier["accumulate"]
        if began != self.samples_per_step(world):
            raise ConfigError(
                f"a step of the run saw {began} samples, and would now see {self.samples_per_step(world)}",
                where=where,
                mend=f"choose training.batch_size x training.accumulate x processes = {began}, or start a new run",
            )
        for key, value in now.items():
            # What the run did not know yet was what is usual.
            then = earlier.get(key, usual[key])
            if isinstance(then, dict) and isinstance(usual[key], dict):
                then = {**usual[key], **then}
            free = key in FREE_ON_RESUME or key in SAMPLES_PER_STEP
            if not free and then != value:
                if isinstance(then, dict) and isinstance(value, dict):
                    leaf = next(name for name in value if then[name] != value[name])
                    key, then, value = f"{key}.{leaf}", then[leaf], value[leaf]
                raise ConfigError(
                    f"the run began with training.{key} {then}, not {value}",
                    where=where,
                    mend="resume with it, or start a new run",
                )


def _require(fits: bool, name: str, what: str, mend: str) -> None:
    if not fits:
        raise ConfigError(what, where=f"training.{name}", mend=mend)
