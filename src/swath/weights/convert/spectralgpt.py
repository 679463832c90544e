"""Names of the published SpectralGPT parameters to ours.

Three differences: the published code keeps q, k and v in separate layers (before August 2024 fused as
`to_qkv`, in the order q, k, v), calls the spectral position "temporal", and saves some files with a `module.`
prefix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_SEPARATE = re.compile(r"(.*\.attn\.)([qkv])\.(weight|bias)")


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict (of the pretraining model or the classifier) under the names of `swath.models`.

    Values are kept bit by bit; names that need no change, or that are not known here, pass through.
    """
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("module.")
        match = _SEPARATE.fullmatch(name)
        if match:
            if match[2] != "q":
                continue  # taken together with q
            prefix = key.removesuffix(name)
            rows = [state[f"{prefix}{match[1]}{part}.{match[3]}"] for part in "qkv"]
            out[f"{match[1]}qkv.{match[3]}"] = torch.cat(rows)
        else:
            renamed = name.replace(".to_qkv.", ".qkv.").replace("pos_embed_temporal", "pos_embed_spectral")
            out[renamed] = value
    return out
