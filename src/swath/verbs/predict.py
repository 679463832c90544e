"""`swath predict`: a map of a whole scene, with confidence and coverage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swath.errors import ConfigError
from swath.verbs.registry import RECIPE
from swath.verbs.scene_options import SceneOptions

if TYPE_CHECKING:
    from swath.scenes.estimate import Estimate
    from swath.scenes.job import WeightsJob
    from swath.scenes.stac import MapFacts
    from swath.verbs.scene_work import Given
    from swath.weights.file import Loaded

POSITIONAL = (RECIPE,)


@dataclass(frozen=True)
class PredictConfig(SceneOptions):
    """Map a scene.

    Attributes:
        weights: of a network that draws maps, as `swath finetune` writes them.
        output: the map, a Cloud-Optimized GeoTIFF with the bands class, confidence and coverage; by weights that draw a
            map for each date, with these for each.
        block: side of the blocks that are worked on as one, a multiple of 256; null: as small as costs 10 % at most.
        turns: average the map over the eight ways to turn and flip a window; takes eight times as long.
        probabilities: also write the probability of each class.
        entropy: also write the entropy of the probabilities.
        disagreement: also write how far turned views contradict each other; needs turns.
        bits: 16 writes shares in hundredths of a percent instead of percent.
        quicklook: also write a small PNG beside the map.
    """

    block: int | None = None
    turns: bool = False
    probabilities: bool = False
    entropy: bool = False
    disagreement: bool = False
    bits: Literal[8, 16] = 8
    quicklook: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.disagreement and not self.turns:
            raise ConfigError("needs turned views", where="disagreement", mend="set turns to true")


@dataclass(frozen=True)
class PredictResult:
    """What making a map took; see `swath.scenes.mapping.Summary`. `temperature` is that by which its probabilities were
    calibrated, None if they are as the network says them.
    """

    map: str
    seconds: float
    km2: float | None
    km2_per_second: float | None
    windows: int
    empty_windows: int
    pixels: int
    nodata_pixels: int
    blocks: int
    kept_blocks: int
    hole_pixels: int
    holes: tuple[tuple[int, int, int, int], ...]
    workers: int
    threads: int
    precision: str
    temperature: float | None
    text: str

    def summary(self) -> str:
        """A few words for a terminal."""
        speed = "" if self.km2_per_second is None else f", {self.km2_per_second:.3g} km²/s"
        said = "" if self.temperature is None else f", calibrated by temperature {self.temperature:.4g}"
        return f"{self.text} in {self.precision}{speed}{said}\nmap {self.map}"


def run(config: PredictConfig) -> PredictResult | Estimate:
    """Maps a scene of any size in constant memory; an interrupted map is gone on with.

    Raises:
        SwathError: in one line, if the weights, the scene or the output do not fit; no map is left then.
    """
    from swath.data.gdal import bounded_cache
    from swath.scenes.sink import CogSink
    from swath.scenes.sources.opening import open_source
    from swath.scenes.work import begun_with, finished_blocks
    from swath.verbs.each_date import answers_each_date
    from swath.verbs.scene_work import carry_out, estimated, given_by
    from swath.weights.build import build_loaded

    given = given_by(config, "swath finetune")
    output, loaded = given.output, given.loaded
    network = build_loaded(loaded).eval()
    # Bounded here too: the whole scene may be read for its statistics.
    with bounded_cache(), open_source(config.input) as scene:
        job = _job(config, given, scene, begun_with(output) or {}, answers_each_date(network))
        about = job.about(loaded.sha256, scene.identity())
        if config.plan:
            done = finished_blocks(output, about, overwrite=config.overwrite)
            return estimated(config, job, scene, network, done)
        sink = CogSink(
            output,
            scene.grid,
            job.layers,
            overwrite=config.overwrite,
            tags=_tags(loaded, scene.source),
            quicklook=config.quicklook,
            facts=_facts(job, loaded, scene) if config.item else None,
        )
        given.refuse(sink, scene)
        # Whether the scene fits the model shows at its first pixel, before anything is written.
        job.engine(scene, network).check()
        summary, _ = carry_out(config, job, scene, network, sink, about)
    return PredictResult(
        str(output),
        summary.seconds,
        summary.km2,
        summary.km2_per_second,
        summary.windows,
        summary.empty_windows,
        summary.pixels,
        summary.nodata_pixels,
        summary.blocks,
        summary.kept_blocks,
        summary.hole_pixels,
        tuple((b.row, b.col, b.height, b.width) for b in summary.holes),
        config.workers,
        job.threads,
        job.precision,
        job.layers.temperature,
        str(summary),
    )


def _job(config: PredictConfig, given: Given, scene: Any, begun: Any, each_date: bool = False) -> WeightsJob:
    """All choices made, the same for every worker."""
    import torch

    from swath.scenes.job import WeightsJob
    from swath.scenes.layers import names_of_dates
    from swath.scenes.windows import make_plan
    from swath.verbs.map_layers import map_layers
    from swath.verbs.scene_work import shared

    layers = map_layers(
        given.loaded,
        min_coverage=config.min_coverage,
        probabilities=config.probabilities,
        entropy=config.entropy,
        disagreement=config.disagreement,
        bits=config.bits,
        dates=names_of_dates(scene.dates) if each_date else (),
    )
    return WeightsJob(
        plan=make_plan(scene.height, scene.width, given.size, overlap=config.overlap, block=config.block),
        layers=layers,
        turns=config.turns,
        **shared(config, given, scene, begun, torch.get_num_threads()),
    )


def _facts(job: WeightsJob, loaded: Loaded, scene: Any) -> MapFacts:
    """What the STAC item says of the input and the model."""
    from swath.scenes.layers import DatedLayers, LabelLayers, ValueLayers
    from swath.scenes.stac import MapFacts
    from swath.verbs.map_layers import task_of

    each = isinstance(job.layers, DatedLayers)
    layers = job.layers.inner if isinstance(job.layers, DatedLayers) else job.layers
    classes = layers.labels if isinstance(layers, LabelLayers) else layers.classes
    values = len(layers.names) if isinstance(layers, ValueLayers) else 0
    return MapFacts(scene.dates, getattr(scene, "items", ()), loaded, task_of(loaded), classes, values, each)


def _tags(loaded: Loaded, source: str) -> dict[str, str]:
    from swath.scenes.layers import NEVER_SEEN
    from swath.verbs.scene_work import tags_of

    tags = tags_of(loaded)
    calibration = loaded.meta.calibration
    if calibration is not None and isinstance(calibration.about.get("data"), str):
        tags["CALIBRATED_ON"] = calibration.about["data"]
    learned = loaded.meta.provenance
    if learned.get("data") == Path(source).name and "east_start" in learned:
        # The map holds pixels that were learned from: whoever scores it must know which.
        tags[NEVER_SEEN] = str(learned["east_start"])
    return tags
