"""Stages: one command, several runs that go on from each other, stopped and continued at any of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import swath
from swath.cube import Place
from swath.errors import ConfigError, InputError
from swath.training import run as training_run
from swath.verbs import run_report
from swath.verbs.config import load_config
from swath.verbs.mixing import mix_config
from swath.verbs.pretrain import PretrainConfig
from swath.verbs.scene_data import Pretraining
from swath.verbs.stage_options import MixOptions, inside
from swath.verbs.stages import in_region, stage_configs
from swath.weights.file import load, same_state

SIZE = {
    "embed_dim": 24,
    "depth": 1,
    "heads": 2,
    "decoder_embed_dim": 12,
    "decoder_depth": 1,
    "decoder_heads": 2,
}


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages take longer to draw than these runs to train; another test looks at them."""

    def page(folder: Path, *_: Any) -> Path:
        (folder / "report.html").write_text("a page", "utf-8")
        return folder / "report.html"

    monkeypatch.setattr(run_report, "pretraining_page", page)


def staged(land: Any, folder: Path, **second: Any) -> dict[str, Any]:
    options = land.pretraining(folder, steps=4, checkpoint_every=2)
    options["model"] = {"system": "spectralgpt", "options": SIZE}
    options["mask"] = {"ratio": 0.75}
    options["data"]["normalise"] = {"scope": "scene"}
    first = {"name": "small", "steps": 3}
    options["stages"] = [first, {"name": "large", "data": {"window": 24}, **second}]
    return options


def test_a_second_stage_goes_on_with_resized_positions_and_the_run_holds_its_weights(
    land: Any, tmp_path: Path
) -> None:
    options = staged(land, tmp_path / "run", mix=[{"data": {"columns": [24, 48]}, "weight": 2.0}])
    result = swath.pretrain(**options)
    stages = tmp_path / "run" / "stages"
    assert sorted(p.name for p in stages.iterdir()) == ["01-small", "02-large"]
    first, second = (load(stages / n / "weights.safetensors") for n in ("01-small", "02-large"))
    assert first.meta.provenance["steps"] == 3 and second.meta.provenance["steps"] == 4
    assert second.meta.provenance["started_from"] == "01-small"
    # All that the weights have learned from stands in them: what was mixed in, and the data of the stages before.
    assert first.meta.provenance["pretrained"] is None and "mixed_with" not in first.meta.provenance
    assert second.meta.provenance["pretrained"] == {"sha256": first.sha256, **first.meta.provenance}
    names = first.meta.provenance["data"]
    assert second.meta.provenance["mixed_with"] == [{"data": names, "weight": 2.0}]
    assert first.state["pos_embed_spatial"].shape[1] == 4 and second.state["pos_embed_spatial"].shape[1] == 9
    assert same_state(load(result.weights).state, second.state)
    assert Path(result.report) == tmp_path / "run" / "report.html" and Path(result.report).exists()


@pytest.mark.usefixtures("no_pages")
def test_stages_have_pixel_sizes_of_their_own(tmp_path: Path, raster: Callable[..., str]) -> None:
    """Twenty metres, then ten: what the first taught is where the second begins, and each says what it ate."""
    draw = np.random.default_rng(0)
    path = raster(
        tmp_path / "a.tif", draw.integers(1, 200, (3, 64, 96)).astype(np.uint8), names=("B2", "B3", "B4"),
        unit="dn", res=10.0,
    )  # fmt: skip
    stages = [
        {"name": "20m", "steps": 3, "data": {"gsd": 20}, "training": {"learning_rate": 1e-2}},
        {"name": "10m", "epochs": 1.0, "training": {"learning_rate": 0.0, "weight_decay": 0.0}},
    ]
    result = swath.pretrain(
        run={"folder": str(tmp_path / "run")},
        model={"system": "spectralgpt", "options": SIZE},
        data={
            "scenes": [{"files": path, "sensor": "landsat7"}], "window": 16, "hold_out": ["32,64,32,32"],
            "normalise": {"scope": "fixed"},
        },
        mask={"ratio": 0.75},
        training={"steps": 2, "batch_size": 4, "warmup_steps": 1, "precision": "fp32", "threads": 1},
        stages=stages,
    )  # fmt: skip
    files = [tmp_path / "run" / "stages" / name / "weights.safetensors" for name in ("01-20m", "02-10m")]
    first, second = (load(path) for path in files)
    assert first.meta.contract is not None and second.meta.contract is not None
    assert (first.meta.contract.gsd, second.meta.contract.gsd) == (20.0, 10.0)
    # Noise that is averaged spreads half as far, and the statistics are those of what is eaten.
    ratio = np.divide(second.meta.contract.normalisation.spread, first.meta.contract.normalisation.spread)
    np.testing.assert_allclose(ratio, 2.0, rtol=0.1)
    assert same_state(first.state, second.state) and same_state(load(result.weights).state, second.state)
    # 64 x 96 pixels hold 4 x 6 windows of 16: a pass of 24 in steps of four.
    assert second.meta.provenance["steps"] == 6
    stages[0]["data"] = {"gsd": 25}
    with pytest.raises(InputError, match=r"a\.tif: has pixels of 10 m, .*set data\.gsd to 20 or 30"):
        swath.pretrain(
            run={"folder": str(tmp_path / "other")}, model={"system": "spectralgpt", "options": SIZE},
            data={"scenes": [{"files": path, "sensor": "landsat7"}], "window": 16}, stages=stages,
        )  # fmt: skip
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("no_pages")
def test_stages_stopped_within_and_between_go_on_to_the_same_bits(
    land: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        """As a kill would."""

    whole = swath.pretrain(**staged(land, tmp_path / "whole"))
    save = training_run.Keeper._save
    options = staged(land, tmp_path / "parts")
    for stage, stop in (("01-small", 2), ("01-small", 3), ("02-large", 2)):

        def stopping(self: Any, trainer: Any, step: int, stage: str = stage, stop: int = stop) -> None:
            save(self, trainer, step)
            if step == stop and self.folder.path.name == stage:
                raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr(training_run.Keeper, "_save", stopping)
            with pytest.raises(Stopped):
                swath.pretrain(**options)
        options["run"]["resume"] = True
    with pytest.raises(ConfigError, match="the run began with stages"):
        swath.pretrain(**{**options, "stages": options["stages"][:1]})
    parts = swath.pretrain(**options)
    assert same_state(load(whole.weights).state, load(parts.weights).state)


def test_what_a_group_of_a_stage_does_not_say_is_as_the_run_says_it(tmp_path: Path) -> None:
    run = {
        "run": {"folder": tmp_path / "run"},
        "model": {"system": "mae"},
        "data": {
            "layout": {"name": "eurosat", "root": "EuroSAT", "options": {"limit": 5}},
            "normalise": {"kind": "minmax", "scope": "record"},
        },
        "training": {"augment": {"flips": "horizontal", "resized_crop": 0.2}},
        "stages": [
            {
                "training": {"augment": {"resize": 128}},
                "data": {"normalise": {"kind": "standard"}, "layout": {"root": "other"}},
                "mix": [{"data": {"layout": {"root": "more"}, "normalise": {"scope": "scene"}}}],
            }
        ],
    }
    stage = stage_configs(load_config(PretrainConfig, [], run))[0]
    augment, data = stage.training.augment, stage.data
    assert (augment.resize, augment.flips, augment.resized_crop) == (128, "horizontal", 0.2)
    assert (data.normalise.kind, data.normalise.scope) == ("standard", "record")
    assert data.layout is not None and (data.layout.name, data.layout.root) == ("eurosat", "other")
    mixed = mix_config(stage, stage.start.mix[0], 1).data
    assert (mixed.normalise.kind, mixed.normalise.scope) == ("standard", "scene")
    assert mixed.layout is not None and (mixed.layout.root, mixed.layout.options) == ("more", {"limit": 5})
    # What one layout is told is nothing for another.
    for layout in (
        {"name": "hls-water", "root": "chips"},
        {"name": "hls-water", "root": "chips", "options": {}},
    ):
        other = mix_config(stage, MixOptions({"layout": layout}), 1).data.layout
        assert other is not None and (other.name, other.options) == ("hls-water", {})


@pytest.mark.usefixtures("no_pages")
def test_reinit_draws_positions_anew_and_keeps_the_rest(land: Any, tmp_path: Path) -> None:
    for positions in ("resize", "reinit"):
        still = {"training": {"learning_rate": 0.0, "weight_decay": 0.0, "steps": 1, "warmup_steps": 0}}
        swath.pretrain(**staged(land, tmp_path / positions, positions=positions, **still))
    kept, anew = (load(tmp_path / p / "weights.safetensors").state for p in ("resize", "reinit"))
    for name in kept:
        assert torch.equal(kept[name], anew[name]) is ("pos_embed" not in name), name


@pytest.mark.usefixtures("no_pages")
def test_regions_choose_places_and_may_cross_the_date_line(land: Any, tmp_path: Path) -> None:
    assert inside(5, 50, (0, 40, 10, 60)) and not inside(-5, 50, (0, 40, 10, 60))
    assert inside(179, 0, (170, -10, -170, 10)) and inside(-179, 0, (170, -10, -170, 10))
    assert not inside(0, 0, (170, -10, -170, 10))
    with pytest.raises((InputError, ConfigError), match=r"lies in|has no place"):
        swath.pretrain(**staged(land, tmp_path / "run", region=[100, 10, 110, 20]))
    with pytest.raises(ConfigError, match="is no region"):
        swath.pretrain(**staged(land, tmp_path / "other", region=[100, 30, 110, 20]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {"windo": 8}}, "did you mean"),
        ({"steps": 2, "epochs": 1.0}, "give one of them"),
        ({"mix": [{"weight": 0.0}]}, "mix.weight: 0.0 is not above 0"),
    ],
)
def test_a_stage_that_cannot_be_is_told(
    land: Any, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        swath.pretrain(**staged(land, tmp_path / "run", **change))


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"epochs": float("nan")}, r"'stages\.epochs' must be a finite number, not nan"),
        ({"epochs": float("inf")}, r"'stages\.epochs' must be a finite number, not inf"),
        ({"epochs": -1.0}, r"0 steps and -1 epochs"),
        (
            {"epochs": 1.0, "training": {"steps": 9}},
            r"stages\[2\]\.training\.steps: 9 steps, and epochs 1 beside",
        ),
        (
            {"steps": 3, "training": {"steps": 9}},
            r"stages\[2\]\.training\.steps: 9 steps, and steps 3 beside",
        ),
    ],
)
def test_a_stage_has_one_length(land: Any, tmp_path: Path, stage: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        swath.pretrain(**staged(land, tmp_path / "run", **stage))
    assert not (tmp_path / "run").exists()


def test_an_epoch_counts_what_is_mixed_in(
    land: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def steps(**stage: Any) -> int:
        options = staged(land, tmp_path / "run", epochs=2.0, **stage)
        return stage_configs(load_config(PretrainConfig, [], options))[1].training.steps

    alone = steps()
    with caplog.at_level("INFO", logger="swath"):
        assert steps(mix=[{"data": {"columns": [24, 48]}, "weight": 3.0}]) == 2 * alone
    assert f"2 epochs of {4 * alone} samples of 2 data sets are {2 * alone} steps" in caplog.text


@pytest.mark.usefixtures("no_pages")
def test_a_stage_that_has_not_begun_may_be_mended(land: Any, tmp_path: Path) -> None:
    """A slip in the second stage must not cost the first."""
    options = staged(land, tmp_path / "run", region=[100, 10, 110, 20])
    options["stages"][1]["data"]["scenes"] = ["none.tif"]
    with pytest.raises(InputError, match=r"none\.tif"):
        swath.pretrain(**options)
    first = tmp_path / "run" / "stages" / "01-small" / "weights.safetensors"
    written = load(first)
    options["run"]["resume"] = True
    options["stages"][1] = {"name": "large", "data": {"window": 24}, "training": {"seed": 9}}
    swath.pretrain(**options)
    assert same_state(load(first).state, written.state) and load(first).meta == written.meta
    mended = load_config(PretrainConfig, [tmp_path / "run" / "config.yaml"], verb="pretrain")
    assert mended.stages[1].training == {"seed": 9}
    assert load(tmp_path / "run" / "stages" / "02-large" / "weights.safetensors").meta.provenance["seed"] == 9
    options["stages"][0]["steps"] = 2
    with pytest.raises(ConfigError, match="the run began with stages"):
        swath.pretrain(**options)


@pytest.mark.usefixtures("no_pages")
def test_a_run_of_the_other_kind_is_overwritten_whole_and_never_resumed(land: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plain = staged(land, folder)
    plain["stages"] = []
    swath.pretrain(**plain)
    (folder / "notes.txt").write_text("mine")
    stages = staged(land, folder)
    with pytest.raises(ConfigError, match="the run began without stages"):
        swath.pretrain(**{**stages, "run": {"folder": str(folder), "resume": True}})
    assert (folder / "checkpoints").is_dir() and (folder / "metrics.jsonl").is_file()
    swath.pretrain(**{**stages, "run": {"folder": str(folder), "overwrite": True}})
    left = {"config.yaml", "notes.txt", "report.html", "stages", "weights.safetensors"}
    assert {path.name for path in folder.iterdir()} == left
    with pytest.raises(ConfigError, match=r"the run began with stages .{100}, not \[\]; resume"):
        swath.pretrain(**{**plain, "run": {"folder": str(folder), "resume": True}})
    swath.pretrain(**{**plain, "run": {"folder": str(folder), "overwrite": True}})
    left |= {"checkpoints", "metrics.jsonl"}
    assert {path.name for path in folder.iterdir()} == left - {"stages"}


def test_a_first_stage_that_cannot_begin_leaves_nothing(land: Any, tmp_path: Path) -> None:
    options = staged(land, tmp_path / "new" / "run")
    options["stages"][0]["data"] = {"window": 64}
    with pytest.raises(InputError, match="no window of 64x64"):
        swath.pretrain(**options)
    assert not (tmp_path / "new").exists()
    options["stages"] = [{"name": "small"}, {"name": "large", "mask": {"window": 2}}]
    with pytest.raises(
        ConfigError, match=r"mask\.window: spectralgpt does not look at it"
    ):  # before the first begins
        swath.pretrain(**options)
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("no_pages")
def test_epochs_count_windows_side_by_side(land: Any, tmp_path: Path) -> None:
    swath.pretrain(**staged(land, tmp_path / "run", epochs=2.0, data={"window": 20}))
    # 40 x 112 pixels hold 2 x 5 windows of 20 pixels: two passes of ten in steps of four.
    meta = load(tmp_path / "run" / "stages" / "02-large" / "weights.safetensors").meta
    assert meta.provenance["steps"] == 5


def test_packed_records_are_chosen_by_region_without_reading_pixels() -> None:
    class Places:
        def __init__(self, *lons: float | None) -> None:
            self.lons = lons

        def only_cube(self, name: str) -> str:
            return name or "s2"

        def id(self, index: int) -> str:
            return f"record {index}"

        def place(self, index: int, name: str) -> Place | None:
            lon = self.lons[index]
            return None if lon is None else Place(lon, 45.0)

    def chosen(*sets: Places) -> list[list[int]]:
        records = tuple((s, np.arange(len(s.lons))) for s in sets)
        data = Pretraining(None, (), (), (), records)  # type: ignore[arg-type]
        return [index.tolist() for _, index in in_region(data, (0, 40, 10, 50)).records]

    assert chosen(Places(5, 15, 7), Places(-5), Places(1)) == [[0, 2], [0]]
    with pytest.raises(InputError, match=r"none of 1 places lies in \[0, 40, 10, 50\]"):
        chosen(Places(20))
    with pytest.raises(InputError, match="record 1: has no place"):
        chosen(Places(5, None))


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"name": "../../outside"}, "stages.name: '../../outside' is no name of a folder"),
        ({"name": ".."}, "stages.name: '..' is no name"),
        ({"weight": 0.0}, "stages.weight: 0.0 is not above 0"),
        (
            {"mix": [{"data": {"patches": "x"}, "weight": float("nan")}]},
            r"'stages.mix.weight' must be a finite number",
        ),
        ({"mix": [{"data": {"patchez": "x"}}]}, r"stages\[2\]\.mix\[1\]\.data\.patchez"),
    ],
)
def test_what_is_wrong_in_a_later_stage_is_said_before_the_first(
    land: Any, tmp_path: Path, second: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        swath.pretrain(**staged(land, tmp_path / "run", **second))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ({"region": [0.0, 0.0, 1.0, 1.0]}, "region"),
        ({"mix": [{"data": {"columns": [24, 48]}}]}, "mix"),
        ({"weight": 2.0}, "weight"),
        ({"positions": "reinit"}, "positions"),
    ],
)
def test_what_each_stage_says_is_not_said_beside_them(
    land: Any, tmp_path: Path, start: dict[str, Any], name: str
) -> None:
    options = staged(land, tmp_path / "run") | {"start": start}
    with pytest.raises(ConfigError, match=rf"start\.{name}: is said by each stage of several"):
        swath.pretrain(**options)
    assert not (tmp_path / "run").exists()
