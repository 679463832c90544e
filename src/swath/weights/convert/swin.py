"""Names and shapes of published Swin parameters and ours, there and back; and 2D weights made 3D.

Our names are theirs, with few differences: 2D patch embeddings get a time axis of one, the mask token and the
1 x 1 convolution of the head lose their empty axes, and Swin-Unet numbers its decoder from another start.
Buffers that follow from sizes (relative indices, attention masks, and the position embedding that Swin-MAE
keeps but never adds) are left out: they are rebuilt, never loaded (`swin_buffers`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from swath.errors import WeightsError
from swath.models.swin_config import Size

REBUILT = re.compile(r"(.*\.)?(relative_position_index|attn_mask|pos_embed|decoder_pos_embed)")
_TABLE = "relative_position_bias_table"
_PROJECTION = "patch_embed.proj.weight"
_UNET_PREFIXES = ("module.swin_unet.", "swin_unet.", "module.")
_UNET_WHOLE = {"up": "final_patch_expanding", "output": "head"}


def from_video_swin(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Video Swin's backbone, from a recogniser's checkpoint or alone; its classification head is left out."""
    inner = {k.removeprefix("module."): v for k, v in state.items()}
    backbone = {k.removeprefix("backbone."): v for k, v in inner.items() if not k.startswith("cls_head.")}
    return _shaped(backbone)


def from_swin_mae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Swin-MAE and the U-net of the same authors."""
    return _shaped({k.removeprefix("module."): v for k, v in state.items()})


def from_swin_unet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Swin-Unet, whose decoder begins with the expansion that others keep outside of its stages."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key
        for prefix in _UNET_PREFIXES:
            name = name.removeprefix(prefix)
        out[from_unet_name(name)] = value
    return _shaped(out)


def to_planar(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Ours in the shapes of the 2D publications; the way back of `from_swin_mae`."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if name == _PROJECTION:
            value = value[:, :, 0]  # [C,in,1,p,p] -> [C,in,p,p]
        elif name == "mask_token":
            value = value[None, None]
        elif name == "head.weight":
            value = value[..., None, None]
        out[name] = value
    return out


def to_swin_unet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of `from_swin_unet`."""
    return {to_unet_name(name): value for name, value in to_planar(state).items()}


def from_unet_name(name: str) -> str:
    """Our name of one of Swin-Unet's tensors."""
    parts = name.split(".")
    if parts[0] == "layers_up" and parts[1] == "0":
        return ".".join(["first_patch_expanding", *parts[2:]])
    if parts[0] in ("layers_up", "concat_back_dim"):
        room = "layers_up" if parts[0] == "layers_up" else "skip_connection_layers"
        return ".".join([room, str(int(parts[1]) - 1), *parts[2:]])
    return ".".join([_UNET_WHOLE.get(parts[0], parts[0]), *parts[1:]])


def to_unet_name(name: str) -> str:
    """The inverse of `from_unet_name`."""
    parts = name.split(".")
    if parts[0] == "first_patch_expanding":
        return ".".join(["layers_up", "0", *parts[1:]])
    if parts[0] in ("layers_up", "skip_connection_layers"):
        room = "layers_up" if parts[0] == "layers_up" else "concat_back_dim"
        return ".".join([room, str(int(parts[1]) + 1), *parts[2:]])
    whole = {ours: theirs for theirs, ours in _UNET_WHOLE.items()}
    return ".".join([whole.get(parts[0], parts[0]), *parts[1:]])


def inflate(state: Mapping[str, Tensor], window: Size, patch_dates: int) -> dict[str, Tensor]:
    """A 2D Swin as a 3D one that starts by seeing the same at every date (Video Swin, section 3.3).

    The first convolution is repeated over the dates of a patch and divided by their number, so that equal
    dates give what one gave. Bias tables are resized to the new window in space, bicubically, if it is
    another one, and repeated for every offset in time.

    Args:
        state: under the 2D names, without heads; buffers are left out.
        window: the new window, (dates, rows, columns).
        patch_dates: dates of a token.
    """
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if REBUILT.fullmatch(name):
            continue
        if name == _PROJECTION:
            value = value[:, :, None].repeat(1, 1, patch_dates, 1, 1) / patch_dates
        elif name.endswith(_TABLE):
            value = _inflate_table(name, value, window)
        out[name] = value
    return out


def _inflate_table(name: str, table: Tensor, window: Size) -> Tensor:
    rows, heads = table.shape
    side, (height, width) = math.isqrt(rows), (2 * window[1] - 1, 2 * window[2] - 1)
    if side * side != rows:
        raise WeightsError(f"{rows} rows are no table of a square window", where=name)
    if rows != height * width:
        grid = table.t().reshape(1, heads, side, side)
        grid = F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
        table = grid.reshape(heads, height * width).t()
    return table.repeat(2 * window[0] - 1, 1)


def _shaped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if REBUILT.fullmatch(name):
            continue
        if name == _PROJECTION and value.ndim == 4:
            value = value[:, :, None]  # [C,in,p,p] -> [C,in,1,p,p]
        elif name == "mask_token":
            value = value.flatten()  # [1,1,C] -> [C]
        elif name == "head.weight" and value.ndim == 4:
            value = value.flatten(1)  # [K,C,1,1] -> [K,C]
        out[name] = value
    return out
