"""A file of vectors of a small SpectralGPT: its constructor, weights, inputs and expected outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from swath.errors import WeightsError
from swath.ledger.row import DOUBLE, EXACT, SINGLE, LedgerRow, compare, failed
from swath.models.spectralgpt import SENTINEL2_12, EncoderConfig
from swath.weights.convert.kinds import Kind, Plan, State, convert_back, convert_state
from swath.weights.convert.registry import KINDS
from swath.weights.file import same_state
from swath.weights.meta import WeightsMeta

_NO_EFFECT = ("drop_path_rate", "trunc_init", "dropout", "drop_rate")  # in eval mode, with weights given


class Vector:
    """A file of a small model: its constructor, weights, inputs and expected outputs."""

    def __init__(self, path: Path) -> None:
        self.file = path.name
        with safe_open(path, "pt") as reader:
            self.metadata: dict[str, str] = dict(reader.metadata() or {})
        self.arrays: dict[str, Tensor] = safetensors.torch.load_file(path)
        if "ctor" not in self.metadata:
            raise WeightsError("the constructor's values are missing", where=path, mend="give them as `ctor`")
        self.ctor: dict[str, Any] = {"norm_pix_loss": False, **json.loads(self.metadata["ctor"])}
        state = self._part("param.")
        bands = int(self.ctor["num_frames"])
        waves = SENTINEL2_12[:bands] if bands <= 12 else tuple(400.0 + 20.0 * i for i in range(bands))
        hints: dict[str, Any] = {"heads": int(self.ctor["num_heads"]), "wavelengths": waves}
        pretraining = "decoder_pred.weight" in state
        if pretraining:
            hints["decoder_heads"] = int(self.ctor["decoder_num_heads"])
        kind = KINDS["spectralgpt" if pretraining else "spectralgpt-classifier"]
        self.plan, self.state, self.conversion = converted(self.file, state, kind, hints)
        self._check_constructor()

    def network(self, of: Callable[[Any], Any], dtype: torch.dtype) -> Any:
        """The network with the file's weights, in eval mode."""
        network = of(self.plan.config)
        network.load_state_dict(self.state)
        return network.to(dtype).eval()

    def pixels(self, dtype: torch.dtype) -> Tensor:
        """[B,1,C,H,W]."""
        return self.arrays["input"][:, None].to(dtype)

    def rows(
        self,
        run: Callable[[torch.dtype, bool], tuple[dict[str, Tensor], nn.Module]],
        inputs: tuple[str, ...],
    ) -> list[LedgerRow]:
        """One row for the weights, one for each array, one for each gradient."""
        gradients = self._part("grad.")
        single, network = run(torch.float32, bool(gradients))
        doubles = any(name.endswith("_f64") for name in self.arrays)
        double = run(torch.float64, False)[0] if doubles else {}
        rows = [self.conversion]
        for name, expected in self.arrays.items():
            if name.startswith(("param.", "grad.")) or name in inputs:
                continue
            exact = name.endswith("_f64")
            values, base = (double, name.removesuffix("_f64")) if exact else (single, name)
            if base not in values:
                rows.append(failed(self.file, name, "this quantity is not known"))
                continue
            whole = not expected.is_floating_point()
            tolerance = EXACT if whole else DOUBLE if exact else SINGLE
            rows.append(compare(self.file, name, values[base], expected, tolerance))
        if len(rows) == 1:
            rows.append(failed(self.file, "file", "it holds nothing to compare"))
        return rows + (self._gradient_rows(network, gradients) if gradients else [])

    def _gradient_rows(self, network: nn.Module, expected: State) -> list[LedgerRow]:
        kind = self._kind()
        assert kind.from_swath is not None
        grads = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in network.named_parameters()}
        actual = kind.from_swath(grads, self.plan)
        rows = []
        for name in sorted({*actual, *expected}):
            quantity = f"grad.{name}"
            if name not in expected or name not in actual:
                side = "the file" if name not in expected else "the network"
                rows.append(failed(self.file, quantity, f"{side} has no such gradient"))
            else:
                rows.append(compare(self.file, quantity, actual[name], expected[name], SINGLE))
        return rows

    @property
    def mask_ratio(self) -> float:
        """As the file says, or from how many tokens were kept."""
        if "mask_ratio" in self.metadata:
            return float(self.metadata["mask_ratio"])
        return 1 - (self.arrays["ids_keep"].shape[1] + 0.5) / self.arrays["noise"].shape[1]

    def _kind(self) -> Kind:
        return KINDS["spectralgpt" if self.plan.architecture == "spectralgpt" else "spectralgpt-classifier"]

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}

    def _check_constructor(self) -> None:
        """Whether the network built from shapes is the one that the constructor's values describe."""
        config = self.plan.config
        assert isinstance(config, EncoderConfig)
        bands = len(config.wavelengths)
        meant: dict[str, Any] = {
            "img_size": config.image_size,
            "patch_size": config.patch_size,
            "in_chans": 1,
            "embed_dim": config.embed_dim,
            "depth": config.depth,
            "num_heads": config.heads,
            "mlp_ratio": config.mlp_ratio,
            "num_frames": bands,
            "pred_t_dim": bands,
            "t_patch_size": config.group_size,
            "sep_pos_embed": config.positions == "separable",
            "cls_embed": False,
            "no_qkv_bias": False,
            "norm_layer": "LayerNorm(eps=1e-6)",
            "norm_pix_loss": self.ctor["norm_pix_loss"],
            "num_classes": getattr(config, "num_classes", None),
            "decoder_embed_dim": getattr(config, "decoder_embed_dim", None),
            "decoder_depth": getattr(config, "decoder_depth", None),
            "decoder_num_heads": getattr(config, "decoder_heads", None),
        }
        for key, value in self.ctor.items():
            if key in _NO_EFFECT:
                continue
            if key not in meant or meant[key] != value:
                has = f"the network has {meant[key]}" if key in meant else "it is not known"
                raise WeightsError(f"constructor value {key}={value} cannot be built; {has}", where=self.file)


def converted(
    file: str, state: State, kind: Kind, hints: Mapping[str, Any]
) -> tuple[Plan, dict[str, Tensor], LedgerRow]:
    """The plan, the tensors under our names, and the row that says that they come back bit for bit."""
    plan, converted = convert_state(state, kind, hints)
    about = {"converted_from": kind.name, "layout": dict(plan.layout)}
    meta = WeightsMeta(plan.architecture, plan.config.to_dict(), provenance=about)
    equal = same_state(dict(state), convert_back(converted.state, meta, kind))
    note = f"{len(state)} tensors" if equal else "the way back gives other tensors"
    return (
        plan,
        converted.state,
        LedgerRow(file, "weights", 0.0 if equal else float("inf"), 0.0, 0.0, equal, note),
    )
