"""Windows brought to another size before a network sees them, where it was trained on resized ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.errors import ContractError


def resized_windows(pixels: Tensor, valid: Tensor | None, side: int) -> tuple[Tensor, Tensor | None]:
    """Square windows [B,T,C,H,W] at `side` pixels, bilinearly, pixel centres and no aligned corners.

    A pixel is valid only if all that its kernel may touch was, and 0 otherwise: what is invalid reaches nothing. The
    same as `swath.feed.augment.resized` does while learning.

    Args:
        pixels: normalised.
        valid: bool of that shape, or None (all valid).
        side: pixels; windows of that size are left as they are.

    Raises:
        ContractError: the windows are not square.
    """
    h, w = pixels.shape[-2:]
    if h == w == side:
        return pixels, valid
    if h != w:
        raise ContractError(
            f"windows of {h} x {w} pixels cannot be brought to {side} x {side}",
            mend="give square windows",
        )
    shape = (*pixels.shape[:3], side, side)
    clean = pixels if valid is None else torch.where(valid, pixels, pixels.new_zeros(()))
    out = F.interpolate(clean.flatten(1, 2), size=(side, side), mode="bilinear", align_corners=False).view(
        shape
    )
    if valid is None:
        return out, None
    holes = F.max_pool2d((~valid).to(pixels.dtype).flatten(1, 2), 3, stride=1, padding=1)
    good = (F.interpolate(holes, size=(side, side), mode="nearest-exact") < 0.5).view(shape)
    return torch.where(good, out, out.new_zeros(())), good
