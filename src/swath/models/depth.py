"""How deep a parameter lies: what decay of learning rates by layer, freezing and gradual unfreezing count by.

0 is what makes tokens of pixels, with its positions and dates; then one for each block of the encoder, in the order of
the forward pass; then one for each block of a decoder that was pretrained with it; at last, the head. A layer between
blocks (a merging, an expansion, a last norm) has the depth of the block before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from swath.errors import ConfigError
from swath.models.st_swin import STSwinPyramid
from swath.models.swin3d import Swin3D
from swath.models.token_encoder import TokenEncoder

_STAGE = re.compile(r"(layers|layers_up)\.(\d+)\.(?:blocks\.(\d+)\.)?")
_BLOCK = re.compile(r"blocks\.(\d+)\.")


@dataclass(frozen=True)
class Depths:
    """The depth of every parameter.

    Attributes:
        of: by name.
        encoder: the greatest depth of the encoder.
        top: the depth of the head, the greatest.
    """

    of: Mapping[str, int]
    encoder: int
    top: int


def depths(module: nn.Module) -> Depths:
    """The depths of a network, or of a task around it.

    Raises:
        ConfigError: it has no encoder of this house.
    """
    kinds = (TokenEncoder, Swin3D)
    found = next(((name, m) for name, m in module.named_modules() if isinstance(m, kinds)), None)
    if found is None:
        raise ConfigError(
            f"{type(module).__name__} has no encoder whose layers could be told apart",
            where="training",
            mend="leave training.layer_decay, training.freeze and lora out",
        )
    prefix, part = found
    dot = f"{prefix}." if prefix else ""
    inside, encoder, top = _tokens(part) if isinstance(part, TokenEncoder) else _swin(part)
    return Depths(
        {
            name: inside.get(name.removeprefix(dot), top) if name.startswith(dot) else top
            for name, _ in module.named_parameters()
        },
        encoder,
        top,
    )


def _tokens(encoder: TokenEncoder) -> tuple[dict[str, int], int, int]:
    last = len(encoder.blocks)
    found: dict[str, int] = {}
    for name, _ in encoder.named_parameters():
        block = _BLOCK.match(name)
        if block:
            found[name] = int(block[1]) + 1
        elif name.startswith("norm."):
            found[name] = last
        elif name.startswith(("patch_embed.", "pos_embed", "date_embed.", "positions.")):
            found[name] = 0
    return found, last, last + 1


def _swin(encoder: Swin3D) -> tuple[dict[str, int], int, int]:
    counts = [len(stage.blocks) for stage in encoder.layers]  # type: ignore[arg-type]  # stages hold blocks
    last = sum(counts)
    up = [len(stage.blocks) for stage in encoder.layers_up] if isinstance(encoder, STSwinPyramid) else []  # type: ignore[arg-type]  # as above
    deep = last + sum(up)
    found: dict[str, int] = {}
    for name, _ in encoder.named_parameters():
        stage = _STAGE.match(name)
        if stage:
            before, blocks = (0, counts) if stage[1] == "layers" else (last, up)
            i = int(stage[2])
            inner = blocks[i] - 1 if stage[3] is None else int(stage[3])
            found[name] = before + sum(blocks[:i]) + inner + 1
        elif name.startswith("patch_embed."):
            found[name] = 0
        elif name.startswith(("norm.", "first_patch_expanding.")):
            found[name] = last
        elif name.startswith("norm_up."):
            found[name] = deep
    return found, last, deep + 1
