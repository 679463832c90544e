"""Names and shapes of published Swin parameters to ours.

Our names are theirs, with few differences: 2D patch embeddings get a time axis of one, the mask token and the
1 x 1 convolution of the head lose their empty axes, and Swin-Unet numbers its decoder from another start.
Buffers that follow from sizes (relative indices, attention masks, and the position embedding that Swin-MAE
keeps but never adds) are left out: they are rebuilt, never loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

REBUILT = re.compile(r"(.*\.)?(relative_position_index|attn_mask|pos_embed|decoder_pos_embed)")
_UNET_PREFIXES = ("module.swin_unet.", "swin_unet.", "module.")


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
        out[_unet_name(name)] = value
    return _shaped(out)


def _unet_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "layers_up" and parts[1] == "0":
        return ".".join(["first_patch_expanding", *parts[2:]])
    if parts[0] in ("layers_up", "concat_back_dim"):
        room = "layers_up" if parts[0] == "layers_up" else "skip_connection_layers"
        return ".".join([room, str(int(parts[1]) - 1), *parts[2:]])
    whole = {"up": "final_patch_expanding", "output": "head"}
    return ".".join([whole.get(parts[0], parts[0]), *parts[1:]])


def _shaped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if REBUILT.fullmatch(name):
            continue
        if name == "patch_embed.proj.weight" and value.ndim == 4:
            value = value[:, :, None]  # [C,in,p,p] -> [C,in,1,p,p]
        elif name == "mask_token":
            value = value.flatten()  # [1,1,C] -> [C]
        elif name == "head.weight" and value.ndim == 4:
            value = value.flatten(1)  # [K,C,1,1] -> [K,C]
        out[name] = value
    return out
