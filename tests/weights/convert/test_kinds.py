"""The conversion that all kinds share, with a kind made up for the test."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swath.errors import WeightsError
from swath.models.unet import UNet, UNetConfig
from swath.weights.convert.kinds import (
    ConvertedState,
    Kind,
    Plan,
    State,
    convert,
    convert_back,
    convert_state,
    count_blocks,
    envelope,
    expect_exactly,
    expect_tensor,
    find,
)
from swath.weights.convert.reader import Foreign
from swath.weights.file import load, same_state, save
from swath.weights.meta import WeightsMeta
from swath.weights.transfer import TransferReport

CONFIG = UNetConfig()


def _to(state: State, plan: Plan) -> ConvertedState:
    renamed = {name.removeprefix("theirs."): tensor for name, tensor in state.items()}
    return ConvertedState(renamed, TransferReport(tuple(state), (), (), ()))


KIND = Kind(
    name="made-up",
    title="A made-up publication",
    source="nowhere",
    licence="to be respected",
    plan=lambda state, hints: Plan("unet", CONFIG, {"order": 1}, notes=("note this",)),
    to_swath=_to,
    from_swath=lambda state, plan: {f"theirs.{name}": tensor for name, tensor in state.items()},
    architectures=("unet",),
    hints={"heads": "how many"},
    container="model",
    prefix="module.",
)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {f"theirs.{name}": tensor.detach() for name, tensor in UNet(CONFIG).state_dict().items()}


def foreign(state: State) -> Foreign:
    return Foreign(Path("some/x.pth"), dict(state), "state_dict", "", ("epoch",), "ab" * 32)


def test_there_and_back_through_a_file(
    state: dict[str, torch.Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        conversion = convert(foreign(state), KIND)
    assert "to be respected" in caplog.text and "note this" in caplog.text
    assert conversion.report.kept == tuple(state) and conversion.notes == ("note this",)
    save(tmp_path / "w.safetensors", conversion.state, conversion.meta)
    loaded = load(tmp_path / "w.safetensors")
    assert loaded.meta.licence == "to be respected"
    assert loaded.meta.provenance["file"] == "x.pth" and loaded.meta.provenance["layout"] == {"order": 1}
    assert same_state(convert_back(loaded.state, loaded.meta, KIND), state)
    assert envelope(loaded.meta, KIND) == ("state_dict", "")
    assert envelope(WeightsMeta("unet", {}), KIND) == ("model", "module.")


def test_anything_unexpected_is_named(state: dict[str, torch.Tensor]) -> None:
    first = next(iter(state))
    cases = {
        "theirs.more": {**state, "theirs.more": torch.zeros(1)},
        first: {name: tensor for name, tensor in state.items() if name != first},
        f"{first} ": {**state, first: torch.zeros(1, 2, 3)},
        f"{first}  ": {**state, first: torch.full_like(state[first], float("nan"))},
        f"{first}   ": {**state, first: state[first].int()},
        f"{first}    ": {**state, first: state[first].to(torch.complex64)},
    }
    for name, broken in cases.items():
        with pytest.raises(WeightsError) as caught:
            convert(foreign(broken), KIND)
        assert name.strip().removeprefix("theirs.") in str(caught.value)
        assert "some/x.pth" in str(caught.value)


def test_hints_are_checked(state: dict[str, torch.Tensor]) -> None:
    convert_state(state, KIND, {"heads": None})
    with pytest.raises(WeightsError, match="did you mean heads"):
        convert_state(state, KIND, {"head": 3})


def test_the_way_back_wants_its_architecture(state: dict[str, torch.Tensor]) -> None:
    meta = convert(foreign(state), KIND).meta
    ours = {name.removeprefix("theirs."): tensor for name, tensor in state.items()}
    with pytest.raises(WeightsError, match="is made of unet"):
        convert_back(ours, replace(meta, architecture="spectralgpt"), KIND)
    with pytest.raises(WeightsError, match="no way back"):
        convert_back(ours, meta, replace(KIND, from_swath=None))
    name = next(iter(ours))
    with pytest.raises(WeightsError, match="missing"):
        convert_back({k: v for k, v in ours.items() if k != name}, meta, KIND)
    with pytest.raises(WeightsError, match="extra"):
        convert_back({**ours, "extra": torch.zeros(1)}, meta, KIND)


def test_helpers() -> None:
    t = torch.zeros(2)
    assert find("made-up", {"made-up": KIND}) is KIND
    with pytest.raises(WeightsError, match="did you mean made-up"):
        find("made-ip", {"made-up": KIND})
    assert count_blocks({"b.0.x": t, "b.1.x": t, "b.1.y": t, "c.7": t}, "b.") == 2
    with pytest.raises(WeightsError, match=r"b\.1"):
        count_blocks({"b.0.x": t, "b.2.x": t}, "b.")
    with pytest.raises(WeightsError, match="missing"):
        expect_tensor({}, "a")
    with pytest.raises(WeightsError, match="dimensions"):
        expect_tensor({"a": t}, "a", dims=2)
    expect_exactly({"a": t}, {"a": t}, "it")
    for state, expected in (({"a": t, "b": t}, {"a": t}), ({}, {"b": t}), ({"b": t}, {"b": t[:1]})):
        with pytest.raises(WeightsError):
            expect_exactly(state, expected, "it")
