"""What published Swins keep in their files although it follows from sizes: indices, shift masks, positions.

None of it is ever loaded. It is made again on the way back, so that the files are equal bit for bit; where a
file's values are not those that its sizes give, they travel as text beside the weights, used by nothing.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swath.errors import WeightsError
from swath.models.swin_config import Size
from swath.models.windows import allowed_pairs, relative_index

FORBIDDEN = -100.0  # what the published masks add to the scores of pairs that must not meet


def index_buffer(window: Size) -> Tensor:
    """`relative_position_index` of a window: long [N, N]."""
    return relative_index(window, window)


def mask_buffer(padded: Size, window: Size, shift: Size) -> Tensor:
    """`attn_mask` of a map in whole windows: float [windows, N, N] of 0 and -100."""
    n = window[0] * window[1] * window[2]
    allowed = allowed_pairs(padded, padded, window, shift, False, torch.device("cpu"))
    if allowed is None:
        windows = padded[0] * padded[1] * padded[2] // n
        return torch.zeros(windows, n, n)
    return torch.zeros(allowed.shape[1], n, n).masked_fill(~allowed[0, :, 0], FORBIDDEN)


def sincos_positions(grid: int, dim: int) -> Tensor:
    """Fixed positions of a square grid, float [1, grid * grid, dim]: half of the channels for the column,
    half for the row, each as sines and cosines of falling frequency (MAE, He et al., 2022).
    """
    if dim % 4:
        raise WeightsError(f"a width of {dim} has no 2D sine positions", mend="it must divide by 4")
    frequency = 1.0 / 10000.0 ** (np.arange(dim // 4, dtype=np.float64) / (dim / 4.0))
    place = np.arange(grid, dtype=np.float32)
    angle = place[:, None].astype(np.float64) * frequency  # [grid, dim/4]
    line = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)  # [grid, dim/2]
    column = np.broadcast_to(line[None, :], (grid, grid, dim // 2))
    row = np.broadcast_to(line[:, None], (grid, grid, dim // 2))
    whole = np.concatenate([column, row], axis=2).reshape(1, grid * grid, dim)
    return torch.from_numpy(whole.astype(np.float32))


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal in type, shape and value."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def pack(tensor: Tensor) -> dict[str, Any]:
    """A tensor as plain JSON."""
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "zlib_base64": base64.b64encode(zlib.compress(data)).decode("ascii"),
    }


def unpack(packed: Mapping[str, Any]) -> Tensor:
    """The inverse of `pack`."""
    data = bytearray(zlib.decompress(base64.b64decode(packed["zlib_base64"])))
    dtype: torch.dtype = getattr(torch, packed["dtype"])
    return torch.frombuffer(data, dtype=dtype).reshape(list(packed["shape"]))
