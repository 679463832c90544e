"""Networks whose head belongs to the family: ST-SwinUNet and SpectralGPT's network for maps."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from swath.contract import InputContract
from swath.errors import ConfigError
from swath.verbs.encoder_choice import Choice, choose
from swath.verbs.head_options import HeadOptions
from swath.verbs.networks import check_types
from swath.verbs.options import ModelOptions
from swath.words import counted

if TYPE_CHECKING:
    from torch import nn

    from swath.models.swin_config import STSwinConfig
    from swath.weights.file import Loaded
    from swath.weights.transfer import TransferReport


_LIGHT = 2  # blocks of a decoder's stage, where neither weights nor options say it


@dataclass(frozen=True, eq=False)
class Asked:
    """What the network of a task is made from; see `swath.verbs.task_network.task_network`."""

    source: Loaded | None
    model: ModelOptions
    head: HeadOptions
    contract: InputContract
    task: str
    outputs: int


def dates_of(head: HeadOptions, task: str, contract: InputContract) -> tuple[str, int | None]:
    """(what becomes of the dates, their fixed number where it matters).

    Raises:
        ConfigError: "concat" meets any number of dates.
    """
    kind = head.dates
    if kind == "auto":
        kind = "difference" if task == "change" else "mean"
    if kind != "concat":
        return kind, None
    if contract.max_dates is None or contract.max_dates != contract.min_dates:
        raise ConfigError(
            "concat joins a fixed number of dates, and the data have any",
            where="head.dates",
            mend="take mean, or fix the number of dates",
        )
    return kind, contract.max_dates


def st_swin_unet(asked: Asked) -> tuple[nn.Module, TransferReport | None]:
    """ST-SwinUNet: encoder and decoder go on, the skips between them are new unless it was one before.

    For change, the dates are joined by a linear layer where their number is fixed: a mean would not know which came
    first.
    """
    from swath.models.st_swin import MAE_TO_UNET_NEW, STSwinUNet, STSwinUNetConfig

    source, model, head, contract = asked.source, asked.model, asked.head, asked.contract
    own = {f.name for f in fields(STSwinUNetConfig)} - {"backbone", "classes"}
    outer = {k: v for k, v in model.options.items() if k in own}
    if head.width or head.dropout:
        raise ConfigError("st_swin_unet has none of it", where="head", mend="leave width and dropout out")
    outer = {**_collapse(outer, asked), **outer}
    inner = replace(model, options={k: v for k, v in model.options.items() if k not in own})
    choice = choose(source, inner, contract, together=True)
    backbone = _backbone(source, choice, inner)
    check_types(STSwinUNetConfig(), outer)
    network = STSwinUNet(
        STSwinUNetConfig.from_dict({**outer, "backbone": backbone, "classes": asked.outputs})
    )
    if choice.plan is None:
        return network, None
    from swath.weights.encoder_transfer import start

    assert source is not None
    decoder = ("first_patch_expanding.*", "layers_up.*", "norm_up.*")
    if source.meta.architecture == "st_swin_mae":
        return network, start(choice.plan, network, prefix="", carry=decoder, new=MAE_TO_UNET_NEW)
    if source.meta.architecture == "st_swin_unet":
        carry = (*decoder, *MAE_TO_UNET_NEW)
        # A stem or a layer over dates that the weights lack starts fresh, as does the last layer.
        new = ("collapse.*", "stem.*")
        return network, start(choice.plan, network, prefix="", carry=carry, fresh=("head.*",), new=new)
    return network, start(choice.plan, network, prefix="", new=(*decoder, *MAE_TO_UNET_NEW))


def _collapse(outer: dict[str, Any], asked: Asked) -> dict[str, Any]:
    head, contract, task = asked.head, asked.contract, asked.task
    if head.dates == "difference":
        raise ConfigError(
            "st_swin_unet sees all dates together",
            where="head.dates",
            mend="leave it out, or take head.kind conv or uper",
        )
    if "collapse" in outer:
        if head.dates not in ("auto", outer["collapse"]):
            raise ConfigError(
                f"is {head.dates}, and model.options.collapse {outer['collapse']}",
                where="head.dates",
                mend="say it once",
            )
        return {}
    if head.dates == "auto":
        count = contract.max_dates if contract.max_dates == contract.min_dates else None
        joined = task == "change" and count is not None
        return {"collapse": "concat", "dates": count} if joined else {}
    kind, count = dates_of(head, task, contract)
    return {"collapse": kind} if count is None else {"collapse": kind, "dates": count}


def _backbone(source: Loaded | None, choice: Choice, model: ModelOptions) -> STSwinConfig:
    """Encoder and decoder: of the weights where they hold both, else as the options say."""
    from swath.models.swin_config import STSwinConfig, STSwinUNetConfig, Swin3DConfig
    from swath.weights.build import plain_config

    if source is None:
        assert isinstance(choice.asked, STSwinConfig)
        return choice.asked
    encoder = choice.config
    assert isinstance(encoder, Swin3DConfig)
    said = model.options.get("decoder_depths")
    depths: tuple[int, ...] | None = (_LIGHT,) * (encoder.stages - 1) if said is None else tuple(said)
    sees: Any = "all"
    values = plain_config(source.meta.config)
    if source.meta.architecture in ("st_swin_mae", "st_swin_unet"):
        mae = source.meta.architecture == "st_swin_mae"
        theirs = STSwinConfig.from_dict(values) if mae else STSwinUNetConfig.from_dict(values).backbone
        if said is not None and depths != theirs.decoder_blocks:
            raise ConfigError(
                f"decoder_depths is to be {depths}, but the pretrained weights have {theirs.decoder_blocks}",
                where="model.options",
                mend="leave it to the weights, or train without weights",
            )
        depths, sees = theirs.decoder_depths, theirs.encoder_sees
    plain = {f.name: getattr(encoder, f.name) for f in fields(Swin3DConfig)}
    return STSwinConfig(**plain, decoder_depths=depths, encoder_sees=sees)


def spectralgpt(asked: Asked) -> tuple[nn.Module, TransferReport | None]:
    """SpectralGPT's network for maps of one date, or of change between two."""
    from swath.models import spectralgpt_dense as dense
    from swath.models.spectralgpt import EncoderConfig

    source, model, head, contract = asked.source, asked.model, asked.head, asked.contract
    change = asked.task == "change"
    dates = 2 if change else 1
    if (contract.min_dates, contract.max_dates) != (dates, dates):
        raise ConfigError(
            f"spectralgpt takes {counted(dates, 'date')} for {asked.task}, and the data have others",
            where="head.kind",
            mend="take conv or uper, or choose dates",
        )
    if head.dates not in ("auto", "difference" if change else "mean"):
        raise ConfigError(f"is {head.dates}", where="head.dates", mend="leave it out with a spectralgpt head")
    config_class = dense.SpectralGPTChangeConfig if change else dense.SpectralGPTSegmentationConfig
    known = {f.name for f in fields(EncoderConfig)}
    own = {f.name for f in fields(config_class)} - known - {"num_classes"}
    outer = {k: v for k, v in model.options.items() if k in own}
    for name, value in (("decoder_width", head.width), ("dropout", head.dropout)):
        if value:
            outer.setdefault(name, value)
    inner = replace(model, options={k: v for k, v in model.options.items() if k not in own})
    choice = choose(source, inner, contract, together=False)
    check_types(config_class(), outer)
    encoder = choice.config.to_dict()
    if "drop_path" not in model.options:
        encoder["drop_path"] = config_class().drop_path
    if outer.get("segmunich_means"):
        encoder["wavelengths"] = contract.wavelengths
    config = config_class.from_dict({**encoder, **outer, "num_classes": asked.outputs})
    if isinstance(config, dense.SpectralGPTChangeConfig):
        network: dense.SpectralGPTSegmentation = dense.SpectralGPTChange(config)
    else:
        network = dense.SpectralGPTSegmentation(config)
    if choice.plan is None:
        return network, None
    from swath.weights.encoder_transfer import start

    assert source is not None
    parts = ("fuse.*", "branches.*", "decoder.*", "classify.*")
    theirs = source.meta.config
    form = ("branch_widths", "branch_outputs", "decoder_width")
    same = source.meta.architecture in ("spectralgpt_segmentation", "spectralgpt_change") and all(
        tuple(_listed(theirs.get(name, getattr(config, name)))) == tuple(_listed(getattr(config, name)))
        for name in form
    )
    if same and source.state["fuse.weight"].shape == network.fuse.weight.shape:
        return network, start(choice.plan, network, carry=parts, fresh=("classify.*",))
    return network, start(choice.plan, network, new=parts)


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)
