"""Which part of a file of weights is an encoder, and what of it a new network leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from swath.errors import WeightsError
from swath.models.config import ModelConfig
from swath.models.encoders import EncoderKind, encoder_config, encoder_part
from swath.weights.build import architecture, plain_config
from swath.weights.file import Loaded


@dataclass(frozen=True)
class Origin:
    """Where the encoder of an architecture is.

    Attributes:
        kind: of the encoder; None: as the config of the weights says.
        prefix: of the encoder's names.
        left: patterns of what else there is; it belongs to the pretraining or to another task.
    """

    kind: EncoderKind | None
    prefix: str = ""
    left: tuple[str, ...] = ()


_DENSE = Origin("spectralgpt", "encoder.", ("fuse.*", "branches.*", "decoder.*", "classify.*"))
_PYRAMID = ("first_patch_expanding.*", "layers_up.*", "norm_up.*")
ORIGINS: dict[str, Origin] = {
    "spectralgpt": Origin("spectralgpt", left=("decoder_*", "mask_token")),
    "spectralgpt_classifier": Origin("spectralgpt", left=("head.*",)),
    "spectralgpt_segmentation": _DENSE,
    "spectralgpt_change": _DENSE,
    "mae": Origin("vit", left=("decoder_*", "mask_token")),
    "beit": Origin("vit", left=("head.*", "mask_token", "visual_tokens.*")),
    "vit": Origin("vit"),
    "swin3d": Origin("swin3d"),
    "st_swin_mae": Origin("swin3d", left=(*_PYRAMID, "mask_token", "decoder_pred.*")),
    "st_swin_unet": Origin(
        "swin3d",
        left=(
            *_PYRAMID,
            "skip_connection_layers.*",
            "collapse.*",
            "final_patch_expanding.*",
            "stem.*",
            "head.*",
        ),
    ),
    "task_network": Origin(None, "encoder.", ("neck.*", "dates.*", "head.*")),
}


@dataclass(frozen=True)
class Encoder:
    """The encoder in a file of weights.

    Attributes:
        kind: of encoder.
        config: of it alone.
        state: its tensors, by the encoder's own names.
        other: the other tensors, by their names in the file.
        left: patterns of the latter.
    """

    kind: EncoderKind
    config: ModelConfig
    state: Mapping[str, Tensor]
    other: Mapping[str, Tensor]
    left: tuple[str, ...]


def encoder_in(source: Loaded) -> Encoder:
    """The encoder that weights hold.

    Raises:
        WeightsError: they hold none, or their config cannot be read.
    """
    name = source.meta.architecture
    origin = ORIGINS.get(name)
    if origin is None:
        raise WeightsError(
            f"hold a {name}, which has no encoder that others could use",
            where=source.path,
            mend=f"use weights of {', '.join(ORIGINS)}",
        )
    values = plain_config(source.meta.config)
    if origin.kind is None:
        kind: EncoderKind = values["kind"]
        config = encoder_config(kind, values["encoder"])
    else:
        kind = origin.kind
        config = encoder_part(kind, _inner(architecture(name).load()[1].from_dict(values)))
    state, other = {}, {}
    for tensor_name, tensor in source.state.items():
        mine = tensor_name.startswith(origin.prefix) and not any(
            fnmatchcase(tensor_name, p) for p in origin.left
        )
        if mine:
            state[tensor_name.removeprefix(origin.prefix)] = tensor
        else:
            other[tensor_name] = tensor
    return Encoder(kind, config, state, other, origin.left)


def _inner(config: Any) -> ModelConfig:
    """The config that holds the encoder's fields: a U-net keeps it inside, SpectralGPT's dense networks change it."""
    for name in ("backbone", "encoder"):
        part = getattr(config, name, None)
        if isinstance(part, ModelConfig):
            return part
    assert isinstance(config, ModelConfig)
    return config
