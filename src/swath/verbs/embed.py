"""`swath embed`: what an encoder sees of a scene, as georeferenced features."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swath.errors import ConfigError
from swath.scenes.sources.spec import SourceSpec
from swath.verbs.registry import RECIPE

if TYPE_CHECKING:
    from swath.scenes.estimate import Estimate

log = logging.getLogger(__name__)
POSITIONAL = (RECIPE,)


@dataclass(frozen=True)
class EmbedConfig:
    """Write the features of a scene.

    Attributes:
        weights: of a network with an encoder: pretrained, or fine-tuned.
        input: the scene; as for `swath predict`.
        output: features.tif, a Cloud-Optimized GeoTIFF with a band for each; features.parquet, GeoParquet with a row
            for each cell; or features.zarr, a Zarr store.
        plan: only say what would be done, with memory and time, and write nothing.
        overwrite: replace an earlier output, and throw away an unfinished one that was begun with other options.
        level: of the encoder's maps, 0 is the finest; -1 the coarsest.
        pooled: instead of a level's cells, one vector per window, the encoder's own; windows lie side by side then.
        dtype: of the file. "uint8" are 8 bits with a scale and an offset for each feature, which GDAL and QGIS
            apply; a number is then within half a scale.
        range: of all features in 8 bits, such as [-4, 4]; null: each feature has its own, of a sample.
        sample: windows of the sample, spread evenly over the scene; its range is widened by an eighth on either
            side. What lies beyond is stored as the end, and counted.
        overlap: pixels that neighbouring windows share; null: a quarter of the window or more.
        batch_size: windows per call of the network.
        min_coverage: percent of valid input below which a cell is no-data.
        max_holes: share of the cells, 0 to 1, that may be unreadable.
        workers: processes that share the work.
        threads: of each worker; 0: the cores shared evenly, or those an interrupted output was begun with. The bits
            depend on it, and not on the number of workers.
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
    level: int = -1
    pooled: bool = False
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    range: tuple[float, float] | None = None
    sample: int = 64
    overlap: int | None = None
    batch_size: int = 16
    min_coverage: int = 1
    max_holes: float = 0.0
    workers: int = 1
    threads: int = 0
    engine: Literal["local", "ray"] = "local"
    ray_address: str = ""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("threads", 0), ("batch_size", 1), ("sample", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{getattr(self, name)} is less than {least}", where=name)
        if not 0 <= self.max_holes < 1:
            raise ConfigError(f"{self.max_holes} is no share from 0 to 1", where="max_holes")
        if self.range is not None and self.dtype != "uint8":
            raise ConfigError(
                f"{self.dtype} needs none", where="range", mend="leave it out, or use dtype uint8"
            )
        if self.range is not None and not float("-inf") < self.range[0] < self.range[1] < float("inf"):
            raise ConfigError(
                f"{list(self.range)} is no range", where="range", mend="give two ascending numbers"
            )
        if self.pooled and self.overlap:
            raise ConfigError(
                "windows of which each gives one vector lie side by side",
                where="overlap",
                mend="leave it out",
            )
        if self.pooled and self.level != -1:
            raise ConfigError("is of a level's cells, not of windows", where="level", mend="leave it out")


@dataclass(frozen=True)
class EmbedResult:
    """What was written: `features` numbers for each cell of `stride` pixels.

    Attributes:
        beyond: values beyond the range of 8 bits, stored as its ends.
        holes: what could not be read: first row and column, height and width, in cells.
    """

    output: str
    features: int
    stride: int
    dtype: str
    cells: int
    nodata_cells: int
    windows: int
    empty_windows: int
    blocks: int
    kept_blocks: int
    hole_cells: int
    holes: tuple[tuple[int, int, int, int], ...]
    beyond: int
    seconds: float
    km2: float | None
    workers: int
    threads: int
    precision: str

    def summary(self) -> str:
        """A few words for a terminal."""
        words = [f"{self.features} features of {self.cells} cells of {self.stride} pixels in {self.dtype}"]
        words[0] += f", {self.nodata_cells / self.cells:.1%} no-data"
        if self.hole_cells:
            words.append(f"{self.hole_cells / self.cells:.2%} could not be read")
        if self.beyond:
            share = self.beyond / max(1, self.features * (self.cells - self.nodata_cells))
            words.append(
                f"{self.beyond} values ({share:.1g} of all) lie beyond the range, stored as its ends"
            )
        if self.kept_blocks:
            words.append(f"{self.kept_blocks} of {self.blocks} blocks of an earlier run")
        return f"{'; '.join(words)}; {self.seconds:.1f} s in {self.precision}\n{self.output}"


def run(config: EmbedConfig) -> EmbedResult | Estimate:
    """Features of a scene of any size in constant memory; interrupted, it is gone on with.

    Raises:
        SwathError: in one line, if the weights, the scene or the output do not fit; nothing is left then.
    """
    from swath.data.gdal import bounded_cache
    from swath.errors import InputError, WeightsError
    from swath.files import refuse_own_input
    from swath.scenes.area import pixel_km2
    from swath.scenes.cells import cell_grid
    from swath.scenes.features import FeatureMap
    from swath.scenes.mapping import Course
    from swath.scenes.progress import MapBar
    from swath.scenes.runners.choice import Runner
    from swath.scenes.sources.files import on_disk
    from swath.scenes.sources.opening import open_source
    from swath.scenes.work import begun_with, finished_blocks
    from swath.verbs.embed_work import (
        about_of,
        check_name,
        estimate_features,
        feature_job,
        feature_target,
        with_kept_range,
        with_sampled_range,
    )
    from swath.weights.build import build_loaded
    from swath.weights.file import load

    inputs = [config.weights, *(name for row in config.input.file_table for name in row)]
    refuse_own_input(config.output, inputs)
    check_name(config.output)
    loaded = load(config.weights)
    contract = loaded.meta.contract
    if contract is None or contract.size is None:
        raise WeightsError("do not say what they eat", where=loaded.path, mend="use weights that swath wrote")
    network = FeatureMap(build_loaded(loaded), config.level, config.pooled).eval()
    with bounded_cache(), open_source(config.input) as scene:
        if scene.grid is None:
            raise InputError(
                "has no place on the ground", where=scene.source, mend="give a georeferenced scene"
            )
        begun = begun_with(Path(config.output)) or {}
        job = feature_job(config, loaded, scene, network, begun)
        kept = with_kept_range(config, job, loaded, scene, begun)
        if config.plan or kept is None:
            # An output that was begun otherwise is refused before anything is computed.
            about = about_of(config, kept or job, loaded, scene)
            done = finished_blocks(Path(config.output), about, overwrite=config.overwrite)
            if config.plan:
                return estimate_features(config, kept or job, scene, network, done)
        # Made twice, since the range is not known yet: a name that does not fit is said before one is looked for.
        inputs += [str(on_disk(name)) for name in scene.files]
        feature_target(config, job, loaded, scene).refuse_inputs(inputs)
        job.engine(scene, network).check()
        job = kept or with_sampled_range(config, job, scene, network)
        about = about_of(config, job, loaded, scene)
        area = pixel_km2(cell_grid(scene.grid, job.cell))
        with MapBar() as bar, feature_target(config, job, loaded, scene).begin(job.plan, about) as store:
            course = Course(job.plan, store, area, scene.source, config.max_holes, bar.update)
            if course.kept:
                log.info("%d of %d blocks are finished already", course.kept, job.plan.block_count)
            runner = Runner(config.engine, config.workers, config.ray_address)
            runner.run(job, course, lambda: job.worker(scene, network.to(job.device)))
            course.check()
            beyond = sum(r.beyond for r in store.finished.values())
        made = course.summary(store.finished)
    holes = tuple((b.row, b.col, b.height, b.width) for b in made.holes)
    return EmbedResult(
        str(Path(config.output)), job.layers.features, job.cell, config.dtype, made.pixels, made.nodata_pixels,
        made.windows, made.empty_windows, made.blocks, made.kept_blocks, made.hole_pixels, holes, beyond,
        made.seconds, made.km2, config.workers, job.threads, job.precision,
    )  # fmt: skip
