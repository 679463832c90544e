"""What predictions are compared with, and how: over valid pixels only."""

from __future__ import annotations

import torch
from torch import Tensor

from swath.models.tokens import Tokens
from swath.pretraining.objective import Part


def token_statistics(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Mean and sqrt(unbiased variance + 1e-6) over the valid pixels of each token, [B,N,1] each."""
    x, valid = tokens.patches, tokens.pixel_valid
    if valid is None:
        variance, mean = torch.var_mean(x, dim=-1, keepdim=True)
    else:
        n = valid.sum(dim=-1, keepdim=True)
        mean = x.sum(dim=-1, keepdim=True) / n.clamp_min(1)  # invalid pixels are 0 in patches
        variance = (x - mean).masked_fill(~valid, 0.0).square().sum(dim=-1, keepdim=True) / (n - 1).clamp_min(
            1
        )
    return mean, (variance + 1e-6).sqrt()


def squared_error(error: Tensor, counted: Tensor) -> Part:
    """The sum of squares where `counted`, bool of the same shape, and how many that are."""
    numerator = error.masked_fill(~counted, 0.0).square().sum()
    return Part(numerator, counted.sum().to(numerator.dtype))
