from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import torch
from torch import nn

from swath.errors import WeightsError
from swath.weights.build import REGISTRY, architecture, build, build_loaded, meta_for
from swath.weights.file import load, same_state, save
from swath.weights.meta import WeightsMeta

SMALL: dict[str, dict[str, object]] = {
    "spectralgpt": {
        "embed_dim": 12,
        "depth": 1,
        "heads": 2,
        "decoder_embed_dim": 12,
        "decoder_depth": 1,
        "decoder_heads": 2,
    },
    "spectralgpt_classifier": {"embed_dim": 12, "depth": 1, "heads": 2, "num_classes": 3},
    **{
        name: {
            "embed_dim": 12,
            "depth": 1,
            "heads": 2,
            "branch_widths": (32, 32, 32, 32),
            "branch_outputs": (8, 8, 8),
            "decoder_width": 16,
        }
        for name in ("spectralgpt_segmentation", "spectralgpt_change")
    },
    "st_swin_mae": {"embed_dim": 8, "depths": (1, 1), "heads": (1, 2)},
    "st_swin_unet": {"backbone": {"embed_dim": 8, "depths": (1, 1), "heads": (1, 2)}, "classes": 3},
    "swin3d": {"embed_dim": 8, "depths": (1, 1), "heads": (1, 2)},
    "mae": {
        "embed_dim": 12,
        "depth": 1,
        "heads": 2,
        "decoder_embed_dim": 8,
        "decoder_depth": 1,
        "decoder_heads": 2,
    },
    "beit": {"embed_dim": 12, "depth": 1, "heads": 2, "codes": 4},
    "vit": {
        "embed_dim": 12,
        "depth": 1,
        "heads": 2,
        "wavelengths": (490.0, 560.0),
        "groups": ((0,), (1,)),
        "group_dim": 4,
    },
    "unet": {},
    "resnet": {"width": 4},
    "task_network": {
        "kind": "vit",
        "encoder": {
            "embed_dim": 12,
            "depth": 1,
            "heads": 2,
            "groups": (tuple(range(6)), tuple(range(6, 12))),
            "group_dim": 4,
        },
        "head": "conv",
    },
}


@pytest.mark.parametrize("name", REGISTRY)
def test_every_architecture_goes_to_a_file_and_comes_back(name, tmp_path):
    network_class, config_class = architecture(name).load()
    assert dataclasses.is_dataclass(config_class)
    torch.manual_seed(0)
    network = network_class(config_class.from_dict(SMALL[name]))
    meta = meta_for(network, licence="none")
    assert meta.architecture == name
    save(tmp_path / "w.safetensors", network, meta)
    loaded = load(tmp_path / "w.safetensors")
    again = build_loaded(loaded)
    assert type(again) is network_class and again.state_dict().keys() == network.state_dict().keys()
    assert same_state(again.state_dict(), network.state_dict())


def test_what_cannot_be_built_is_said(tmp_path):
    with pytest.raises(WeightsError, match="did you mean st_swin_unet"):
        build(WeightsMeta("st_swin_une", {}))
    with pytest.raises(WeightsError, match="cannot be built"):
        build(WeightsMeta("st_swin_mae", {"embed_dimm": 8}))
    with pytest.raises(WeightsError, match="no registered architecture"):
        meta_for(nn.Linear(2, 2))
    meta = WeightsMeta("st_swin_mae", SMALL["st_swin_mae"])
    save(tmp_path / "w.safetensors", build(replace(meta, config={**meta.config, "embed_dim": 16})), meta)
    with pytest.raises(WeightsError, match="do not fit"):
        build_loaded(load(tmp_path / "w.safetensors"))
