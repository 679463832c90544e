"""What was tried on water: which commands, and that each row is compared with its like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from swath.bench import transfer_series, transfer_water, transfer_water_tried
from swath.verbs.config import load_config
from swath.verbs.mixing import mixed_feed, read_mixed
from swath.verbs.pretrain import PretrainConfig, make_feed
from swath.verbs.run_many import Run
from swath.verbs.stages import read_data, stage_configs


def _value(run: Run, option: str) -> str:
    assert run.words.count(option) == 1
    return run.words[run.words.index(option) + 1]


def test_rows_that_are_in_the_table_are_its_commands(data: Path, tmp_path: Path) -> None:
    table = transfer_water.water(data, tmp_path, 2, transfer_water_tried.SHARE).runs
    tried = {run.name: run for run in transfer_water_tried.water_tried(data, tmp_path, 2).runs}
    assert len(tried) == len(transfer_water_tried.water_tried(data, tmp_path, 2).runs)
    shared = [run for run in table if run.name in tried]
    # Two pretrainings; two rows with their scores, and two probes, of two seeds each.
    assert len(shared) == 2 + 8 + 4
    assert all(tried[run.name] == run for run in shared)


def test_a_row_is_compared_with_one_that_was_fine_tuned_alike(data: Path, tmp_path: Path) -> None:
    experiment = transfer_water_tried.water_tried(data, tmp_path, 1)
    runs = {run.name: run for run in experiment.runs}

    def rate(row: str) -> str:
        return _value(runs[f"finetune-st_swin.{row}-10-0"], "--training.learning_rate")

    for name, row in transfer_water_tried.ROWS.items():
        assert rate(name) == rate(row.against)
        assert not transfer_water_tried.ROWS[row.against].start
    assert float(rate("longer.low_rate")) < float(rate("longer"))
    scored = {cell.measure.split(".")[-2] for cell in experiment.cells if "linear_probe" in cell.measure}
    assert scored == {"random", "pretrained", "longer", "wider"}


def _wider(runs: Sequence[Run]) -> PretrainConfig:
    (run,) = (run for run in runs if run.name == "wider-st_swin")
    names, texts = run.words[1::2], run.words[2::2]
    values = {name.removeprefix("--"): yaml.safe_load(text) for name, text in zip(names, texts, strict=True)}
    return load_config(PretrainConfig, [], values)


def test_the_widest_pretraining_takes_as_many_steps_and_never_sees_what_scores(
    data: Path, tmp_path: Path
) -> None:
    config = _wider(transfer_water_tried.water_tried(data, tmp_path, 1).runs)
    first, last = stage_configs(config)
    assert first.training.steps + last.training.steps == transfer_water_tried.LONGER
    assert first.data.layout is not None and first.data.layout.name == "folder"
    others = [mix.data["layout"]["name"] for mix in first.start.mix]
    assert others == ["ssl4eo-s12", "worldcereal"]
    assert last.data.layout is not None and last.data.layout.name == "hls-water"
    assert last.data.hold_out == ("9",) and not last.start.mix


@pytest.mark.shared_data
def test_images_of_several_sets_make_one_batch(shared_data: Path, tmp_path: Path) -> None:
    first, last = stage_configs(_wider(transfer_water_tried.water_tried(shared_data, tmp_path, 1).runs))
    read = read_data(first)
    batch = mixed_feed(first, make_feed(first, read), read.contract, read_mixed(first)).take(0, 64)
    assert batch.pixels.shape == (64, 1, 6, 64, 64)
    assert tuple(band.name for band in batch.bands) == transfer_water_tried.S2_BANDS
    # Tiles, a place and a site, in the shares of their weights.
    of = [sum(word in name for name in batch.ids) for word in ("_", "0000200", transfer_series.SITE)]
    assert sum(of) == 64 and min(of) > 5
    root = shared_data / transfer_water.FOLDER
    chips = {cube.source for cube in read_data(last).cubes}
    unlabelled = set(transfer_water.others(root)) - set(transfer_water.scoring(root))
    assert chips > unlabelled and not chips & set(transfer_water.scoring(root))
