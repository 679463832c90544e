"""What a kind of published checkpoint is, and the conversion that all kinds share, there and back.

A kind reads from the shapes which network the tensors belong to, renames and reshapes them, and can undo it.
The rest is common: the result must be exactly the network's own tensors, by name and shape, and every foreign
tensor must be accounted for as kept, resized or dropped. Anything unexpected or missing is an error.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from swath.contract import InputContract
from swath.errors import ConfigError, WeightsError
from swath.models.config import ModelConfig
from swath.weights.build import architecture, build
from swath.weights.convert.reader import Foreign
from swath.weights.meta import MapClass, WeightsMeta
from swath.weights.transfer import TransferReport

State = Mapping[str, Tensor]
Hints = Mapping[str, Any]
_LOG = logging.getLogger("swath.weights.convert")


@dataclass(frozen=True)
class Plan:
    """What the tensors of a checkpoint say about the network they belong to.

    Attributes:
        architecture: its name in `swath.weights.build.REGISTRY`.
        config: of the network.
        layout: plain JSON values that the way back needs to give the same names and tensors again.
        contract: what the network eats, as its training was published; None if that is not known.
        classes: of its maps, in the order of the logits.
        notes: what a person should know, one sentence each.
    """

    architecture: str
    config: ModelConfig
    layout: Mapping[str, Any] = field(default_factory=dict)
    contract: InputContract | None = None
    classes: tuple[MapClass, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConvertedState:
    """Tensors under swath's names, and what became of the foreign ones (names in the report are foreign)."""

    state: dict[str, Tensor]
    report: TransferReport


@dataclass(frozen=True)
class Kind:
    """A kind of published checkpoint.

    Attributes:
        name: as given to `swath convert --from`.
        title: the publication.
        source: where its weights are found.
        licence: what is known about the licence of code and weights.
        plan: from tensors and hints to the network; raises WeightsError naming the tensor or the hint missing.
        to_swath: foreign tensors to swath's, for that plan.
        from_swath: swath's tensors to foreign ones, for that plan; None if there is no way back.
        architectures: the networks it can become, and come back from.
        hints: what shapes cannot tell: name -> a sentence.
        recognises: whether these tensors look like this kind.
        container: the key that holds the state dict in the published files, "" for none.
        prefix: before all names in the published files, "" for none.
    """

    name: str
    title: str
    source: str
    licence: str
    plan: Callable[[State, Hints], Plan]
    to_swath: Callable[[State, Plan], ConvertedState]
    from_swath: Callable[[State, Plan], dict[str, Tensor]] | None
    architectures: tuple[str, ...]
    hints: Mapping[str, str] = field(default_factory=dict)
    recognises: Callable[[State], bool] = lambda state: False
    container: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint, ready for `swath.weights.file.save`."""

    meta: WeightsMeta
    state: dict[str, Tensor]
    report: TransferReport
    notes: tuple[str, ...]


def convert_state(state: State, kind: Kind, hints: Hints | None = None) -> tuple[Plan, ConvertedState]:
    """Foreign tensors as those of a network of swath.

    Raises:
        WeightsError: naming the first tensor that is unexpected, missing, of another shape, or not finite.
    """
    hints = {key: value for key, value in (hints or {}).items() if value is not None}
    for key in hints:
        if key not in kind.hints:
            raise WeightsError(
                f"unknown hint '{key}'", where=kind.name, mend=_nearest(key, tuple(kind.hints), "hints")
            )
    try:
        plan = kind.plan(state, hints)
    except (ConfigError, ValueError) as err:
        raise WeightsError(f"no network has such tensors ({err})", where=kind.name) from err
    converted = kind.to_swath(state, plan)
    for name, tensor in converted.state.items():
        if not tensor.is_floating_point():
            raise WeightsError(
                f"holds {str(tensor.dtype).removeprefix('torch.')}, no real numbers",
                where=name,
                mend="give the weights in floating point",
            )
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError("the weights hold NaN or infinity", where=name, mend="use other weights")
    _check(converted.state, network_of(plan, kind.name), kind, converted.report.new)
    return plan, converted


def convert(foreign: Foreign, kind: Kind, hints: Hints | None = None) -> Conversion:
    """A foreign checkpoint as weights of swath; the licence of the source is logged as a warning.

    Raises:
        WeightsError: naming the file and the first tensor that is unexpected, missing or of another shape.
    """
    try:
        plan, converted = convert_state(foreign.state, kind, hints)
    except WeightsError as err:
        at = foreign.path if err.where is None else f"{foreign.path}: {err.where}"
        raise WeightsError(err.what, where=at, mend=err.mend) from err
    _LOG.warning("%s: the licence of the source applies: %s", foreign.path, kind.licence)
    for note in plan.notes:
        _LOG.warning("%s: %s", foreign.path, note)
    provenance = {
        "converted_from": kind.name,
        "publication": kind.title,
        "source": kind.source,
        "file": foreign.path.name,
        "file_sha256": foreign.sha256,
        "container": foreign.container,
        "prefix": foreign.prefix,
        "layout": dict(plan.layout),
        "notes": list(plan.notes),
    }
    meta = WeightsMeta(
        plan.architecture, plan.config.to_dict(), plan.contract, plan.classes, provenance, kind.licence
    )
    return Conversion(meta, converted.state, converted.report, plan.notes)


def convert_back(state: State, meta: WeightsMeta, kind: Kind) -> dict[str, Tensor]:
    """Weights of swath as the publication names and shapes them, bit for bit what `convert` once read.

    Raises:
        WeightsError: the weights are of another architecture, have other tensors than it, or there is no way.
    """
    if kind.from_swath is None:
        raise WeightsError(f"there is no way back to {kind.name}", mend="keep the original file")
    if meta.architecture not in kind.architectures:
        raise WeightsError(
            f"{kind.name} is made of {' or '.join(kind.architectures)}, these weights are {meta.architecture}",
            mend="choose the kind that they were converted from",
        )
    with torch.device("meta"):
        network = build(meta, kind.name)
    config = getattr(network, architecture(meta.architecture).held)
    layout = meta.provenance.get("layout") if meta.provenance.get("converted_from") == kind.name else None
    plan = Plan(meta.architecture, config, layout or {}, meta.contract, meta.classes)
    _check(state, network, kind)
    return kind.from_swath(state, plan)


def find(name: str, kinds: Mapping[str, Kind]) -> Kind:
    """The kind of that name; WeightsError names the nearest."""
    if name not in kinds:
        raise WeightsError(f"unknown kind '{name}'", mend=_nearest(name, tuple(kinds), "kinds"))
    return kinds[name]


def expect_tensor(state: State, name: str, *, dims: int | None = None) -> Tensor:
    """The tensor of that name, for a `plan`. Raises WeightsError if it is missing or has other dimensions."""
    if name not in state:
        raise WeightsError("this tensor is missing", where=name, mend="check the kind of the checkpoint")
    tensor = state[name]
    if dims is not None and tensor.ndim != dims:
        raise WeightsError(f"has {tensor.ndim} dimensions, not {dims}", where=name)
    return tensor


def count_blocks(state: State, prefix: str) -> int:
    """How many numbered parts `prefix0.…`, `prefix1.…` there are, without a gap."""
    numbers = {
        int(head)
        for name in state
        if name.startswith(prefix) and (head := name.removeprefix(prefix).split(".")[0]).isdigit()
    }
    for n in range(len(numbers)):
        if n not in numbers:
            raise WeightsError(f"part {n} of {max(numbers) + 1} is missing", where=prefix + str(n))
    return len(numbers)


def network_of(plan: Plan, where: object | None = None) -> nn.Module:
    """The plan's network without memory for its tensors: names and shapes only."""
    with torch.device("meta"):
        return build(WeightsMeta(plan.architecture, plan.config.to_dict()), where)


def expect_exactly(state: State, expected: State, what: str) -> None:
    """Whether foreign tensors are these, by name and shape; WeightsError names the first that is not."""
    for name, tensor in state.items():
        if name not in expected:
            raise WeightsError(f"no tensor of that name belongs to {what}", where=name, mend="check the kind")
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"has the shape {list(tensor.shape)}, {what} of the sizes of the others has "
                f"{list(expected[name].shape)}",
                where=name,
                mend="check the hints and the kind of the checkpoint",
            )
    for name in expected:
        if name not in state:
            raise WeightsError(f"this tensor of {what} is missing", where=name, mend="check the kind")


def envelope(meta: WeightsMeta, kind: Kind) -> tuple[str, str]:
    """(container, prefix) for `write_foreign`: those of the file they were converted from, else the kind's."""
    if meta.provenance.get("converted_from") != kind.name:
        return kind.container, kind.prefix
    return str(meta.provenance.get("container", "")), str(meta.provenance.get("prefix", ""))


def _check(state: State, network: nn.Module, kind: Kind, new: Sequence[str] = ()) -> None:
    """Whether these are the network's tensors, by name and shape."""
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    for name, tensor in state.items():
        if name not in wanted:
            raise WeightsError(
                "no tensor of that name belongs to the network", where=name, mend=f"is it {kind.name}?"
            )
        if tensor.shape != wanted[name]:
            raise WeightsError(
                f"has the shape {list(tensor.shape)}, the network {list(wanted[name])}",
                where=name,
                mend="check the hints and the kind of the checkpoint",
            )
    for name in wanted:
        if name not in state and name not in new:
            raise WeightsError("this tensor is missing", where=name, mend=f"is it {kind.name}?")


def _nearest(name: str, known: Sequence[str], what: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"{what} are {', '.join(known) or 'none'}"
