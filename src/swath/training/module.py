"""One optimiser step of any objective or task, as a Lightning module.

A Lightning "batch" is a whole optimiser step here, so that a step is the unit of everything: order, draws,
checkpoints, logs. Losses divide summed numerators by summed counts over all accumulated batches and ranks.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from swath.cube import CubeBatch
from swath.errors import ConfigError
from swath.feed.augment import augment
from swath.feed.normalise import normalise
from swath.models.drop_path import path_length, path_table
from swath.pretraining.objective import ObjectiveOutput
from swath.rng import derive, generator
from swath.tasks.base import Task
from swath.training.config import TrainConfig
from swath.training.environment import StopRequest
from swath.training.freezing import Freezing
from swath.training.guard import Guard, keep_bad_step, nothing_taught, too_many
from swath.training.loader import Micro, Step
from swath.training.optim import learning_rate, make_optimizer
from swath.training.parallel import plain, shard
from swath.training.precision import Precision
from swath.training.ranks import World, any_of, several

log = logging.getLogger(__name__)
VIEWS = 2  # that an objective shows a network at most


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


def run_objective(objective: nn.Module, batch: CubeBatch, *, seed: int, first: int = 0) -> ObjectiveOutput:
    """One forward pass of an objective or task on a batch that is not augmented (validation, figures)."""
    return _call(objective, _ready(batch, first), seed)


def _ready(batch: CubeBatch, first: int) -> Prepared:
    return Prepared(first, normalise(batch), batch.valid, batch.days, batch.wavelengths, batch.target)


def path_numbers(objective: nn.Module, x: Prepared, seed: int) -> Tensor | None:
    """Uniform numbers [B,L] for stochastic depth, as `mask_noise` has those of masks; None where nothing is dropped."""
    # Two views at most, and each date alone at most.
    length = path_length(objective, VIEWS * x.pixels.shape[1])
    if not length:
        return None
    rows = [torch.rand(length, generator=generator(seed, "paths", x.first + i)) for i in range(len(x.pixels))]
    return torch.stack(rows).to(x.pixels.device)


def _call(objective: nn.Module, x: Prepared, seed: int) -> ObjectiveOutput:
    # Dropout draws from the global generator: keyed like everything else, it survives a stop and a resume.
    _seed_device(x.pixels.device, derive(seed, "forward", x.first))
    with path_table(path_numbers(objective, x, seed)):
        return _called(objective, x, seed)


def _called(objective: nn.Module, x: Prepared, seed: int) -> ObjectiveOutput:
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


def _counted(out: ObjectiveOutput) -> dict[str, Tensor]:
    """[numerator, count, weight] of each part, without what the backward pass needed."""
    rows = {}
    for name, part in out.parts.items():
        row = torch.stack([part.numerator.detach().double(), part.count.detach().double()])
        rows[name] = torch.cat([row, row.new_tensor([part.weight])])
    return rows


def _number_by_module(state: dict[str, Any], optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
    """An optimiser's state with its parameters numbered in the module's order, in place.

    An optimiser numbers them group by group, FSDP2 as the module has them. In one order, a run may go on with
    another strategy; a plain optimiser reads any.
    """
    place = {id(p): i for i, p in enumerate(module.parameters())}
    numbers: dict[int, int] = {}
    for saved, group in zip(state["param_groups"], optimizer.param_groups, strict=True):
        numbers.update(zip(saved["params"], (place[id(p)] for p in group["params"]), strict=True))
        saved["params"] = [numbers[n] for n in saved["params"]]
    state["state"] = {numbers[n]: value for n, value in state["state"].items()}


class TrainingModule(pl.LightningModule):
    """Trains `objective` as `config` says.

    Args:
        objective: an objective (with `noise_length`) or a task (called with `target`).
        config: of the run.
        precision: of the forward passes.
        world: this process among all.
        bad_steps: folder for what shows a bad step again; None: none is kept.
        stop: whether somebody asked the run to end.
    """

    def __init__(
        self,
        objective: nn.Module,
        config: TrainConfig,
        precision: Precision,
        *,
        world: World | None = None,
        bad_steps: Path | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        super().__init__()
        self.place = World() if world is None else world
        self.bad_steps = bad_steps
        self.automatic_optimization = False
        self.objective = objective
        self.config = config
        self.numbers = precision
        # The exponential mean of the weights, by name; not a module, so that state_dict stays the network's.
        self.ema: dict[str, Tensor] = {}
        # Since the last line of the log: name -> [numerator, count, weight], on the device.
        self.sums: dict[str, Tensor] = {}
        self.guard = Guard(config)
        self.freezing = Freezing(objective, config)
        self._sharded = False
        self.norm = 0.0
        self.stop = stop or StopRequest()
        self.stopping = False  # agreed by all processes
        self.best: dict[str, Any] = {}

    def configure_model(self) -> None:
        """Divides the weights among the processes, where the strategy is FSDP2."""
        if self.place.size > 1 and self.config.strategy == "fsdp" and not self._sharded:
            assert self.device_mesh is not None
            shard(self.objective, self.device_mesh["data_parallel"])
            self._sharded = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return make_optimizer(self.objective, self.config)

    def transfer_batch_to_device(self, batch: Step, device: torch.device, dataloader_idx: int) -> Step:
        micros = [Micro(m.first, m.batch.to(device, non_blocking=True)) for m in batch.micros]
        return Step(batch.number, tuple(micros))

    def training_step(self, batch: Step, batch_idx: int) -> None:
        if batch.number != self.global_step:
            raise RuntimeError(f"the loader gave step {batch.number} at step {self.global_step}")
        optimizer = self.optimizers()
        assert isinstance(optimizer, pl.core.optimizer.LightningOptimizer)
        rate = learning_rate(batch.number, self.config)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        self.freezing.apply(self.objective, batch.number)
        ready = [self._prepare(micro) for micro in batch.micros]
        shared = self._shared_counts(ready)
        outputs, loss = [], torch.zeros((), device=self.device)
        for i, x in enumerate(ready):
            with self.numbers.autocast():
                out = _call(self.objective, x, self.config.seed)
            share = out.loss if shared is None else self._share(out, shared)
            with self._synchronised(last=i == len(ready) - 1):
                self.manual_backward(share)
            loss = loss + share.detach()
            outputs.append(_counted(out))
        self.freezing.drop(self.objective.named_parameters(), batch.number)
        if self._judge(batch, loss):
            for out_parts in outputs:
                self._remember(out_parts)
            self._clip()
            optimizer.step()
            optimizer.zero_grad()
            after_step = getattr(self.objective, "after_step", None)
            if after_step is not None:
                # Momentum encoders and queues move once per step, whatever number of passes it had.
                after_step(batch.number, self.config.steps)
            self._update_ema()
        else:
            # Without gradients the optimiser touches neither weights nor its own state, and the step counts.
            optimizer.zero_grad(set_to_none=True)
            optimizer.step()
            skip_step = getattr(self.objective, "skip_step", None)
            if skip_step is not None:
                skip_step()

    @contextlib.contextmanager
    def _synchronised(self, last: bool) -> Iterator[None]:
        """Gradients are summed over processes with the last pass of a step only."""
        wrapped = self.trainer.strategy.model
        if last or not isinstance(wrapped, torch.nn.parallel.DistributedDataParallel):
            yield  # FSDP2 sums its parts after each pass, which gives the same
            return
        with wrapped.no_sync():
            yield

    def _prepare(self, micro: Micro) -> Prepared:
        assert isinstance(micro.batch, CubeBatch)  # on the device nothing is as it was stored
        batch = augment(micro.batch, self.config.augment, seed=self.config.seed, first=micro.first)
        return _ready(batch, micro.first)

    def _shared_counts(self, ready: list[Prepared]) -> dict[str, Tensor] | None:
        """Counts summed over the step's passes and ranks; None where the step is one pass on one rank.

        A backward pass needs them before the later passes have run. Tasks tell them from the labels; an
        objective without `counts` runs forward once more without gradients.
        """
        ranks = several()
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

    def _remember(self, parts: Mapping[str, Tensor]) -> None:
        for name, row in parts.items():
            if name in self.sums:
                self.sums[name][:2] += row[:2]
            else:
                self.sums[name] = row

    def _judge(self, batch: Step, loss: Tensor) -> bool:
        """Whether the step is good on every process; a bad one is kept to be looked at.

        Raises:
            SwathError: it is one bad step too many.
        """
        gradients = [p.grad for p in self.objective.parameters() if p.grad is not None]
        # One wait for the device per step: what a skipped step must not touch is decided before the optimiser.
        both = torch.stack([loss.float(), plain(torch.nn.utils.get_total_norm(gradients)).float()]).tolist()
        why = self.guard.fault(*both)
        bad, self.stopping = any_of(bool(why), self.stop.asked, device=loss.device)
        self.norm = both[1]
        if not bad:
            self.guard.good(both[1])
            if self.guard.in_vain:
                raise nothing_taught(self.guard, type(self.objective).__name__)
            return True
        why = why or "another process found its loss or gradient bad"
        over = self.guard.bad()
        kept = None
        if self.bad_steps is not None:
            kept = keep_bad_step(self.bad_steps, batch, why, self.whole_state(), self.config.seed, self.place)
        if over:
            raise too_many(batch.number, why, self.guard, kept, type(self.objective).__name__)
        log.warning("step %d is skipped: %s", batch.number + 1, why)
        return False

    def _clip(self) -> None:
        if self.config.clip_norm is not None:
            # max_norm / norm where that is below 1, as clip_grad_norm_ does it.
            norm = torch.tensor(self.norm, device=self.device)
            torch.nn.utils.clip_grads_with_norm_(self.objective.parameters(), self.config.clip_norm, norm)

    def whole_state(self) -> dict[str, Tensor]:
        """The objective's tensors, whole on every process."""
        return {name: plain(tensor) for name, tensor in self.objective.state_dict().items()}

    def fold_sums(self) -> None:
        """Adds what all processes counted up in process 0, before a line of the log or a checkpoint."""
        if not several():
            return
        for name in sorted(self.sums):
            torch.distributed.all_reduce(self.sums[name])
            self.sums[name][2] /= self.place.size  # the weight is the same everywhere
            if not self.place.leads:
                self.sums[name][:2] = 0

    def take_sums(self) -> dict[str, float]:
        """The loss and its parts since the last call, as means over all that was counted; NaN where nothing was."""
        self.fold_sums()
        means: dict[str, float] = {}
        terms: list[float] = []
        for name, row in self.sums.items():
            numerator, count, weight = row.tolist()
            means[name] = numerator / count if count > 0 else math.nan
            if count > 0:
                terms.append(weight * means[name])
        self.sums = {}
        return {"loss": sum(terms) if terms else math.nan, **means}

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
        if not self._sharded:
            optimizer = self.optimizers(use_pl_optimizer=False)
            assert isinstance(optimizer, torch.optim.Optimizer)
            for state in checkpoint.get("optimizer_states", []):
                _number_by_module(state, optimizer, self)
        checkpoint["swath"] = {
            "format_version": 1,
            "config": self.config.to_dict(),
            "ema": self.ema,
            "sums": self.sums,
            "best": self.best,
            "guard": self.guard.state(),
            "samples_per_step": self.config.samples_per_step(self.place.size),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["swath"]
        device = next(self.objective.parameters()).device
        self.ema = {k: v.to(device) for k, v in state["ema"].items()}
        # The log's sums of all processes lie with the first.
        mine = state["sums"] if self.place.leads else {}
        self.sums = {k: v.to(device) for k, v in mine.items()}
        if "guard" in state:  # not in checkpoints of version 0.1
            self.guard.load(state["guard"])
        self.best = dict(state["best"])
