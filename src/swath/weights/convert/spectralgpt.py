"""Published SpectralGPT checkpoints: pretraining, classifier, and the two dense networks.

The sizes are read from the shapes; the names are in `spectralgpt_names`. No value changes, so the way back is
exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from swath.bands import SPECTRALGPT_BANDS, sensor
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Encoding
from swath.errors import WeightsError
from swath.models.spectralgpt import SpectralGPTClassifierConfig, SpectralGPTConfig
from swath.models.spectralgpt_dense import SpectralGPTChangeConfig, SpectralGPTSegmentationConfig
from swath.weights.convert.kinds import (
    ConvertedState,
    Hints,
    Kind,
    Plan,
    State,
    count_blocks,
    expect_exactly,
    expect_tensor,
    network_of,
)
from swath.weights.convert.spectralgpt_names import (
    SEPARATE,
    dense_from_published,
    dense_to_published,
    from_published,
    to_published,
)
from swath.weights.meta import MapClass
from swath.weights.transfer import TransferReport

SEGMUNICH_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")
SEGMUNICH_CLASSES = (
    "background",
    "arable land",
    "permanent crops",
    "pastures",
    "forests",
    "surface water",
    "shrub",
    "open spaces",
    "wetlands",
    "mine dump",
    "artificial vegetation",
    "urban fabric",
    "buildings",
)
# Heads cannot be read from shapes; those of the published sizes by width.
HEADS = {768: 12, 1024: 16, 1280: 16}
DECODER_HEADS = {512: 16}
LICENCE = (
    "weights CC-BY-4.0 according to a third party's list; code GPL-3.0 according to its README, derived from "
    "code under CC-BY-NC-4.0"
)


def _heads(width: int, hints: Hints, hint: str, known: Mapping[int, int]) -> int:
    if hint in hints:
        return int(hints[hint])
    if width not in known:
        raise WeightsError(
            f"the number of heads cannot be read from tensors of width {width}", mend=f"give the hint {hint}"
        )
    return known[width]


def _bands(hints: Hints, default: tuple[str, ...]) -> tuple[tuple[str, ...] | None, tuple[float, ...]]:
    """(names or None, wavelengths) in the order of the channels."""
    if "wavelengths" in hints:
        names, waves = None, tuple(float(w) for w in hints["wavelengths"])
    else:
        names = tuple(hints.get("bands", default))
        waves = tuple(b.center_nm for b in sensor("sentinel2").select(names))
    if list(waves) != sorted(waves):
        raise WeightsError(
            "the bands' wavelengths do not rise, so the network would group them otherwise",
            mend="check the order of the channels",
        )
    return names, waves


def _encoder(
    state: State, hints: Hints, bands: tuple[str, ...] = SPECTRALGPT_BANDS, appended: int = 0
) -> tuple[dict[str, Any], tuple[str, ...] | None, dict[str, Any]]:
    """(fields of EncoderConfig, band names, layout); `appended` channels follow the bands."""
    kernel = expect_tensor(state, "patch_embed.proj.weight", dims=5)
    dim, channels, group, patch, across = kernel.shape
    if channels != 1 or patch != across:
        raise WeightsError(
            f"has the shape {list(kernel.shape)}, not [width, 1, bands, edge, edge]",
            where="patch_embed.proj.weight",
        )
    names, waves = _bands(hints, bands)
    groups = -(-(len(waves) + appended) // group)
    joint = "pos_embed" in state
    if joint:
        places, rest = divmod(expect_tensor(state, "pos_embed", dims=3).shape[1], groups)
        told = "pos_embed"
    else:
        places, rest = expect_tensor(state, "pos_embed_spatial", dims=3).shape[1], 0
        there = expect_tensor(state, "pos_embed_temporal", dims=3).shape[1]
        told = "pos_embed_spatial"
        if there != groups:
            raise WeightsError(
                f"has {there} spectral groups of {group}, {len(waves)} bands make {groups}",
                where="pos_embed_temporal",
                mend="give the hint bands or wavelengths",
            )
    grid = math.isqrt(places)
    if rest or grid * grid != places:
        raise WeightsError(
            f"its {state[told].shape[1]} positions are no square grid for {groups} spectral groups",
            where=told,
            mend="give the hint bands or wavelengths",
        )
    fused = any(".attn.to_qkv." in name for name in state)
    if fused and any(SEPARATE.fullmatch(name) for name in state):
        raise WeightsError("some attention layers are fused and some separate", mend="check the file")
    hidden = expect_tensor(state, "blocks.0.mlp.fc1.weight", dims=2).shape[0]
    config = {
        "wavelengths": waves,
        "image_size": grid * patch,
        "patch_size": patch,
        "group_size": group,
        "embed_dim": dim,
        "depth": count_blocks(state, "blocks."),
        "heads": _heads(dim, hints, "heads", HEADS),
        "mlp_ratio": hidden / dim,
        "positions": "joint" if joint else "separable",
    }
    return config, names, {"qkv": "fused" if fused else "separate"}


def spectralgpt_contract(
    names: tuple[str, ...] | None, size: int, *, dates: int = 1, eps: float = 1e-10
) -> InputContract | None:
    """What SpectralGPT was trained on: reflectance, each band of each record scaled to [0, 1].

    The scaling takes out any scale and offset of the unit, so those stated are Sentinel-2's usual ones.
    """
    if names is None:
        return None
    contract = contract_for(
        "sentinel2",
        names,
        Encoding("reflectance", 1e-4, 0.0),
        Normalisation("minmax", "record", eps=eps),
        gsd=10.0,
        size=(size, size),
    )
    return replace(contract, min_dates=dates, max_dates=dates)


def _plan_pretraining(state: State, hints: Hints) -> Plan:
    fields, names, layout = _encoder(state, hints)
    width = expect_tensor(state, "decoder_embed.weight", dims=2).shape[0]
    config = SpectralGPTConfig(
        **fields,
        decoder_embed_dim=width,
        decoder_depth=count_blocks(state, "decoder_blocks."),
        decoder_heads=_heads(width, hints, "decoder_heads", DECODER_HEADS),
    )
    return Plan("spectralgpt", config, layout, spectralgpt_contract(names, config.image_size))


def _plan_classifier(state: State, hints: Hints) -> Plan:
    fields, names, layout = _encoder(state, hints)
    config = SpectralGPTClassifierConfig(
        **fields,
        drop_path=0.2,
        num_classes=expect_tensor(state, "head.weight", dims=2).shape[0],
        drop_first_token=True,
    )
    notes = (
        "the published classifier leaves the first token out of its mean, and so does this network "
        "(drop_first_token)",
        "the contract is that of pretraining; the published scripts fine-tune EuroSAT with fixed means and "
        "deviations and BigEarthNet with clipped ones, so check how these weights were trained",
    )
    contract = spectralgpt_contract(names, config.image_size)
    return Plan("spectralgpt_classifier", config, layout, contract, notes=notes)


def _dense(state: State) -> dict[str, Any]:
    """The fields of the dense networks that shapes tell."""
    return {
        "num_classes": expect_tensor(state, "cls_seg.0.weight", dims=4).shape[0],
        "branch_widths": tuple(expect_tensor(state, f"conv{i}.0.weight", dims=4).shape[0] for i in range(4)),
        "branch_outputs": tuple(expect_tensor(state, f"conv{i}.3.weight", dims=4).shape[1] for i in range(3)),
        "decoder_width": expect_tensor(state, "decoder.fuse_all.0.weight", dims=4).shape[0],
        "drop_path": 0.5,
    }


def _plan_oscd(state: State, hints: Hints) -> Plan:
    fields, names, layout = _encoder(state, hints)
    config = SpectralGPTChangeConfig(**{**fields, **_dense(state)})
    classes = (MapClass("no change"), MapClass("change")) if config.num_classes == 2 else ()
    notes = (
        "the published scripts scale each date of a patch for itself, the contract a record over its dates",
    )
    contract = spectralgpt_contract(names, config.image_size, dates=2)
    return Plan("spectralgpt_change", config, layout, contract, classes, notes)


def _plan_segmunich(state: State, hints: Hints) -> Plan:
    means = bool(hints.get("means", True))
    if means:
        fields, names, layout = _encoder(state, hints, SEGMUNICH_BANDS, appended=2)
    else:
        fields, names, layout = _encoder(state, hints)
    config = SpectralGPTSegmentationConfig(
        **{**fields, **_dense(state), "dropout": 0.5, "segmunich_means": means}
    )
    classes = tuple(MapClass(name) for name in SEGMUNICH_CLASSES)
    notes = (
        (
            "the network appends the mean of its ten normalised bands twice (segmunich_means); the published "
            "scripts append the mean of the raw bands and scale it to [0, 1] then",
        )
        if means
        else ()
    )
    contract = spectralgpt_contract(names, config.image_size, eps=1e-9)
    fits = config.num_classes == len(classes)
    return Plan("spectralgpt_segmentation", config, layout, contract, classes if fits else (), notes)


def _back(state: State, plan: Plan, *, dense: bool) -> dict[str, Tensor]:
    fused = plan.layout.get("qkv") == "fused"
    return dense_to_published(state, fused=fused) if dense else to_published(state, fused=fused)


def _to(state: State, plan: Plan, *, dense: bool) -> ConvertedState:
    # Compared under the published names, so that errors name what is in the file.
    expected = _back(network_of(plan).state_dict(), plan, dense=dense)
    expect_exactly(state, expected, "a published SpectralGPT")
    converted = dense_from_published(state) if dense else from_published(state)
    return ConvertedState(converted, TransferReport(tuple(state), (), (), ()))


_HINTS = {
    "heads": "attention heads of the encoder",
    "bands": "Sentinel-2 bands in the order of the channels",
    "wavelengths": "their wavelengths in nm instead, for other sensors (then without a contract)",
}
_SOURCE = "Zenodo record 8412377"


def _kind(name: str, title: str, plan: Any, architecture: str, *, dense: bool = False, **rest: Any) -> Kind:
    return Kind(
        name=name,
        title=f"SpectralGPT (Hong et al., IEEE TPAMI 46(8), 2024), {title}",
        source=_SOURCE,
        licence=LICENCE,
        plan=plan,
        to_swath=partial(_to, dense=dense),
        from_swath=partial(_back, dense=dense),
        architectures=(architecture,),
        **{"hints": _HINTS, "container": "model", **rest},
    )


KINDS = (
    _kind(
        "spectralgpt",
        "pretraining",
        _plan_pretraining,
        "spectralgpt",
        hints={**_HINTS, "decoder_heads": "attention heads of the decoder"},
        recognises=lambda state: "decoder_pred.weight" in state and "decoder_blocks.0.norm1.weight" in state,
    ),
    _kind(
        "spectralgpt-classifier",
        "classifier",
        _plan_classifier,
        "spectralgpt_classifier",
        recognises=lambda state: "head.weight" in state and getattr(_kernel(state), "ndim", 0) == 5,
    ),
    _kind(
        "spectralgpt-oscd",
        "change detection on OSCD",
        _plan_oscd,
        "spectralgpt_change",
        dense=True,
        container="",
        prefix="module.",
        recognises=lambda state: _dense_classes(state) == 2,
    ),
    _kind(
        "spectralgpt-segmunich",
        "segmentation on SegMunich",
        _plan_segmunich,
        "spectralgpt_segmentation",
        dense=True,
        hints={**_HINTS, "means": "false: twelve bands of their own instead of ten and two means"},
        recognises=lambda state: _dense_classes(state) > 2,
    ),
)


def _kernel(state: State) -> Tensor | None:
    return state.get("patch_embed.proj.weight")


def _dense_classes(state: State) -> int:
    return state["cls_seg.0.weight"].shape[0] if "cls_seg.0.weight" in state and "fc.0.weight" in state else 0
