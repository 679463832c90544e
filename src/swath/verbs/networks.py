"""Networks from a verb's options: a family, a preset, and what the data say."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from swath.contract import InputContract
from swath.errors import ConfigError
from swath.verbs.options import ModelOptions

if TYPE_CHECKING:
    from swath.models.config import ModelConfig
    from swath.models.spectralgpt import SpectralGPT
    from swath.models.st_swin import STSwinMAE, STSwinUNet
    from swath.models.unet import UNet

PRETRAINABLE = ("st_swin_mae", "spectralgpt")
MAPPABLE = ("st_swin_unet", "unet")


def presets(system: str) -> Mapping[str, ModelConfig]:
    """The named sizes of a family."""
    if system == "spectralgpt":
        from swath.models import spectralgpt

        return spectralgpt.PRESETS
    if system in ("st_swin_mae", "st_swin_unet"):
        from swath.models import swin_config

        return swin_config.PRESETS
    if system == "unet":
        from swath.models import unet

        return unet.PRESETS
    raise _unknown("system", system, (*PRETRAINABLE, *MAPPABLE), "model.system")


def pretraining_network(model: ModelOptions, contract: InputContract, window: int) -> STSwinMAE | SpectralGPT:
    """A fresh network that learns without labels, for the contract's bands."""
    if model.system == "st_swin_mae":
        from swath.models.st_swin import STSwinMAE

        return STSwinMAE(configure(model, bands=len(contract.bands)))
    if model.system == "spectralgpt":
        from swath.models.spectralgpt import SpectralGPT

        fixed = {"wavelengths": contract.wavelengths, "temporal": contract.max_dates != 1}
        config = configure(model, **fixed)
        size = -(-window // config.patch_size) * config.patch_size
        return SpectralGPT(configure(model, **fixed, image_size=size))
    raise _unknown("system", model.system, PRETRAINABLE, "model.system")


def map_network(
    model: ModelOptions, contract: InputContract, classes: int, backbone: Mapping[str, Any] | None = None
) -> STSwinUNet | UNet:
    """A fresh network that draws maps.

    Args:
        model: options of an "st_swin_unet" go to the U-net if it has them, else to its backbone.
        contract: of the input.
        classes: K.
        backbone: config of the pretrained ST-SwinMAE to continue; options may repeat it but not contradict it.
            None: from the preset.
    """
    if model.system == "unet":
        from swath.models.unet import UNet

        return UNet(configure(model, bands=len(contract.bands), classes=classes))
    if model.system == "st_swin_unet":
        from swath.models.st_swin import STSwinConfig, STSwinUNet, STSwinUNetConfig

        own = {f.name for f in fields(STSwinUNetConfig)} - {"backbone", "classes"}
        outer = {k: v for k, v in model.options.items() if k in own}
        inner = {k: v for k, v in model.options.items() if k not in own}
        named = ModelOptions("st_swin_mae", model.preset, inner)
        body = configure(named, bands=len(contract.bands))
        if backbone is not None:
            theirs = STSwinConfig.from_dict(backbone)
            _check_agrees(named, body, theirs)
            # Stochastic depth is no part of the weights and may be chosen anew.
            body = replace(theirs, drop_path=body.drop_path if "drop_path" in inner else theirs.drop_path)
        _check_types(STSwinUNetConfig(), outer)
        return STSwinUNet(STSwinUNetConfig.from_dict({**outer, "backbone": body, "classes": classes}))
    raise _unknown("system", model.system, MAPPABLE, "model.system")


def _check_agrees(model: ModelOptions, asked: ModelConfig, theirs: ModelConfig) -> None:
    """What the options say of the backbone, if anything, must be what the pretrained weights are."""
    names = set(model.options) | ({f.name for f in fields(asked)} if model.preset else set())
    for name in sorted(names - {"drop_path"}):
        ours, given = getattr(asked, name), getattr(theirs, name)
        if ours != given:
            raise ConfigError(
                f"{name} is to be {ours}, but the pretrained weights have {given}",
                where="model",
                mend="leave model.preset and model.options to the weights, or train without weights",
            )


def configure(model: ModelOptions, **fixed: Any) -> Any:
    """The config of a preset with single options over it and what the data fix."""
    named = presets(model.system)
    preset = model.preset or next(iter(named))
    if preset not in named:
        raise _unknown(f"preset of {model.system}", preset, tuple(named), "model.preset")
    config = named[preset]
    known = {f.name for f in fields(config)}
    for name in model.options:
        if name in fixed:
            raise ConfigError(f"{name} is set by the data", where="model.options", mend="leave it out")
        if name not in known:
            raise _unknown(f"option of {model.system}", name, tuple(sorted(known)), "model.options")
    _check_types(config, model.options)
    return type(config).from_dict({**config.to_dict(), **model.options, **fixed})


def _check_types(config: ModelConfig, options: Mapping[str, Any]) -> None:
    """Options below a free-form key have no types on the command line: those of the network's config count.

    Raises ConfigError for a value of another type.
    """
    from swath.verbs.config import load_config

    load_config(type(config), [], {**config.to_dict(), **options}, flag="model.options.")


def _unknown(what: str, name: str, known: tuple[str, ...], where: str) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1)
    mend = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
    return ConfigError(f"unknown {what} '{name}'", where=where, mend=mend)
