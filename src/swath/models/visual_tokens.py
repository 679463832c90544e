"""Visual tokens: a codebook of small pictures, and which of them a token of pixels is nearest to.

A token is described by the means of cells x cells parts of each band, over valid pixels. Distances run over the
parts that hold data, so a missing band or pixel moves nothing else.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.models.tokens import Tokens


class VisualTokens(nn.Module):
    """The codebook. It is fitted, not trained by gradients (`swath.pretraining.tokenizer`).

    Args:
        codes: K, how many visual tokens there are.
        slots: bands of a token.
        cells: parts along each edge of a token.
    """

    codes: Tensor

    def __init__(self, codes: int, slots: int, cells: int) -> None:
        super().__init__()
        self.slots = slots
        self.cells = cells
        self.register_buffer("codes", torch.zeros(codes, slots * cells * cells))

    def describe(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Means of the parts [B,N,P], 0 where nothing is valid, and whether a part holds data, bool [B,N,P]."""
        b, n, _ = tokens.patches.shape
        part = tokens.patch // self.cells
        shape = (b, n, self.slots, self.cells, part, self.cells, part)
        x = tokens.patches.float().reshape(shape)
        if tokens.pixel_valid is None:
            mean = x.mean(dim=(4, 6)).flatten(2)
            return mean, torch.ones_like(mean, dtype=torch.bool)
        count = tokens.pixel_valid.reshape(shape).sum(dim=(4, 6))
        return (x.sum(dim=(4, 6)) / count.clamp_min(1)).flatten(2), (count > 0).flatten(2)

    def ids(self, tokens: Tokens) -> Tensor:
        """The nearest code of each token, long [B,N]; 0 for a token without data."""
        x, held = self.describe(tokens)
        return nearest(x.flatten(0, 1), held.flatten(0, 1), self.codes)[0].reshape(x.shape[:2])

    def draw(self, ids: Tensor, patch: int) -> Tensor:
        """Codes as token vectors, [B,N] -> [B,N,K]: each part in its mean."""
        x = self.codes[ids].reshape(-1, self.slots, self.cells, self.cells)
        return F.interpolate(x, size=(patch, patch), mode="nearest").reshape(*ids.shape, -1)


def nearest(x: Tensor, held: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest code and its squared distance over the parts that hold data.

    Args:
        x: [M,P], 0 where nothing is held.
        held: bool [M,P].
        codes: [K,P].

    Returns:
        (long [M], [M]); of equally near ones the first.
    """
    # |x - c|² over the parts held, without a tensor of M x K x P.
    with torch.autocast(x.device.type, enabled=False):
        score = held.to(codes.dtype) @ codes.square().T - 2.0 * (x @ codes.T)
        least, ids = score.min(dim=1)
        return ids, (x.square().sum(dim=1) + least).clamp_min(0.0)
