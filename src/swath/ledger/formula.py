"""Parameters and inputs that a formula gives, for networks too large to keep test vectors of their weights.

Every value is a pseudo-random number in [-1, 1) of its index j within the tensor (C order) and of the tensor's
place k among the sorted names, computed in double and rounded to single.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def formula_values(count: int, k: int) -> npt.NDArray[np.float64]:
    """frac(sin(j * 12.9898 + k * 78.233) * 43758.5453) for j < count, in [0, 1)."""
    wave = np.sin(np.arange(count, dtype=np.float64) * 12.9898 + k * 78.233) * 43758.5453
    out: npt.NDArray[np.float64] = wave - np.floor(wave)
    return out


def formula_input(shape: Sequence[int], k: int) -> Tensor:
    """An input in [0, 1), float32."""
    return torch.from_numpy(formula_values(math.prod(shape), k).astype(np.float32)).reshape(tuple(shape))


def formula_parameters(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Parameters of these names and shapes, float32.

    With u in [-1, 1): vectors named …weight are 1 + 0.1 u (norms), other vectors 0.1 u, positions 0.3 u, and
    the rest u / sqrt(inputs per output).
    """
    out = {}
    for k, name in enumerate(sorted(shapes)):
        shape = tuple(shapes[name])
        count = math.prod(shape)
        u = 2 * formula_values(count, k) - 1
        if len(shape) == 1:
            u = 1 + 0.1 * u if name.endswith("weight") else 0.1 * u
        elif "pos_embed" in name:
            u = 0.3 * u
        else:
            u = u / math.sqrt(count / shape[0])
        out[name] = torch.from_numpy(u.astype(np.float32)).reshape(shape)
    return out
