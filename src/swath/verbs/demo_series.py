"""`swath demo --series FOLDER`: several dates in, one map out, on a WorldCereal site (Sentinel-2, 640 m).

A site is cut by rows: the north is learned from, the south is scored, and a buffer as wide as the training
window lies between, so that no window that touches the south touches a row learned from. Normalisation and
pretraining know the north alone. There is no validation block on so small a place, hence no selection: every
network ends with the mean weights of its last steps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from swath.contract import InputContract
from swath.cube import BoolArray, Cube
from swath.data.layouts.worldcereal import LAND_COVER, find_site, read_site
from swath.data.legend import LandClass
from swath.errors import ConfigError
from swath.feed.config import IGNORE
from swath.feed.dates import spread_dates
from swath.feed.windows import WindowFeed
from swath.models.st_swin import STSwinMAE, STSwinUNet
from swath.pretraining.st_swin_mae import STSwinMAEObjective
from swath.report import table as tables
from swath.rng import derive
from swath.scenes.cube_scene import CubeScene
from swath.scenes.layers import ClassLayers
from swath.scenes.mapping import predict_scene
from swath.scenes.sink import CogSink, MemorySink, Sink
from swath.tasks.config import TaskConfig
from swath.tasks.segmentation import SegmentationTask
from swath.training.config import TrainConfig
from swath.training.run import FitResult, fit
from swath.verbs.head_options import HeadOptions
from swath.verbs.map_scores import score
from swath.verbs.networks import pretraining_network
from swath.verbs.options import ModelOptions, NormaliseOptions
from swath.verbs.scene_data import contract_of
from swath.verbs.task_network import task_network
from swath.weights.build import meta_for
from swath.weights.file import save
from swath.weights.meta import MapClass
from swath.words import counted

if TYPE_CHECKING:
    from swath.tasks.metrics import Scores
    from swath.verbs.demo import DemoConfig, DemoResult

WINDOW = 16
DATES = 6
# A date is taken if this share of the site is valid on it.
CLEAR = 0.95
SOUTH = 4  # one part in so many of the rows is scored
NETWORK: dict[str, Any] = {
    "patch_size": [1, 2, 2],
    "window": [4, 2, 2],
    "depths": [2, 2],
    "heads": [2, 4],
    "decoder_depths": [2],
}
PRETRAINING = TrainConfig(
    steps=300, batch_size=8, learning_rate=3e-3, warmup_steps=30, clip_norm=1.0, checkpoint_every=300
)
FINETUNING = TrainConfig(
    steps=200,
    batch_size=8,
    learning_rate=2e-3,
    warmup_steps=20,
    betas=(0.9, 0.999),
    decay_rule="finetune",
    clip_norm=1.0,
    ema_decay=0.98,
    checkpoint_every=200,
)


@dataclass(frozen=True, eq=False)
class Site:
    """A site, divided.

    Attributes:
        whole: [T,C,H,W], all its dates; clouds and shadows are invalid.
        labels: land cover [H,W], IGNORE where there is none.
        classes: in the order of the labels' numbers.
        dates: those that are mapped from.
        north: rows 0 to `north` - 1 are learned from.
        south: rows from `south` on are scored.
        contract: what the networks eat; its statistics are of the north.
    """

    whole: Cube
    labels: npt.NDArray[np.int64]
    classes: tuple[LandClass, ...]
    dates: tuple[int, ...]
    north: int
    south: int
    contract: InputContract

    @property
    def cube(self) -> Cube:
        """The dates that are mapped from, as they are stored."""
        return self.whole.at_dates(self.dates)

    @property
    def scored(self) -> BoolArray:
        """Pixels of the south with all bands of all mapped dates valid, so that every row can map them."""
        mask: BoolArray = np.asarray(self.cube.valid.all(axis=(0, 1)))
        mask[: self.south] = False
        return mask


def read(folder: str) -> Site:
    """Reads and divides the first site in a folder.

    Raises:
        ConfigError: h5py is missing, or the folder holds no site.
        InputError: the site is damaged, or too small.
    """
    sample = read_site(find_site(folder))
    whole = sample.cube
    assert sample.target is not None
    height = whole.shape[2]
    south = height - height // SOUTH
    north = south - WINDOW
    if north < WINDOW:
        raise ConfigError(
            f"{height} rows leave {max(north, 0)} to learn from",
            where=folder,
            mend=f"give a site of {3 * WINDOW} rows or more",
        )
    contract = contract_of(
        [whole.window(0, 0, north, whole.shape[3])], NormaliseOptions(scope="fixed"), WINDOW
    )
    dates = spread_dates(whole.valid, DATES, CLEAR)
    labels = sample.target.astype(np.int64)
    return Site(whole, labels, LAND_COVER, tuple(dates), north, south, contract)


def run_series(config: DemoConfig) -> DemoResult:
    """Pretrains on the north's series, fine-tunes with several dates and with one, maps and scores."""
    from swath.verbs.demo import DemoResult, open_folder
    from swath.verbs.demo_series_page import write_page

    began = time.monotonic()
    site = read(config.series)
    folder = Path(config.output)
    open_folder(folder, config.overwrite)
    mae, pretraining = pretrain(config, site, folder / "seed-0" / "pretrain")
    maps: dict[str, npt.NDArray[np.uint8]] = {}
    fits: dict[str, FitResult] = {"pretraining": pretraining}
    middle = (site.dates[len(site.dates) // 2],)
    for key, dates, start in (
        ("pretrained", site.dates, mae),
        ("scratch", site.dates, None),
        ("one-date", middle, None),
    ):
        network, fits[key] = finetune(config, site, dates, start, folder / "seed-0" / key)
        memory = MemorySink(ClassLayers(site.classes), *site.labels.shape)
        draw(network, site, dates, memory)
        maps[key] = memory.bands
        if key == "pretrained":
            assert site.whole.grid is not None
            layers = ClassLayers(site.classes)
            draw(network, site, dates, CogSink(folder / "map.tif", site.whole.grid, layers, overwrite=True))
    scores = {key: score_bands(bands, site) for key, bands in maps.items()}
    scores["forest"] = score_forest(site)
    result = make_table(config, site, scores)
    path = result.write_json(folder / "table.json")
    report = write_page(folder, config, site, result, scores, maps["pretrained"], fits)
    result.print()
    return DemoResult(str(folder / "map.tif"), str(report), str(path), time.monotonic() - began)


def _length(config: DemoConfig, training: TrainConfig) -> TrainConfig:
    from dataclasses import replace

    return replace(training, steps=4, batch_size=4, warmup_steps=1) if config.quick else training


def pretrain(config: DemoConfig, site: Site, folder: Path) -> tuple[STSwinMAE, FitResult]:
    """An ST-SwinMAE on the north: four dates at a time, of all dates of the series."""
    torch.manual_seed(derive(0, "initialise"))
    made = pretraining_network(ModelOptions("st_swin_mae", "tiny", NETWORK), site.contract, WINDOW)
    network = cast(STSwinMAE, made)
    north = site.contract.convert(site.whole.window(0, 0, site.north, site.whole.shape[3]))
    feed = WindowFeed([north], site.contract, WINDOW, min_valid=0.5, dates=min(4, north.shape[0]))
    objective = STSwinMAEObjective(network, mask_ratio=0.5, mask_window=2)
    return network, fit(
        objective,
        feed,
        _length(config, PRETRAINING),
        folder,
        overwrite=config.overwrite,
        title=f"pretrain on {site.whole.shape[0]} dates",
    )


def finetune(
    config: DemoConfig, site: Site, dates: tuple[int, ...], start: STSwinMAE | None, folder: Path
) -> tuple[STSwinUNet, FitResult]:
    """An ST-SwinUNet that draws one map from some dates, on the labels of the north."""
    from swath.models.st_swin import MAE_TO_UNET_DROPPED, MAE_TO_UNET_NEW
    from swath.weights.transfer import transfer

    torch.manual_seed(derive(0, "initialise"))
    options = ModelOptions("st_swin_unet", "tiny", {**NETWORK, "stem_skip": True})
    classes = len(site.classes)
    made, _ = task_network(None, options, HeadOptions(), site.contract, "segmentation", classes)
    network = cast(STSwinUNet, made)
    if start is not None:
        transfer(start.state_dict(), network, allow_new=MAE_TO_UNET_NEW, allow_dropped=MAE_TO_UNET_DROPPED)
    north = site.whole.at_dates(dates).window(0, 0, site.north, site.whole.shape[3])
    feed = WindowFeed(
        [site.contract.convert(north)],
        site.contract,
        WINDOW,
        labels=[site.labels[: site.north]],
        min_valid=0.25,
        need_label=True,
    )
    task = SegmentationTask(network, TaskConfig(tuple(c.name for c in site.classes)))
    training = _length(config, FINETUNING)
    result = fit(
        task,
        feed,
        training,
        folder,
        overwrite=config.overwrite,
        title=f"fine-tune on {counted(len(dates), 'date')}",
    )
    meta = meta_for(
        network,
        contract=site.contract,
        classes=tuple(MapClass(c.name, c.hex, c.value) for c in site.classes),
        provenance={
            "recipe": "demo --series",
            "data": Path(site.whole.source).name,
            "steps": result.steps,
            "never_seen": f"rows from {site.north} on",
        },
    )
    save(folder / "weights.safetensors", network, meta)
    return network, result


def draw(network: nn.Module, site: Site, dates: tuple[int, ...], sink: Sink) -> None:
    """The map of the whole site from some dates."""
    predict_scene(CubeScene(site.whole.at_dates(dates)), network, site.contract, None, sink)


def score_bands(bands: npt.NDArray[np.uint8], site: Site) -> Scores:
    """Scores of a map in memory on the south."""
    from swath.data.labels import to_indices

    predicted = to_indices(bands[0], bands[0] != 255, site.classes, where="map")
    return score(predicted, site.labels, site.scored, (), tuple(c.name for c in site.classes))


def score_forest(site: Site) -> Scores:
    """Scores of a random forest on all bands of all mapped dates of a pixel."""
    from swath.baselines.forest import ForestOptions, forest_map

    north = np.zeros(site.labels.shape, np.bool_)
    north[: site.north] = True
    mapped = forest_map(site.cube, site.labels, north, ForestOptions())
    return score(mapped, site.labels, site.scored, (), tuple(c.name for c in site.classes))


def make_table(config: DemoConfig, site: Site, scores: dict[str, Scores]) -> tables.Table:
    """Accuracy of every row on the same pixels of the south."""
    days = [str(d) for d in site.cube.dates]
    n = len(days)
    names = {
        "pretrained": (f"(a) ST-SwinUNet, {n} dates, pretrained", "on the series of the north"),
        "scratch": (f"(b) ST-SwinUNet, {n} dates, from scratch", "same network and budget as (a)"),
        "one-date": (f"(c) as (b), {days[n // 2]} alone", ""),
        "forest": (f"(d) random forest, bands of the pixel, {n} dates", ""),
    }
    rows = tuple(tables.Row(names[key][0], {**s.summary()}, names[key][1]) for key, s in scores.items())
    first = scores["pretrained"]
    learned = np.bincount(site.labels[: site.north][site.labels[: site.north] != IGNORE], minlength=4)
    support = ", ".join(f"{c.name} {c.support:,}" for c in first.classes)
    notes = [
        f"Scored on {first.count:,} pixels of the south (rows {site.south} to {site.labels.shape[0] - 1}), valid on "
        f"all dates: {support}.",
        f"Learned from rows 0 to {site.north - 1} ("
        + ", ".join(f"{c.name} {k:,}" for c, k in zip(site.classes, learned, strict=True))
        + f"); a buffer of {site.south - site.north} rows lies between.",
        f"Dates: {', '.join(days)}, evenly over those with {CLEAR:.0%} of the site clear.",
        "One place of 640 m, one seed, a few fields: the differences say little of other places.",
    ]
    if first.note:
        notes.append(first.note[0].upper() + first.note[1:] + ".")
    if config.quick:
        notes.insert(0, "QUICK RUN: a few training steps. The scores mean nothing.")
    metrics = (
        tables.Metric("overall_accuracy", "overall accuracy"),
        tables.Metric("macro_f1", "macro F1"),
        tables.Metric("miou", "mIoU"),
    )
    return tables.Table("Land cover of the south, from several dates", metrics, rows, tuple(notes))
