"""Shifted 3D windows: how a map of tokens is cut, which pairs may meet, and where each pair's bias lies.

Sources: Swin Transformer (Liu et al., 2021) and Video Swin (Liu et al., 2022), re-derived from their rules.
The default is the clean form: padded places are masked keys on every axis, and a map smaller than its window
shrinks the window and looks up the bias by true offsets. The originals' ways are options of `WindowRule`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.models.swin_config import BiasSlice, Size, WindowRule


def effective(size: Size, rule: WindowRule, shifted: bool) -> tuple[Size, Size]:
    """The window and the shift that a map of this size gets.

    An axis not longer than its window becomes one window without a shift: nothing lies across its border.
    """
    window, shift = [], []
    for n, w in zip(size, rule.window, strict=True):
        whole = n < w or (n == w and not rule.shift_when_full)
        window.append(n if whole else w)
        shift.append(w // 2 if shifted and not whole else 0)
    return (window[0], window[1], window[2]), (shift[0], shift[1], shift[2])


def padded_size(size: Size, window: Size) -> Size:
    """The size rounded up to whole windows."""
    d, h, w = (-(-n // k) * k for n, k in zip(size, window, strict=True))
    return d, h, w


def pad_end(x: Tensor, size: Size) -> Tensor:
    """Zeros (False) at the end of dates, rows and columns: [B,D,H,W,...] -> [B,*size,...]."""
    extra = [n - m for n, m in zip(size, x.shape[1:4], strict=True)]
    if not any(extra):
        return x
    tail = [0, 0] * (x.ndim - 4)
    return F.pad(x, [*tail, 0, extra[2], 0, extra[1], 0, extra[0]])


def partition(x: Tensor, window: Size) -> Tensor:
    """[B,D,H,W,C] -> [B, windows, tokens of a window, C], both in row-major order; sizes must divide."""
    b, d, h, w, c = x.shape
    kd, kh, kw = window
    x = x.reshape(b, d // kd, kd, h // kh, kh, w // kw, kw, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, -1, kd * kh * kw, c)


def unpartition(windows: Tensor, window: Size, size: Size) -> Tensor:
    """The inverse of `partition`: [B, windows, N, C] -> [B,*size,C]."""
    b, _, _, c = windows.shape
    (kd, kh, kw), (d, h, w) = window, size
    x = windows.reshape(b, d // kd, h // kh, w // kw, kd, kh, kw, c).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, d, h, w, c)


def relative_index(window: Size, table_window: Size) -> Tensor:
    """Rows of the bias table for every (query, key) pair of a window: long [N, N].

    The table has one row per offset (query - key) of the full window `table_window`. A smaller window's
    offsets are a subset, so its pairs find their rows by offset and weights carry over between sizes.
    """
    axes = [torch.arange(n) for n in window]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)  # [3, N]
    d, h, w = (place[:, :, None] - place[:, None, :]).unbind(0)
    td, th, tw = table_window
    return ((d + td - 1) * (2 * th - 1) + (h + th - 1)) * (2 * tw - 1) + (w + tw - 1)


def table_rows(window: Size) -> int:
    """Offsets that a window knows: the rows of its bias table."""
    d, h, w = window
    return (2 * d - 1) * (2 * h - 1) * (2 * w - 1)


def region_labels(size: Size, padded: Size, window: Size, shift: Size) -> tuple[Tensor, Tensor]:
    """Which piece of the map each place of the rolled, padded map belongs to, and which places are real.

    After the cyclic roll the last windows hold tokens from opposite borders, which must not meet: per axis
    the labels are 0 before the last window, then 1, then 2 for what was rolled around.

    Returns:
        (long [1,D,H,W,1], bool [1,D,H,W,1]), both on the rolled map.
    """
    label = torch.zeros(padded, dtype=torch.long)
    real = torch.ones(padded, dtype=torch.bool)
    for axis, (n, full, w, s) in enumerate(zip(size, padded, window, shift, strict=True)):
        at = torch.arange(full)
        line = (at >= full - w).long() + (at >= full - s).long() if s else torch.zeros_like(at)
        shape = [1, 1, 1]
        shape[axis] = full
        label = label * 3 + line.view(shape)
        real = real & (torch.roll(at, -s) < n).view(shape)
    return label[None, ..., None], real[None, ..., None]


@dataclass(frozen=True)
class WindowPlan:
    """All that a block needs to attend inside windows; made once per map size and shared by its blocks.

    Attributes:
        size: of the map, in tokens.
        padded: the same in whole windows.
        window: tokens per window.
        shift: cyclic shift before the cut.
        index: rows of the bias table, long [N * N].
        allowed: bool [1, windows, 1, N, N], False for pairs from different pieces or padded keys, or None.
        key_valid: bool [B, windows, N], False for keys without valid data, or None.
        masks_padding: whether no padded place is a key.
    """

    size: Size
    padded: Size
    window: Size
    shift: Size
    index: Tensor
    allowed: Tensor | None
    key_valid: Tensor | None
    masks_padding: bool = True

    def cut(self, x: Tensor) -> Tensor:
        """Pads, shifts and cuts: [B,*size,C] -> [B, windows, N, C]."""
        x = pad_end(x, self.padded)
        if any(self.shift):
            x = torch.roll(x, [-s for s in self.shift], dims=(1, 2, 3))
        return partition(x, self.window)

    def join(self, windows: Tensor) -> Tensor:
        """The inverse of `cut`: [B, windows, N, C] -> [B,*size,C]."""
        x = unpartition(windows, self.window, self.padded)
        if any(self.shift):
            x = torch.roll(x, self.shift, dims=(1, 2, 3))
        d, h, w = self.size
        return x if self.size == self.padded else x[:, :d, :h, :w]


def plan_windows(
    size: Size, rule: WindowRule, *, shifted: bool, device: torch.device, valid: Tensor | None = None
) -> WindowPlan:
    """The plan of one kind of block (shifted or not) for a map.

    Args:
        size: of the map, in tokens.
        rule: how to cut.
        shifted: whether the block shifts its windows.
        device: where the index and the masks live.
        valid: bool [B,D,H,W], tokens with valid data, or None for all.
    """
    window, shift = effective(size, rule, shifted)
    padded = padded_size(size, window)
    index = _index(window, rule.window, rule.bias_slice, device)
    allowed = _allowed(size, padded, window, shift, rule.mask_padding, device)
    masked = rule.mask_padding or size == padded
    plan = WindowPlan(size, padded, window, shift, index, allowed, None, masked)
    if valid is None:
        return plan
    if not rule.mask_padding:
        # Unmasked padding stays a key beside masked invalid tokens: it is not data that is missing.
        valid = ~pad_end(~valid[..., None], padded)[..., 0]
    key_valid = plan.cut(valid[..., None])[..., 0]
    return replace(plan, key_valid=key_valid)


def _kept(build: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
    """Keeps what was built, per argument; built outside inference mode, so that training may reuse it."""

    @lru_cache(maxsize=128)
    def keep(*args: object) -> Tensor | None:
        with torch.inference_mode(False), torch.no_grad():
            return build(*args)

    def look(*args: object) -> Tensor | None:
        # A compiler cannot see through the cache; these few small integers cost it nothing to build again.
        return build(*args) if torch.compiler.is_compiling() else keep(*args)

    return look


def _build_index(window: Size, table: Size, bias_slice: BiasSlice, device: torch.device) -> Tensor:
    if bias_slice == "flat":
        n = window[0] * window[1] * window[2]
        index = relative_index(table, table)[:n, :n]
    else:
        index = relative_index(window, table)
    return index.flatten().to(device)


def allowed_pairs(
    size: Size, padded: Size, window: Size, shift: Size, mask_padding: bool, device: torch.device
) -> Tensor | None:
    """Which pairs of a window may meet: bool [1, windows, 1, N, N] over the rolled, padded map; None for all.

    Pairs from different pieces of the map may not, nor may any place meet a padded one with `mask_padding`.
    """
    padding = mask_padding and size != padded
    if not any(shift) and not padding:
        return None
    labels, real = region_labels(size, padded, window, shift)
    label = partition(labels, window)[..., 0]  # [1, windows, N]
    allowed = label[..., :, None] == label[..., None, :]
    if padding:
        allowed = allowed & partition(real, window)[..., 0][..., None, :]
    return allowed[:, :, None].to(device)  # [1, windows, 1, N, N]


_kept_index = _kept(_build_index)
_kept_allowed = _kept(allowed_pairs)


def _index(window: Size, table: Size, bias_slice: BiasSlice, device: torch.device) -> Tensor:
    index = _kept_index(window, table, bias_slice, device)
    assert index is not None
    return index


def _allowed(
    size: Size, padded: Size, window: Size, shift: Size, mask_padding: bool, device: torch.device
) -> Tensor | None:
    return _kept_allowed(size, padded, window, shift, mask_padding, device)
