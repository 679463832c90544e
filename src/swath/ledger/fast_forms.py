"""The fast forms of a subject, each measured as its plain form is."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.cube import CubeBatch
from swath.feed.config import NO_AUGMENT
from swath.ledger.measure import BATCH, Measured, flat, measure_network, train_config
from swath.ledger.subjects import MASK_WINDOW, Subject
from swath.models.attention import force_kernel
from swath.models.spectralgpt import SpectralGPTConfig
from swath.pretraining.objective import ObjectiveOutput
from swath.training.parallel import checkpoint_blocks
from swath.training.precision import choose_precision
from swath.weights.convert.kinds import convert_back, convert_state
from swath.weights.convert.registry import KINDS
from swath.weights.meta import WeightsMeta


def with_kernel(kernel: str) -> Callable[[Subject, int], Measured]:
    """Every attention by one kernel."""
    return lambda subject, steps: measure_network(subject, steps, context=lambda: force_kernel(kernel))


def padded(subject: Subject, steps: int) -> Measured:
    """Pixels without data around the image: to whole tokens, and beyond where positions are relative."""
    patch = subject.config.patch_size
    edge = patch if isinstance(patch, int) else patch[1]
    more = 0 if isinstance(patch, int) else 2 * edge

    def pad(batch: CubeBatch, noise: Tensor, objective: Any) -> tuple[CubeBatch, Tensor]:
        h, w = batch.pixels.shape[-2:]
        sides = (0, -w % edge + more, 0, -h % edge + more)
        pixels = F.pad(batch.pixels, sides, value=torch.nan)
        wide = replace(batch, pixels=pixels, valid=F.pad(batch.valid, sides))
        if isinstance(patch, int):
            return wide, noise
        t = pixels.shape[1]
        before, after = (
            [-(-n // (edge * MASK_WINDOW)) for n in shape[-2:]]
            for shape in (batch.pixels.shape, pixels.shape)
        )
        # Windows keep their draws; those of padding alone would be the first to stay visible.
        room = torch.zeros(len(noise), t, *after)
        room[:, :, : before[0], : before[1]] = noise.view(len(noise), t, *before)
        return wide, room.flatten(1)

    return measure_network(subject, steps, inputs=pad)


def half(subject: Subject, steps: int) -> Measured:
    """Autocast to bfloat16."""
    autocast = choose_precision("bf16", "cpu").autocast
    return measure_network(subject, steps, context=autocast, dtype=torch.float32)


def compiled(subject: Subject, steps: int) -> Measured:
    """The objective through torch.compile."""
    torch.compiler.reset()
    try:
        with _quiet():
            return measure_network(subject, steps, prepare=lambda o: torch.compile(o, dynamic=False))
    finally:
        torch.compiler.reset()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The compiler's remarks on itself are of no use here."""
    compiler = logging.getLogger("torch._dynamo")
    before = compiler.level
    compiler.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            compiler.setLevel(before)


def no_compiler() -> str:
    """Why nothing can be compiled on this machine, or ""."""
    try:
        with _quiet():
            torch.compile(lambda x: x.sin() + 1)(torch.ones(3))
    except Exception as err:
        return f"torch.compile does not work here: {str(err).splitlines()[0][:200]}"
    return ""


def checkpointed(subject: Subject, steps: int) -> Measured:
    """Blocks that compute their insides again in the backward pass."""

    def prepare(objective: Any) -> Any:
        checkpoint_blocks(objective)
        return objective

    return measure_network(subject, steps, prepare=prepare)


class _InDouble(nn.Module):
    """Makes an objective eat what a feed gives, which is float32, in float64; keeps what it made."""

    def __init__(self, objective: Any) -> None:
        super().__init__()
        self.objective = objective
        self.seen: list[tuple[ObjectiveOutput, Tensor]] = []

    def noise_length(self, shape: torch.Size) -> int:
        return int(self.objective.noise_length(shape))

    def forward(self, pixels: Tensor, valid: Tensor, *, days: Tensor, **others: Any) -> ObjectiveOutput:
        out: ObjectiveOutput = self.objective(pixels.double(), valid, days=days.double(), **others)
        if torch.is_grad_enabled() and len(self.seen) <= BATCH:
            self.seen.append((out, valid))
        return out


def accumulated(subject: Subject, steps: int) -> Measured:
    """`fit` with one sample a pass, and as many passes a step as the twin's batch has samples."""
    from swath.training.run import fit

    objective = subject.objective()
    network: nn.Module = objective.network
    sums = {n: torch.zeros_like(p) for n, p in network.named_parameters()}
    wrapped = _InDouble(objective)
    hooks = []

    def collect(name: str) -> Callable[[Tensor], None]:
        def add(gradient: Tensor) -> None:
            if len(wrapped.seen) <= BATCH:  # the passes of the first step
                sums[name] += gradient

        return add

    parameters: dict[str, Any] = dict(network.named_parameters())
    for name, parameter in parameters.items():
        hooks.append(parameter.register_hook(collect(name)))
    config = train_config(
        steps + 1,
        batch_size=1,
        accumulate=BATCH,
        precision="fp32",
        device="cpu",
        augment=NO_AUGMENT,
        log_every=1,
        checkpoint_every=steps + 1,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = fit(wrapped, subject, config, Path(folder) / "run", terminal=False, title="accumulating")
    for hook in hooks:
        hook.remove()
    losses = [r["loss"] for r in result.records if "loss" in r]
    parts = []
    for out, valid in wrapped.seen[:BATCH]:
        assert out.reconstruction is not None
        parts.append(out.reconstruction.detach().double()[valid])
    loss = torch.tensor(losses, dtype=torch.float64)
    return Measured(torch.cat([loss[:1], *parts]), flat(sums), loss)


def converted(subject: Subject, steps: int) -> Measured:
    """The network with the weights that a published checkpoint of them would give, converted back and forth."""
    objective = subject.objective().float()
    network: nn.Module = objective.network
    spectral = isinstance(subject.config, SpectralGPTConfig)
    kind = KINDS["spectralgpt" if spectral else "swin-mae"]
    name = "spectralgpt" if spectral else "st_swin_mae"
    meta = WeightsMeta(name, subject.config.to_dict())
    hints: dict[str, Any] = {}
    if isinstance(subject.config, SpectralGPTConfig):
        config = subject.config
        hints = {
            "heads": config.heads,
            "decoder_heads": config.decoder_heads,
            "wavelengths": config.wavelengths,
        }
    published = convert_back(network.state_dict(), meta, kind)
    plan, there = convert_state(published, kind, hints)
    about = {"converted_from": kind.name, "layout": dict(plan.layout)}
    again = convert_back(there.state, replace(meta, config=plan.config.to_dict(), provenance=about), kind)
    network.load_state_dict(convert_state(again, kind, hints)[1].state)
    return measure_network(subject, steps, objective=objective)
