"""Every recipe of fine-tuning takes a step on a small copy of its data set, and none of its test part."""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.part_spec import PARTS
from swath.errors import ConfigError
from swath.training.metrics_log import read_metrics
from swath.verbs import evaluate, finetune, labelled_records, pack
from swath.verbs.config import load_config
from swath.verbs.labelled_options import OptionalData
from swath.verbs.labelled_task import class_config
from swath.verbs.task_options import LossOptions
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


CROPS = (0.386375, 0.661126, 0.548184, 0.640482, 0.876862, 0.925186, 3.249462, 1.542289, 2.175141, 2.272419, 3.062762,
         3.626097, 1.198702)  # fmt: skip
PRITHVI = {
    "data.window": 224, "training.warmup_steps": 1500, "training.schedule": "polynomial", "training.schedule_power": 1.0,
    "training.min_learning_rate": 0.0, "training.betas": (0.9, 0.999), "training.augment.flips": "horizontal",
    "training.augment.rotations": False, "training.monitor": "miou",
    "loss.auxiliary": 1.0,
}  # fmt: skip
CLASSIFIED = {
    "training.weight_decay": 0.05, "training.layer_decay": 0.75, "training.min_learning_rate": 1e-14,
    "training.schedule": "cosine", "model.options.drop_path": 0.2, "training.augment.resized_crop": 0.2,
    "training.augment.flips": "horizontal", "training.augment.rotations": False, "training.augment.resize": 128,
    "training.optimizer": "adamw",
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "eurosat": CLASSIFIED | {
        "loss.mixup": 0.8, "loss.cutmix": 1.0, "loss.label_smoothing": 0.1, "training.learning_rate": 4e-4,
        "step": 512, "training.steps": 150 * 16_200 // 512, "training.warmup_steps": 20 * 16_200 / 512,
    },
    "bigearthnet": CLASSIFIED | {
        "training.learning_rate": 2e-4, "step": 256, "data.label_fraction": 0.1, "loss.mixup": 0.0,
        "training.steps": 150 * 105, "training.warmup_steps": 20 * 105,
    },
    "oscd": {
        "training.learning_rate": 1e-4, "training.weight_decay": 1e-5, "training.decay_factor": 0.95, "step": 32,
        "training.precision": "fp32", "model.options.drop_path": 0.5, "data.window": 128, "training.optimizer": "adamw",
        "training.steps": 300 * 26, "training.decay_every": 26, "loss.class_factors": (10.0, 1.0),
        "loss.class_weight_power": 1.0,
    },
    "segmunich": {
        "training.learning_rate": 1e-4, "training.weight_decay": 1e-5, "training.schedule": "polynomial",
        "training.schedule_power": 0.9, "step": 32, "model.options.drop_path": 0.5, "head.dropout": 0.5,
        "training.steps": 250 * 94, "training.warmup_steps": 15 * 94, "training.optimizer": "adamw",
    },
    "sen1floods11": PRITHVI | {
        "training.learning_rate": 1.5e-5, "training.weight_decay": 0.05, "training.optimizer": "adamw", "step": 4,
        "training.steps": 100 * 252 // 4, "loss.class_weights": (0.3, 0.7), "loss.dice": 0.0,
    },
    "hls-burn-scars": PRITHVI | {
        "training.learning_rate": 1.3e-5, "training.weight_decay": 0.0, "training.optimizer": "adam", "step": 4,
        "training.steps": 10_000, "loss.dice": 1.0, "loss.cross_entropy": 0.0,
    },
    "multi-temporal-crops": PRITHVI | {
        "training.learning_rate": 1.5e-5, "training.weight_decay": 0.05, "training.optimizer": "adam", "step": 8,
        "training.steps": 80 * math.ceil(3083 / 8), "loss.class_weights": CROPS,
    },
}  # fmt: skip
PUBLISHED |= {
    f"phileo-{task}{kind}": {
        "training.learning_rate": 1e-4, "training.min_learning_rate": 1e-6, "step": 64, "training.optimizer": "adamw",
        "training.weight_decay": 0.01, "training.patience": 15, "training.augment.chance": 0.2, "data.window": 128,
        "training.steps": 500 * 5, "training.warmup_steps": 5 * 5, "training.validate_every": 5,
    }
    for task in ("landcover", "building", "roads") for kind in ("", "-frozen")
}  # fmt: skip
"""What spec and benchmarks publish, by the key of the recipe that says it; "step" is samples per step."""


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers_are_the_recipe_s(name: str) -> None:
    config = load_config(finetune.FinetuneConfig, [name], verb="finetune")
    for key, value in PUBLISHED[name.removeprefix("finetune-")].items():
        found: Any = config.training.samples_per_step() if key == "step" else config
        for part in () if key == "step" else key.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        assert found == (pytest.approx(value, abs=0.5) if key == "training.warmup_steps" else value), key


@pytest.mark.parametrize("name", [n for n in NAMES if "phileo" in n])
def test_the_steps_of_every_number_of_shots_are_those_of_its_epochs(name: str) -> None:
    text = recipes()[name].read_text("utf-8")
    rows = dict(re.findall(r"^#   (\w+) +([\d ]+)$", text, re.M))
    table = {key: [int(v) for v in values.split()] for key, values in rows.items()}
    # n patches of each of six buckets, 64 a step; 500 epochs, five of them to warm up.
    epochs = [math.ceil(6 * n / 64) for n in table["shots"]]
    assert table["shots"] == [50, 100, 500, 1000, 5000]
    assert table["steps"] == [500 * e for e in epochs] and table["warmup_steps"] == [5 * e for e in epochs]
    assert table["validate_every"] == epochs
    training = load_config(finetune.FinetuneConfig, [name], verb="finetune").training
    assert (training.steps, training.warmup_steps, training.validate_every) == tuple(
        table[key][0] for key in ("steps", "warmup_steps", "validate_every")
    )


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_the_classes_of_oscd_weigh_as_published(share: float) -> None:
    loss = load_config(finetune.FinetuneConfig, ["finetune-oscd"], verb="finetune").loss
    counts = np.array([(1 - share) * 1e6, share * 1e6]).round().astype(np.int64)
    weights = class_config(("unchanged", "changed"), loss, lambda: counts).class_weights
    assert weights is not None
    # Published: 10 x 2 p and 2 (1 - p); a mean over weighted pixels knows their ratio alone.
    assert weights[1] / weights[0] == pytest.approx(2 * (1 - share) / (10 * 2 * share))


def test_factors_of_classes_that_fit_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="are factors of class_weight_power, which is 0"):
        LossOptions(class_factors=(1.0, 2.0))
    with pytest.raises(ConfigError, match=r"loss\.class_factors: one is negative"):
        LossOptions(class_weight_power=1.0, class_factors=(-1.0, 2.0))
    with pytest.raises(ConfigError, match=r"loss\.class_factors: .* or all are 0"):
        LossOptions(class_weight_power=1.0, class_factors=(0.0, 0.0))
    with pytest.raises(ConfigError, match=r"loss\.class_weights: .* or all are 0"):
        LossOptions(class_weights=(0.0, 0.0))
    for one in (
        {"class_weight_power": 0.5},
        {"class_weights": (1.0, 2.0)},
        {"focal": 2.0},
        {"label_smoothing": 0.1},
    ):
        with pytest.raises(ConfigError, match="is of the cross-entropy, which is 0"):
            LossOptions(cross_entropy=0.0, dice=1.0, **one)  # type: ignore[arg-type]  # one option each
    with pytest.raises(ConfigError, match="3 factors for 2 classes"):
        class_config(
            ("a", "b"),
            LossOptions(class_weight_power=1.0, class_factors=(1.0,) * 3),
            lambda: np.array([1, 1]),
        )


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
