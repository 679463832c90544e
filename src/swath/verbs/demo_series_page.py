"""The report of the demo on several dates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swath.feed.config import IGNORE
from swath.report import figures
from swath.report.html import Page
from swath.verbs.run_report import date_words, loss_lines

if TYPE_CHECKING:
    from swath.report.table import Table
    from swath.tasks.metrics import Scores
    from swath.training.run import FitResult
    from swath.verbs.demo import DemoConfig
    from swath.verbs.demo_series import Site

# Short-wave infrared, near infrared and red: vegetation is green, bare soil is pink.
COLOUR = ("B11", "B08", "B04")


def write_page(
    folder: Path,
    config: DemoConfig,
    site: Site,
    table: Table,
    scores: Mapping[str, Scores],
    bands: npt.NDArray[np.uint8],
    fits: Mapping[str, FitResult],
) -> Path:
    """Writes report.html, self-contained; `bands` are those of map (a)."""
    page = Page(
        "Several dates in, one map out",
        f"A Sentinel-2 series of a place of 640 m (WorldCereal site {Path(site.whole.source).name}), mapped by a "
        "network that looks over time and space at once. The north was learned from, the south is scored.",
    )
    page.section("The result").table(table)
    page.figure(
        figures.confusion(np.asarray(scores["pretrained"].confusion), [c.name for c in site.classes]),
        "What (a) mapped each class of the south as.",
    )
    _dates(page, site)
    page.section("The map", "`map.tif` opens in QGIS with its classes, colours and names.")
    reference = np.full(site.labels.shape, 255, np.uint8)
    for i, c in enumerate(site.classes):
        reference[site.labels == i] = c.value
    page.figures(
        (figures.class_map(reference, site.classes, metres=site.whole.gsd), "The reference: land cover."),
        (
            figures.class_map(bands[0], site.classes, metres=site.whole.gsd),
            f"By (a). Rows from {site.south} on, the lowest {site.labels.shape[0] - site.south}, are the south.",
        ),
        (
            figures.percent_map(bands[1], "confidence"),
            "Confidence: the probability of the class it chose; not calibrated.",
        ),
    )
    page.section("Training")
    losses = {name: loss_lines(result.records)["training"] for name, result in fits.items()}
    page.figures(
        (
            figures.curves({"pretraining": losses.pop("pretraining")}),
            f"Pretraining loss: four of {site.whole.shape[0]} dates at a time, half of each hidden.",
        ),
        (figures.curves({k.replace("-", " "): v for k, v in losses.items()}), "Fine-tuning loss."),
    )
    page.section("Repeat it").code(f"swath demo --series {config.series} --output {config.output}-again")
    labelled = float((site.labels != IGNORE).mean())
    page.notes(
        f"{labelled:.0%} of the pixels bear a label. Data: Copernicus Sentinel-2; labels of the Flemish land-parcel "
        "register, as gathered by the WorldCereal project (ESA)."
    )
    return page.write(folder / "report.html")


def _dates(page: Page, site: Site) -> None:
    cube = site.cube
    index = [[b.name for b in cube.bands].index(name) for name in COLOUR]
    valid = site.whole.valid.all(axis=1).mean(axis=(1, 2))
    page.section(
        "The series",
        f"{len(site.dates)} of {site.whole.shape[0]} dates; on {int((valid < 0.5).sum())} of them more than half of the "
        "site is under cloud or shadow, and invalid. Bands 11, 8 and 4 as red, green and blue.",
    )
    days = np.array([np.datetime64("NaT") if d is None else np.datetime64(d) for d in cube.dates], "M8[D]")
    page.figures(
        *(
            (figures.composite(cube.pixels[t, index], cube.valid[t, index]), date_words(day, t))
            for t, day in enumerate(days)
        )
    )
