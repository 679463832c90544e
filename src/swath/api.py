"""The verbs as Python functions: `swath.pretrain`, `swath.finetune`, `swath.predict`, `swath.evaluate`, ….

They take what the command line takes: any number of recipes or YAML files, later ones winning, and options over
them, as nested dicts or under dotted names.

    run = swath.pretrain("demo-pretrain-st-swin", run={"folder": "runs/mae"}, training={"steps": 100})
    swath.pretrain("my.yaml", **{"training.steps": 100})

Where the scene is one file, its name will do: `input="scene.tif"` is `input={"files": "scene.tif"}`. The functions
return the verb's result, print nothing but a progress bar on a terminal, and raise `swath.errors.SwathError`, whose
text is one line with the mend, for all that a user can mend. Each verb's options are those of its config class,
such as `swath.verbs.pretrain.PretrainConfig`, and what `swath pretrain --help` lists.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from swath.verbs.card import CardResult
    from swath.verbs.demo import DemoResult
    from swath.verbs.embed import EmbedResult
    from swath.verbs.evaluate import EvaluateResult
    from swath.verbs.evaluate_weights import WeightsScores
    from swath.verbs.finetune import FinetuneResult
    from swath.verbs.inspect import InspectResult
    from swath.verbs.inspect_layouts import LayoutsResult
    from swath.verbs.predict import PredictResult
    from swath.verbs.pretrain import PretrainResult
    from swath.verbs.probe import ProbeResult

__all__ = ["card", "demo", "embed", "evaluate", "finetune", "inspect", "predict", "pretrain", "probe"]


def card(*sources: str | Path, **options: Any) -> CardResult:
    """Say whether pretrained encoders beat a plain U-Net on labelled data.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.card.CardConfig`, such as `folder="cards/fields"`, `weights=["mae.safetensors"]` and
            `data={"layout": {"name": "folder", "root": "fields"}}`.

    Returns:
        The answer in one line, and where the page and the numbers are.

    Raises:
        SwathError: in one line.
    """
    result: CardResult = _run("card", sources, options)
    return result


def demo(*sources: str | Path, **options: Any) -> DemoResult:
    """Pretrain, fine-tune, map and report on the embedded sample.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.demo.DemoConfig`, such as `output="runs/demo"` or `quick=True`.

    Raises:
        SwathError: in one line.
    """
    result: DemoResult = _run("demo", sources, options)
    return result


def pretrain(*sources: str | Path, **options: Any) -> PretrainResult:
    """Learn from images without labels.

    Args:
        sources: recipes by name, such as "demo-pretrain-st-swin", or paths of YAML files.
        options: of `swath.verbs.pretrain.PretrainConfig`, such as `run={"folder": "runs/mae"}`,
            `data={"scenes": ["a.tif", "b.tif"]}` or `training={"steps": 100}`.

    Returns:
        The run's folder, its weights, losses and speed.

    Raises:
        SwathError: in one line.
    """
    result: PretrainResult = _run("pretrain", sources, options)
    return result


def finetune(*sources: str | Path, **options: Any) -> FinetuneResult:
    """Learn a map's classes from labels, from pretrained weights or from scratch.

    Args:
        sources: recipes by name, such as "demo-finetune", or paths of YAML files.
        options: of `swath.verbs.finetune.FinetuneConfig`, such as `weights=run.weights` and
            `data={"scene": "scene.tif", "labels": "labels.tif"}`.

    Returns:
        The run's folder, its weights, and the scores on the validation block.

    Raises:
        SwathError: in one line.
    """
    result: FinetuneResult = _run("finetune", sources, options)
    return result


def predict(*sources: str | Path, **options: Any) -> PredictResult:
    """Map a scene of any size to a Cloud-Optimized GeoTIFF with confidence and coverage.

    Args:
        sources: recipes by name, such as "demo-predict", or paths of YAML files.
        options: of `swath.verbs.predict.PredictConfig`: `weights`, `input`, `output` and more.

    Returns:
        The map's path, and what making it took.

    Raises:
        SwathError: in one line; no map is left then.
    """
    result: PredictResult = _run("predict", sources, options)
    return result


def embed(*sources: str | Path, **options: Any) -> EmbedResult:
    """Write what an encoder sees of a scene of any size, as GeoTIFF, GeoParquet or Zarr.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.embed.EmbedConfig`: `weights`, `input`, `output` and more.

    Returns:
        The output's path, how many features there are, and the pixels per cell.

    Raises:
        SwathError: in one line; no file is left then.
    """
    result: EmbedResult = _run("embed", sources, options)
    return result


def probe(*sources: str | Path, **options: Any) -> ProbeResult:
    """See what a frozen encoder knows of labelled data.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.probe.ProbeConfig`, such as `weights="mae.safetensors"` and
            `data={"layout": {"name": "eurosat", "root": "EuroSAT"}}`.

    Returns:
        Scores of each method, and how it was chosen.

    Raises:
        SwathError: in one line.
    """
    result: ProbeResult = _run("probe", sources, options)
    return result


@overload
def evaluate(*sources: str | Path, map: str | PathLike[str], **options: Any) -> EvaluateResult: ...
@overload
def evaluate(*sources: str | Path, weights: str | PathLike[str], **options: Any) -> WeightsScores: ...
@overload
def evaluate(*sources: str | Path, **options: Any) -> EvaluateResult | WeightsScores: ...
def evaluate(*sources: str | Path, **options: Any) -> EvaluateResult | WeightsScores:
    """Score trained weights on the test part of data, or a map against labels.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.evaluate.EvaluateConfig`, such as `weights="unet.safetensors"` and `data={…}`, or
            `map="map.tif"`, `labels="labels.tif"` and `columns=(244, 489)`.

    Returns:
        Scores, also per class, and their confidence intervals by block.

    Raises:
        SwathError: in one line.
    """
    result: EvaluateResult | WeightsScores = _run("evaluate", sources, options)
    return result


@overload
def inspect(
    file: str | PathLike[str] = "", *, layouts: Literal[False] = False, **options: Any
) -> InspectResult: ...
@overload
def inspect(file: str | PathLike[str] = "", *, layouts: Literal[True], **options: Any) -> LayoutsResult: ...
def inspect(
    file: str | PathLike[str] = "", *, layouts: bool = False, **options: Any
) -> InspectResult | LayoutsResult:
    """Say what a scene, shards or a file of weights hold, and whether weights fit a scene; or list layouts.

    Args:
        file: weights (.safetensors), a folder of shards, a raster, or "demo:landsat".
        layouts: list the data sets that can be read instead.
        options: of `swath.verbs.inspect.InspectConfig`, such as `sensor="sentinel2"` or `weights=run.weights`.

    Returns:
        Rows of (what, value); with `layouts`, what is known of each data set.

    Raises:
        SwathError: in one line.
    """
    result: InspectResult | LayoutsResult = _run(
        "inspect", (), {"file": str(file), "layouts": layouts, **options}
    )
    return result


def _run(name: str, sources: tuple[str | Path, ...], options: dict[str, Any]) -> Any:
    from swath.verbs.config import load_config
    from swath.verbs.registry import find

    verb = find(name).load()
    named = [*verb.implied_sources(options), *sources]
    return verb.run(load_config(verb.config, named, options, verb=name, flag=""))
