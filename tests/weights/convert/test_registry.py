from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from swath.weights.build import REGISTRY
from swath.weights.convert.registry import KINDS, likely_kinds

GOLDEN = Path(__file__).parents[2] / "golden" / "spectralgpt"


def test_kinds_say_what_a_person_needs() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name and kind.title and kind.source and kind.licence
        assert kind.architectures and set(kind.architectures) <= set(REGISTRY)
        assert all(kind.hints.values())


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ("base", "spectralgpt"),
        ("cls", "spectralgpt-classifier"),
        ("cls_sep", "spectralgpt-classifier"),
        ("oscd", "spectralgpt-oscd"),
        ("segmunich", "spectralgpt-segmunich"),
    ],
)
def test_kinds_recognise_their_own(keys: str, kind: str) -> None:
    shapes = json.loads((GOLDEN / f"spectralgpt_keys_{keys}.json").read_text())
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert likely_kinds(state) == (kind,)
