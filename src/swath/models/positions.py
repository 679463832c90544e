"""Learned positions that follow the input: other grids, other bands, dates.

Positions are resized or interpolated at each call and never drawn anew, so a model trained at one size means
the same thing at another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DAYS_PER_YEAR = 365.25
YEAR_ORIGIN, YEAR_SCALE = 2015.0, 10.0  # years enter as decades since the first Sentinel-2


def resize_grid(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[M,h,w,D] -> [M,*size,D], bicubic, corners not aligned, no antialiasing.

    Written as two matrix products, since the gradient of the library's bicubic kernel is not deterministic on
    a GPU; the matrices are that kernel's answer to the unit vectors.
    """
    if x.shape[1:3] == size:
        return x
    rows = _bicubic_matrix(x.shape[1], size[0], x)
    cols = _bicubic_matrix(x.shape[2], size[1], x)
    return torch.einsum("yh,xw,mhwd->myxd", rows, cols, x)


def _bicubic_matrix(old: int, new: int, like: Tensor) -> Tensor:
    eye = torch.eye(old, dtype=like.dtype, device=like.device)
    with torch.no_grad():
        return F.interpolate(eye[None, None], size=(new, old), mode="bicubic", align_corners=False)[0, 0]


def interpolate_spectrum(x: Tensor, anchors: Sequence[float], wavelengths: Tensor) -> Tensor:
    """Positions of spectral groups at other wavelengths, linear between anchors and constant beyond them.

    Args:
        x: [G,...], one position per anchor.
        anchors: G mean wavelengths, nm, ascending.
        wavelengths: [B,G'] nm.

    Returns:
        [B,G',...].
    """
    if len(anchors) == 1:
        return x[torch.zeros_like(wavelengths, dtype=torch.long)]
    at = torch.tensor(anchors, dtype=wavelengths.dtype, device=wavelengths.device)
    upper = torch.searchsorted(at, wavelengths.contiguous()).clamp(1, len(anchors) - 1)
    span = at[upper] - at[upper - 1]
    part = (wavelengths - at[upper - 1]) / torch.where(span > 0, span, torch.ones_like(span))
    part = part.clamp(0.0, 1.0).to(x.dtype).reshape(*wavelengths.shape, *(1,) * (x.ndim - 1))
    return torch.lerp(x[upper - 1], x[upper], part)


def sincos_line(count: int, dim: int) -> Tensor:
    """Sines, then cosines, of 0 … count - 1 at dim / 2 falling frequencies (Vaswani et al., 2017): [count, dim]."""
    rate = 1.0 / 10000 ** (torch.arange(dim // 2, dtype=torch.float64) / max(1, dim // 2))
    angle = torch.arange(count, dtype=torch.float64)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


def sincos_grid(size: int, dim: int) -> Tensor:
    """Half of the width says the column, half the row, as in MAE: [size, size, dim]."""
    line = sincos_line(size, dim // 2)
    columns, rows = line[None].expand(size, -1, -1), line[:, None].expand(-1, size, -1)
    return torch.cat([columns, rows], dim=-1)


def per_date(x: Tensor, dates: Tensor | None, count: int) -> Tensor:
    """Positions [B or 1, G, h*w, D], and dates [B,T,D] or None, as [B or 1, T*G*h*w, D]; T is `count`."""
    out = x[:, None].expand(-1, count, -1, -1, -1)  # [B or 1, T, G, h*w, D]
    if dates is not None:
        out = out + dates[:, :, None, None]
    return out.flatten(1, 3)


class DateEncoding(nn.Module):
    """A vector per date from day of year and year; zero at the start and for unknown dates.

    So a model trained on single dates begins with the same tokens when it meets many.
    """

    FEATURES = 5

    def __init__(self, dim: int) -> None:
        super().__init__()
        # No bias: a date that is unknown has features of zero and must add nothing.
        self.weight = nn.Parameter(torch.zeros(dim, self.FEATURES))

    def forward(self, days: Tensor) -> Tensor:
        """[B,T,2] (day of year 1..366, year), NaN if unknown -> [B,T,D]."""
        known = torch.isfinite(days).all(dim=-1, keepdim=True)
        days = torch.where(known, days, torch.zeros_like(days))
        angle = days[..., :1] * (2 * math.pi / DAYS_PER_YEAR)
        year = (days[..., 1:] - YEAR_ORIGIN) / YEAR_SCALE
        # Two harmonics: one tells winter from summer, the second spring from autumn growth.
        parts = [angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos(), year]
        features = torch.where(known, torch.cat(parts, dim=-1), torch.zeros((), device=days.device))
        return F.linear(features.to(self.weight.dtype), self.weight)
