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
    from swath.scenes.estimate import Estimate
    from swath.verbs.calibrate import CalibrateResult
    from swath.verbs.card import CardResult
    from swath.verbs.convert import ConvertResult, KindsResult
    from swath.verbs.demo import DemoResult
    from swath.verbs.embed import EmbedResult
    from swath.verbs.evaluate import EvaluateResult
    from swath.verbs.evaluate_weights import WeightsScores
    from swath.verbs.finetune import FinetuneResult
    from swath.verbs.inspect import InspectResult
    from swath.verbs.inspect_layouts import LayoutsResult
    from swath.verbs.ledger import LedgerResult
    from swath.verbs.pack import PackResult
    from swath.verbs.predict import PredictResult
    from swath.verbs.pretrain import PretrainResult
    from swath.verbs.probe import ProbeResult
    from swath.verbs.replay import Replayed

__all__ = [
    "baseline", "calibrate", "card", "convert", "demo", "embed", "evaluate", "finetune", "inspect", "ledger", "pack",
    "predict", "pretrain", "probe",
]  # fmt: skip


def baseline(*sources: str | Path, **options: Any) -> WeightsScores:
    """Score a plain method on labelled data: majority, spectral index or random forest.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.baseline.BaselineConfig`, such as `method="forest"` and
            `data={"layout": {"name": "eurosat", "root": "EuroSAT"}}`.

    Returns:
        Scores, also per class, and their confidence intervals by block.

    Raises:
        SwathError: in one line.
    """
    result: WeightsScores = _run("baseline", sources, options)
    return result


def calibrate(*sources: str | Path, **options: Any) -> CalibrateResult:
    """Fit how far trained weights can be believed, and write it into a copy of them.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.calibrate.CalibrateConfig`: `weights`, `output`, and `data` as in training.

    Returns:
        What was fitted, and what it is worth on blocks that it was not fitted on.

    Raises:
        SwathError: in one line; nothing is written then.
    """
    result: CalibrateResult = _run("calibrate", sources, options)
    return result


def card(*sources: str | Path, **options: Any) -> CardResult:
    """Say whether pretrained encoders beat a plain U-Net on labelled data.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.card.CardConfig`, such as `folder="cards/fields"`, `weights=["mae.safetensors"]` and
            `data="fields"`, a folder of one's own or shards.

    Returns:
        The answer in one line, and where the page and the numbers are.

    Raises:
        SwathError: in one line.
    """
    result: CardResult = _run("card", sources, options)
    return result


@overload
def convert(
    source: str | PathLike[str] = "",
    output: str | PathLike[str] = "",
    *,
    kind: str = "",
    list: Literal[False] = False,
    **options: Any,
) -> ConvertResult: ...
@overload
def convert(*, list: Literal[True]) -> KindsResult: ...
def convert(
    source: str | PathLike[str] = "",
    output: str | PathLike[str] = "",
    *,
    kind: str = "",
    list: bool = False,
    **options: Any,
) -> ConvertResult | KindsResult:
    """Make published weights swath's, or swath's the published ones again; or list the kinds.

    Args:
        source: a published checkpoint, or swath's weights.
        output: the file to write.
        kind: what the source is, which the command line calls `--from`.
        list: list the kinds of checkpoints instead.
        options: of `swath.verbs.convert.ConvertConfig`, such as `to="spectralgpt"` or `hints={"heads": 12}`.

    Returns:
        What became of the tensors; with `list`, what is known of each kind.

    Raises:
        SwathError: in one line; no file is left then.
    """
    given = {"source": str(source), "output": str(output), "from": kind, "list": list, **options}
    result: ConvertResult | KindsResult = _run("convert", (), given)
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


@overload
def pretrain(*sources: str | Path, replay: str, **options: Any) -> Replayed: ...
@overload
def pretrain(*sources: str | Path, **options: Any) -> PretrainResult: ...
def pretrain(*sources: str | Path, **options: Any) -> PretrainResult | Replayed:
    """Learn from images without labels.

    Args:
        sources: recipes by name, such as "demo-pretrain-st-swin", or paths of YAML files.
        options: of `swath.verbs.pretrain.PretrainConfig`, such as `run={"folder": "runs/mae"}`,
            `data={"scenes": ["a.tif", "b.tif"]}` or `training={"steps": 100}`.

    Returns:
        The run's folder, its weights, losses and speed; with `replay`, what became of the step that failed.

    Raises:
        SwathError: in one line.
    """
    result: PretrainResult | Replayed = _run("pretrain", sources, options)
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


@overload
def predict(*sources: str | Path, plan: Literal[False] = False, **options: Any) -> PredictResult: ...
@overload
def predict(*sources: str | Path, plan: Literal[True], **options: Any) -> Estimate: ...
def predict(*sources: str | Path, **options: Any) -> PredictResult | Estimate:
    """Map a scene of any size to a Cloud-Optimized GeoTIFF with confidence and coverage.

    Args:
        sources: recipes by name, such as "demo-predict", or paths of YAML files.
        options: of `swath.verbs.predict.PredictConfig`: `weights`, `input`, `output` and more.

    Returns:
        The map's path, and what making it took; with `plan`, what it would take.

    Raises:
        SwathError: in one line; no map is left then.
    """
    result: PredictResult | Estimate = _run("predict", sources, options)
    return result


@overload
def embed(*sources: str | Path, plan: Literal[False] = False, **options: Any) -> EmbedResult: ...
@overload
def embed(*sources: str | Path, plan: Literal[True], **options: Any) -> Estimate: ...
def embed(*sources: str | Path, **options: Any) -> EmbedResult | Estimate:
    """Write what an encoder sees of a scene of any size, as GeoTIFF, GeoParquet or Zarr.

    Args:
        sources: recipes by name, or paths of YAML files.
        options: of `swath.verbs.embed.EmbedConfig`: `weights`, `input`, `output` and more.

    Returns:
        The output's path, how many features there are, and the pixels per cell; with `plan`, what it would take.

    Raises:
        SwathError: in one line; no file is left then.
    """
    result: EmbedResult | Estimate = _run("embed", sources, options)
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


def ledger(**options: Any) -> LedgerResult:
    """Show what equals what: ours and the published codes, fast and slow paths.

    Args:
        options: of `swath.verbs.ledger.LedgerConfig`: `golden=("tests/golden",)`, `paths=True`, or both.

    Returns:
        A row per comparison, and which are wrong.

    Raises:
        SwathError: in one line.
    """
    result: LedgerResult = _run("ledger", (), options)
    return result


def pack(
    layout: str = "", root: str | PathLike[str] = "", output: str | PathLike[str] = "", **options: Any
) -> PackResult:
    """Write a data set into shards that feed a GPU, check them, or take their statistics.

    Args:
        layout: name of the data set's layout; empty: of shards that are in `output` already.
        root: its folder.
        output: folder of the shards.
        options: of `swath.verbs.pack.PackConfig`, such as `split="train"`, `statistics=True` or `verify=True`.

    Returns:
        How many records there are, of what shapes, and how large.

    Raises:
        SwathError: in one line; run again, it goes on with what was packed.
    """
    given = {"layout": layout, "root": str(root), "output": str(output), **options}
    result: PackResult = _run("pack", (), given)
    return result


def _run(name: str, sources: tuple[str | Path, ...], options: dict[str, Any]) -> Any:
    from swath.verbs.config import load_config
    from swath.verbs.registry import find

    verb = find(name).load()
    named = [*verb.implied_sources(options), *sources]
    return verb.run(load_config(verb.config, named, options, verb=name, flag=""))
