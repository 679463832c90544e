"""One optimiser step of any objective or task, as a Lightning module.

A Lightning "batch" is a whole optimiser step here, so that a step is the unit of everything: order, draws,
checkpoints, logs. Losses divide summed numerators by summed counts over all accumulated batches and ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from swath.cube import CubeBatch
from swath.errors import ConfigError, SwathError
from swath.feed.augment import augment
from swath.feed.normalise import normalise
from swath.pretraining.objective import ObjectiveOutput
from swath.rng import derive, generator
from swath.tasks.base import Task
from swath.training.config import TrainConfig
from swath.training.loader import Micro, Step
from swath.training.optim import adamw, learning_rate
from swath.training.precision import Precision


class Objective(Protocol):
    """Learning without labels: see `swath.pretraining`."""

    def noise_length(self, pixels_shape: torch.Size) -> int:
        """Uniform numbers per sample that the mask needs."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A forward pass, ready: normalised and augmented, on the device."""

    first: int
    pixels: Tensor
    valid: Tensor
    days: Tensor | None
    wavelengths: tuple[float, ...]
    target: Tensor | None


def mask_noise(seed: int, first: int, count: int, length: int) -> Tensor:
    """[count, length] in [0, 1): a row depends on (seed, the sample's number) alone."""
    rows = [torch.rand(length, generator=generator(seed, "mask", first + i)) for i in range(count)]
    return torch.stack(rows)


def _seed_device(device: torch.device, seed: int) -> None:
    """Seeds one device; torch.manual_seed seeds all and, before CUDA began, keeps the stack of each call."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def run_objective(
    objective: nn.Module, batch: CubeBatch, *, seed: int, first: int = 0, dated: bool | None = None
) -> ObjectiveOutput:
    """One forward pass of an objective or task on a batch that is not augmented (validation, figures)."""
    known = bool(torch.isfinite(batch.days).all()) if dated is None else dated
    ready = _ready(batch, first, known)
    return _call(objective, ready, seed)


def _ready(batch: CubeBatch, first: int, dated: bool) -> Prepared:
    days = batch.days if dated else None
    return Prepared(first, normalise(batch), batch.valid, days, batch.wavelengths, batch.target)


def _call(objective: nn.Module, x: Prepared, seed: int) -> ObjectiveOutput:
    # Dropout draws from the global generator: keyed like everything else, it survives a stop and a resume.
    _seed_device(x.pixels.device, derive(seed, "forward", x.first))
    if hasattr(objective, "noise_length"):
        length = cast(Objective, objective).noise_length(x.pixels.shape)
        noise = mask_noise(seed, x.first, len(x.pixels), length).to(x.pixels.device)
        out = objective(x.pixels, x.valid, noise=noise, days=x.days, wavelengths=x.wavelengths)
    elif x.target is None:
        raise ConfigError("the task needs labels and the feed has none", mend="give the feed labels")
    else:
        out = objective(x.pixels, x.valid, target=x.target, days=x.days, wavelengths=x.wavelengths)
    if not isinstance(out, ObjectiveOutput):
        raise TypeError(f"{type(objective).__name__} returned {type(out).__name__}, not ObjectiveOutput")
    return out


class TrainingModule(pl.LightningModule):
    """Trains `objective` as `config` says.

    Args:
        objective: an objective (with `noise_length`) or a task (called with `target`).
        config: of the run.
        precision: of the forward passes.
    """

    def __init__(self, objective: nn.Module, config: TrainConfig, precision: Precision) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.objective = objective
        self.config = config
        self.numbers = precision
        # The exponential mean of the weights, by name; not a module, so that state_dict stays the network's.
        self.ema: dict[str, Tensor] = {}
        # Since the last line of the log: name -> [numerator, count, weight], on the device.
        self.sums: dict[str, Tensor] = {}
        self.norm = torch.zeros(())
        # The first step whose loss or gradient was not finite; -1 while there is none. On the device: to look
        # at it every step would make a GPU wait.
        self.bad_step = torch.tensor(-1)
        self.best: dict[str, Any] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adamw(self.objective, self.config)

    def transfer_batch_to_device(self, batch: Step, device: torch.device, dataloader_idx: int) -> Step:
        micros = [Micro(m.first, m.batch.to(device, non_blocking=True), m.dated) for m in batch.micros]
        return Step(batch.number, tuple(micros))

    def training_step(self, batch: Step, batch_idx: int) -> None:
        if batch.number != self.global_step:
            raise RuntimeError(f"the loader gave step {batch.number} at step {self.global_step}")
        optimizer = self.optimizers()
        assert isinstance(optimizer, pl.core.optimizer.LightningOptimizer)
        rate = learning_rate(batch.number, self.config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        ready = [self._prepare(micro) for micro in batch.micros]
        shared = self._shared_counts(ready)
        losses = []
        for x in ready:
            with self.numbers.autocast():
                out = _call(self.objective, x, self.config.seed)
            self._remember(out)
            loss = out.loss if shared is None else self._share(out, shared)
            self.manual_backward(loss)
            losses.append(loss.detach())
        self._check_finite(batch.number, torch.stack(losses).sum())
        optimizer.step()
        optimizer.zero_grad()
        after_step = getattr(self.objective, "after_step", None)
        if after_step is not None:
            # Momentum encoders and queues move once per step, whatever number of passes it had.
            after_step(batch.number, self.config.steps)
        self._update_ema()

    def _prepare(self, micro: Micro) -> Prepared:
        batch = augment(micro.batch, self.config.augment, seed=self.config.seed, first=micro.first)
        return _ready(batch, micro.first, micro.dated)

    def _shared_counts(self, ready: list[Prepared]) -> dict[str, Tensor] | None:
        """Counts summed over the step's passes and ranks; None where the step is one pass on one rank.

        A backward pass needs them before the later passes have run. Tasks tell them from the labels; an
        objective without `counts` runs forward once more without gradients.
        """
        ranks = torch.distributed.is_available() and torch.distributed.is_initialized()
        if len(ready) == 1 and not ranks:
            return None
        sums: dict[str, Tensor] = {}
        for x in ready:
            for name, count in self._counts(x).items():
                sums[name] = sums[name] + count if name in sums else count.detach().clone()
        if ranks:
            for name in sorted(sums):
                torch.distributed.all_reduce(sums[name])
        return sums

    def _counts(self, x: Prepared) -> Mapping[str, Tensor]:
        if x.target is not None and isinstance(self.objective, Task):
            return self.objective.counts(x.valid, x.target)
        with torch.no_grad(), self.numbers.autocast():
            out = _call(self.objective, x, self.config.seed)
        return {name: part.count for name, part in out.parts.items()}

    def _share(self, out: ObjectiveOutput, counts: Mapping[str, Tensor]) -> Tensor:
        """The pass's share of the step's loss; DDP takes the mean over ranks, hence the factor."""
        terms = [
            part.weight * part.numerator / torch.where(counts[name] > 0, counts[name], 1.0)
            for name, part in out.parts.items()
        ]
        return torch.stack(terms).sum() * self.trainer.world_size

    def _remember(self, out: ObjectiveOutput) -> None:
        for name, part in out.parts.items():
            row = torch.stack([part.numerator.detach().double(), part.count.detach().double()])
            row = torch.cat([row, row.new_tensor([part.weight])])
            if name in self.sums:
                self.sums[name][:2] += row[:2]
            else:
                self.sums[name] = row

    def _check_finite(self, step: int, loss: Tensor) -> None:
        gradients = [p.grad for p in self.objective.parameters() if p.grad is not None]
        self.norm = torch.nn.utils.get_total_norm(gradients)
        bad = ~(torch.isfinite(loss) & torch.isfinite(self.norm))
        self.bad_step = torch.where(
            bad & (self.bad_step.to(bad.device) < 0), step, self.bad_step.to(bad.device)
        )
        if self.config.clip_norm is not None:
            # max_norm / norm where that is below 1, as clip_grad_norm_ does it.
            torch.nn.utils.clip_grads_with_norm_(
                self.objective.parameters(), self.config.clip_norm, self.norm
            )
        if loss.device.type == "cpu":
            self.raise_if_bad()  # before the step spoils the weights

    def raise_if_bad(self) -> None:
        """Raises SwathError if a loss or gradient was not finite."""
        step = int(self.bad_step)
        if step >= 0:
            raise SwathError(
                f"the loss or its gradient became NaN or infinite at step {step + 1}",
                where=type(self.objective).__name__,
                mend="lower the learning rate, warm up longer, set clip_norm to 1.0 or precision to fp32; "
                "the last checkpoint is still good",
            )

    def take_sums(self) -> dict[str, float]:
        """The loss and its parts since the last call, as means over all that was counted."""
        means: dict[str, float] = {}
        total = 0.0
        for name, row in self.sums.items():
            numerator, count, weight = row.tolist()
            means[name] = numerator / count if count > 0 else 0.0
            total += weight * means[name]
        self.sums = {}
        return {"loss": total, **means}

    def _update_ema(self) -> None:
        decay = self.config.ema_decay
        if decay is None:
            return
        now = {n: p.detach() for n, p in self.objective.named_parameters() if p.requires_grad}
        if not self.ema:
            self.ema = {n: p.clone() for n, p in now.items()}
            return
        # Early on the mean follows fast, or it would remember the start for 1 / (1 - decay) steps.
        step = self.global_step
        decay = min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([self.ema[n] for n in now], list(now.values()), 1.0 - decay)

    def swap_ema(self) -> None:
        """Exchanges the weights and their mean; twice is nothing."""
        with torch.no_grad():
            for name, parameter in self.objective.named_parameters():
                if name in self.ema:
                    kept = parameter.detach().clone()
                    parameter.copy_(self.ema[name])
                    self.ema[name].copy_(kept)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["swath"] = {
            "format_version": 1,
            "config": self.config.to_dict(),
            "ema": self.ema,
            "sums": self.sums,
            "best": self.best,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["swath"]
        device = next(self.objective.parameters()).device
        self.ema = {k: v.to(device) for k, v in state["ema"].items()}
        self.sums = {k: v.to(device) for k, v in state["sums"].items()}
        self.best = dict(state["best"])
