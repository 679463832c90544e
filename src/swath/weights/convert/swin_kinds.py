"""The kinds of published Swin checkpoints: Swin-MAE and its U-net, Swin-Unet, Video Swin, and Swin itself.

All become the one Swin of `swath.models`, with the quirks of their code as options of its config. The tensors
that follow from sizes are rebuilt on the way back; a file whose values are others keeps them in its layout
under `carried`, so that the way back is exact even then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from torch import Tensor

from swath.errors import WeightsError
from swath.models.swin_config import STSwinConfig, STSwinUNetConfig, Swin3DConfig
from swath.weights.convert.kinds import (
    ConvertedState,
    Hints,
    Kind,
    Plan,
    State,
    expect_exactly,
    expect_tensor,
    network_of,
)
from swath.weights.convert.swin import (
    REBUILT,
    from_swin_mae,
    from_swin_unet,
    from_video_swin,
    inflate,
    to_planar,
    to_swin_unet,
    to_unet_name,
)
from swath.weights.convert.swin_buffers import (
    index_buffer,
    mask_buffer,
    pack,
    same_bits,
    sincos_positions,
    unpack,
)
from swath.weights.convert.swin_shapes import PROJECTION, encoder_fields, parse_window, square_side
from swath.weights.transfer import TransferReport

Buffer = Literal["masks", "positions"]  # beside the relative indices, which all of them keep
_ATTENTION = "layers.0.blocks.0.attn.qkv.weight"


@dataclass(frozen=True)
class _Family:
    """What is particular about a publication.

    Attributes:
        title: of the network, as errors name it.
        architecture: ours.
        rules: options of our config that its code has built in.
        planar: no dates.
        grid: which tensors of its files follow from the size of the image.
        prefixes: that may stand before all names.
        head: prefix of a classification head, which no network of ours has, or "".
        forth, back: names and shapes, there and back.
        name: of a buffer, from ours.
    """

    title: str
    architecture: str
    rules: Mapping[str, Any]
    planar: bool
    forth: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    back: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    grid: Buffer | None = None
    prefixes: tuple[str, ...] = ()
    head: str = ""
    name: Callable[[str], str] = field(default=lambda name: name)


def _strip(state: State, family: _Family) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """(tensors of the network, the prefix taken off, names of the head left out)."""
    head = tuple(name for name in state if family.head and name.startswith(family.head))
    inner = {name: tensor for name, tensor in state.items() if name not in head}
    for prefix in family.prefixes:
        if inner and all(name.startswith(prefix) for name in inner):
            return {name.removeprefix(prefix): t for name, t in inner.items()}, prefix, head
    return inner, "", head


def _plan(state: State, hints: Hints, family: _Family) -> Plan:
    inner, prefix, head = _strip(state, family)
    backbone = {**family.rules, **encoder_fields(inner, hints, planar=family.planar)}
    config: Swin3DConfig | STSwinUNetConfig
    if family.architecture == "swin3d":
        config = Swin3DConfig(**backbone)
    elif family.architecture == "st_swin_mae":
        config = STSwinConfig(**backbone)
    else:
        last = "output.weight" if family.grid == "masks" else "head.weight"
        config = STSwinUNetConfig(
            STSwinConfig(**backbone), classes=expect_tensor(inner, last, dims=4).shape[0]
        )
    layout: dict[str, Any] = {
        "prefix": prefix,
        "indices": any(name.endswith("relative_position_index") for name in inner),
        "grid": _grid(inner, _encoder(config), family),
    }
    rebuilt = _buffers(_encoder(config), family, layout)
    other = [n for n, t in rebuilt.items() if n in inner and _differs(inner[n], t)]
    if other:
        layout["carried"] = {name: pack(inner[name]) for name in other}
    return Plan(family.architecture, config, layout, notes=tuple(_notes(inner, head, other)))


def _differs(tensor: Tensor, rebuilt: Tensor) -> bool:
    # Another shape is no other value: that is an error, and found as one.
    return tensor.shape == rebuilt.shape and not same_bits(tensor, rebuilt)


def _notes(inner: State, head: tuple[str, ...], other: list[str]) -> Iterator[str]:
    if any(name.endswith(("relative_position_index", "attn_mask")) for name in inner):
        yield "relative indices and shift masks follow from the sizes: they are rebuilt, never loaded"
    if "pos_embed" in inner:
        yield "the published network keeps pos_embed but never adds it, so it is left out"
    if head:
        yield f"the classification head ({', '.join(head)}) is left out, and the way back does not bring it"
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        yield (
            f"{other[0]}{more} differ from what the sizes give; swath never uses them and only keeps them for "
            "the way back"
        )


def _encoder(config: object) -> Swin3DConfig:
    if isinstance(config, STSwinUNetConfig):
        return config.backbone
    assert isinstance(config, Swin3DConfig)
    return config


def _grid(state: State, config: Swin3DConfig, family: _Family) -> int | None:
    """Tokens along a side of the image that the file was made for; None if nothing in it says so."""
    if family.grid == "positions" and "pos_embed" in state:
        return square_side("pos_embed", expect_tensor(state, "pos_embed", dims=3).shape[1])
    if family.grid == "masks":
        for stage in range(config.stages):
            name = f"layers.{stage}.blocks.1.attn_mask"
            if name in state:
                windows = square_side(name, expect_tensor(state, name, dims=3).shape[0])
                return windows * config.rule(stage).window[1] << stage
    return None


def _natural_grid(config: Swin3DConfig) -> int:
    """The image whose coarsest map is one window, as the published sizes are (224 for windows of 7)."""
    return config.window[1] << (config.stages - 1)


def _buffers(config: Swin3DConfig, family: _Family, layout: Mapping[str, Any]) -> dict[str, Tensor]:
    """What follows from sizes, under the publication's names."""
    out: dict[str, Tensor] = {}
    grid = layout["grid"] if "grid" in layout else _natural_grid(config)
    decoder = config.decoder_blocks if isinstance(config, STSwinConfig) else ()
    rooms = [(f"layers.{i}", i, depth) for i, depth in enumerate(config.depths)]
    rooms += [(f"layers_up.{i}", config.stages - 2 - i, depth) for i, depth in enumerate(decoder)]
    for room, stage, depth in rooms:
        window = config.rule(stage).window
        for block in range(depth):
            at = f"{room}.blocks.{block}."
            if layout.get("indices", True):
                out[family.name(f"{at}attn.relative_position_index")] = index_buffer(window)
            shift = window[1] // 2
            if family.grid != "masks" or grid is None or block % 2 == 0 or not shift:
                continue
            side = grid >> stage
            if side > window[1]:  # else the published code sets the shift to 0 and keeps no mask
                whole = (1, side, side)
                if side % window[1]:
                    raise WeightsError(f"windows of {window[1]} do not divide a map of {side}", where=at)
                out[family.name(f"{at}attn_mask")] = mask_buffer(whole, window, (0, shift, shift))
    if family.grid == "positions" and grid is not None:
        out["pos_embed"] = sincos_positions(grid, config.embed_dim)
    return out


def _to(state: State, plan: Plan, family: _Family) -> ConvertedState:
    inner, _, head = _strip(state, family)
    # Compared under the published names, so that errors name what is in the file.
    expected = _from(network_of(plan).state_dict(), plan, family)
    expect_exactly({n: t for n, t in state.items() if n not in head}, expected, f"a published {family.title}")
    dropped = [name for name in state if name in head or REBUILT.fullmatch(name)]
    kept = tuple(name for name in state if name not in dropped)
    return ConvertedState(family.forth(inner), TransferReport(kept, (), (), tuple(dropped)))


def _from(state: State, plan: Plan, family: _Family) -> dict[str, Tensor]:
    config, layout = _encoder(plan.config), plan.layout
    _check_rules(plan.config, config, family)
    out = family.back(state)
    out.update(_buffers(config, family, layout))
    out.update({name: unpack(packed) for name, packed in layout.get("carried", {}).items()})
    return {layout.get("prefix", "") + name: tensor for name, tensor in out.items()}


def _check_rules(whole: object, config: Swin3DConfig, family: _Family) -> None:
    """Whether the published code would compute the same with these weights."""
    mend = "keep them as swath's own"
    for option, value in family.rules.items():
        has = getattr(config, option)
        # The epsilon is an argument there; the rest is built in.
        if option != "norm_eps" and has != value:
            raise WeightsError(f"{family.title} has {option}={value}, these weights {has}", mend=mend)
    if family.planar and any(n != 1 for n in (config.patch_size[0], config.window[0])):
        raise WeightsError(f"{family.title} knows one date, these weights join several", mend=mend)
    if isinstance(config, STSwinConfig) and config.decoder_blocks != config.depths[-2::-1]:
        raise WeightsError(f"the decoder of {family.title} is as deep as its encoder", mend=mend)
    if isinstance(whole, STSwinUNetConfig) and (whole.stem_skip or whole.collapse == "concat"):
        raise WeightsError(f"{family.title} has neither a stem nor a layer that joins dates", mend=mend)


def _plan_2d(state: State, hints: Hints, family: _Family) -> Plan:
    inner, _, head = _strip(state, family)
    fields = encoder_fields(inner, hints, planar=True)
    _, rows, columns = fields["window"]
    fields["window"] = parse_window(hints["window"]) if "window" in hints else (2, rows, columns)
    fields["patch_size"] = (int(hints.get("patch_dates", 1)), *fields["patch_size"][1:])
    fields.pop("stage_windows", None)
    config = Swin3DConfig(**{**family.rules, **fields})
    return Plan(family.architecture, config, {}, notes=tuple(_notes(inner, head, [])))


def _to_2d(state: State, plan: Plan, family: _Family) -> ConvertedState:
    inner, prefix, head = _strip(state, family)
    config = _encoder(plan.config)
    out = inflate(inner, config.window, config.patch_size[0])
    changed = [name for name in out if out[name].shape != inner[name].shape]
    resized = tuple((prefix + n, tuple(inner[n].shape), tuple(out[n].shape)) for n in changed)
    kept = tuple(prefix + name for name in out if name not in changed)
    dropped = tuple(name for name in state if name in head or REBUILT.fullmatch(name))
    return ConvertedState(out, TransferReport(kept, resized, (), dropped))


_MAE_RULES = {"norm_eps": 1e-6, "shift_when_full": True, "final_norm": False}
_UNET_RULES = {"norm_eps": 1e-5, "shift_when_full": False, "final_norm": True}
_VIDEO_RULES = {"norm_eps": 1e-5, "mask_padding": False, "bias_slice": "flat", "final_norm": True}
_FAMILIES: Mapping[str, _Family] = {
    "swin-mae": _Family(
        "Swin-MAE", "st_swin_mae", _MAE_RULES, True, from_swin_mae, to_planar, grid="positions"
    ),
    "swin-mae-unet": _Family("U-net of Swin-MAE", "st_swin_unet", _MAE_RULES, True, from_swin_mae, to_planar),
    "swin-unet": _Family(
        "Swin-Unet",
        "st_swin_unet",
        _UNET_RULES,
        True,
        from_swin_unet,
        to_swin_unet,
        grid="masks",
        prefixes=("module.swin_unet.", "swin_unet."),
        name=to_unet_name,
    ),
    "video-swin": _Family(
        "Video Swin",
        "swin3d",
        _VIDEO_RULES,
        False,
        from_video_swin,
        dict,
        prefixes=("backbone.",),
        head="cls_head.",
    ),
    "swin-2d": _Family(
        "Swin", "swin3d", {"final_norm": True}, True, dict, dict, prefixes=("backbone.",), head="head."
    ),
}
# The options that each publication has built in.
RULES: Mapping[str, Mapping[str, Any]] = {name: family.rules for name, family in _FAMILIES.items()}
EPS = "norm_eps"
_EPS = {EPS: "epsilon of the norms, if it is not the published one"}
_WINDOW = "tokens per window: dates, rows, columns"


def _has(state: State, name: str) -> bool:
    return any(found.endswith(name) for found in state)


def _dims(state: State) -> int:
    return next((t.ndim for n, t in state.items() if n.endswith(PROJECTION)), 0)


def _kind(name: str, title: str, source: str, licence: str, **rest: Any) -> Kind:
    family = _FAMILIES[name]
    return Kind(
        name=name,
        title=title,
        source=source,
        licence=licence,
        architectures=(family.architecture,),
        **{
            "plan": partial(_plan, family=family),
            "to_swath": partial(_to, family=family),
            "from_swath": partial(_from, family=family),
            "hints": _EPS,
            "container": "model",
            **rest,
        },
    )


_SWIN_MAE = ("github.com/Zian-Xu/Swin-MAE", "Swin-MAE's own licence, which allows no commercial use")
KINDS = (
    _kind(
        "swin-mae",
        "Swin MAE (Xu et al., Computers in Biology and Medicine 161, 2023)",
        *_SWIN_MAE,
        recognises=lambda state: _has(state, "decoder_pred.weight") and _has(state, _ATTENTION),
    ),
    _kind(
        "swin-mae-unet",
        "Swin MAE (Xu et al., Computers in Biology and Medicine 161, 2023), its U-net",
        *_SWIN_MAE,
        recognises=lambda state: _has(state, "skip_connection_layers.0.weight"),
    ),
    _kind(
        "swin-unet",
        "Swin-Unet (Cao et al., ECCV Workshops 2022)",
        "github.com/HuCaoFighting/Swin-Unet",
        "none is stated by the publication, so ask its authors",
        recognises=lambda state: _has(state, "concat_back_dim.1.weight"),
        container="",
        prefix="module.swin_unet.",
    ),
    _kind(
        "video-swin",
        "Video Swin Transformer (Liu et al., CVPR 2022)",
        "github.com/SwinTransformer/Video-Swin-Transformer",
        "Apache-2.0",
        hints={**_EPS, "window": _WINDOW},
        recognises=lambda state: _has(state, _ATTENTION) and _dims(state) == 5,
        container="state_dict",
        prefix="backbone.",
    ),
    _kind(
        "swin-2d",
        "Swin Transformer (Liu et al., ICCV 2021), inflated to 3D",
        "github.com/microsoft/Swin-Transformer",
        "MIT",
        plan=partial(_plan_2d, family=_FAMILIES["swin-2d"]),
        to_swath=partial(_to_2d, family=_FAMILIES["swin-2d"]),
        from_swath=None,
        hints={
            **_EPS,
            "window": f"{_WINDOW}; two dates and the file's own rows and columns if not given",
            "patch_dates": "dates of a token, 1 if not given",
        },
        recognises=lambda state: (
            _has(state, _ATTENTION) and _dims(state) == 4 and not _has(state, "norm_up.weight")
        ),
    ),
)
