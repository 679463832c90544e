"""The network of a task from options: every family, every task, from scratch and from weights, saved and loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from swath.contract import InputContract, contract_for
from swath.cube import Encoding
from swath.errors import ConfigError, SwathError, WeightsError
from swath.models.spectralgpt_dense import SpectralGPTChange, SpectralGPTSegmentation
from swath.models.st_swin import STSwinUNet
from swath.models.task_network import TaskNetwork
from swath.verbs.head_options import HeadOptions
from swath.verbs.networks import pretraining_network
from swath.verbs.options import ModelOptions
from swath.verbs.task_network import task_network
from swath.weights.build import build_loaded, meta_for
from swath.weights.file import Loaded, load, save

SIX = ("B02", "B03", "B04", "B8A", "B11", "B12")
TEN = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
VIT: dict[str, Any] = {"embed_dim": 24, "depth": 2, "heads": 2}
LIGHT: dict[str, Any] = {"decoder_embed_dim": 24, "decoder_depth": 1, "decoder_heads": 2}
SWIN: dict[str, Any] = {"embed_dim": 8, "depths": [1, 1], "heads": [1, 2]}
DENSE: dict[str, Any] = {
    "branch_widths": [32, 32, 32, 32],
    "branch_outputs": [8, 8, 8],
    "decoder_width": 16,
    "drop_path": 0.0,
}
SYSTEMS: dict[str, ModelOptions] = {
    "spectralgpt": ModelOptions("spectralgpt", "", {**VIT, **LIGHT}),
    "st_swin_mae": ModelOptions("st_swin_mae", "tiny", {**SWIN, "decoder_depths": [1]}),
    "swin_mae": ModelOptions("swin_mae", "swin_mae_tiny", SWIN),
    "mae": ModelOptions("mae", "", {**VIT, **LIGHT}),
    "satmae": ModelOptions("satmae", "", {**VIT, **LIGHT, "group_dim": 8, "decoder_group_dim": 8}),
    "beit": ModelOptions("beit", "", {**VIT, "codes": 4}),
    "moco vit": ModelOptions("moco", "vit_s", VIT),
    "simclr swin": ModelOptions("simclr", "swin_t", SWIN),
}


def contract(
    names: tuple[str, ...] = TEN, dates: int | None = 1, size: int = 32, **more: Any
) -> InputContract:
    encoding = Encoding("reflectance", 1e-4, 0.0)
    low = 1 if dates is None else dates
    return contract_for(
        more.pop("sensor", "sentinel2"),
        names,
        encoding,
        size=(size, size),
        min_dates=low,
        max_dates=dates,
        **more,
    )


def weights(tmp_path: Path, system: str, data: InputContract, window: int = 32) -> Loaded:
    torch.manual_seed(3)
    network = pretraining_network(SYSTEMS[system], data, window)
    for p in network.parameters():  # nothing that starts at zero stays there
        if p.ndim <= 1 or not p.abs().sum() > 0:
            nn.init.normal_(p, std=0.1)
    file = tmp_path / f"{system}.safetensors"
    save(file, network, meta_for(network, contract=data))
    return load(file)


def answer(network: nn.Module, data: InputContract, dates: int, size: int = 32) -> torch.Tensor:
    torch.manual_seed(5)
    pixels = torch.randn(2, dates, len(data.bands), size, size)
    valid = torch.rand(pixels.shape) > 0.2
    days = torch.tensor([[[40.0 * (i + 1), 2021.0] for i in range(dates)]] * 2)
    out = network.eval()(pixels, valid, days, data.wavelengths)
    assert torch.equal(out, network(pixels.masked_fill(~valid, float("nan")), valid, days, data.wavelengths))
    assert isinstance(out, torch.Tensor)
    return out


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("from_weights", [False, True])
def test_every_family_has_a_network_for_every_task_that_can_be_saved(
    system: str, from_weights: bool, tmp_path: Path
) -> None:
    data = contract()
    source = weights(tmp_path, system, data) if from_weights else None
    model = ModelOptions("auto") if from_weights else SYSTEMS[system]
    for task, shape in (
        ("classification", (2, 3)),
        ("multilabel", (2, 3)),
        ("segmentation", (2, 3, 32, 32)),
        ("regression", (2, 3, 32, 32)),
    ):
        if system == "spectralgpt" and task in ("segmentation", "regression"):
            model = replace(model, options={**model.options, **DENSE})
        elif system == "spectralgpt":
            model = replace(model, options={k: v for k, v in model.options.items() if k not in DENSE})
        network, report = task_network(source, model, HeadOptions(), data, task, 3)
        out = answer(network, data, 1)
        assert out.shape == shape
        assert (report is None) is (source is None)
        save(tmp_path / "task.safetensors", network, meta_for(network, contract=data))
        again = build_loaded(load(tmp_path / "task.safetensors"))
        assert torch.equal(answer(again, data, 1), out)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("kind", ["linear", "conv", "uper"])
def test_every_encoder_takes_every_head_and_keeps_what_it_learned(
    system: str, kind: Any, tmp_path: Path
) -> None:
    data = contract()
    source = weights(tmp_path, system, data)
    network, report = task_network(
        source, ModelOptions("auto"), HeadOptions(kind, width=16), data, "segmentation", 2
    )
    assert isinstance(network, TaskNetwork) and report is not None
    assert report.resized == () and all(n.startswith("encoder.") for n in report.kept)
    assert all(n.startswith(("neck.", "head.")) for n in report.new)
    old = build_loaded(source).eval()
    pixels = torch.randn(1, 1, 10, 32, 32)
    theirs = old.features(pixels, wavelengths=data.wavelengths)
    mine = network.eval().features(pixels, wavelengths=data.wavelengths)
    torch.testing.assert_close(mine.pooled, theirs.pooled)
    assert answer(network, data, 1).shape == (2, 2, 32, 32)


def test_families_draw_maps_their_own_way_unless_told_otherwise(tmp_path: Path) -> None:
    one, two, many = contract(), contract(dates=2), contract(dates=None)
    gpt = replace(SYSTEMS["spectralgpt"], options={**SYSTEMS["spectralgpt"].options, **DENSE})
    kinds = [
        (gpt, one, "segmentation", SpectralGPTSegmentation),
        (gpt, two, "change", SpectralGPTChange),
        (SYSTEMS["spectralgpt"], many, "segmentation", TaskNetwork),
        (SYSTEMS["st_swin_mae"], many, "segmentation", STSwinUNet),
        (ModelOptions("st_swin_unet", "tiny", SYSTEMS["st_swin_mae"].options), two, "change", STSwinUNet),
        (SYSTEMS["mae"], two, "change", TaskNetwork),
        (SYSTEMS["st_swin_mae"], many, "classification", TaskNetwork),
    ]
    for model, data, task, expected in kinds:
        network, _ = task_network(None, model, HeadOptions(), data, task, 2)
        assert type(network) is expected
        out = answer(network, data, data.max_dates or 3)
        assert out.shape == ((2, 2) if task == "classification" else (2, 2, 32, 32))
    unet, _ = task_network(None, kinds[4][0], HeadOptions(), two, "change", 2)
    assert isinstance(unet, STSwinUNet) and unet.map_config.collapse == "concat"
    each, _ = task_network(None, kinds[3][0], HeadOptions(dates="none"), many, "segmentation", 2)
    assert answer(each, many, 3).shape == (2, 3, 2, 32, 32)


def test_a_unet_stands_beside_them() -> None:
    network, report = task_network(
        None, ModelOptions("unet", "unet_16", {"levels": 2}), HeadOptions(), contract(), "segmentation", 4
    )
    assert report is None and answer(network, contract(), 1).shape == (2, 4, 32, 32)


def test_a_resnet_answers_for_whole_images() -> None:
    model, head = ModelOptions("resnet", "", {"width": 4}), HeadOptions(dropout=0.5)
    for task in ("classification", "multilabel", "regression"):
        network, report = task_network(None, model, head, contract(dates=2), task, 4, per_pixel=False)
        assert report is None and answer(network, contract(), 2).shape == (2, 4)
        assert network.config.dropout == 0.5
    for wrong, given, message in (
        (replace(model, options={"dropout": 0.1}), head, "say it once"),
        (model, HeadOptions("conv"), "linear head on the mean"),
        (model, HeadOptions(dates="last"), "linear head on the mean"),
        (model, HeadOptions(width=8), "linear head on the mean"),
    ):
        with pytest.raises(ConfigError, match=message):
            task_network(None, wrong, given, contract(), "classification", 4)
    with pytest.raises(ConfigError, match="sees windows as they are"):
        task_network(None, model, HeadOptions(), contract(), "classification", 4, resize=64)


def test_what_was_fine_tuned_goes_on_but_for_its_last_layer(tmp_path: Path) -> None:
    data = contract()
    cases = [
        (SYSTEMS["mae"], HeadOptions("conv", width=16), "head.out."),
        (SYSTEMS["st_swin_mae"], HeadOptions(), "head."),
        (
            replace(SYSTEMS["spectralgpt"], options={**SYSTEMS["spectralgpt"].options, **DENSE}),
            HeadOptions(),
            "classify.",
        ),
    ]
    for i, (model, head, last) in enumerate(cases):
        network, _ = task_network(None, model, head, data, "segmentation", 3)
        save(tmp_path / f"{i}.safetensors", network, meta_for(network, contract=data))
        source = load(tmp_path / f"{i}.safetensors")
        given = DENSE if i == 2 else {}
        after, report = task_network(source, ModelOptions("auto", "", given), head, data, "segmentation", 5)
        assert report is not None and type(after) is type(network)
        assert report.new and all(n.startswith(last) for n in (*report.new, *report.dropped))
        for name, tensor in network.state_dict().items():
            assert name.startswith(last) or torch.equal(tensor, after.state_dict()[name])


@pytest.mark.parametrize(
    ("model", "head", "task", "message"),
    [
        (ModelOptions("auto"), HeadOptions(), "segmentation", "there are no weights"),
        (ModelOptions("ma"), HeadOptions(), "segmentation", "unknown system 'ma'"),
        (ModelOptions("unet"), HeadOptions(), "classification", "draws maps"),
        (ModelOptions("st_swin_unet"), HeadOptions(), "classification", "draws maps"),
        (ModelOptions("unet"), HeadOptions("conv"), "segmentation", "has its own head"),
        (ModelOptions("resnet"), HeadOptions(), "segmentation", "one answer per image"),
        (ModelOptions("unet"), HeadOptions(width=3), "segmentation", "options of its own"),
        (SYSTEMS["mae"], HeadOptions("spectralgpt"), "segmentation", "no head of mae"),
        (SYSTEMS["mae"], HeadOptions("conv"), "classification", "one per image"),
        (SYSTEMS["mae"], HeadOptions(dates="difference"), "segmentation", None),
        (SYSTEMS["st_swin_mae"], HeadOptions(dates="difference"), "segmentation", "sees all dates together"),
        (SYSTEMS["st_swin_mae"], HeadOptions(width=9), "segmentation", "none of it"),
        (
            replace(SYSTEMS["mae"], options={"collapse": "mean"}),
            HeadOptions(),
            "segmentation",
            "unknown option",
        ),
        (replace(SYSTEMS["mae"], options={"depth": "two"}), HeadOptions(), "segmentation", "depth"),
        (SYSTEMS["spectralgpt"], HeadOptions("spectralgpt"), "change", "takes 2 dates for change"),
    ],
)
def test_what_does_not_go_together_is_said(model: Any, head: Any, task: str, message: str | None) -> None:
    if message is None:
        assert task_network(None, model, head, contract(), task, 2)
        return
    with pytest.raises(ConfigError, match=message):
        task_network(None, model, head, contract(), task, 2)


def test_a_fixed_number_of_dates_is_needed_to_join_them() -> None:
    head = HeadOptions("conv", dates="concat")
    with pytest.raises(ConfigError, match="fixed number of dates"):
        task_network(None, SYSTEMS["mae"], head, contract(dates=None), "segmentation", 2)
    network, _ = task_network(None, SYSTEMS["mae"], head, contract(dates=3), "segmentation", 2)
    assert answer(network, contract(), 3).shape == (2, 2, 32, 32)


def test_weights_of_another_family_or_shape_are_refused(tmp_path: Path) -> None:
    data = contract()
    source = weights(tmp_path, "mae", data)
    for model, error, message in (
        (ModelOptions("spectralgpt"), WeightsError, "hold a mae; a spectralgpt cannot continue it"),
        (ModelOptions("unet"), WeightsError, "a unet cannot continue it"),
        (ModelOptions("resnet"), WeightsError, "a resnet cannot continue it"),
        (
            ModelOptions("mae", "", {"depth": 3}),
            ConfigError,
            "depth is to be 3, but the pretrained weights have 2",
        ),
        (ModelOptions("mae", "mae_vit_l"), ConfigError, "embed_dim is to be 1024"),
        (ModelOptions("mae", "", {"dept": 3}), ConfigError, "did you mean depth"),
    ):
        with pytest.raises(error, match=message):
            task_network(source, model, HeadOptions(), data, "classification", 2)
    network, _ = task_network(
        source,
        ModelOptions("mae", "", {"depth": 2, "drop_path": 0.2}),
        HeadOptions(),
        data,
        "classification",
        2,
    )
    assert isinstance(network, TaskNetwork) and network.encoder.blocks[1].drop_path.rate == 0.2
    assert issubclass(WeightsError, SwathError)
