"""The tokenizer of BEiT here: k-means over what tokens show, fitted before the network trains, on the same data.

Lloyd's iterations over parts that hold data. The published tokenizer is a large network trained on other pictures;
a codebook of means is small, needs no other data and is the same for the same data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.models.tokens import Tokens
from swath.models.visual_tokens import VisualTokens, nearest
from swath.rng import generator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """What fitting came to.

    Attributes:
        errors: mean squared distance per iteration, over the parts held; it never rises.
        used: codes that some token is nearest to.
    """

    errors: tuple[float, ...]
    used: int


def collect(tokenizer: VisualTokens, batches: Iterable[Tokens], most: int) -> tuple[Tensor, Tensor]:
    """What at most `most` tokens with data show: [M,P] and bool [M,P]; no batch more is read than needed."""
    found: list[tuple[Tensor, Tensor]] = []
    count = 0
    for tokens in batches:
        x, held = tokenizer.describe(tokens)
        some = held.any(dim=-1)
        found.append((x[some], held[some]))
        count += len(found[-1][0])
        if count >= most:
            break
    x, held = (torch.cat(parts)[:most] for parts in zip(*found, strict=True))
    return x, held


@torch.no_grad()
def fit(tokenizer: VisualTokens, x: Tensor, held: Tensor, *, iterations: int, seed: int) -> Fitted:
    """Fits the codebook in place.

    Args:
        tokenizer: its codes are replaced.
        x: [M,P], 0 where nothing is held.
        held: bool [M,P].
        iterations: of Lloyd's algorithm.
        seed: of the start.

    Raises:
        ConfigError: there are fewer tokens than codes.
    """
    count = len(tokenizer.codes)
    if len(x) < count:
        raise ConfigError(
            f"{len(x)} tokens for {count} codes",
            where="tokenizer.tokens",
            mend=f"look at more tokens, or set model.options.codes to {max(2, len(x) // 8)} or less",
        )
    start = torch.randperm(len(x), generator=generator(seed, "codebook"))[:count].to(x.device)
    # A part that is missing in a starting token starts at the mean.
    weight = held.to(x.dtype)
    mean = x.sum(dim=0) / weight.sum(dim=0).clamp_min(1)
    codes = torch.where(held[start], x[start], mean)
    errors = []
    ids, distance = nearest(x, held, codes)
    for _ in range(iterations):
        members = torch.zeros_like(codes).index_add_(0, ids, weight)
        sums = torch.zeros_like(codes).index_add_(0, ids, x)
        codes = torch.where(members > 0, sums / members.clamp_min(1), codes)
        idle = (torch.bincount(ids, minlength=count) == 0).nonzero()[:, 0]
        # A code that nobody is near starts again at the token that is worst described.
        far = distance.argsort(descending=True, stable=True)[: len(idle)]
        codes[idle] = torch.where(held[far], x[far], codes[idle])
        ids, distance = nearest(x, held, codes)
        errors.append(float(distance.sum() / weight.sum()))
    tokenizer.codes.copy_(codes)
    fitted = Fitted(tuple(errors), int((torch.bincount(ids, minlength=count) > 0).sum()))
    log.info("codebook: %d of %d codes used, squared error %.4g", fitted.used, count, errors[-1])
    return fitted
