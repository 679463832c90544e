"""The objective of each system that learns without labels, from a verb's options."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from swath.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from swath.feed.base import Feed
    from swath.verbs.pretrain import PretrainConfig
    from swath.verbs.pretrain_options import MaskOptions
    from swath.verbs.scene_data import Pretraining


def make_objective(config: PretrainConfig, data: Pretraining) -> nn.Module:
    """The network with what it is trained for."""
    from dataclasses import replace

    from swath.verbs.networks import pretraining_network

    if config.model.system in ("simclr", "moco"):
        return agreement(config, data)
    network = pretraining_network(
        config.model, data.contract, config.training.augment.resize or config.data.window
    )
    mask = config.mask
    if config.model.system == "spectralgpt":
        from swath.models.spectralgpt import SpectralGPT
        from swath.pretraining.spectralgpt import LOSSES, SpectralGPTObjective

        assert isinstance(network, SpectralGPT)
        loss = replace(
            LOSSES[mask.loss],
            mask_ratio=mask.ratio,
            norm_pix_loss=mask.norm_pix,
            decode_part=mask.decode_part,
        )
        return SpectralGPTObjective(network, loss)
    if config.model.system in ("mae", "satmae"):
        from swath.models.mae import MAE
        from swath.pretraining.mae import MAEObjective, MAEObjectiveConfig

        assert isinstance(network, MAE)
        return MAEObjective(network, MAEObjectiveConfig(mask.ratio, mask.scope, mask.norm_pix))
    if config.model.system == "beit":
        from swath.models.beit import BEiT
        from swath.pretraining.beit import BEiTObjective

        assert isinstance(network, BEiT)
        return BEiTObjective(network, mask.ratio, mask.min_block)
    from swath.models.st_swin import STSwinMAE
    from swath.pretraining.st_swin_mae import STSwinMAEObjective

    assert isinstance(network, STSwinMAE)
    _check_windows(mask, network.config.patch_size, config.training.augment.resize or config.data.window)
    return STSwinMAEObjective(network, mask.ratio, mask.window, mask.share_over_time, mask.norm_pix)


def _check_windows(mask: MaskOptions, patch: Sequence[int], side: int) -> None:
    """Whether any of the mask's windows on a date stays visible."""
    from swath.pretraining.window_masks import window_grid

    rows, columns = window_grid(-(-side // patch[1]), -(-side // patch[2]), mask.window)
    count = rows * columns
    if int(count * (1 - mask.ratio)) == 0:  # the published rule
        raise ConfigError(
            f"{mask.ratio:g} hides all windows of {mask.window} x {mask.window} tokens on a date, of which there are "
            f"{count}",
            where="mask.ratio",
            mend="hide less, or take a smaller mask.window",
        )


def prepare(objective: nn.Module, feed: Feed, config: PretrainConfig) -> None:
    """What comes before the first step: BEiT's codebook, fitted to the images that will be learned from.

    The same images and seed give the same codebook, so a run that goes on may fit it again.
    """
    from swath.feed.normalise import normalise
    from swath.models.beit import BEiT
    from swath.models.tokens import Tokens
    from swath.pretraining import tokenizer
    from swath.pretraining.beit import BEiTObjective

    if not isinstance(objective, BEiTObjective):
        return
    network: BEiT = objective.network

    def batches() -> Iterator[Tokens]:
        size = config.training.batch_size
        for i in itertools.count():
            batch = feed.take(i * size, size)
            yield network.tokenize(normalise(batch), batch.valid, batch.wavelengths)

    x, held = tokenizer.collect(network.visual_tokens, batches(), config.tokenizer.tokens)
    tokenizer.fit(
        network.visual_tokens, x, held, iterations=config.tokenizer.iterations, seed=config.training.seed
    )


def agreement(config: PretrainConfig, data: Pretraining) -> nn.Module:
    """SimCLR or MoCo on a ViT or Swin."""
    from dataclasses import replace

    from swath.models.swin3d import Swin3D
    from swath.models.vit_encoder import ViT
    from swath.pretraining.moco import MOCO, MoCoObjective
    from swath.pretraining.simclr import SimCLRConfig, SimCLRObjective
    from swath.verbs.networks import pretraining_network

    network = pretraining_network(
        config.model, data.contract, config.training.augment.resize or config.data.window
    )
    if isinstance(network, Swin3D):
        width = network.config.width(network.config.stages - 1)
    else:
        assert isinstance(network, ViT)
        width = network.config.embed_dim
    given = {
        name: value
        for name, value in vars(config.contrast).items()
        if name != "version" and value is not None
    }
    if config.model.system == "moco":
        version = config.contrast.version
        assert version is not None  # the config settles it
        return MoCoObjective(network, width, replace(MOCO[version], **given), config.views)
    return SimCLRObjective(network, width, replace(SimCLRConfig(), **given), config.views)
