"""Our SpectralGPT against numbers made by running the published code.

Understands files of the pretraining model, the classifier and the two dense networks, lists of parameter
names, and `losses.json`. The weights in them go through the same converters as `swath convert`. Whatever a file
holds and is not understood is a failed row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from swath.errors import SwathError
from swath.ledger.formula import formula_input, formula_parameters
from swath.ledger.row import DENSE, SINGLE, LedgerRow, compare, failed
from swath.ledger.spectralgpt_vector import Vector, converted
from swath.models.spectralgpt import (
    SpectralGPT,
    SpectralGPTClassifier,
)
from swath.models.spectralgpt_dense import (
    SpectralGPTChange,
    SpectralGPTChangeConfig,
    SpectralGPTSegmentation,
    SpectralGPTSegmentationConfig,
)
from swath.pretraining.masks import kept
from swath.pretraining.spectralgpt import LOSSES, SpectralGPTObjective
from swath.pretraining.targets import token_statistics
from swath.rng import generator
from swath.weights.convert.registry import KINDS, likely_kinds
from swath.weights.convert.spectralgpt_names import dense_to_published

# Terms of the loss by their names in losses.json: (loss, part), "" for the whole.
_TERMS = {
    "token": ("released", "token"),
    "spatial_sum": ("released", "spatial"),
    "released_total": ("released", ""),
    "official_total_f32": ("released", ""),
    "spatial_mean": ("three_target", "spatial"),
    "spectral_mean": ("three_target", "spectral"),
    "three_target_total": ("three_target", ""),
}
_SUMS = {
    "released_total": {"token": 1.0, "spatial_sum": 1.0},
    "official_total_f32": {"token": 1.0, "spatial_sum": 1.0},
    "three_target_total": {"token": 1.0, "spatial_mean": 0.5, "spectral_mean": 0.5},
}
_KEYS = re.compile(r"spectralgpt_keys_.*\.json")
_SLICE = re.compile(r"upernet_out_ch(\d+)_(\d+)")
_SEED = 0
_CHANGE = ("no change", "change")  # the logits of the network of two dates


def understands(path: Path | str) -> bool:
    """Whether `check` knows what to do with this file."""
    file = Path(path)
    if file.suffix == ".json":
        return bool(_KEYS.fullmatch(file.name)) or _is_losses(file)
    try:
        return _form(_names(file)) is not None
    except (OSError, SafetensorError):
        return False


def check(path: Path | str) -> list[LedgerRow]:
    """All rows of one file; what cannot be read, built or run is a failed row, never an exception."""
    file = Path(path)
    try:
        if _KEYS.fullmatch(file.name):
            return _check_keys(file)
        if file.suffix == ".json":
            return _check_losses(file)
        form = _form(_names(file))
        if form is None:
            return [failed(file.name, "file", "is none of the kinds of vectors that are known")]
        return form(file)
    except SwathError as err:
        return [failed(file.name, "weights", str(err))]
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as err:
        return [failed(file.name, "file", f"cannot be used ({type(err).__name__}: {err})")]


def _check_mae(path: Path) -> list[LedgerRow]:
    vector = Vector(path)
    mask_ratio = vector.mask_ratio

    def run(dtype: torch.dtype, gradients: bool) -> tuple[dict[str, Tensor], nn.Module]:
        network = vector.network(SpectralGPT, dtype)
        config = replace(
            LOSSES["released"], mask_ratio=mask_ratio, norm_pix_loss=bool(vector.ctor["norm_pix_loss"])
        )
        objective = SpectralGPTObjective(network, config).eval()
        pixels, noise = vector.pixels(dtype), vector.arrays["noise"]
        with torch.set_grad_enabled(gradients):
            out = objective(pixels, noise=noise)
            if gradients:
                out.loss.backward()
        with torch.no_grad():
            tokens = network.tokenize(pixels)
            shuffle = noise.argsort(dim=1, stable=True)
            keep = shuffle[:, : kept(noise.shape[1], mask_ratio)]
            latent = network.encode(tokens, keep=keep)
            prediction = network.decode(latent, tokens, keep)
            mean, std = token_statistics(tokens)
            raw = tokens.patches
            hidden = network.tokenize(out.mask.to(dtype)).patches.mean(-1)
            embedded = network.patch_embed(raw)
        t, g, h, w = tokens.shape
        return {
            "ids_keep": keep,
            "ids_restore": shuffle.argsort(dim=1),
            "mask": hidden,
            "tokens": embedded.reshape(-1, t * g, h * w, embedded.shape[-1]),
            "latent": latent,
            "pred": prediction,
            "target_raw": raw,
            "target_used": (raw - mean) / std if config.norm_pix_loss else raw,
            "recon": tokens.to_pixels(prediction),
            "loss": out.loss,
            "loss_token": out.parts["token"].mean,
            "loss_spatial": out.parts["spatial"].mean,
        }, network

    return vector.rows(run, ("input", "noise"))


def _check_classifier(path: Path) -> list[LedgerRow]:
    vector = Vector(path)

    def run(dtype: torch.dtype, gradients: bool) -> tuple[dict[str, Tensor], nn.Module]:
        network = vector.network(SpectralGPTClassifier, dtype)
        pixels = vector.pixels(dtype)
        inside: dict[str, Tensor] = {}
        hooks = [
            network.blocks[-1].register_forward_hook(lambda m, args, out: inside.update(last_block=out)),
            network.patch_embed.register_forward_hook(lambda m, args, out: inside.update(tokens=out)),
            network.norm.register_forward_hook(lambda m, args, out: inside.update(pooled_normed=out)),
        ]
        with torch.set_grad_enabled(gradients):
            logits = network(pixels)
            if gradients:
                logits.square().sum().backward()
        for hook in hooks:
            hook.remove()
        groups = len(network.config.anchors)
        tokens = inside["tokens"]
        inside["tokens"] = tokens.reshape(len(tokens), groups, -1, tokens.shape[-1])
        return {**inside, "logits": logits}, network

    return vector.rows(run, ("input",))


def _check_dense(path: Path) -> list[LedgerRow]:
    arrays = safetensors.torch.load_file(path)
    segmunich = arrays["output"].shape[1] != len(_CHANGE)  # whatever the file is called
    kind = KINDS["spectralgpt-segmunich" if segmunich else "spectralgpt-oscd"]
    fresh = SpectralGPTSegmentationConfig() if segmunich else SpectralGPTChangeConfig()
    with torch.device("meta"):
        shell = SpectralGPTSegmentation(fresh)
    shapes = {name: tuple(t.shape) for name, t in dense_to_published(shell.state_dict()).items()}
    state = formula_parameters(shapes)
    plan, ours, row = converted(path.name, state, kind, {"means": False} if segmunich else {})
    assert isinstance(plan.config, SpectralGPTSegmentationConfig)
    if segmunich:
        network = SpectralGPTSegmentation(plan.config)
    else:
        assert isinstance(plan.config, SpectralGPTChangeConfig)
        network = SpectralGPTChange(replace(plan.config, log_softmax=True))
    network.load_state_dict(ours)
    network.eval()
    del state, ours
    images = [formula_input((1, 12, 128, 128), 1000 + date) for date in range(network.DATES)]
    inside: dict[str, Tensor] = {}
    branch: nn.Module = network.branches[0]
    branch.register_forward_pre_hook(lambda m, args: inside.update(fused_16x16=args[0]))
    network.decoder.pyramid.register_forward_hook(lambda m, args, out: inside.update(ppm_out=out))
    network.decoder.register_forward_hook(lambda m, args, out: inside.update(decoded=out))
    with torch.no_grad():
        inside["output"] = network(torch.stack(images, dim=1))
    rows = [row]
    for name, expected in arrays.items():
        if match := _SLICE.fullmatch(name):
            actual = inside["decoded"][:, int(match[1]) : int(match[2]) + 1]
        elif name in inside:
            actual = inside[name]
        else:
            rows.append(failed(path.name, name, "this quantity is not known"))
            continue
        rows.append(compare(path.name, name, actual, expected, DENSE))
    return rows


def _check_losses(path: Path) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    for config, values in json.loads(path.read_text("utf-8")).items():
        for name, factors in _SUMS.items():
            if name in values:
                total = sum(factor * values[part] for part, factor in factors.items())
                said, meant = (torch.tensor(v, dtype=torch.float64) for v in (values[name], total))
                rows.append(compare(path.name, f"{config}: {name} as a sum", meant, said, SINGLE))
        beside = path.with_name(f"{config}.safetensors")
        if not beside.is_file() and not any(name in values for name in _SUMS):
            note = f"{beside.name} is not beside it, and there is no sum to check"
            rows.append(failed(path.name, config, note))
            continue
        if not beside.is_file():
            note = f"{beside.name} is not beside it: only the sums were checked"
            rows.append(LedgerRow(path.name, config, 0.0, 0.0, 0.0, True, note))
            continue
        terms = _loss_terms(beside)
        for name, value in values.items():
            if name not in _TERMS:
                rows.append(failed(path.name, f"{config}: {name}", "this term is not known"))
                continue
            expected = torch.tensor(value, dtype=torch.float64)
            rows.append(compare(path.name, f"{config}: {name}", terms[_TERMS[name]], expected, SINGLE))
    return rows


def _loss_terms(path: Path) -> dict[tuple[str, str], Tensor]:
    vector = Vector(path)
    network = vector.network(SpectralGPT, torch.float64)
    ratio = vector.mask_ratio
    out: dict[tuple[str, str], Tensor] = {}
    for loss in ("released", "three_target"):
        config = replace(LOSSES[loss], mask_ratio=ratio, norm_pix_loss=bool(vector.ctor["norm_pix_loss"]))
        with torch.no_grad():
            result = SpectralGPTObjective(network, config).eval()(
                vector.pixels(torch.float64), noise=vector.arrays["noise"]
            )
        out[loss, ""] = result.loss
        out.update({(loss, name): part.mean for name, part in result.parts.items()})
    return out


def _check_keys(path: Path) -> list[LedgerRow]:
    shapes = json.loads(path.read_text("utf-8"))
    # Values that differ everywhere: an exchanged or lost tensor cannot come back equal.
    rng = generator(_SEED, "ledger keys", path.name)
    state = {name: torch.rand(shape, generator=rng) for name, shape in shapes.items()}
    kinds = [name for name in likely_kinds(state) if name.startswith("spectralgpt")]
    if len(kinds) != 1:
        return [failed(path.name, "names", f"fit {', '.join(kinds) or 'no kind'} of checkpoint")]
    return [converted(path.name, state, KINDS[kinds[0]], {})[2]]


def _names(path: Path) -> set[str]:
    with safe_open(path, "pt") as reader:
        return set(reader.keys())


def _form(names: set[str]) -> Callable[[Path], list[LedgerRow]] | None:
    if {"param.decoder_pred.weight", "param.decoder_blocks.0.norm1.weight", "noise", "input"} <= names:
        return _check_mae
    if {"param.head.weight", "param.patch_embed.proj.weight", "last_block", "logits", "input"} <= names:
        return _check_classifier
    if {"fused_16x16", "output"} <= names:
        return _check_dense
    return None


def _is_losses(path: Path) -> bool:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(data, dict)
        and bool(data)
        and all(isinstance(values, dict) and "token" in values for values in data.values())
    )
