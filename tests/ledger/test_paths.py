"""Fast paths: every row is green, and whatever is broken on purpose turns it red."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import swath.models.spectralgpt
import swath.models.swin3d
import swath.models.windows
import swath.pretraining.st_swin_mae
from swath.errors import ConfigError
from swath.ledger.measure import measure_twin
from swath.ledger.page import page
from swath.ledger.paths import PATHS, FastPath, check_path, find_paths
from swath.ledger.subjects import SPECTRALGPT, ST_SWIN
from swath.models.spectralgpt import SpectralGPTEncoder
from swath.models.swin3d import WindowAttention
from swath.pretraining.objective import Part
from swath.pretraining.spectralgpt import SpectralGPTObjective

Mutation = Callable[[pytest.MonkeyPatch], None]
QUICK = [p for p in PATHS if not p.name.startswith("compiled")]
COMPILED = [p for p in PATHS if p not in QUICK]


def _no_positions(patch: pytest.MonkeyPatch) -> None:
    original = SpectralGPTEncoder.positions
    patch.setattr(SpectralGPTEncoder, "positions", lambda *a, **k: original(*a, **k) * 0)


def _no_bias(patch: pytest.MonkeyPatch) -> None:
    original = WindowAttention.bias
    patch.setattr(WindowAttention, "bias", lambda *a: original(*a) * 0)


def _no_shift_mask(patch: pytest.MonkeyPatch) -> None:
    def unshifted(size: Any, padded: Any, window: Any, shift: Any, mask: bool, device: Any) -> Tensor | None:
        out: Tensor | None = swath.models.windows.allowed_pairs(size, padded, window, (0, 0, 0), mask, device)
        return out

    patch.setattr(swath.models.windows, "_allowed", unshifted)


def _no_spatial_term(patch: pytest.MonkeyPatch) -> None:
    original = SpectralGPTObjective._aggregate

    def without(self: SpectralGPTObjective, error: Tensor, here: Tensor, dim: int, weight: float) -> Part:
        part = original(self, error, here, dim, weight)
        return replace(part, weight=0.0) if dim == 2 else part

    patch.setattr(SpectralGPTObjective, "_aggregate", without)


def _one_patch_less(patch: pytest.MonkeyPatch) -> None:
    original = swath.pretraining.st_swin_mae.masked_patch_error

    def without(prediction: Tensor, target: Tensor, valid: Tensor | None, hidden: Tensor) -> Part:
        hidden = hidden.clone()
        hidden[..., 0] = False
        return original(prediction, target, valid, hidden)

    patch.setattr(swath.pretraining.st_swin_mae, "masked_patch_error", without)


def _turned(x: Tensor) -> Tensor:
    """Bands and dates [B,T,C,H,W] read in the other order."""
    return x.transpose(1, 2).reshape(x.shape)


def _turned_tokens(patch: pytest.MonkeyPatch) -> None:
    original = swath.models.spectralgpt.tokenize

    def tokenize(pixels: Tensor, valid: Tensor | None, **rest: Any) -> Any:
        return original(_turned(pixels), None if valid is None else _turned(valid), **rest)

    patch.setattr(swath.models.spectralgpt, "tokenize", tokenize)


def _turned_patches(patch: pytest.MonkeyPatch) -> None:
    original = swath.models.swin3d.cut_patches
    patch.setattr(swath.models.swin3d, "cut_patches", lambda x, size: original(_turned(x), size))


MUTATIONS: dict[str, list[Mutation]] = {
    "SpectralGPT": [_no_positions, _no_spatial_term, _turned_tokens],
    "ST-SwinMAE": [_no_bias, _no_shift_mask, _one_patch_less, _turned_patches],
}


def cases(paths: list[FastPath]) -> list[Any]:
    """Each path with each mutation that its network can have."""
    out = []
    for path in paths:
        for mutation in MUTATIONS[path.subject.title]:
            # One date has no order; with it the exchange is none.
            if mutation in (_turned_tokens, _turned_patches) and path.subject.size[0] == 1:
                continue
            out.append(pytest.param(path, mutation, id=f"{path.name}: {mutation.__name__.strip('_')}"))
    return out


def wrong(path: FastPath, steps: int) -> list[str]:
    return [row.quantity for row in check_path(path, steps).rows if not row.passed]


@pytest.mark.parametrize("path", QUICK, ids=lambda p: p.name)
def test_paths_are_green(path: FastPath) -> None:
    assert not wrong(path, 2), check_path(path, 2).rows


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.name)
def test_paths_are_green_for_fifty_steps(path: FastPath) -> None:
    rows = check_path(path, 50).rows
    assert [row.quantity for row in rows] == ["forward", "gradient", "50 steps"]
    assert all(row.passed or not row.ran for row in rows), rows


@pytest.mark.parametrize(("path", "mutation"), cases(QUICK))
def test_a_mutation_is_red(path: FastPath, mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    measure_twin(path.subject, 2)
    mutation(monkeypatch)
    # The loss of a few steps may move little; outputs and gradients must tell.
    assert {"forward", "gradient"} & set(wrong(path, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "mutation"),
    [case for case in cases(COMPILED) if case.values[1] in (_no_positions, _no_shift_mask)],
)
def test_a_mutation_is_red_when_compiled(
    path: FastPath, mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path.missing():
        pytest.skip(path.missing())
    mutation(monkeypatch)
    assert {"forward", "gradient"} & set(wrong(path, 1))


def test_a_broken_backward_is_red_in_training_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is lost on the way leaves the forward pass as it was."""
    original = WindowAttention.bias
    monkeypatch.setattr(WindowAttention, "bias", lambda *a: original(*a).detach())
    assert wrong(find_paths(["SDPA"])[1], 3) == ["gradient", "3 steps"]


def test_each_fast_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the fast form does breaks its own row."""
    import swath.models.attention as attention

    def lost(q: Tensor, k: Tensor, v: Tensor, bias: Any, allowed: Any, scale: float) -> Tensor:
        return torch.zeros_like(q)

    for kernel, word in (("_sdpa", "SDPA"), ("_explicit", "windows")):
        with monkeypatch.context() as patch:
            patch.setattr(attention, kernel, lost)
            assert all(wrong(path, 1) for path in find_paths([word]))
    with monkeypatch.context() as patch:
        patch.setattr("swath.ledger.fast_forms.checkpoint_blocks", lambda module: module.zero_grad() or 1 / 0)
        rows = check_path(find_paths(["checkpointing"])[0], 1).rows
        assert all("ZeroDivisionError" in row.note and row.wrong for row in rows)
    with monkeypatch.context() as patch:
        # Each pass divided by its own counts: a mean of means.
        patch.setattr("swath.training.module.TrainingModule._shared_counts", lambda *a: None)
        assert all("gradient" in wrong(path, 1) for path in find_paths(["accumulated"]))


def test_what_cannot_run_neither_passes_nor_fails() -> None:
    path = replace(COMPILED[0], missing=lambda: "no compiler")
    rows = check_path(path).rows
    assert len(rows) == 3 and all(r.status == "not run" and not r.passed and not r.wrong for r in rows)
    assert "not run" in page([path], rows, 50)


def test_paths_are_found_by_words() -> None:
    assert len(find_paths()) == len(PATHS)
    assert [p.subject for p in find_paths(["bf16"])] == [SPECTRALGPT, ST_SWIN]
    with pytest.raises(ConfigError, match="no path is named so"):
        find_paths(["warp drive"])


def test_the_page_in_the_docs_lists_every_path(repository: Path) -> None:
    told = (repository / "docs" / "ledger.md").read_text()
    rows = {path.name: f"| **{path.name}**: {path.what} |" for path in PATHS}
    for name, start in rows.items():
        line = next((line for line in told.splitlines() if line.startswith(start)), "")
        assert line.endswith("| pass |"), f"{name}: run make ledger-docs"
