"""The demo's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swath.report import figures
from swath.report.html import Page
from swath.training.metrics_log import read_metrics
from swath.verbs.map_scores import read_map
from swath.verbs.run_report import EXAMPLES, Examples, loss_lines, score_lines

if TYPE_CHECKING:
    from swath.report.table import Table
    from swath.tasks.metrics import Scores
    from swath.verbs.demo import DemoConfig
    from swath.verbs.scene_labels import Labelled

# Bands of Landsat 7 as red, green and blue.
TRUE_COLOUR = ("B3", "B2", "B1")
FALSE_COLOUR = ("B4", "B3", "B2")
SWIR_COLOUR = ("B5", "B4", "B3")


def write_page(
    folder: Path,
    config: DemoConfig,
    data: Labelled,
    table: Table,
    scores: Mapping[str, Sequence[Scores]],
    commands: Sequence[str],
) -> Path:
    """Writes report.html, self-contained."""
    home = folder / "seed-0"
    page = Page(
        "From a raw scene to a land-cover map",
        "A Landsat 7 scene of North Carolina (2000), mapped by a network that was pretrained on its pixels and "
        "fine-tuned on land classes of its western half. The eastern half tells how good the map is.",
    )
    _results(page, config, table, scores, data)
    _scene(page, data)
    _map(page, folder, data)
    _reconstructions(page, home)
    _series(page, home)
    _training(page, home, config)
    page.section("Repeat it", "Each step alone, as the demo ran it:")
    page.code(commands)
    page.text(
        "All of it: `make demo`, or `swath demo`. Where the data come from: `swath/demo_data/ATTRIBUTION.md`."
    )
    return page.write(folder / "report.html")


def _results(
    page: Page, config: DemoConfig, table: Table, scores: Mapping[str, Sequence[Scores]], data: Labelled
) -> None:
    page.section("The result").table(table)
    shown = scores["pretrained"][0]
    page.figure(
        figures.confusion(np.asarray(shown.confusion), [c.name for c in data.classes]),
        "What (a) mapped each class of the eastern half as"
        + ("." if config.seeds == 1 else ", with the first seed."),
    )


def _scene(page: Page, data: Labelled) -> None:
    names = [b.name for b in data.cube.bands]

    def composite(bands: Sequence[str]) -> bytes:
        index = [names.index(b) for b in bands]
        return figures.composite(data.cube.pixels[0, index], data.cube.valid[0, index], metres=data.cube.gsd)

    page.section("The scene")
    page.figures(
        (composite(TRUE_COLOUR), "True colour: bands 3, 2, 1 (red, green, blue)."),
        (composite(FALSE_COLOUR), "False colour: bands 4, 3, 2. Vegetation is red."),
    )
    share = data.cube.valid.all(axis=(0, 1)).mean()
    any_band = data.cube.valid.any(axis=(0, 1)).mean()
    page.text(
        f"{data.cube.shape[2]} × {data.cube.shape[3]} pixels of {data.cube.gsd:g} m. Only {share:.0%} of them hold all "
        f"six bands; {any_band:.0%} hold at least one. Band 7 covers a smaller area. Missing bands are invalid, not "
        "zero: the networks are told, and the coverage band of the map says where."
    )
    values = np.full(data.labels.shape, 255, np.uint8)
    for i, c in enumerate(data.classes):
        values[data.labels == i] = c.value
    page.figure(
        figures.class_map(values, data.classes, metres=data.cube.gsd),
        "The reference: land classes of 1996, four years older than the image.",
    )


def _map(page: Page, folder: Path, data: Labelled) -> None:
    from swath.data.gdal import open_raster

    path = folder / "map.tif"
    values, known, coverage, _ = read_map(str(path))
    source = open_raster(str(path))
    confidence = source.read(2)
    source.close()
    page.section("The map", "`map.tif` opens in QGIS with its classes, colours and names.")
    page.figure(
        figures.class_map(np.where(known, values, 255).astype(np.uint8), data.classes, metres=data.cube.gsd),
        "Land classes of the whole scene, by (a).",
    )
    page.figures(
        (
            figures.percent_map(confidence, "confidence"),
            "Confidence: the probability the network gives the class it chose. It is not calibrated: a network "
            "trained four years of change away from its labels can be sure and wrong.",
        ),
        (
            figures.percent_map(coverage, "coverage", colors="cividis"),
            "Coverage: how much of the input (six bands) was valid at each pixel.",
        ),
    )


def _reconstructions(page: Page, home: Path) -> None:
    page.section(
        "What pretraining learned",
        "Places held out of pretraining: what the network saw (hidden parts in blue), what it made of it, and what was "
        "there. Each band is stretched by the range of the original.",
    )
    swin = Examples.load(home / "pretrain-st-swin" / EXAMPLES)
    gpt = Examples.load(home / "pretrain-spectralgpt" / EXAMPLES)
    page.figures(
        (
            swin.figure(0),
            f"ST-SwinMAE on the Landsat scene, {swin.hidden[0].mean():.0%} of the windows hidden, all bands together.",
        ),
        (
            gpt.figure(0, gpt.bands[::2]),
            f"SpectralGPT on a BigEarthNet patch, {gpt.hidden[0].mean():.0%} of the tokens hidden: each token is three "
            "neighbouring bands × 8 × 8 pixels, so a place can be hidden in some bands and seen in others. "
            "It saw five other patches for under a minute: read its blur as that.",
        ),
    )


def _series(page: Page, home: Path) -> None:
    shown = Examples.load(home / "pretrain-series" / EXAMPLES)
    page.section(
        "Several dates",
        "The scene above is of one date. This is a real series: 44 Landsat 5 dates of 2008 to 2011 near Steamboat "
        "Springs, Colorado. An ST-SwinMAE learned from four of its dates at a time, each with a mask of its own, so "
        "that what is hidden on one date can be seen on another. Clouds, their shadows and snow, as far as the "
        "product's own mask knows them, are invalid (white): neither shown to the network nor asked of it.",
    )
    page.figure(
        shown.series(0),
        "A place held out of that training, on four dates: bands 5, 4 and 3 as red, green and blue, all dates "
        f"stretched alike; {shown.hidden[0].mean():.0%} hidden (blue), then filled in by the network.",
    )
    page.text(
        "What is hidden on one date is taken from the others, in that date's colours; what is hidden on all four is a "
        "guess. The place is near those learned from, and held out on all dates. There are no labels for this series, "
        "so nothing is scored and no map is drawn from it. `make demo-series` draws and scores a map from several dates "
        "of Sentinel-2, where that data set is at hand."
    )


def _training(page: Page, home: Path, config: DemoConfig) -> None:
    page.section("Training")
    losses = {}
    for title, key in (("ST-SwinMAE", "pretrain-st-swin"), ("SpectralGPT", "pretrain-spectralgpt")):
        for name, points in loss_lines(read_metrics(home / key / "metrics.jsonl")).items():
            losses[f"{title}, {name}"] = points
    page.figure(
        figures.curves(losses, log=True),
        "Pretraining loss. The two families measure different things: compare each with itself.",
    )
    finetuning = {}
    validation = {}
    for title, key in (("pretrained", "pretrained"), ("from scratch", "scratch")):
        records = list(read_metrics(home / key / "metrics.jsonl"))
        finetuning[title] = loss_lines(records)["training"]
        validation[title] = score_lines(records).get("overall accuracy", [])
    page.figures(
        (figures.curves(finetuning), "Fine-tuning loss."),
        (
            figures.curves(validation, y="overall accuracy"),
            "Overall accuracy on the validation block; the best step of each is the one that is mapped.",
        ),
    )
