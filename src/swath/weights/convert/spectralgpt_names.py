"""Names of the published SpectralGPT parameters to ours, and back.

Three differences: the published code keeps q, k and v in separate layers (before August 2024 fused as
`to_qkv`, in the order q, k, v), calls the spectral position "temporal", and numbers the parts of its dense
networks. Values are kept bit by bit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from swath.models.positions import resize_grid
from swath.weights.convert.kinds import expect_tensor

SEPARATE = re.compile(r"(.*\.attn\.)([qkv])\.(weight|bias)")
_OURS = re.compile(r"(.*\.attn\.)qkv\.(weight|bias)")
# The dense networks' parts: their names and ours.
_DENSE = (
    ("fc.0.", "fuse."),
    ("cls_seg.0.", "classify."),
    *((f"conv{i}.{n}.", f"branches.{i}.{part}.") for i in range(4) for n, part in ((0, "conv"), (1, "norm"))),
    *((f"conv{i}.3.", f"branches.{i}.up.") for i in range(3)),
    *((f"decoder.PPMHead.psp_modules.{i}.1.", f"decoder.pyramid.convs.{i}.") for i in range(4)),
    ("decoder.conv_x1.", "decoder.first."),
    *(
        (f"decoder.{theirs}.{n}.", f"decoder.{ours}.{part}.")
        for theirs, ours in (
            ("PPMHead.final", "pyramid.join"),
            ("fuse_all", "join"),
            *((f"Conv_fuse{i + 1}", f"lateral.{i}") for i in range(3)),
            *((f"Conv_fuse{i + 1}_", f"merge.{i}") for i in range(3)),
        )
        for n, part in ((0, "conv"), (1, "norm"))
    ),
)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict (of the pretraining model or the classifier) under the names of `swath.models`.

    Values are kept bit by bit; names that need no change, or that are not known here, pass through.
    """
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("module.")
        match = SEPARATE.fullmatch(name)
        if match:
            prefix = key.removesuffix(name)
            rows = [expect_tensor(state, f"{prefix}{match[1]}{part}.{match[3]}") for part in "qkv"]
            if match[2] == "q":  # k and v are taken together with it
                out[f"{match[1]}qkv.{match[3]}"] = torch.cat(rows)
        else:
            renamed = name.replace(".to_qkv.", ".qkv.").replace("pos_embed_temporal", "pos_embed_spectral")
            out[renamed] = value
    return out


def to_published(state: Mapping[str, Tensor], *, fused: bool = False) -> dict[str, Tensor]:
    """The way back of `from_published`; `fused` attention as before August 2024."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        match = _OURS.fullmatch(name)
        if match and fused:
            out[f"{match[1]}to_qkv.{match[2]}"] = value
        elif match:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                out[f"{match[1]}{part}.{match[2]}"] = rows
        else:
            out[name.replace("pos_embed_spectral", "pos_embed_temporal")] = value
    return out


def joint_positions(spatial: Tensor, spectral: Tensor, grid: int | None = None) -> Tensor:
    """Separable positions [1,n*n,D] and [1,G,D] as joint ones [1,G*m*m,D]: what a classifier with joint
    positions should have started from (the published one starts from zeros). `grid` is m, None for n.
    """
    n = math.isqrt(spatial.shape[1])
    m = grid or n
    places = resize_grid(spatial.reshape(1, n, n, -1), (m, m)).reshape(1, 1, m * m, -1)
    return (places + spectral[:, :, None]).flatten(1, 2)


def dense_from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published dense network under the names of `swath.models.spectralgpt_dense`."""
    head, trunk = {}, {}
    for name, value in state.items():
        for theirs, ours in _DENSE:
            if name.startswith(theirs):
                head[ours + name.removeprefix(theirs)] = value
                break
        else:
            trunk[name] = value
    return {**{f"encoder.{k}": v for k, v in from_published(trunk).items()}, **head}


def dense_to_published(state: Mapping[str, Tensor], *, fused: bool = False) -> dict[str, Tensor]:
    """The way back of `dense_from_published`."""
    head, trunk = {}, {}
    for name, value in state.items():
        if name.startswith("encoder."):
            trunk[name.removeprefix("encoder.")] = value
            continue
        theirs, ours = next(pair for pair in _DENSE if name.startswith(pair[1]))
        head[theirs + name.removeprefix(ours)] = value
    return {**to_published(trunk, fused=fused), **head}
