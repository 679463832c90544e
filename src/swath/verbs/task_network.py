"""The network of a task: a family, an encoder fresh or pretrained, and a head, from a verb's options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swath.contract import InputContract
from swath.errors import ConfigError
from swath.verbs.encoder_choice import choose, family
from swath.verbs.head_options import HeadOptions
from swath.verbs.networks import configure
from swath.verbs.options import ModelOptions
from swath.verbs.own_heads import Asked, dates_of, spectralgpt, st_swin_unet

if TYPE_CHECKING:
    from torch import nn

    from swath.models.task_network import TaskNetworkConfig
    from swath.weights.file import Loaded
    from swath.weights.transfer import TransferReport

MAP_TASKS = ("segmentation", "change", "regression")
"""Answer per pixel unless told otherwise."""


def task_network(
    source: Loaded | None,
    model: ModelOptions,
    head: HeadOptions,
    contract: InputContract,
    task: str,
    outputs: int,
    per_pixel: bool | None = None,
    resize: int = 0,
) -> tuple[nn.Module, TransferReport | None]:
    """A network for a task, started from pretrained weights as far as they reach.

    It is called as every network here, `network(pixels, valid, days, wavelengths)`, and may be saved with
    `swath.weights.build.meta_for`. Fresh parts draw from torch's global generator: seed it before.

    Args:
        source: pretrained weights; None: from scratch.
        model: `system` names the family; "auto" is that of the weights. Its options are those of the encoder, and of
            the families' own heads (`collapse`, `stem_skip`, `branch_widths`, …).
        head: what answers.
        contract: of the data; its bands may be others than those of the weights.
        task: "segmentation", "classification", "multilabel", "regression" or "change".
        outputs: K, classes or quantities.
        per_pixel: whether the answer is a map; None: for segmentation, change and regression.
        resize: side in pixels that windows are brought to, while learning and afterwards; 0: they stay.

    Returns:
        The network, and what became of the pretrained tensors and bands (None from scratch).

    Raises:
        SwathError: options, weights and data do not fit each other.
    """
    maps = task in MAP_TASKS if per_pixel is None else per_pixel
    if resize and maps:
        raise ConfigError(
            "enlarges windows while learning, and maps are drawn of windows as they are",
            where="training.augment.resize",
            mend="leave it 0, or cut larger windows (data.window)",
        )
    system = family(source, model)
    model = replace(model, system=system)
    kind = head_kind(system, head, contract, task, maps)
    if kind == "unet":
        return _unet(model, head, contract, outputs), None
    if kind == "resnet":
        return _resnet(model, head, contract, outputs, resize), None
    asked = Asked(source, model, head, contract, task, outputs)
    if kind == "st_swin_unet":
        return st_swin_unet(asked)
    if kind == "spectralgpt":
        return spectralgpt(asked)
    return _any(replace(asked, head=replace(head, kind=kind)), maps, resize)  # type: ignore[arg-type]  # narrowed


def head_kind(system: str, head: HeadOptions, contract: InputContract, task: str, maps: bool) -> str:
    """The kind of head; "unet" and "resnet" for networks that are all head.

    Raises:
        ConfigError: the head does not go with the family or the answer.
    """
    own = {"spectralgpt": "spectralgpt", "st_swin_mae": "st_swin_unet", "swin_mae": "st_swin_unet"}
    if system in ("unet", "st_swin_unet"):
        if not maps:
            raise ConfigError(
                f"a {system} draws maps, and the answer is one per image",
                where="model.system",
                mend="name the family of an encoder, such as st_swin_mae",
            )
        if head.kind not in ("auto", system):
            raise ConfigError(
                f"a {system} has its own head", where="head.kind", mend="leave it out, or name another system"
            )
        if system == "unet" and (head.dates not in ("auto", "mean", "none") or head.width or head.dropout):
            raise ConfigError(
                "a unet has options of its own", where="head", mend="set model.options, or leave head out"
            )
        return system
    if system == "resnet":
        if maps:
            raise ConfigError(
                "a resnet gives one answer per image, and a map is to be drawn",
                where="model.system",
                mend="take unet",
            )
        if head.kind not in ("auto", "linear") or head.dates not in ("auto", "mean") or head.width:
            raise ConfigError(
                "a resnet has a linear head on the mean of its dates",
                where="head",
                mend="leave all but dropout out",
            )
        return system
    kind = head.kind
    if kind == "auto":
        kind = "uper" if maps else "linear"
        if maps and system in own and (system != "spectralgpt" or _one_grid(head, contract, task)):
            return own[system]
        return kind
    if kind in ("spectralgpt", "st_swin_unet") and own.get(system) != kind:
        raise ConfigError(
            f"{kind} is no head of {system}", where="head.kind", mend="take linear, conv or uper"
        )
    if kind != "linear" and not maps:
        raise ConfigError(
            f"{kind} draws maps, and the answer is one per image", where="head.kind", mend="take linear"
        )
    return kind


def _unet(model: ModelOptions, head: HeadOptions, contract: InputContract, outputs: int) -> nn.Module:
    from swath.models.unet import UNet

    said = model.options.get("dates")
    if said is not None and head.dates not in ("auto", said):
        raise ConfigError(
            f"is {head.dates}, and model.options.dates {said}", where="head.dates", mend="say it once"
        )
    if head.dates == "none":
        model = replace(model, options={**model.options, "dates": "none"})
    return UNet(configure(model, bands=len(contract.bands), classes=outputs))


def _resnet(
    model: ModelOptions, head: HeadOptions, contract: InputContract, outputs: int, resize: int
) -> nn.Module:
    from swath.models.resnet import ResNet

    if resize:
        raise ConfigError(
            "a resnet sees windows as they are",
            where="training.augment.resize",
            mend="leave it 0, or name the family of an encoder",
        )
    if head.dropout and "dropout" in model.options:
        raise ConfigError(
            "is said here and in model.options.dropout", where="head.dropout", mend="say it once"
        )
    if head.dropout:
        model = replace(model, options={**model.options, "dropout": head.dropout})
    return ResNet(configure(model, bands=len(contract.bands), outputs=outputs))


def _one_grid(head: HeadOptions, contract: InputContract, task: str) -> bool:
    """Whether SpectralGPT's own network fits: one date, or two that are compared."""
    if task == "change":
        return contract.max_dates == 2 and head.dates in ("auto", "difference")
    return contract.max_dates == 1 and head.dates in ("auto", "mean")


def _any(asked: Asked, maps: bool, resize: int) -> tuple[nn.Module, TransferReport | None]:
    from swath.models.task_network import TaskNetwork, TaskNetworkConfig

    source, head, contract = asked.source, asked.head, asked.contract
    dates, count = dates_of(head, asked.task, contract)
    together = dates != "difference" and (maps or dates == "mean")
    seen = replace(contract, size=(resize, resize)) if resize else contract
    choice = choose(source, asked.model, seen, together=together)
    config = TaskNetworkConfig(
        choice.kind,
        choice.config,
        asked.outputs,
        per_pixel=maps,
        head=head.kind,  # type: ignore[arg-type]  # "auto" is settled
        dates=dates,  # type: ignore[arg-type]  # as above
        date_count=count,
        width=head.width,
        dropout=head.dropout,
        resize=resize,
    )
    network = TaskNetwork(config)
    if choice.plan is None:
        return network, None
    from swath.weights.encoder_transfer import start

    # A head that was trained before goes on, but for its last layer, if it is one of the same form.
    assert source is not None
    parts = ("neck.*", "dates.*", "head.*")
    if _same_head(source, config):
        return network, start(choice.plan, network, carry=parts, fresh=("head.out.*",))
    return network, start(choice.plan, network, new=parts)


def _same_head(source: Loaded, config: TaskNetworkConfig) -> bool:
    """Whether the weights end in a head of this form, on an encoder that gives the same maps."""
    from swath.models.encoders import encoder_shape
    from swath.models.task_network import TaskNetworkConfig
    from swath.weights.build import plain_config

    if source.meta.architecture != "task_network":
        return False
    theirs = TaskNetworkConfig.from_dict(plain_config(source.meta.config))
    form = ("kind", "per_pixel", "head", "dates", "date_count", "head_width")
    if any(getattr(theirs, name) != getattr(config, name) for name in form):
        return False
    shapes = [encoder_shape(c.encoder, c.layers) for c in (theirs, config)]
    return replace(shapes[0], temporal=shapes[1].temporal) == shapes[1]
