"""The small files of training: config, optim, precision, throughput, log, folder, loader, progress."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
import torch
import yaml
from torch import nn

from swath.errors import ConfigError, OutputError
from swath.feed.config import AugmentConfig
from swath.training.config import TrainConfig
from swath.training.folder import open_run
from swath.training.loader import StepLoader
from swath.training.metrics_log import MetricsLog, read_metrics
from swath.training.optim import decays, learning_rate, make_optimizer
from swath.training.precision import choose_device, choose_precision, cpu_has_amx
from swath.training.progress import ProgressBar, duration
from swath.training.throughput import Throughput


def test_configs_import_no_torch():
    modules = "swath.training.config, swath.feed.config, swath.tasks.config"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"warmup_steps": 2000},
        {"min_learning_rate": 1.0},
        {"betas": (0.9, 1.0)},
        {"clip_norm": 0.0},
        {"ema_decay": 1.0},
        {"threads": 0},
    ],
)
def test_options_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_the_config_is_plain_json_and_free_options_may_change_on_resume():
    config = TrainConfig()
    plain = json.loads(json.dumps(config.to_dict()))
    TrainConfig(log_every=7, checkpoint_every=3, threads=2).check_continues(plain, "run")
    with pytest.raises(ConfigError, match=r"began with training\.seed 0, not 1"):
        TrainConfig(seed=1).check_continues(plain, "run")
    # A run of before an option was there goes on, if the others are its own.
    older = {**plain, "augment": {k: v for k, v in plain["augment"].items() if k != "noise"}}
    del older["optimizer"]
    TrainConfig().check_continues(older, "run")
    for other in (
        TrainConfig(augment=AugmentConfig(rotations=False)),
        TrainConfig(augment=AugmentConfig(noise=0.5)),
    ):
        with pytest.raises(ConfigError, match=r"the run began with training\.augment\.(rotations|noise) "):
            other.check_continues(older, "run")
    with pytest.raises(ConfigError, match=r"the run began with training\.optimizer adamw, not adam"):
        TrainConfig(optimizer="adam").check_continues(older, "run")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)
        self.pos_embed_spatial = nn.Parameter(torch.zeros(1, 4, 3))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))


def test_decay_groups_are_those_of_the_papers():
    names = dict(Net().named_parameters())
    pretrain = {n for n, p in names.items() if decays(n, p, "pretrain")}
    finetune = {n for n, p in names.items() if decays(n, p, "finetune")}
    # SpectralGPT decays positions and the mask token in pretraining, and spares only biases and 1-D ones.
    assert pretrain == {"linear.weight", "pos_embed_spatial", "mask_token", "relative_position_bias_table"}
    assert finetune == {"linear.weight", "mask_token"}
    assert all(decays(n, p, "all") for n, p in names.items())
    groups = make_optimizer(Net(), TrainConfig(weight_decay=0.1)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(4, 0.1), (3, 0.0)]
    with pytest.raises(ConfigError, match="no parameter trains"):
        make_optimizer(Net().requires_grad_(False), TrainConfig())


def test_adam_decays_through_the_gradient_and_adamw_beside_it() -> None:
    def stepped(kind: Literal["adamw", "adam"], decay: float) -> torch.Tensor:
        layer = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            layer.weight.fill_(2.0)
        config = TrainConfig(optimizer=kind, weight_decay=decay, learning_rate=0.1, betas=(0.0, 0.0))
        made = make_optimizer(layer, config)
        layer.weight.grad = torch.full((1, 1), -0.5)
        made.step()
        return layer.weight.detach()[0, 0]

    # Adam's step is the sign of the gradient, here -0.5 + decay x 2; AdamW shrinks the weight first.
    assert stepped("adamw", 0.0) == stepped("adam", 0.0) == pytest.approx(2.1)
    assert stepped("adam", 0.5) == pytest.approx(1.9)
    assert stepped("adamw", 0.5) == pytest.approx(2.0 * (1 - 0.1 * 0.5) + 0.1)
    with pytest.raises(ConfigError, match="unknown optimizer 'sgd'"):
        TrainConfig(optimizer="sgd")  # type: ignore[arg-type]  # as from a program


def test_the_rate_rises_linearly_from_zero_and_falls_as_half_a_cosine():
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=2.0, min_learning_rate=0.5)
    rates = [learning_rate(s, config) for s in range(111)]
    assert rates[:11] == pytest.approx([0.2 * s for s in range(11)])
    assert rates[60] == pytest.approx(1.25) and rates[110] == pytest.approx(0.5)
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert learning_rate(0, TrainConfig(learning_rate=2.0)) == 2.0


def test_every_schedule_warms_up_and_falls_as_it_says() -> None:
    def rates(**options: object) -> list[float]:
        config = TrainConfig(steps=30, warmup_steps=10, learning_rate=4.0, min_learning_rate=1.0, **options)  # type: ignore[arg-type]
        found = [learning_rate(s, config) for s in range(31)]
        assert found[:11] == pytest.approx([0.4 * s for s in range(11)])
        assert all(a >= b >= 1.0 for a, b in pairwise(found[10:]))
        return found[10:]

    assert rates(schedule="constant") == [4.0] * 21
    assert rates(schedule="polynomial") == pytest.approx([4.0 - 3.0 * s / 20 for s in range(21)])
    squared = rates(schedule="polynomial", schedule_power=2.0)
    assert squared == pytest.approx([1.0 + 3.0 * (1 - s / 20) ** 2 for s in range(21)])
    stepped = rates(schedule="step", decay_factor=0.5, decay_every=8)
    assert stepped == [4.0] * 8 + [2.0] * 8 + [1.0] * 5
    assert rates(schedule="step", decay_factor=0.1, decay_every=20)[-1] == 1.0  # and not 0.4
    assert rates() == rates(schedule="cosine")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"schedule": "linear"}, "schedule"),
        ({"schedule": "step"}, "decay_every"),
        ({"decay_every": 5}, "decay_every"),
        ({"schedule": "step", "decay_every": 5, "decay_factor": 1.5}, "decay_factor"),
        ({"schedule": "constant", "decay_factor": 0.5}, "decay_factor"),
        ({"schedule": "polynomial", "schedule_power": 0.0}, "schedule_power"),
        ({"schedule_power": 0.9}, "schedule_power"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(options: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        TrainConfig(**options)  # type: ignore[arg-type]


def test_precision_follows_the_machine_and_says_why(monkeypatch):
    monkeypatch.setattr("swath.training.precision.cpu_has_amx", lambda: True)
    assert choose_precision("auto", "cpu").name == "bf16"
    monkeypatch.setattr("swath.training.precision.cpu_has_amx", lambda: False)
    assert choose_precision("auto", "cpu") == choose_precision("auto", "cpu")
    assert choose_precision("auto", "cpu").name == "fp32" and "AMX" in choose_precision("auto", "cpu").why
    with choose_precision("bf16", "cpu").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with choose_precision("fp32", "cpu").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with pytest.raises(ConfigError, match="fp16"):
        choose_precision("fp16", "cpu")
    assert isinstance(cpu_has_amx(), bool) and choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="no CUDA"):
        choose_device("cuda")


def test_throughput_leaves_out_the_first_step_and_pauses():
    now = [0.0]
    meter = Throughput(steps=2, clock=lambda: now[0])
    meter.add(8)
    assert meter.rate == 0.0
    for seconds in (1.0, 2.0, 4.0):
        now[0] = seconds
        meter.add(8)
    assert meter.rate == pytest.approx(16 / 3) and meter.total == 32  # the last two steps: 1 s to 4 s
    meter.pause()
    now[0] = 100.0
    meter.add(8)
    assert meter.rate == pytest.approx(16 / 3)  # as before the pause
    now[0] = 101.0
    meter.add(8)
    assert meter.rate == pytest.approx(8.0)


def test_the_log_is_cut_back_to_the_step_and_survives_half_a_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in range(1, 6):
        log.write(step, {"loss": float("nan") if step == 2 else step / 10})
    log.sync()
    log.close()
    with path.open("a") as file:
        file.write('{"step": 6, "lo')
    assert [r["step"] for r in read_metrics(path)] == [1, 2, 3, 4, 5]
    assert read_metrics(path)[1]["loss"] is None
    log = MetricsLog(path, step=3)
    log.write(4, {"loss": 9})
    log.close()
    assert [(r["step"], r["loss"]) for r in read_metrics(path)] == [(1, 0.1), (2, None), (3, 0.3), (4, 9)]
    MetricsLog(path).close()
    assert read_metrics(path) == [] and read_metrics(tmp_path / "none") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full, as Linux has one")
def test_a_full_disk_is_told_with_the_name_of_the_log(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write(1, {"loss": 1.0})
    log._file.close()
    with Path("/dev/full").open("ab", buffering=0) as log._file:
        with pytest.raises(
            OutputError, match=r"metrics\.jsonl: cannot be written \(No space left.*run\.resume$"
        ):
            log.write(2, {"loss": 1.0})
        log.close()  # nothing is left to be written, which would hide the error
    assert [r["step"] for r in read_metrics(tmp_path / "metrics.jsonl")] == [1]


def test_a_run_folder_is_opened_written_and_refused(tmp_path):
    folder = open_run(tmp_path / "run", config={"steps": 3, "name": "größe"})
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text("utf-8")) == {
        "steps": 3,
        "name": "größe",
    }
    with pytest.raises(OutputError, match="exists and is not empty; give another folder, or set"):
        open_run(tmp_path / "run")
    assert open_run(tmp_path / "run", resume=True).resume
    folder.weights.write_bytes(b"x")
    open_run(tmp_path / "run", overwrite=True)
    assert not folder.weights.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        open_run(tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError, match="cannot be made"):
        open_run(tmp_path / "file" / "run")
    with pytest.raises(OutputError, match="exclude"):
        open_run(tmp_path / "new", resume=True, overwrite=True)


def test_the_loader_gives_the_same_steps_wherever_it_begins_and_however_they_are_divided(feed):
    whole = list(StepLoader(feed, start=0, steps=6, batch_size=8))
    late = list(StepLoader(feed, start=4, steps=6, batch_size=8))
    assert [s.number for s in late] == [4, 5]
    assert torch.equal(
        whole[4].micros[0].batch.pixels.nan_to_num(), late[0].micros[0].batch.pixels.nan_to_num()
    )
    for rank in (0, 1):
        parts = StepLoader(feed, start=0, steps=6, batch_size=2, accumulate=2, rank=rank, world=2).step(3)
        for k, micro in enumerate(parts.micros):
            place = (k * 2 + rank) * 2
            assert micro.batch.ids == whole[3].micros[0].batch.ids[place : place + 2]
            assert micro.first == whole[3].micros[0].first + place
    assert whole[0].samples == 8


def test_the_loader_hands_on_errors_and_stops_early(feed):
    class Broken:
        def take(self, first: int, count: int):
            if first >= 8:
                raise OSError("the disk is gone")
            return feed.take(first, count)

    with pytest.raises(OSError, match="the disk is gone"):
        list(StepLoader(Broken(), start=0, steps=6, batch_size=4))
    steps = iter(StepLoader(feed, start=0, steps=1000, batch_size=4))
    next(steps)
    steps.close()


def test_progress_draws_a_bar_on_a_terminal_and_logs_elsewhere(caplog, capsys):
    with caplog.at_level(logging.INFO), ProgressBar("train", 10, every_seconds=0, terminal=False) as bar:
        bar.update(5, {"loss": 0.25, "a": 0.2, "b": 0.05}, 100.0, utilisation=0.414, memory=1.26, wait=0.01)
        bar.update(6)
    assert (
        "train: step 5 of 10, loss 0.2500 (a 0.2, b 0.05), 100 samples/s, 41% of peak, 1.3 GiB" in caplog.text
    )
    assert "step 6" not in caplog.text and not capsys.readouterr().err
    with ProgressBar("train", 10, terminal=True) as bar:
        bar.update(10, {"loss": 0.125}, 42.0)
    shown = capsys.readouterr().err
    assert "10/10" in shown and "train" in shown
    assert [duration(s) for s in (5, 65, 7500)] == ["5 s", "1 min 5 s", "2 h 5 min"]
