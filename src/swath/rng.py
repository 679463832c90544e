"""Randomness by name: every draw comes from a generator keyed by (seed, purpose, keys…).

A draw therefore depends on what it is for (epoch, sample id, step) and never on how many workers,
devices or earlier draws there were, nor on where a run was stopped and resumed (design §3, Randomness).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *keys: int | str) -> int:
    """A 63-bit seed that is a pure function of its arguments, equal on every machine."""
    # repr keeps 1 and "1" apart; the separator keeps ("a", "bc") and ("ab", "c") apart.
    text = "\x1f".join([repr(int(seed)), repr(purpose), *(repr(k) for k in keys)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, purpose: str, *keys: int | str, device: str = "cpu") -> torch.Generator:
    """A torch generator for one purpose."""
    import torch  # imported here so that configs and the command line's help stay free of torch

    return torch.Generator(device=device).manual_seed(derive(seed, purpose, *keys))


def numpy_generator(seed: int, purpose: str, *keys: int | str) -> np.random.Generator:
    """A numpy generator for one purpose."""
    return np.random.default_rng(derive(seed, purpose, *keys))
