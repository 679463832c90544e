"""`swath finetune` on one scene with labels: learned in the west, selected on a block, the east never seen."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.verbs.labelled_options import LabelledData
from swath.verbs.provenance import learned_before, of_run
from swath.verbs.run_start import check_start, started
from swath.verbs.task_options import settled

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from swath.contract import InputContract
    from swath.cube import Cube
    from swath.training.run import FitResult
    from swath.verbs.finetune import FinetuneConfig, FinetuneResult
    from swath.verbs.head_options import HeadOptions
    from swath.verbs.options import ModelOptions
    from swath.verbs.scene_labels import Labelled
    from swath.weights.file import Loaded

log = logging.getLogger(__name__)
SCORES = ("overall_accuracy", "macro_f1", "miou")
"""What the validation block is scored by."""


def run_scene(config: FinetuneConfig) -> FinetuneResult:
    """Runs a fine-tuning to its end, or on from where it was stopped.

    Raises:
        SwathError: in one line, if the data, the options, the weights or the folder do not fit.
    """
    import torch

    from swath.errors import SwathError
    from swath.feed.contents import Contents, known_labels
    from swath.feed.each_date import at_each_date
    from swath.feed.grid import GridFeed
    from swath.feed.windows import WindowFeed
    from swath.rng import derive
    from swath.tasks.segmentation import SegmentationTask
    from swath.training.evaluate import evaluate
    from swath.training.run import fit
    from swath.verbs import run_report
    from swath.verbs.adapters import adapt, plain_again
    from swath.verbs.each_date import answers_each_date
    from swath.verbs.finetune import FinetuneResult
    from swath.verbs.labelled_task import class_config, class_counts
    from swath.verbs.scene_labels import read_labelled
    from swath.verbs.task_network import task_network
    from swath.weights.build import meta_for
    from swath.weights.file import load, save
    from swath.weights.meta import MapClass

    config = replace(config, training=settled(config.training, "segmentation", "overall_accuracy"))
    check_start(config.run, config.training, SCORES)
    config.loss.check("segmentation")
    source = load(config.weights) if config.weights else None
    config = replace(config, model=settled_model(config.model, config.head, source))
    data = read_labelled(config.data)
    contract = training_contract(config.data, data, source)
    cube = contract.convert(data.cube)
    torch.manual_seed(derive(config.training.seed, "initialise"))
    network, transferred = task_network(
        source, config.model, config.head, contract, "segmentation", len(data.classes),
        resize=config.training.augment.resize,
    )  # fmt: skip
    adapt(network, config, transferred)
    train = training_labels(data)
    names = tuple(c.name for c in data.classes)
    task = SegmentationTask(
        network, class_config(names, config.loss, lambda: class_counts([train], len(names)))
    )
    each, window = answers_each_date(network), config.data.window
    feed = WindowFeed(
        [cube],
        contract,
        window,
        seed=config.training.seed,
        labels=[at_each_date(train, cube.valid) if each else train],
        allowed=[data.split.west],
        min_valid=config.data.min_valid,
        need_label=config.data.need_label,
    )
    block, block_labels = validation_part(cube, data, window)
    if each:
        log.info(
            "one map of labels stands for all dates: each date's answer learns the same, where it was seen"
        )
        block_labels = at_each_date(block_labels, block.valid)
    scored = GridFeed([block], contract, window, labels=[block_labels], stride=window // 2)

    def validate(current: nn.Module) -> dict[str, float]:
        assert isinstance(current, SegmentationTask)
        return dict(evaluate(current, scored).summary())

    with started(config, "finetune") as folder:
        title = f"fine-tune {config.model.system}"
        result = fit(
            task,
            feed,
            config.training,
            folder,
            validate=validate,
            validated_on=(Contents.of([(block.source, (block.shape, known_labels(block_labels)))]),),
            title=title,
        )
    if result.interrupted:
        raise SwathError(
            f"stopped at step {result.steps} of {config.training.steps}",
            where=folder.path,
            mend="go on with --run.resume true",
        )
    plain_again(network, config)
    meta = meta_for(
        network,
        contract=contract,
        classes=tuple(MapClass(c.name, c.hex, c.value) for c in data.classes),
        provenance=provenance(config, data, result, source),
        licence=config.licence,
        task="segmentation",
    )
    save(folder.weights, network, meta)
    parameters = sum(p.numel() for p in network.parameters())
    report = run_report.finetuning_page(folder.path, config, data, result, parameters, transferred)
    return FinetuneResult.of(
        folder, report, result, transferred, parameters, task="segmentation", selected_on="block"
    )


def settled_model(model: ModelOptions, head: HeadOptions, source: Loaded | None) -> ModelOptions:
    """The family that "auto" means: an ST-SwinUNet from scratch or from its pretraining, or that of other weights."""
    own = head.kind in ("auto", "st_swin_unet")
    if model.system == "auto" and (source is None or (source.meta.architecture == "st_swin_mae" and own)):
        return replace(model, system="st_swin_unet")
    return model


def training_contract(options: LabelledData, data: Labelled, source: Loaded | None) -> InputContract:
    """What the network will eat, with statistics of nothing but the columns to learn from.

    The contract of pretrained weights is kept. If it normalises by whole scenes, which would let the scored part
    scale the pixels learned from, its statistics are fixed to those of the columns to learn from.
    """
    from dataclasses import replace

    from swath.verbs.scene_data import contract_of, fixed_normalisation

    west = data.split.columns["west"]
    if source is None:
        only = 1 if data.cube.shape[0] == 1 else None
        normalise = replace(options.normalise, columns=west)
        return contract_of([data.cube], normalise, options.window, dates=only)
    contract = contract_of_weights(source, options.window)
    normalisation = contract.normalisation
    if not normalisation.measured:
        return contract
    log.info("normalising by the columns to learn from, not by the whole %s", normalisation.scope)
    return replace(
        contract, normalisation=fixed_normalisation(contract, [data.cube], normalisation.kind, west)
    )


def contract_of_weights(source: Loaded, window: int) -> InputContract:
    """What the pretrained weights eat, at the window size of this training."""
    from dataclasses import replace

    from swath.errors import WeightsError

    if source.meta.contract is None:
        raise WeightsError(
            "say nothing of their input", where=source.path, mend="use weights with a contract"
        )
    return replace(source.meta.contract, size=(window, window))


def training_labels(data: Labelled) -> npt.NDArray[np.int64]:
    """Labels of the west only: what lies elsewhere is not even in memory of the training."""
    import numpy as np

    from swath.feed.config import IGNORE

    return np.where(data.split.west, data.labels, IGNORE)


def validation_part(cube: Cube, data: Labelled, window: int) -> tuple[Cube, npt.NDArray[np.int64]]:
    """The validation block with its surroundings as context, and labels of the block alone.

    A block narrower than a window would otherwise be judged on windows that are mostly empty. The context is that of
    its western side: the buffer belongs to no part.
    """
    import numpy as np

    from swath.feed.config import IGNORE

    first, last = data.split.columns["validation"]
    left = max(0, first - window)
    labels = np.where(data.split.validation, data.labels, IGNORE)
    return cube.window(0, left, cube.shape[2], last - left), labels[:, left:last]


def provenance(
    config: FinetuneConfig, data: Labelled, result: FitResult, source: Loaded | None
) -> dict[str, Any]:
    """Where the weights come from."""
    return {
        **of_run("finetune", config.training, result),
        "data": Path(data.cube.source).name,
        "labels": config.data.labels
        if config.data.labels.startswith("demo:")
        else Path(config.data.labels).name,
        "never_seen": f"columns from {data.split.columns['east'][0]} on",
        "east_start": data.split.columns["east"][0],
        "step": result.step,
        "pretrained": learned_before(source),
    }
