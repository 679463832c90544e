"""Every recipe of fine-tuning takes a step on a small copy of its data set, and none of its test part."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swath.data.part_spec import PARTS
from swath.training.metrics_log import read_metrics
from swath.verbs import evaluate, finetune, labelled_records, pack
from swath.verbs.config import load_config
from swath.verbs.labelled_options import OptionalData
from swath.verbs.yaml_file import recipes
from swath.weights.file import load

NAMES = sorted(name for name in recipes() if name.startswith("finetune-"))
WRITERS: dict[str, Callable[[Path], dict[str, Any]]] = runpy.run_path(
    str(Path(__file__).parents[1] / "data/layouts/test_recipes.py")
)["WRITERS"]
TINY: dict[str, dict[str, Any]] = {
    "spectralgpt": {"embed_dim": 24, "depth": 2, "heads": 2, "decoder_embed_dim": 24, "decoder_depth": 1,
                    "decoder_heads": 2},
    "st_swin_unet": {"patch_size": [1, 4, 4], "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "decoder_depths": [1],
                     "window": [1, 4, 4]},
}  # fmt: skip
DENSE = {"branch_widths": [32, 32, 32, 32], "branch_outputs": [8, 8, 8], "decoder_width": 16}
LONGER = ("phileo",)


def data_set(name: str) -> str:
    """The layout behind a recipe."""
    stem = name.removeprefix("finetune-")
    return next((layout for layout in LONGER if stem.startswith(layout)), stem)


def small(name: str, tmp_path: Path) -> dict[str, Any]:
    """Options over a recipe: its data from a small copy, a tiny network, one step."""
    recipe = load_config(finetune.FinetuneConfig, [name], {"run.folder": "x"}, verb="finetune")
    layout, root = data_set(name), tmp_path / "data"
    root.mkdir()
    options = {k: v for k, v in WRITERS[layout](root).items() if k != "s1"}
    over: dict[str, Any] = {}
    if recipe.data.layout is not None:
        few = {"shots": 2} if layout == "phileo" else {}
        over |= {
            "data.layout.root": str(root),
            "data.layout.options": {**recipe.data.layout.options, **options, **few},
        }
    else:
        over["data.shards"] = []
        for split in ("train", "val", "test") if layout == "bigearthnet" else ("",):
            packed = str(tmp_path / f"shards{split}")
            pack.run(pack.PackConfig(layout, str(root), packed, split=split, options=options, workers=1))
            over["data.shards"].append(packed)
    if recipe.data.parts.validation_share and layout != "oscd":
        over["data.parts.validation_by"] = "random"  # the copies are of one tile
    dense = recipe.head.kind == "spectralgpt"
    model = {**TINY[recipe.model.system], **(DENSE if dense else {}), "drop_path": 0.0}
    side = {"oscd": 32, "segmunich": 64}.get(layout, 32)
    return over | {
        "run.folder": str(tmp_path / "run"),
        "model.preset": "" if recipe.model.system == "spectralgpt" else "tiny",
        "model.options": model,
        "data.window": side,
        "training.steps": 1,
        "training.warmup_steps": 0,
        "training.batch_size": 2,
        "training.accumulate": 1,
        "training.validate_every": 1,
        "training.threads": 1,
        "training.precision": "fp32",
    }


def test_there_is_a_recipe_for_every_task_of_the_papers() -> None:
    wanted = {
        "eurosat",
        "bigearthnet",
        "segmunich",
        "oscd",
        "sen1floods11",
        "hls-burn-scars",
        "multi-temporal-crops",
    }
    wanted |= {f"phileo-{t}{k}" for t in ("landcover", "building", "roads") for k in ("", "-frozen")}
    assert {n.removeprefix("finetune-") for n in NAMES} == wanted


@pytest.mark.parametrize("name", NAMES)
def test_what_is_unknown_is_marked(name: str) -> None:
    text = recipes()[name].read_text("utf-8")
    config = load_config(finetune.FinetuneConfig, [name], verb="finetune")
    assert re.search(r"unknown", text) or name == "finetune-eurosat"
    assert config.training.decay_rule == "finetune" and config.training.monitor not in (None, "auto")
    frozen = name.endswith("-frozen")
    assert (config.training.freeze == "encoder") == frozen
    assert all(len(set(getattr(config.data.parts, p))) == len(getattr(config.data.parts, p)) for p in PARTS)


@pytest.mark.slow  # packs a small copy and builds a network for each: two to four seconds
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_takes_a_step(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    opened: list[str] = []
    plain = labelled_records.open_part

    def noting(data: Any, part: Any) -> Any:
        opened.append(part)
        return plain(data, part)

    import swath.verbs.labelled_parts as module

    monkeypatch.setattr(module, "open_part", noting)
    config = load_config(finetune.FinetuneConfig, [name], small(name, tmp_path), verb="finetune")
    result = finetune.run(config)
    assert result is not None and result.steps == 1 and opened == ["train", "validation"]
    assert config.training.monitor in result.validation
    losses = [r["loss"] for r in read_metrics(tmp_path / "run/metrics.jsonl") if "loss" in r]
    assert len(losses) == 1 and losses[0] is not None and 0 < losses[0] < 100
    assert load(result.weights).meta.task == result.task
    # As docs/papers.md says.
    part: Any = "validation" if name == "finetune-segmunich" else "test"
    data = OptionalData(**vars(config.data))
    scored = evaluate.run(evaluate.EvaluateConfig(weights=str(result.weights), data=data, part=part))
    assert scored is not None and scored.scores and opened[2:] == [part]
