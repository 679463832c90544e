"""Networks by name: from the metadata of weights, or from a config."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from swath.errors import ConfigError, WeightsError
from swath.models.config import ModelConfig
from swath.weights.file import Loaded
from swath.weights.meta import WeightsMeta


@dataclass(frozen=True)
class Architecture:
    """Where a network and its config are; imported when asked for.

    Attributes:
        module: imported for them.
        network, config: the names of the classes.
        held: the network's attribute that holds the config it was built from.
    """

    module: str
    network: str
    config: str
    held: str = "config"

    def load(self) -> tuple[type[nn.Module], type[ModelConfig]]:
        """(network class, config class)."""
        module = importlib.import_module(self.module)
        return getattr(module, self.network), getattr(module, self.config)


REGISTRY: dict[str, Architecture] = {
    "spectralgpt": Architecture("swath.models.spectralgpt", "SpectralGPT", "SpectralGPTConfig"),
    "spectralgpt_classifier": Architecture(
        "swath.models.spectralgpt", "SpectralGPTClassifier", "SpectralGPTClassifierConfig"
    ),
    "spectralgpt_segmentation": Architecture(
        "swath.models.spectralgpt_dense", "SpectralGPTSegmentation", "SpectralGPTSegmentationConfig"
    ),
    "spectralgpt_change": Architecture(
        "swath.models.spectralgpt_dense", "SpectralGPTChange", "SpectralGPTChangeConfig"
    ),
    "task_network": Architecture("swath.models.task_network", "TaskNetwork", "TaskNetworkConfig"),
    "st_swin_mae": Architecture("swath.models.st_swin", "STSwinMAE", "STSwinConfig"),
    "st_swin_unet": Architecture("swath.models.st_swin", "STSwinUNet", "STSwinUNetConfig", held="map_config"),
    "swin3d": Architecture("swath.models.swin3d", "Swin3D", "Swin3DConfig"),
    "mae": Architecture("swath.models.mae", "MAE", "MAEConfig"),
    "beit": Architecture("swath.models.beit", "BEiT", "BEiTConfig"),
    "vit": Architecture("swath.models.vit_encoder", "ViT", "ViTConfig"),
    "unet": Architecture("swath.models.unet", "UNet", "UNetConfig"),
    "resnet": Architecture("swath.models.resnet", "ResNet", "ResNetConfig"),
}


def architecture(name: str, where: object | None = None) -> Architecture:
    """The entry of that name. Raises WeightsError that names the nearest."""
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=1)
        mend = f"did you mean {near[0]}?" if near else f"known are {', '.join(REGISTRY)}"
        raise WeightsError(f"unknown architecture '{name}'", where=where, mend=mend)
    return REGISTRY[name]


def build(meta: WeightsMeta, where: object | None = None) -> nn.Module:
    """A network with fresh weights as the metadata describes it."""
    network, config = architecture(meta.architecture, where).load()
    try:
        return network(config.from_dict(plain_config(meta.config)))
    except (ConfigError, TypeError, ValueError) as err:
        raise WeightsError(
            f"the {meta.architecture} in the metadata cannot be built ({err})",
            where=where,
            mend="use a swath of the version that wrote it",
        ) from err


def build_loaded(loaded: Loaded) -> nn.Module:
    """The network that a file describes, with its weights.

    Raises:
        WeightsError: names and shapes in the file are not those of its own config.
    """
    network = build(loaded.meta, loaded.path)
    try:
        network.load_state_dict(loaded.state)
    except RuntimeError as err:
        raise WeightsError(f"the tensors do not fit the config ({err})", where=loaded.path) from err
    return network


def meta_for(network: nn.Module, **about: Any) -> WeightsMeta:
    """Metadata of a registered network; `about` are the other fields of WeightsMeta."""
    for name, entry in REGISTRY.items():
        if entry.network == type(network).__name__ and entry.module == type(network).__module__:
            config = getattr(network, entry.held)
            assert isinstance(config, ModelConfig)
            return WeightsMeta(name, config.to_dict(), **about)
    raise WeightsError(
        f"{type(network).__name__} is no registered architecture",
        mend=f"save a network of {', '.join(REGISTRY)}, not its objective or task",
    )


def plain_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config from JSON, which has no tuples; frozen configs have no lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items()}
        return tuple(plain(v) for v in value) if isinstance(value, (list, tuple)) else value

    return {k: plain(v) for k, v in values.items()}
