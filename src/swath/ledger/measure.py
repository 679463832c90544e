"""What is compared of a subject: its forward pass, its gradient and a short training, by the twin or by the network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from swath.cube import CubeBatch
from swath.ledger.subjects import Subject
from swath.ledger.twins import PlainAdamW
from swath.pretraining.objective import ObjectiveOutput
from swath.training.config import TrainConfig
from swath.training.optim import make_optimizer

BATCH = 2
_RATE = 1e-3
_BETAS = (0.9, 0.95)
_DECAY = 0.05


@dataclass(frozen=True)
class Measured:
    """What is compared.

    Attributes:
        forward: the loss of the first batch, and the reconstruction where there is data.
        gradient: of all parameters, sorted by name.
        training: the losses of the steps, and the loss after the last.
    """

    forward: Tensor
    gradient: Tensor
    training: Tensor


@lru_cache(maxsize=16)
def measure_twin(subject: Subject, steps: int) -> Measured:
    """The plain form in float64; nothing that a model does wrong changes it."""
    objective = subject.objective()
    state = {n: p.detach().clone().requires_grad_() for n, p in objective.network.named_parameters()}
    optimizer = PlainAdamW(state, _RATE, _BETAS, _DECAY)
    losses: list[Tensor] = []
    forward = gradient = torch.empty(0)
    for step in range(steps + 1):
        first = step * BATCH
        batch = subject.take(first, BATCH)
        out = subject.twin(state, batch, subject.noise(objective, first, batch))
        losses.append(out.loss.detach())
        grads = dict(
            zip(state, torch.autograd.grad(out.loss, list(state.values()), allow_unused=True), strict=True)
        )
        known = {n: torch.zeros_like(state[n]) if g is None else g for n, g in grads.items()}
        if step == 0:
            forward, gradient = _forward(out.loss, out.reconstruction, batch.valid), flat(known)
        if step < steps:
            optimizer.step(known)
    return Measured(forward, gradient, torch.stack(losses))


Inputs = Callable[[CubeBatch, Tensor, Any], tuple[CubeBatch, Tensor]]


def measure_network(
    subject: Subject,
    steps: int,
    *,
    objective: Any = None,
    prepare: Callable[[Any], Any] = lambda objective: objective,
    inputs: Inputs = lambda batch, noise, objective: (batch, noise),
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    dtype: torch.dtype = torch.float64,
) -> Measured:
    """The network's own form, as a training step calls it."""
    objective = (subject.objective() if objective is None else objective).to(dtype)
    call = prepare(objective)
    named = dict(objective.network.named_parameters())
    optimizer = make_optimizer(objective, train_config(steps))
    losses: list[Tensor] = []
    forward = gradient = torch.empty(0)
    for step in range(steps + 1):
        first = step * BATCH
        exact = subject.take(first, BATCH)
        batch, noise = inputs(exact, subject.noise(objective, first, exact), objective)
        valid = batch.valid if subject.gaps else None
        with context():
            out: ObjectiveOutput = call(
                batch.pixels.to(dtype),
                valid,
                noise=noise,
                days=batch.days.to(dtype),
                wavelengths=subject.wavelengths,
            )
        optimizer.zero_grad()
        torch.autograd.backward(out.loss)
        losses.append(out.loss.detach().double())
        if step == 0:
            assert out.reconstruction is not None
            h, w = exact.pixels.shape[-2:]
            forward = _forward(out.loss, out.reconstruction[..., :h, :w], exact.valid)
            gradient = flat({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named.items()})
        if step < steps:
            optimizer.step()
    return Measured(forward, gradient, torch.stack(losses))


def train_config(steps: int, **options: Any) -> TrainConfig:
    """The optimiser of the twin, for the training loop."""
    return TrainConfig(
        steps=steps,
        learning_rate=_RATE,
        min_learning_rate=_RATE,
        betas=_BETAS,
        weight_decay=_DECAY,
        **options,
    )


def _forward(loss: Tensor, reconstruction: Tensor, valid: Tensor) -> Tensor:
    return torch.cat([loss.detach().double().reshape(1), reconstruction.detach().double()[valid]])


def flat(gradients: Mapping[str, Tensor]) -> Tensor:
    """Gradients by name, in one row, sorted."""
    return torch.cat([gradients[name].detach().double().flatten() for name in sorted(gradients)])
