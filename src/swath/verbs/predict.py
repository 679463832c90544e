"""`swath predict`: a map of a whole scene, with confidence and coverage."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swath.data.spec import SceneSpec
from swath.verbs.registry import RECIPE

if TYPE_CHECKING:
    from torch import Tensor, nn

    from swath.data.legend import LandClass
    from swath.scenes.engine import WindowNetwork
    from swath.weights.file import Loaded

log = logging.getLogger(__name__)
POSITIONAL = (RECIPE,)


@dataclass(frozen=True)
class PredictConfig:
    """Map a scene.

    Attributes:
        weights: of a network that draws maps, as `swath finetune` writes them.
        input: the scene.
        output: the map, a Cloud-Optimized GeoTIFF with the bands class, confidence and coverage.
        overwrite: replace an earlier map.
        overlap: pixels that neighbouring windows share; null: a quarter of the window or more.
        batch_size: windows per call of the network.
        turns: average the map over the eight ways to turn and flip a window; takes eight times as long.
        probabilities: also write the probability of each class.
        min_coverage: percent of valid input below which a pixel is no-data.
        precision: "auto" is bf16 on a GPU and on CPUs with AMX, else fp32.
        device: "auto" is the GPU if there is one.
    """

    weights: str
    input: SceneSpec
    output: str
    overwrite: bool = False
    overlap: int | None = None
    batch_size: int = 16
    turns: bool = False
    probabilities: bool = False
    min_coverage: int = 1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True)
class PredictResult:
    """What making a map took; see `swath.scenes.engine.Summary`."""

    map: str
    seconds: float
    km2: float | None
    windows: int
    empty_windows: int
    pixels: int
    nodata_pixels: int
    precision: str
    text: str

    def summary(self) -> str:
        """A few words for a terminal."""
        return f"{self.text} in {self.precision}\nmap {self.map}"


def run(config: PredictConfig) -> PredictResult:
    """Maps a scene of any size in constant memory.

    Raises:
        SwathError: in one line, if the weights, the scene or the output do not fit; no map is left then.
    """
    from swath.data.raster import open_scene
    from swath.errors import WeightsError
    from swath.files import refuse_own_input
    from swath.scenes.engine import predict_scene
    from swath.scenes.layers import NEVER_SEEN, ClassLayers
    from swath.scenes.sink import CogSink
    from swath.scenes.windows import make_plan
    from swath.training.precision import choose_device, choose_precision
    from swath.training.progress import ProgressBar
    from swath.weights.build import build_loaded
    from swath.weights.file import load

    files = [name for row in config.input.file_table for name in row]
    refuse_own_input(config.output, [config.weights, *files])
    loaded = load(config.weights)
    classes = map_classes(loaded)
    contract = loaded.meta.contract
    if contract is None or contract.size is None:
        raise WeightsError(
            "do not say what they eat", where=loaded.path, mend="use weights that swath finetune wrote"
        )
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    network = build_loaded(loaded).to(device).eval()
    with open_scene(config.input) as scene:
        tags = {
            "MODEL": loaded.meta.architecture,
            "WEIGHTS_SHA256": loaded.sha256,
            "LICENCE": loaded.meta.licence,
        }
        learned = loaded.meta.provenance
        if learned.get("data") == Path(scene.source).name and "east_start" in learned:
            # The map holds pixels that were learned from: whoever scores it must know which.
            tags[NEVER_SEEN] = str(learned["east_start"])
        sink = CogSink(
            config.output,
            scene.grid,
            ClassLayers(classes, config.min_coverage, config.probabilities),
            overwrite=config.overwrite,
            tags=tags,
        )
        plan = make_plan(scene.height, scene.width, contract.size, overlap=config.overlap)
        with ProgressBar("map", plan.run_count) as bar:
            summary = predict_scene(
                scene,
                turned(network) if config.turns else network,
                contract,
                plan,
                sink,
                batch_size=config.batch_size,
                device=device,
                precision="bf16" if precision.name == "bf16" else "fp32",
                progress=lambda p: bar.update(p.windows_done),
            )
    return PredictResult(
        str(Path(config.output)),
        summary.seconds,
        summary.km2,
        summary.windows,
        summary.empty_windows,
        summary.pixels,
        summary.nodata_pixels,
        precision.name,
        str(summary),
    )


def map_classes(loaded: Loaded) -> tuple[LandClass, ...]:
    """The legend inside the weights."""
    from swath.data.legend import LandClass, rgb
    from swath.errors import WeightsError

    if not loaded.meta.classes:
        raise WeightsError(
            f"hold a {loaded.meta.architecture} that draws no map",
            where=loaded.path,
            mend="fine-tune them first: swath finetune --weights …",
        )
    return tuple(
        LandClass(i if c.value is None else c.value, c.name, rgb(c.colour or "#000000"))
        for i, c in enumerate(loaded.meta.classes)
    )


def turned(network: nn.Module) -> WindowNetwork:
    """The network's mean probabilities, as logits, over the eight ways to turn and flip square windows."""
    import torch

    def call(pixels: Tensor, valid: Tensor, days: Tensor | None, wavelengths: tuple[float, ...]) -> Tensor:
        total: Any = 0.0
        for flip in (False, True):
            for quarter in range(4):
                x, v = (torch.rot90(t.flip(-1) if flip else t, quarter, (-2, -1)) for t in (pixels, valid))
                logits = network(x, valid=v, days=days, wavelengths=wavelengths)
                p = torch.rot90(logits.float().softmax(1), -quarter, (-2, -1))
                total = total + (p.flip(-1) if flip else p)
        # The engine takes a softmax of logits; that of log probabilities is the probabilities.
        return torch.log(total / 8)

    return call
