"""Fine-tunings on records that begin with weights: other bands, frozen encoders and adapters."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_layout import VIT, tune

from swath.weights.file import load

pytestmark = pytest.mark.usefixtures("planted")


@pytest.mark.slow  # three runs
def test_pretrained_weights_go_on_with_other_bands(tmp_path: Path) -> None:
    first = tune(tmp_path / "a", "classification", VIT, training={"steps": 3})
    second = tune(
        tmp_path / "b", "classification", {"system": "auto"}, weights=first.weights,
        training={"steps": 2}, data={"bands": ["B08", "B04"]},
    )  # fmt: skip
    assert "kept" in second.transfer
    contract = load(second.weights).meta.contract
    assert contract is not None and [s.band.name for s in contract.bands] == ["B08", "B04"]
    third = tune(
        tmp_path / "c", "classification", {"system": "auto"}, weights=first.weights, training={"steps": 2}
    )
    assert load(third.weights).meta.contract == load(first.weights).meta.contract
    assert load(third.weights).meta.provenance["pretrained"]["sha256"] == load(first.weights).sha256


@pytest.mark.slow  # a few runs
def test_a_part_of_the_network_learns(tmp_path: Path) -> None:
    first = tune(tmp_path / "a", "classification", VIT, training={"steps": 3})
    given = {"model": {"system": "auto"}, "weights": first.weights}
    frozen = tune(tmp_path / "b", "classification", **given, training={"steps": 3, "freeze": "encoder"})
    adapted = tune(tmp_path / "c", "classification", **given, training={"steps": 3}, lora={"rank": 2})
    before, still, moved = (load(r.weights).state for r in (first, frozen, adapted))
    inner = [name for name in before if name.startswith("encoder.")]
    assert inner and all(before[name].equal(still[name]) for name in inner)
    assert not any("lora" in name for name in moved) and before.keys() == moved.keys()
    changed = {name for name in inner if not before[name].equal(moved[name])}
    assert changed and all("attn" in name or "mlp" in name for name in changed)
