"""`swath embed`: what an encoder sees, as a georeferenced raster of features."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from swath.errors import ConfigError
from swath.scenes.sources.spec import SourceSpec
from swath.verbs.registry import RECIPE

POSITIONAL = (RECIPE,)


@dataclass(frozen=True)
class EmbedConfig:
    """Write the features of a scene.

    Attributes:
        weights: of a network with an encoder: pretrained, or fine-tuned.
        input: the scene; as for `swath predict`.
        output: a Cloud-Optimized GeoTIFF of float32 features and coverage, one pixel per cell of the level.
        level: of the encoder's maps, 0 is the finest; -1 the coarsest.
        overlap: pixels that neighbouring windows share; null: a quarter of the window or more.
        overwrite: replace an earlier file, and throw away an unfinished one that was begun with other options.
        batch_size: windows per call of the network.
        min_coverage: percent of valid input below which a cell is no-data.
        max_holes: share of the cells, 0 to 1, that may be unreadable.
        threads: of torch; 0: as many as it takes by itself.
        precision: "auto" is bf16 on a GPU and on CPUs with AMX, else fp32.
        device: "auto" is the GPU if there is one.
    """

    weights: str
    input: SourceSpec
    output: str
    level: int = -1
    overlap: int | None = None
    overwrite: bool = False
    batch_size: int = 16
    min_coverage: int = 1
    max_holes: float = 0.0
    threads: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ConfigError(f"{self.threads} is less than 0", where="threads")
        if not 0 <= self.max_holes < 1:
            raise ConfigError(f"{self.max_holes} is no share from 0 to 1", where="max_holes")


@dataclass(frozen=True)
class EmbedResult:
    """What was written: `features` numbers for each cell of `stride` pixels."""

    output: str
    features: int
    stride: int
    cells: int
    nodata_cells: int
    kept_blocks: int
    seconds: float

    def summary(self) -> str:
        """A few words for a terminal."""
        what = f"{self.features} features of {self.cells} cells of {self.stride} pixels"
        return f"{what} in {self.seconds:.1f} s\n{self.output}"


def run(config: EmbedConfig) -> EmbedResult:
    """Features of a scene of any size in constant memory; interrupted, it is gone on with.

    Raises:
        SwathError: in one line, if the weights, the scene or the output do not fit; nothing is left then.
    """
    import torch

    from swath.errors import InputError, WeightsError
    from swath.files import refuse_own_input
    from swath.scenes.cells import cell_grid, cell_plan
    from swath.scenes.engine import Engine
    from swath.scenes.features import FeatureMap
    from swath.scenes.layers import ValueLayers
    from swath.scenes.mapping import Course
    from swath.scenes.progress import MapBar
    from swath.scenes.runners.local import run_local
    from swath.scenes.sink import CogSink
    from swath.scenes.sources.opening import open_source
    from swath.scenes.worker import Worker, torch_threads
    from swath.training.precision import choose_device, choose_precision
    from swath.weights.build import build_loaded
    from swath.weights.file import load

    refuse_own_input(config.output, [config.weights, *(n for row in config.input.file_table for n in row)])
    loaded = load(config.weights)
    contract = loaded.meta.contract
    if contract is None or contract.size is None:
        raise WeightsError("do not say what they eat", where=loaded.path, mend="use weights that swath wrote")
    network = FeatureMap(build_loaded(loaded).eval(), config.level)
    device = choose_device(config.device)
    precision: Literal["bf16", "fp32"]
    precision = "bf16" if choose_precision(config.precision, device).name == "bf16" else "fp32"
    threads = config.threads or torch.get_num_threads()
    with open_source(config.input) as scene, torch_threads(threads):
        if scene.grid is None:
            raise InputError(
                "has no place on the ground", where=scene.source, mend="give a georeferenced scene"
            )
        dates = scene.read(-1, -1, 1, 1).shape[0]
        width, stride = network.shape(dates, contract)
        plan = cell_plan(scene.height, scene.width, contract.size, stride, config.overlap)
        layers = ValueLayers(tuple(f"feature {i}" for i in range(width)), config.min_coverage)
        engine = Engine(
            scene, network.to(device), contract, plan, config.batch_size, device, precision, "identity",
            holes=config.max_holes > 0, cell=stride,
        )  # fmt: skip
        tags = {
            "MODEL": loaded.meta.architecture,
            "WEIGHTS_SHA256": loaded.sha256,
            "LICENCE": loaded.meta.licence,
        }
        sink = CogSink(
            config.output, cell_grid(scene.grid, stride), layers, overwrite=config.overwrite,
            tags={**tags, "LEVEL": str(config.level), "STRIDE": str(stride)},
        )  # fmt: skip
        engine.check()
        about = {
            "weights": loaded.sha256, "scene": scene.identity(), "plan": asdict(plan), "level": config.level,
            "stride": stride, "min_coverage": config.min_coverage, "batch_size": config.batch_size,
            "threads": threads, "device": device, "precision": precision, "torch": torch.__version__,
        }  # fmt: skip
        with MapBar() as bar, sink.begin(plan, about) as store:
            course = Course(plan, store, None, scene.source, config.max_holes, bar.update)
            with Worker(engine, layers) as worker:
                run_local(worker, course.todo, course.put, course.advance)
            course.check()
        made = course.summary(store.finished)
    return EmbedResult(
        str(Path(config.output)),
        width,
        stride,
        made.pixels,
        made.nodata_pixels,
        made.kept_blocks,
        made.seconds,
    )
