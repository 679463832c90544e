"""How much of the device a run uses: its measured peak, the network's work, and memory."""

from __future__ import annotations

import contextlib
import time
from functools import lru_cache

import torch
from torch import nn

from swath.cube import CubeBatch
from swath.errors import ConfigError
from swath.memory import peak_resident
from swath.training.precision import Precision

# Forward, and twice that backward: one product becomes two. What checkpointing computes again is no progress.
STEP_OVER_FORWARD = 3.0


@lru_cache(maxsize=8)
def matmul_peak(device: str, dtype: torch.dtype, threads: int) -> float:
    """Floating-point operations per second of large products on this machine, the best of several.

    Args:
        device: "cpu" or "cuda".
        dtype: of the factors.
        threads: of torch, for the cache: another number has another peak.
    """
    size, times = (8192, 10) if device == "cuda" else (1024, 6)
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(times):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        torch.mm(a, a)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def peak_of(precision: Precision) -> float:
    """`matmul_peak` for what a run computes in."""
    dtype = torch.bfloat16 if precision.name == "bf16" else torch.float32
    return matmul_peak(precision.device, dtype, torch.get_num_threads())


def step_flops(objective: nn.Module, batch: CubeBatch, seed: int) -> float:
    """Floating-point operations that training on one sample takes: by the objective's own formula, if it has one for
    its network, else counted in a forward pass of one.

    That pass runs without gradients, in eval mode, and leaves no trace: neither draws nor modes change.
    """
    from torch.utils.flop_counter import FlopCounterMode

    from swath.training.module import run_objective

    formula = getattr(objective, "flops", None)
    if formula is not None:
        with contextlib.suppress(ConfigError):  # networks of the user's own have none
            return float(formula(batch.pixels.shape))
    device = next(objective.parameters()).device
    modes = {part: part.training for part in objective.modules()}
    objective.eval()
    try:
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            torch.no_grad(),
            FlopCounterMode(display=False) as counter,
        ):
            run_objective(objective, batch.to(device), seed=seed)
    finally:
        for part, mode in modes.items():
            part.training = mode
    return STEP_OVER_FORWARD * float(counter.get_total_flops()) / max(1, len(batch.ids))


def memory_gib(device: str) -> float:
    """The most memory the run has held so far: of the GPU, or resident in this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return peak_resident() / 2**30
