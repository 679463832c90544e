"""All kinds of published checkpoints by name; each family adds its own."""

from __future__ import annotations

from collections.abc import Mapping

from swath.weights.convert import spectralgpt, swin_kinds
from swath.weights.convert.kinds import Kind, State

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (*spectralgpt.KINDS, *swin_kinds.KINDS)}


def likely_kinds(state: State) -> tuple[str, ...]:
    """Names of the kinds that these tensors look like, for an error's mend."""
    return tuple(name for name, kind in KINDS.items() if kind.recognises(state))
