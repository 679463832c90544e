"""`swath predict`: a map of a whole scene, with confidence and coverage."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swath.errors import ConfigError
from swath.scenes.sources.spec import SourceSpec
from swath.verbs.registry import RECIPE

if TYPE_CHECKING:
    from torch import nn

    from swath.scenes.estimate import Estimate
    from swath.scenes.job import WeightsJob
    from swath.scenes.stac import MapFacts
    from swath.weights.file import Loaded

log = logging.getLogger(__name__)
POSITIONAL = (RECIPE,)


@dataclass(frozen=True)
class PredictConfig:
    """Map a scene.

    Attributes:
        weights: of a network that draws maps, as `swath finetune` writes them.
        input: the scene: raster files, SAFE products, a Zarr store or netCDF, or STAC; paths or addresses.
        output: the map, a Cloud-Optimized GeoTIFF with the bands class, confidence and coverage.
        plan: only say what would be done, with memory and time, and write nothing.
        overwrite: replace an earlier map, and throw away an unfinished one that was begun with other options.
        overlap: pixels that neighbouring windows share; null: a quarter of the window or more.
        block: side of the blocks that are worked on as one, a multiple of 256; null: as small as costs 10 % at most.
        batch_size: windows per call of the network.
        turns: average the map over the eight ways to turn and flip a window; takes eight times as long.
        probabilities: also write the probability of each class.
        entropy: also write the entropy of the probabilities.
        disagreement: also write how far turned views contradict each other; needs turns.
        bits: 16 writes shares in hundredths of a percent instead of percent.
        min_coverage: percent of valid input below which a pixel is no-data.
        max_holes: share of the pixels, 0 to 1, that may be unreadable; they become no-data and are listed.
        quicklook: also write a small PNG beside the map.
        item: write a STAC item beside the map (map.stac.json), with the model's metadata.
        workers: processes that share the work.
        threads: of each worker; 0: the cores shared evenly, or those an interrupted map was begun with. The bits of a
            map depend on it, and not on the number of workers.
        engine: "local", or "ray" for workers on a Ray cluster.
        ray_address: of the cluster; empty: the one this machine belongs to, else one is started here.
        precision: "auto" is bf16 on a GPU and on CPUs with AMX, else fp32.
        device: "auto" is the GPU if there is one.
    """

    weights: str
    input: SourceSpec
    output: str
    plan: bool = False
    overwrite: bool = False
    overlap: int | None = None
    block: int | None = None
    batch_size: int = 16
    turns: bool = False
    probabilities: bool = False
    entropy: bool = False
    disagreement: bool = False
    bits: Literal[8, 16] = 8
    min_coverage: int = 1
    max_holes: float = 0.0
    quicklook: bool = False
    item: bool = True
    workers: int = 1
    threads: int = 0
    engine: Literal["local", "ray"] = "local"
    ray_address: str = ""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("threads", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{getattr(self, name)} is less than {least}", where=name)
        if not 0 <= self.max_holes < 1:
            raise ConfigError(f"{self.max_holes} is no share from 0 to 1", where="max_holes")
        if self.ray_address and self.engine != "ray":
            raise ConfigError(
                "is for engine ray", where="ray_address", mend="set engine to ray, or leave it out"
            )
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
    from swath.errors import WeightsError
    from swath.files import refuse_own_input
    from swath.scenes.area import pixel_km2
    from swath.scenes.mapping import Course
    from swath.scenes.progress import MapBar
    from swath.scenes.runners.choice import Runner
    from swath.scenes.sink import CogSink
    from swath.scenes.sources.files import on_disk
    from swath.scenes.sources.opening import open_source
    from swath.scenes.work import begun_with, finished_blocks, output_path
    from swath.weights.build import build_loaded
    from swath.weights.file import load

    files = [name for row in config.input.file_table for name in row]
    inputs = [config.weights, *files]
    output = output_path(config.output)
    refuse_own_input(output, inputs)
    loaded = load(config.weights)
    if loaded.meta.contract is None or loaded.meta.contract.size is None:
        raise WeightsError(
            "do not say what they eat", where=loaded.path, mend="use weights that swath finetune wrote"
        )
    network = build_loaded(loaded).eval()
    # Bounded here too: the whole scene may be read for its statistics.
    with bounded_cache(), open_source(config.input) as scene:
        begun = begun_with(output) or {}
        job = _job(config, loaded, scene, begun)
        about = job.about(loaded.sha256, scene.identity())
        if config.plan:
            done = finished_blocks(output, about, overwrite=config.overwrite)
            return _estimate(config, job, scene, network, done)
        sink = CogSink(
            output,
            scene.grid,
            job.layers,
            overwrite=config.overwrite,
            tags=_tags(loaded, scene.source),
            quicklook=config.quicklook,
            facts=_facts(job, loaded, scene) if config.item else None,
        )
        sink.refuse_inputs([*inputs, *(on_disk(name) for name in scene.files)])
        # Whether the scene fits the model shows at its first pixel, before anything is written.
        job.engine(scene, network).check()
        with MapBar() as bar, sink.begin(job.plan, about) as store:
            course = Course(
                job.plan, store, pixel_km2(scene.grid), scene.source, config.max_holes, bar.update
            )
            if course.kept:
                log.info("%d of %d blocks are finished already", course.kept, job.plan.block_count)
            runner = Runner(config.engine, config.workers, config.ray_address)
            runner.run(job, course, lambda: job.worker(scene, network.to(job.device)))
            course.check()
        summary = course.summary(store.finished)
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


def _job(config: PredictConfig, loaded: Loaded, scene: Any, begun: Any) -> WeightsJob:
    """All choices made, the same for every worker."""
    import torch

    from swath.scenes.job import WeightsJob
    from swath.scenes.windows import make_plan
    from swath.training.precision import choose_device, choose_precision
    from swath.verbs.map_layers import map_layers

    contract = loaded.meta.contract
    assert contract is not None
    assert contract.size is not None
    device = choose_device(config.device)
    layers = map_layers(
        loaded,
        min_coverage=config.min_coverage,
        probabilities=config.probabilities,
        entropy=config.entropy,
        disagreement=config.disagreement,
        bits=config.bits,
    )
    norm = contract.normalisation
    whole = norm.kind != "identity" and norm.scope != "fixed"
    return WeightsJob(
        weights=str(Path(config.weights).resolve()),
        input=scene.spec,
        contract=contract,
        plan=make_plan(scene.height, scene.width, contract.size, overlap=config.overlap, block=config.block),
        layers=layers,
        batch_size=config.batch_size,
        threads=config.threads or begun.get("threads") or max(1, torch.get_num_threads() // config.workers),
        device=device,
        precision="bf16" if choose_precision(config.precision, device).name == "bf16" else "fp32",
        turns=config.turns,
        holes=config.max_holes > 0,
        statistics=scene.statistics() if whole else None,
        sha256=loaded.sha256,
    )


def _estimate(
    config: PredictConfig, job: WeightsJob, scene: Any, network: nn.Module, finished: int
) -> Estimate:
    from swath.scenes.estimate import estimate
    from swath.scenes.worker import torch_threads

    with torch_threads(job.threads):
        return estimate(
            job.engine(scene, network.to(job.device)),
            job.layers,
            stored_bands=len(scene.bands),
            stored=scene.dtype.itemsize,
            workers=config.workers,
            threads=job.threads,
            finished=finished,
        )


def _facts(job: WeightsJob, loaded: Loaded, scene: Any) -> MapFacts:
    """What the STAC item says of the input and the model."""
    from swath.scenes.layers import LabelLayers, ValueLayers
    from swath.scenes.stac import MapFacts
    from swath.verbs.map_layers import task_of

    layers = job.layers
    classes = layers.labels if isinstance(layers, LabelLayers) else layers.classes
    values = len(layers.names) if isinstance(layers, ValueLayers) else 0
    return MapFacts(scene.dates, getattr(scene, "items", ()), loaded, task_of(loaded), classes, values)


def _tags(loaded: Loaded, source: str) -> dict[str, str]:
    from swath.scenes.layers import NEVER_SEEN

    tags = {
        "MODEL": loaded.meta.architecture,
        "WEIGHTS_SHA256": loaded.sha256,
        "LICENCE": loaded.meta.licence,
    }
    calibration = loaded.meta.calibration
    if calibration is not None and isinstance(calibration.about.get("data"), str):
        tags["CALIBRATED_ON"] = calibration.about["data"]
    learned = loaded.meta.provenance
    if learned.get("data") == Path(source).name and "east_start" in learned:
        # The map holds pixels that were learned from: whoever scores it must know which.
        tags[NEVER_SEEN] = str(learned["east_start"])
    return tags
