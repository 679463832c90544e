"""Two records made one: mixup and cutmix, with shares of classes as targets.

Drawn from the global generator, which training seeds for each forward pass (by seed and sample number), so a
draw survives a stop and a resume. Zhang et al., "mixup" (ICLR 2018); Yun et al., "CutMix" (ICCV 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor


def mix(
    pixels: Tensor, valid: Tensor | None, shares: Tensor, *, mixup: float, cutmix: float
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Each record with the one that follows it in the batch, the last with the first.

    Args:
        pixels: normalised, [B,T,C,H,W].
        valid: bool of that shape, or None.
        shares: of the classes, [B,K]; rows of zeros (unlabelled) stay out of both sides.
        mixup: parameter of its beta distribution; 0: off.
        cutmix: the same; with both, one is drawn for the batch.

    Returns:
        The same three. Mixup keeps a pixel valid only where both are; cutmix takes the patch's own validity.
    """
    chosen = cutmix if cutmix > 0 and (mixup == 0 or bool(torch.rand(()) < 0.5)) else 0.0
    lam = _beta(chosen or mixup)
    other = shares.roll(-1, 0)
    both = (shares.sum(1) > 0) & (other.sum(1) > 0)
    if chosen:
        box, share = _box(lam, pixels.shape[-2], pixels.shape[-1])
        inside = torch.zeros(pixels.shape[-2:], dtype=torch.bool, device=pixels.device)
        inside[box] = True
        swap = inside & both[:, None, None, None, None]
        pixels = torch.where(swap, pixels.roll(-1, 0), pixels)
        valid = None if valid is None else torch.where(swap, valid.roll(-1, 0), valid)
    else:
        share = lam
        per = torch.where(both, lam, 1.0)[:, None, None, None, None].to(pixels.dtype)
        pixels = pixels * per + pixels.roll(-1, 0) * (1 - per)
        if valid is not None:
            valid = valid & (valid.roll(-1, 0) | ~both[:, None, None, None, None])
            pixels = torch.where(valid, pixels, 0.0)
    mixed = shares * share + other * (1 - share)
    return pixels, valid, torch.where(both[:, None], mixed, shares)


def _beta(parameter: float) -> float:
    """A draw of the symmetric beta distribution, in [1/2, 1]: which of two records is the first means nothing."""
    draw = float(torch.distributions.Beta(parameter, parameter).sample())
    return max(draw, 1.0 - draw)


def _box(keep: float, height: int, width: int) -> tuple[tuple[slice, slice], float]:
    """A box of about 1 - keep of the area anywhere in the image, cut at its edges, and the share outside it."""
    side = (1.0 - keep) ** 0.5
    h, w = round(height * side), round(width * side)
    row, col = int(torch.randint(height, ())), int(torch.randint(width, ()))
    top, bottom = max(row - h // 2, 0), min(row - h // 2 + h, height)
    left, right = max(col - w // 2, 0), min(col - w // 2 + w, width)
    return (slice(top, bottom), slice(left, right)), 1.0 - (bottom - top) * (right - left) / (height * width)
