"""The objective of each system that learns without labels, from a verb's options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from swath.verbs.pretrain import PretrainConfig
    from swath.verbs.scene_data import Pretraining


def make_objective(config: PretrainConfig, data: Pretraining) -> nn.Module:
    """The network with what it is trained for."""
    from dataclasses import replace

    from swath.verbs.networks import pretraining_network

    network = pretraining_network(config.model, data.contract, config.data.window)
    mask = config.mask
    if config.model.system == "spectralgpt":
        from swath.models.spectralgpt import SpectralGPT
        from swath.pretraining.spectralgpt import LOSSES, SpectralGPTObjective

        assert isinstance(network, SpectralGPT)
        loss = replace(LOSSES[mask.loss], mask_ratio=mask.ratio, norm_pix_loss=mask.norm_pix)
        return SpectralGPTObjective(network, loss)
    if config.model.system in ("mae", "satmae"):
        from swath.models.mae import MAE
        from swath.pretraining.mae import MAEObjective, MAEObjectiveConfig

        assert isinstance(network, MAE)
        return MAEObjective(network, MAEObjectiveConfig(mask.ratio, mask.scope, mask.norm_pix))
    from swath.models.st_swin import STSwinMAE
    from swath.pretraining.st_swin_mae import STSwinMAEObjective

    assert isinstance(network, STSwinMAE)
    return STSwinMAEObjective(network, mask.ratio, mask.window, mask.share_over_time, mask.norm_pix)
