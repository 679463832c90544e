"""The encoder of a task's network: from pretrained weights as far as they fit, or fresh, as the options say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from swath.contract import InputContract
from swath.errors import ConfigError, WeightsError
from swath.verbs.networks import WHOLE, backbone_config, configure, token_config, with_groups
from swath.verbs.options import ModelOptions

if TYPE_CHECKING:
    from swath.models.config import ModelConfig
    from swath.models.encoders import EncoderKind
    from swath.weights.encoder_transfer import EncoderPlan
    from swath.weights.file import Loaded

# Which architectures of weights a family may start from.
FITS: dict[str, tuple[str, ...]] = {
    "spectralgpt": (
        "spectralgpt",
        "spectralgpt_classifier",
        "spectralgpt_segmentation",
        "spectralgpt_change",
    ),
    "st_swin_mae": ("st_swin_mae", "st_swin_unet"),
    "swin_mae": ("st_swin_mae", "st_swin_unet"),
    "st_swin_unet": ("st_swin_mae", "st_swin_unet", "swin3d"),
    "mae": ("mae",),
    "satmae": ("mae",),
    "beit": ("beit",),
    "simclr": ("vit", "swin3d"),
    "moco": ("vit", "swin3d"),
}
# The data or the training say these; no pretrained weights are contradicted by them.
_FREE = ("bands", "wavelengths", "image_size", "temporal", "groups", "drop_path", "window")


@dataclass(frozen=True)
class Choice:
    """An encoder to be built.

    Attributes:
        system: the family.
        kind: of encoder.
        config: of it.
        plan: how pretrained weights become it; None: it starts fresh.
        asked: without weights, the config of the family's whole network.
    """

    system: str
    kind: EncoderKind
    config: ModelConfig
    plan: EncoderPlan | None
    asked: ModelConfig | None = None


def family(source: Loaded | None, model: ModelOptions) -> str:
    """The family that options name, or that the weights are of where they say "auto".

    Raises:
        WeightsError: the weights are of another.
        ConfigError: the family is unknown, or left to weights that are not there.
    """
    system = model.system
    if system == "auto":
        if source is None:
            raise ConfigError(
                "is auto, and there are no weights",
                where="model.system",
                mend="name a family or give weights",
            )
        return _family_of(source)
    if system in WHOLE:
        if source is not None:
            raise WeightsError(
                f"hold a {source.meta.architecture}; a {system} cannot continue it",
                where=source.path,
                mend="train the {system} without weights, or set model.system to auto",
            )
        return system
    if system not in FITS:
        known = ", ".join(("auto", *WHOLE, *FITS))
        raise ConfigError(f"unknown system '{system}'", where="model.system", mend=f"use one of {known}")
    if source is not None and not _continues(source, system):
        raise WeightsError(
            f"hold a {source.meta.architecture}; a {system} cannot continue it",
            where=source.path,
            mend="set model.system to auto, use other weights, or train without weights",
        )
    return system


def _family_of(source: Loaded) -> str:
    name = source.meta.architecture
    if name == "task_network":
        return {"spectralgpt": "spectralgpt", "vit": "mae", "swin3d": "st_swin_mae"}[
            source.meta.config["kind"]
        ]
    found = next((system for system, fits in FITS.items() if name in fits and system != "st_swin_unet"), None)
    if found is None:
        raise WeightsError(
            f"hold a {name}, which no task starts from", where=source.path, mend="use weights of an encoder"
        )
    return found


def _continues(source: Loaded, system: str) -> bool:
    name = source.meta.architecture
    if name == "task_network":
        kinds = {"spectralgpt": ("spectralgpt",), "vit": ("mae", "satmae", "beit", "simclr", "moco")}
        swins = ("st_swin_mae", "swin_mae", "st_swin_unet", "simclr", "moco")
        return system in kinds.get(source.meta.config["kind"], swins)
    return name in FITS[system]


def choose(source: Loaded | None, model: ModelOptions, contract: InputContract, *, together: bool) -> Choice:
    """The encoder for data as in `contract`; `together`: the dates of a sample are encoded together.

    Raises:
        SwathError: the weights, the options and the data do not fit each other.
    """
    from swath.models.encoders import encoder_part

    system = family(source, model)
    if source is None:
        asked = fresh_config(replace(model, system=system), contract, together)
        kind = _kind_of(asked)
        return Choice(system, kind, encoder_part(kind, asked), None, asked)
    from swath.weights.encoder_transfer import plan

    options: Mapping[str, Any] = model.options
    _check_agrees(replace(model, system=system), source)
    made = plan(
        source,
        contract,
        together=together,
        drop_path=options.get("drop_path"),
        window=tuple(options["window"]) if "window" in options else None,
    )
    return Choice(system, made.encoder.kind, made.config, made)


def fresh_config(model: ModelOptions, contract: InputContract, together: bool) -> ModelConfig:
    """The config of a family's network for the data, with whatever pretraining has besides the encoder."""
    from swath.models.spectralgpt import SpectralGPTConfig

    seen = contract if together else replace(contract, min_dates=1, max_dates=1)
    window = SpectralGPTConfig().image_size if contract.size is None else max(contract.size)
    config: ModelConfig
    if model.system in ("st_swin_mae", "swin_mae", "st_swin_unet"):
        config = configure(model, bands=len(seen.bands))
    elif model.system in ("simclr", "moco"):
        config = backbone_config(model, seen, window)
    else:
        config = token_config(with_groups(model, seen), seen, window)
    return config


def _kind_of(config: ModelConfig) -> EncoderKind:
    from swath.models.spectralgpt import EncoderConfig
    from swath.models.swin_config import Swin3DConfig

    if isinstance(config, Swin3DConfig):
        return "swin3d"
    return "spectralgpt" if isinstance(config, EncoderConfig) else "vit"


def _check_agrees(model: ModelOptions, source: Loaded) -> None:
    """What the options say of the encoder must be what the weights are: they may repeat it, not contradict it."""
    from swath.weights.origins import encoder_in

    said = {k: v for k, v in model.options.items() if k not in ("groups", "wavelengths", "bands")}
    asked = configure(replace(model, options=said))
    theirs = encoder_in(source).config
    for f in fields(theirs):
        named = f.name in model.options or bool(model.preset)
        if not named or f.name in _FREE or not hasattr(asked, f.name):
            continue
        ours, given = getattr(asked, f.name), getattr(theirs, f.name)
        if ours != given:
            raise ConfigError(
                f"{f.name} is to be {ours}, but the pretrained weights have {given}",
                where="model",
                mend="leave model.preset and model.options to the weights, or train without weights",
            )
