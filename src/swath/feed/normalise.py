"""The contract's affine normalisation, on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from swath.cube import CubeBatch


def normalise(batch: CubeBatch) -> Tensor:
    """What the network eats: `pixels * gain + bias` [B,T,C,H,W] float32, and 0 where invalid.

    The zero is chosen, not multiplied: whatever an invalid pixel holds, NaN included, is gone.
    """
    gain = batch.gain[:, None, :, None, None]
    bias = batch.bias[:, None, :, None, None]
    return torch.where(batch.valid, batch.pixels * gain + bias, 0.0)
