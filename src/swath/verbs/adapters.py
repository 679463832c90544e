"""LoRA within a fine-tuning: adapters before it, plain weights after it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from swath.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from swath.verbs.finetune import FinetuneConfig
    from swath.weights.transfer import TransferReport

log = logging.getLogger(__name__)


def adapt(network: nn.Module, config: FinetuneConfig, transferred: TransferReport | None) -> None:
    """Puts adapters on the network where the options ask for them.

    Raises:
        ConfigError: there is nothing pretrained to adapt, or the encoder is to be frozen too.
    """
    if config.lora is None:
        return
    if transferred is None:
        raise ConfigError(
            "adapts pretrained weights, and there are none",
            where="lora",
            mend="give weights, or leave lora out",
        )
    if config.training.freeze != "none":
        raise ConfigError(
            "trains adapters in the encoder, and training.freeze freezes it", where="lora", mend="choose one"
        )
    from swath.models.lora import add_lora

    made = add_lora(network, config.lora)
    log.info(
        "LoRA on %d layers: %s numbers train, %s are frozen",
        len(made.layers), f"{made.trains:,}", f"{made.frozen:,}",
    )  # fmt: skip


def plain_again(network: nn.Module, config: FinetuneConfig) -> None:
    """Merges the adapters, so that what is saved is a network like any other."""
    if config.lora is not None:
        from swath.models.lora import merge_lora

        merge_lora(network)
