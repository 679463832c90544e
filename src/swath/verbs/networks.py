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
    from torch import nn

    from swath.models.config import ModelConfig

PRETRAINABLE = ("st_swin_mae", "spectralgpt", "swin_mae", "mae", "satmae", "beit", "simclr", "moco")
# SatMAE's groups of Sentinel-2 bands: those of 10 m and near infrared, red edges, and the short-wave infrared.
SATMAE_GROUPS = (("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A"), ("B11", "B12"))
MAPPABLE = ("st_swin_unet", "unet")
_MOST = 1e4  # no factor between the widths of two layers is larger
WHOLE = ("unet", "resnet")
"""Networks that are all head: they learn from labels alone, and continue no weights."""


def presets(system: str) -> Mapping[str, ModelConfig]:
    """The named sizes of a family."""
    if system == "spectralgpt":
        from swath.models import spectralgpt

        return spectralgpt.PRESETS
    if system in ("st_swin_mae", "st_swin_unet"):
        from swath.models import swin_config

        return swin_config.PRESETS
    if system == "swin_mae":
        from swath.models import swin_config

        return swin_config.SWIN_MAE_PRESETS
    if system == "unet":
        from swath.models import unet

        return unet.PRESETS
    if system == "resnet":
        from swath.models import resnet

        return resnet.PRESETS
    if system in ("mae", "satmae"):
        from swath.models import mae

        return mae.PRESETS if system == "mae" else mae.SATMAE_PRESETS
    if system == "beit":
        from swath.models import beit

        return beit.PRESETS
    if system in ("simclr", "moco"):
        from swath.models import swin_config, vit_encoder

        return {**vit_encoder.PRESETS, **swin_config.BACKBONES}
    raise _unknown("system", system, (*PRETRAINABLE, *MAPPABLE, "resnet"), "model.system")


def pretraining_network(model: ModelOptions, contract: InputContract, window: int) -> nn.Module:
    """A fresh network that learns without labels, for the contract's bands."""
    if model.system in ("st_swin_mae", "swin_mae"):
        from swath.models.st_swin import STSwinMAE

        if model.system == "swin_mae" and contract.max_dates != 1:
            raise ConfigError(
                "Swin-MAE sees one date",
                where="model.system",
                mend="take st_swin_mae, or set data.dates to 1",
            )
        return STSwinMAE(configure(model, bands=len(contract.bands)))
    if model.system == "spectralgpt":
        from swath.models.spectralgpt import SpectralGPT

        return SpectralGPT(token_config(model, contract, window))
    if model.system in ("mae", "satmae"):
        from swath.models.mae import MAE

        return MAE(token_config(with_groups(model, contract), contract, window))
    if model.system == "beit":
        from swath.models.beit import BEiT

        return BEiT(token_config(model, contract, window))
    if model.system in ("simclr", "moco"):
        return backbone_network(model, contract, window)
    raise _unknown("system", model.system, PRETRAINABLE, "model.system")


def backbone_network(model: ModelOptions, contract: InputContract, window: int) -> nn.Module:
    """A fresh encoder alone: a ViT or a Swin."""
    from swath.models.encoders import build_encoder

    return build_encoder(backbone_config(model, contract, window))


def backbone_config(model: ModelOptions, contract: InputContract, window: int) -> Any:
    """The config of an encoder alone."""
    from swath.models.swin_config import BACKBONES

    if model.preset in BACKBONES:
        return configure(model, bands=len(contract.bands))
    return token_config(with_groups(model, contract), contract, window)


def token_config(model: ModelOptions, contract: InputContract, window: int) -> Any:
    """The config of a network over tokens, whose positions have the training window's grid."""
    fixed = {"wavelengths": contract.wavelengths, "temporal": contract.max_dates != 1}
    patch = configure(model, **fixed).patch_size
    return configure(model, **fixed, image_size=-(-window // patch) * patch)


def with_groups(model: ModelOptions, contract: InputContract) -> ModelOptions:
    """Options whose groups of bands, which a person writes by name, are channels.

    SatMAE without groups gets those of its publication if the bands are Sentinel-2's; bands that are in no group
    are an error.
    """
    names = tuple(spec.band.name for spec in contract.bands)
    groups = model.options.get("groups")
    if groups is None and model.system == "satmae":
        groups = SATMAE_GROUPS
        if sorted(names) != sorted(n for group in groups for n in group):
            raise ConfigError(
                f"the bands {', '.join(names)} are not those of the published groups",
                where="model.options.groups",
                mend="write which bands share a token, such as [[B02, B03, B04], [B11, B12]]",
            )
    if groups is None:
        return model
    if not isinstance(groups, (list, tuple)) or not all(isinstance(g, (list, tuple)) for g in groups):
        raise ConfigError("is no list of lists of bands", where="model.options.groups")
    given = [str(name) for group in groups for name in group]
    for name in (*given, *names):
        if name not in names or name not in given or given.count(name) > 1:
            known = (
                f"{name} is named twice"
                if given.count(name) > 1
                else (f"{name} is in no group" if name in names else f"there is no band {name}")
            )
            raise ConfigError(
                known, where="model.options.groups", mend=f"put each of {', '.join(names)} into one group"
            )
    channels = [[names.index(str(name)) for name in group] for group in groups]
    return replace(model, options={**model.options, "groups": channels})


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
    # The data's part too: an option may be about the bands.
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in fixed.items()}
    _check_sizes(config, model.options)
    check_types(config, {**plain, **model.options})
    return type(config).from_dict({**config.to_dict(), **model.options, **fixed})


def _check_sizes(config: ModelConfig, options: Mapping[str, Any]) -> None:
    """Raises ConfigError for a size or share that no network has; 0 is one where a preset says so."""
    for name, value in options.items():
        usual = getattr(config, name)
        where = f"model.options.{name}"
        if isinstance(usual, bool) or isinstance(value, bool) or not isinstance(value, int | float):
            continue  # types are looked at after this, since a config's own check may divide by a 0
        if isinstance(usual, int) and value < min(1, usual):
            raise ConfigError(f"is {value}", where=where, mend=f"give {min(1, usual)} or more")
        if isinstance(usual, float):
            share = "drop" in name
            if not (0 <= value < 1 if share else 0 < value < _MOST):
                mend = (
                    "give a share from 0 to below 1"
                    if share
                    else f"give more than 0, such as {usual or 1.0:g}"
                )
                raise ConfigError(f"is {value:g}", where=where, mend=mend)


def check_types(config: ModelConfig, options: Mapping[str, Any]) -> None:
    """Options below a free-form key have no types on the command line: those of the network's config count.

    Raises ConfigError for a value of another type.
    """
    from swath.verbs.config import load_config

    load_config(type(config), [], {**config.to_dict(), **options}, flag="model.options.")


def _unknown(what: str, name: str, known: tuple[str, ...], where: str) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1)
    mend = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
    return ConfigError(f"unknown {what} '{name}'", where=where, mend=mend)
