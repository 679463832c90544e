from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.errors import OutputError, WeightsError
from swath.weights.file import load, load_meta, same_state, save
from swath.weights.meta import MapClass, WeightsMeta, describe

CONTRACT = contract_for(
    "sentinel2",
    ("B02", "B03", "B8A"),
    Encoding("reflectance", 1e-4, -0.1, "L2A"),
    Normalisation("standard", "fixed", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)),
    optional=("B8A",),
    gsd=10.0,
    size=(96, 96),
)
META = WeightsMeta(
    "st_swin_unet",
    {"embed_dim": 8, "window": [2, 7, 7]},
    CONTRACT,
    (MapClass("water", "#0000ff"), MapClass('a "quoted" swath_sha256":"' + "0" * 64)),
    {"data": ["a scene", "another"], "steps": 5, "pretrained": {"seed": 3}},
    "CC-BY-4.0",
)


def network() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module.register_parameter("extra", nn.Parameter(torch.randn(5).bfloat16()))
    return module


def test_weights_come_back_bit_for_bit_with_what_they_are(tmp_path):
    module = network()
    digest = save(tmp_path / "w.safetensors", module, META)
    loaded = load(tmp_path / "w.safetensors")
    assert same_state(loaded.state, module.state_dict())
    assert loaded.meta == META and loaded.meta.contract == CONTRACT
    assert loaded.sha256 == digest and load_meta(tmp_path / "w.safetensors") == META
    assert loaded.parameters == sum(t.numel() for t in module.state_dict().values())
    # Any safetensors reader reads it too.
    assert set(safetensors.torch.load_file(tmp_path / "w.safetensors")) == set(module.state_dict())
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_weights_may_be_read_by_whoever_may_read_other_new_files(tmp_path):
    save(tmp_path / "w.safetensors", network(), META)
    (tmp_path / "other").touch()
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_tensors_that_share_memory_are_saved(tmp_path):
    shared = torch.randn(4, 4)
    save(tmp_path / "w.safetensors", {"a": shared, "b": shared[:2], "c": shared.T}, META)
    assert torch.equal(load(tmp_path / "w.safetensors").state["c"], shared.T)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save(path, network(), META)
    return path.read_bytes()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_is_noticed(whole: bytes, tmp_path: Path, data: st.DataObject):
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(flipped)
    with pytest.raises(WeightsError, match=r"flipped\.safetensors"):
        load(path)


def test_a_space_that_pads_the_header_is_covered(whole: bytes, tmp_path: Path):
    length = int.from_bytes(whole[:8], "little")
    flipped = bytearray(whole)
    if flipped[7 + length] == 0x20:
        flipped[7 + length] = 0x09  # a tab is as good to JSON as a space
    else:
        flipped[8] = 0x20
    (tmp_path / "w.safetensors").write_bytes(flipped)
    with pytest.raises(WeightsError):
        load(tmp_path / "w.safetensors")


def test_cut_files_and_files_of_another_kind_are_refused(whole: bytes, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    for content in (b"", b"hello", b"just some text in a file", whole[:50], whole[:-1], whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(WeightsError):
            load(path)
    with pytest.raises(WeightsError, match="no such file"):
        load(tmp_path / "none.safetensors")
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="without swath's hash"):
        load(path)
    strings = META.to_strings()
    with pytest.raises(WeightsError, match="format 99"):
        WeightsMeta.from_strings({**strings, "format_version": "99"}, "w")
    with pytest.raises(WeightsError, match="without swath's metadata"):
        WeightsMeta.from_strings({}, "w")
    with pytest.raises(WeightsError, match="cannot be read"):
        WeightsMeta.from_strings({**strings, "contract": "{}"}, "w")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save(path, network(), META)
    before = path.read_bytes()
    with pytest.raises(WeightsError, match="not plain JSON"):
        save(path, network(), WeightsMeta("x", {"bad": object()}))
    assert path.read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save(tmp_path / "file" / "w.safetensors", network(), META)


def test_describe_says_what_a_person_asks():
    rows = dict(describe(META, 12345, "abc"))
    assert rows["bands, in order"] == "B02 B03 B8A? of sentinel2 (?: optional)"
    assert rows["unit"] == "reflectance, stored x 0.0001 + -0.1, L2A"
    assert rows["parameters"] == "12,345" and rows["licence"] == "CC-BY-4.0"
    assert rows["provenance: steps"] == "5" and rows["training window"] == "96 x 96 pixels"
    assert rows["provenance: data"] == "a scene, another" and rows["provenance: pretrained.seed"] == "3"
    assert rows["dates"] == "1 to any number" and rows["classes"].startswith("water")
