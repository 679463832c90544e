"""A file of the Swin family: weights, inputs and what the published code made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import safe_open
from torch import Tensor, nn

from swath.errors import WeightsError
from swath.ledger.row import EXACT, SINGLE, LedgerRow, Tolerance, compare, failed
from swath.models.swin_config import STSwinUNetConfig, Swin3DConfig
from swath.weights.convert.kinds import Kind, Plan, State, convert_back, convert_state
from swath.weights.file import same_state
from swath.weights.meta import WeightsMeta


class Vector:
    """One file; every array is claimed by an input or a comparison, and what is left over fails.

    Attributes:
        file: its name.
        meta: values of the constructor, by name.
        arrays: all tensors.
        rows: of the comparisons so far.
        compared: whether any of them is of a number that the published code made.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.name
        with safe_open(path, "pt") as reader:
            text = (reader.metadata() or {}).get("meta")
        self.meta: dict[str, Any] = json.loads(text) if text else {}
        self.arrays: dict[str, Tensor] = safetensors.torch.load_file(path)
        self.rows: list[LedgerRow] = []
        self._claimed: set[str] = set()
        self.compared = False

    def input(self, *names: str) -> Tensor:
        """The first of these arrays that the file has."""
        for name in names:
            if name in self.arrays:
                self._claimed.add(name)
                return self.arrays[name]
        raise WeightsError(f"the input is missing (none of {', '.join(names)})", where=self.file)

    def claim(self, prefix: str) -> dict[str, Tensor]:
        """The arrays under a prefix, without it."""
        found = {name: t for name, t in self.arrays.items() if name.startswith(prefix)}
        self._claimed.update(found)
        return {name.removeprefix(prefix): t for name, t in found.items()}

    def expect(self, name: str, actual: Tensor, tolerance: Tolerance = SINGLE) -> None:
        """A row for an array, if the file has it."""
        if name in self.arrays:
            self._claimed.add(name)
            self.compared = True
            self.rows.append(compare(self.file, name, actual, self.arrays[name], tolerance))

    def expect_all(self, values: Mapping[str, Tensor]) -> None:
        """Rows for those of the values that the file has."""
        for name, actual in values.items():
            self.expect(name, actual)

    def finish(self) -> list[LedgerRow]:
        """All rows, and a failed one for each array that nobody asked for, or if none was compared."""
        if not self.compared:
            self.rows.append(failed(self.file, "file", "it holds nothing to compare"))
        left = sorted(set(self.arrays) - self._claimed)
        return [*self.rows, *(failed(self.file, name, "this quantity is not known") for name in left)]

    def converted(self, kind: Kind, hints: Mapping[str, Any]) -> tuple[Plan, dict[str, Tensor]]:
        """The file's parameters by the converter of `swath convert`, and rows that say whether all of them
        are used and come back bit for bit.
        """
        state = self.claim("param.")
        plan, ours, row = there_and_back(self.file, state, kind, hints)
        self.rows.append(row)
        carried = [name for name in plan.layout.get("carried", {}) if name != "pos_embed"]
        buffers = sum(name.endswith(("relative_position_index", "attn_mask")) for name in state)
        if buffers:
            note = f"{carried[0]} is another" if carried else f"{buffers} indices and masks"
            error = float("inf") if carried else 0.0
            self.rows.append(LedgerRow(self.file, "rebuilt buffers", error, 0.0, 0.0, not carried, note))
        config = plan.config.backbone if isinstance(plan.config, STSwinUNetConfig) else plan.config
        assert isinstance(config, Swin3DConfig)
        self.check_meta(config, getattr(plan.config, "classes", None))
        return plan, ours

    def check_meta(self, config: Swin3DConfig, classes: int | None = None) -> None:
        """Whether the network read from shapes is the one of the file's constructor.

        Raises:
            WeightsError: naming the first value that is another.
        """
        meant: dict[str, Any] = {
            "dim": config.embed_dim,
            "depth": config.depths[0],
            "embed_dim": config.embed_dim,
            "depths": list(config.depths),
            "num_heads": config.heads[0] if type(self.meta.get("num_heads")) is int else list(config.heads),
            "in_chans": config.bands,
            "qkv_bias": config.qkv_bias,
            "patch_norm": config.patch_norm,
            # Values that no published configuration uses and no network here has.
            "qk_scale": None,
            "ape": False,
        }
        if classes is not None:
            meant["num_classes"] = classes
        for key, value in self.meta.items():
            if key in meant and value != meant[key]:
                raise WeightsError(f"the constructor's {key}={value} is not {meant[key]}", where=self.file)


def there_and_back(
    file: str, state: State, kind: Kind, hints: Mapping[str, Any]
) -> tuple[Plan, dict[str, Tensor], LedgerRow]:
    """The plan, the tensors under our names, and the row that says that they come back bit for bit."""
    plan, converted = convert_state(state, kind, hints)
    # As it would be read from a file of weights.
    about = json.loads(json.dumps({"converted_from": kind.name, "layout": dict(plan.layout)}))
    meta = WeightsMeta(plan.architecture, plan.config.to_dict(), provenance=about)
    equal = same_state(dict(state), convert_back(converted.state, meta, kind))
    note = f"{len(state)} tensors, there and back" if equal else "the way back gives other tensors"
    row = LedgerRow(file, "weights", 0.0 if equal else float("inf"), *EXACT, equal, note)
    return plan, converted.state, row


def worst(file: str, quantity: str, rows: Iterable[LedgerRow]) -> LedgerRow:
    """Many rows as one: the first that failed, else the one that is farthest off."""
    rows = sorted(rows, key=lambda row: (row.passed, -row.error))
    if not rows:
        return failed(file, quantity, "there is nothing to compare")
    first = rows[0]
    note = f"{len(rows)} tensors" if first.passed else f"{first.quantity}: {first.note or 'differs'}"
    return LedgerRow(file, quantity, first.error, first.atol, first.rtol, first.passed, note)


def captured(network: nn.Module, *, planar: bool) -> dict[str, Tensor]:
    """A dictionary that fills with what the named parts of a Swin give, as soon as the network runs.

    `<part>` is what a part gives, `<part>.in` what it got. 2D networks' maps lose their axis of one date.
    """
    out: dict[str, Tensor] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            given, made = args[0], result[0] if isinstance(result, tuple) else result
            out[f"{name}.in"] = given[:, 0] if planar and given.ndim == 5 else given
            out[name] = made[:, 0] if planar and made.ndim == 5 else made

        return hook

    wanted = (
        "patch_embed",
        "norm",
        "first_patch_expanding",
        "norm_up",
        "final_patch_expanding",
        "decoder_pred",
    )
    rooms = ("layers", "layers_up", "skip_connection_layers")
    for name, module in network.named_modules():
        parts = name.split(".")
        whole = name in wanted or (parts[0] in rooms and len(parts) == 2)
        step = parts[0] in rooms and len(parts) == 3 and parts[2] in ("downsample", "upsample")
        if whole or step:
            module.register_forward_hook(record(name))
    return out


def stage_output(inside: Mapping[str, Tensor], room: str, stage: int) -> Tensor:
    """What a published stage gives: its blocks, and the step to the next width if it has one."""
    at = f"{room}.{stage}"
    for step in ("downsample", "upsample"):
        if f"{at}.{step}" in inside:
            return inside[f"{at}.{step}"]
    return inside[at]


def load(network: nn.Module, state: State) -> None:
    """Weights into a network, in eval mode and without gradients."""
    network.load_state_dict(state)
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)


def as_like(actual: Tensor, expected: Tensor | None) -> Tensor:
    """A map [B,h,w,C] as tokens [B,h*w,C] where those are expected."""
    return actual.flatten(1, 2) if expected is not None and expected.ndim == 3 else actual
