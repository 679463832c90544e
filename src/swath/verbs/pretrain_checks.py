"""What of `swath pretrain`'s options means nothing or cannot be: said before anything is read, not passed over."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError

if TYPE_CHECKING:
    from swath.verbs.pretrain import PretrainConfig

# What each system asks of `mask`; those that are not named hide nothing.
MASKS = {
    "spectralgpt": ("ratio", "norm_pix", "decode_part", "loss"),
    "st_swin_mae": ("ratio", "window", "share_over_time", "norm_pix"),
    "swin_mae": ("ratio", "window", "norm_pix"),
    "mae": ("ratio", "scope", "norm_pix"),
    "satmae": ("ratio", "scope", "norm_pix"),
    "beit": ("ratio", "min_block"),
}
BY_AGREEMENT = ("simclr", "moco")
# The rest of `contrast` is about MoCo's copy and queue.
SIMCLR = ("temperature", "hidden", "embedding")


def check_options(config: PretrainConfig) -> None:
    """Whether each option that is not at its default is one that the system looks at.

    Raises:
        ConfigError: naming the first that it would pass over.
    """
    system = config.model.system
    known = system in MASKS or system in BY_AGREEMENT  # an unknown one is told of with what was meant
    if not known:
        return
    _only(config.mask, MASKS.get(system, ()), "mask", system)
    agrees = system in BY_AGREEMENT
    _only(config.views, _names(config.views) if agrees else (), "views", system)
    compared = {"moco": _names(config.contrast), "simclr": SIMCLR}
    _only(config.contrast, compared.get(system, ()), "contrast", system)
    if (
        agrees
        and not (system == "moco" and config.contrast.version == "v2")
        and config.training.batch_size < 2
    ):
        raise ConfigError(
            f"{system} compares the images of a batch, and there is one",
            where="training.batch_size",
            mend="give 2 or more",
        )
    _only(config.tokenizer, _names(config.tokenizer) if system == "beit" else (), "tokenizer", system)
    if config.watch.pictures_every and agrees:
        raise ConfigError(f"{system} reconstructs nothing", where="watch.pictures_every", mend="set it to 0")
    if config.watch.pictures_every and not config.data.hold_out:
        raise ConfigError(
            "there is no place held out to draw",
            where="watch.pictures_every",
            mend="name some in data.hold_out, or set it to 0",
        )
    if config.watch.probe is not None and not config.watch.health_every:
        raise ConfigError("nobody looks at the probe", where="watch.probe", mend="set watch.health_every")


def _names(group: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(group))


def _only(group: Any, looked_at: tuple[str, ...], name: str, system: str) -> None:
    default = type(group)()
    for option in _names(group):
        if option not in looked_at and getattr(group, option) != getattr(default, option):
            told = ", ".join(f"{name}.{o}" for o in looked_at)
            raise ConfigError(
                f"{system} does not look at it",
                where=f"{name}.{option}",
                mend=f"leave it out{f'; it looks at {told}' if told else ''}",
            )
