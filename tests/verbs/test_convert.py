"""`swath convert` as a person runs it: there, back, and refusals of one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from swath.cli import main
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.models.swin_config import STSwinConfig
from swath.weights.build import build
from swath.weights.convert.kinds import Plan
from swath.weights.convert.registry import KINDS
from swath.weights.convert.swin_kinds import RULES
from swath.weights.file import load, same_state
from swath.weights.meta import WeightsMeta

SMALL = SpectralGPTConfig(
    image_size=32, embed_dim=48, depth=2, heads=3, decoder_embed_dim=32, decoder_depth=1
)
HINTS = '{"heads": 3, "decoder_heads": 16}'


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """Small SpectralGPT weights under their published names."""
    torch.manual_seed(0)
    back = KINDS["spectralgpt"].from_swath
    assert back is not None
    state = {n: torch.rand_like(t) for n, t in SpectralGPT(SMALL).state_dict().items()}
    return back(state, Plan("spectralgpt", SMALL))


@pytest.fixture
def checkpoint(published: dict[str, Tensor], tmp_path: Path) -> Path:
    path = tmp_path / "theirs.pth"
    torch.save({"model": {f"module.{n}": t for n, t in published.items()}, "epoch": 3}, path)
    return path


def swath(*words: object) -> int:
    return main([str(word) for word in words])


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert swath(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_there_and_back_bit_for_bit(
    checkpoint: Path, published: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "ours.safetensors"
    assert swath("convert", checkpoint, ours, "--from", "spectralgpt", "--hints", HINTS) == 0
    captured = capsys.readouterr()
    for word in ("kept", "resized", "new", "dropped", "epoch", "spectralgpt", "licence"):
        assert word in captured.out
    assert "the licence of the source applies" in " ".join(captured.err.split())
    loaded = load(ours)
    about = loaded.meta.provenance
    assert about["file"] == "theirs.pth" and len(about["file_sha256"]) == 64 and about["made_by"]
    assert about["converted_from"] == "spectralgpt" and loaded.meta.licence.startswith("weights CC-BY")

    assert swath("inspect", ours) == 0
    told = capsys.readouterr().out
    for word in (
        "architecture",
        "B8A B09",
        "minmax, scope record",
        "theirs.pth",
        "licence",
        "sha256",
        "parameters",
    ):
        assert word in told

    again = tmp_path / "again.pth"
    assert swath("convert", ours, again, "--to", "spectralgpt") == 0
    assert same_state(torch.load(again)["model"], torch.load(checkpoint)["model"])
    bare = tmp_path / "again.safetensors"
    assert swath("convert", checkpoint, bare, "--from=spectralgpt", "--to=spectralgpt", "--hints", HINTS) == 0
    stripped = {n.removeprefix("module."): t for n, t in safetensors.torch.load_file(bare).items()}
    assert same_state(stripped, published)


def test_a_planar_swin_goes_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = STSwinConfig(
        bands=3,
        patch_size=(1, 4, 4),
        embed_dim=12,
        depths=(2, 2),
        heads=(2, 4),
        window=(1, 2, 2),
        **RULES["swin-mae"],
    )
    network = build(WeightsMeta("st_swin_mae", config.to_dict()))
    back = KINDS["swin-mae"].from_swath
    assert back is not None
    state = back(network.state_dict(), Plan("st_swin_mae", config, {"grid": 8}))
    source = tmp_path / "mae.safetensors"
    safetensors.torch.save_file({n: t.clone().contiguous() for n, t in state.items()}, source)
    assert swath("convert", source, tmp_path / "ours.safetensors", "--from", "swin-mae", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["architecture"] == "st_swin_mae" and "pos_embed" in told["dropped"] and not told["new"]
    assert (
        swath("convert", tmp_path / "ours.safetensors", tmp_path / "back.safetensors", "--to", "swin-mae")
        == 0
    )
    assert same_state(safetensors.torch.load_file(tmp_path / "back.safetensors"), state)


def test_kinds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert swath("convert", "--list") == 0
    told = capsys.readouterr().out
    assert all(f"{name}\n" in told for name in KINDS) and "no way back" in told
    assert swath("convert", "--help") == 0
    assert "--from" in capsys.readouterr().out


class _Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("was-run"),)


def test_a_malicious_pickle_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"x": torch.zeros(1)}, "args": _Evil()}, "evil.pth")
    Path("older.pth").write_bytes(pickle.dumps({"model": _Evil()}))
    for name in ("evil.pth", "older.pth"):
        for words in (["--from", "spectralgpt"], []):
            assert name in error_of(capsys, "convert", name, "out.safetensors", *words)
    assert not Path("was-run").exists() and not Path("out.safetensors").exists()


def test_what_does_not_fit_is_one_line(
    checkpoint: Path, published: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    start = ("convert", checkpoint, out)
    assert "did you mean spectralgpt" in error_of(capsys, *start, "--from", "spectralgtp")
    assert "looks like --from spectralgpt" in error_of(capsys, *start)
    assert "looks like --from spectralgpt" in error_of(capsys, *start, "--from", "video-swin")
    assert "did you mean heads" in error_of(capsys, *start, "--from", "spectralgpt", "--hints", "{head: 3}")
    assert "output" in error_of(capsys, "convert", checkpoint, "--from", "spectralgpt")
    assert "ends in '.onnx'" in error_of(
        capsys, "convert", checkpoint, tmp_path / "x.onnx", "--from", "spectralgpt"
    )
    assert "no such file" in error_of(capsys, "convert", tmp_path / "none.pth", out, "--from", "spectralgpt")
    more = tmp_path / "more.safetensors"
    safetensors.torch.save_file({**published, "extra.weight": torch.zeros(1)}, more)
    line = error_of(capsys, "convert", more, out, "--from", "spectralgpt", "--hints", HINTS)
    assert "extra.weight" in line and str(more) in line
    assert not out.exists()
    assert "swath convert" in error_of(capsys, "inspect", more)
    assert "swath convert" in error_of(capsys, "inspect", checkpoint)


def test_nothing_is_overwritten_unless_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("precious")
    words = ("convert", checkpoint, out, "--from", "spectralgpt", "--hints", HINTS)
    assert "exists already" in error_of(capsys, *words)
    assert out.read_text() == "precious"
    assert swath(*words, "--overwrite") == 0
    capsys.readouterr()
    same = ("convert", checkpoint, checkpoint, "--from", "spectralgpt", "--to", "spectralgpt", "--overwrite")
    assert "source itself" in error_of(capsys, *same)
    assert "looks like --from spectralgpt" in error_of(
        capsys, "convert", checkpoint, tmp_path / "x.pth", "--to", "spectralgpt"
    )
    assert "is made of" in error_of(capsys, "convert", out, tmp_path / "x.pth", "--to", "video-swin")
