"""Weights of one network into another, saying what became of every tensor; the unexpected is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from swath.errors import WeightsError


@dataclass(frozen=True)
class TransferReport:
    """What became of the tensors, by name.

    Attributes:
        kept: taken over as they are.
        resized: made to fit by the caller before they were taken over: name, shape before, shape after.
        new: of the network only; as they were initialised.
        dropped: of the weights only.
        notes: what else a person should know: (what, how many, which), such as bands.
    """

    kept: tuple[str, ...]
    resized: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    notes: tuple[tuple[str, int, str], ...] = ()

    def rows(self) -> list[tuple[str, int, str]]:
        """(what, how many tensors, which) for a table."""
        resized = [f"{name} {list(a)} -> {list(b)}" for name, a, b in self.resized]
        return [
            ("kept", len(self.kept), _summary(self.kept)),
            ("resized", len(resized), ", ".join(resized) or "-"),
            ("new", len(self.new), _summary(self.new)),
            ("dropped", len(self.dropped), _summary(self.dropped)),
            *self.notes,
        ]

    def __str__(self) -> str:
        rows = self.rows()
        wide = max(len(what) for what, _, _ in rows) + 1
        return "\n".join(f"{what:{wide}} {count:5}  {which}" for what, count, which in rows)


def transfer(
    state: Mapping[str, Tensor],
    network: nn.Module,
    *,
    rename: Callable[[str], str] | None = None,
    allow_new: Sequence[str] = (),
    allow_dropped: Sequence[str] = (),
) -> TransferReport:
    """Copies tensors into a network by name. Nothing is changed if anything is unexpected.

    Args:
        state: tensors by name.
        network: takes them.
        rename: from a name in `state` to one in the network.
        allow_new: patterns of the network's names that may keep their fresh values.
        allow_dropped: patterns of names in `state` that may be left behind.

    Raises:
        WeightsError: naming the first tensor that is not expected.
    """
    target = network.state_dict()
    fresh: dict[str, Tensor] = {}
    kept, dropped = [], []
    for source_name, tensor in state.items():
        name = source_name if rename is None else rename(source_name)
        if name not in target:
            if not _fits(source_name, allow_dropped):
                raise WeightsError(
                    "the network has no such tensor",
                    where=source_name,
                    mend="use the network it was made for",
                )
            dropped.append(source_name)
            continue
        if name in fresh:
            raise WeightsError("two tensors of the weights would go there", where=name)
        shape = target[name].shape
        if tensor.shape != shape:
            raise WeightsError(
                f"the weights have shape {list(tensor.shape)}, the network {list(shape)}",
                where=name,
                mend="build the network with the config of the weights",
            )
        fresh[name] = tensor
        kept.append(name)
        if fresh[name].is_floating_point() and not bool(torch.isfinite(fresh[name]).all()):
            raise WeightsError(
                "the weights hold NaN or infinity", where=source_name, mend="use other weights"
            )
    new = [name for name in target if name not in fresh]
    for name in new:
        if not _fits(name, allow_new):
            raise WeightsError(
                "the weights lack this tensor", where=name, mend="use weights of this architecture"
            )
    if not fresh:
        raise WeightsError("no tensor of the weights fits the network", mend="use weights of this family")
    # Strict in both directions: whatever is new goes in as it is.
    network.load_state_dict({**target, **fresh})
    return TransferReport(tuple(kept), (), tuple(new), tuple(dropped))


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _summary(names: Sequence[str], most: int = 6) -> str:
    """Names shortened to their first parts, such as "layers.* (48)"."""
    groups: dict[str, int] = {}
    for name in names:
        head = name.split(".")[0]
        groups[head] = groups.get(head, 0) + 1
    told = [head if count == 1 else f"{head}.* ({count})" for head, count in groups.items()]
    more = f", and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(told[:most]) + more if told else "-"
