"""`swath finetune` on records of a layout or shards: learned on train, selected on validation, test never opened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from swath.errors import SwathError
from swath.feed.contents import Contents
from swath.rng import derive
from swath.tasks.base import Task
from swath.training.evaluate import evaluate
from swath.training.ranks import decided, world
from swath.training.run import FitResult, fit
from swath.verbs.adapters import adapt, plain_again
from swath.verbs.answers import answers
from swath.verbs.each_date import check_dated, settled_head
from swath.verbs.finetune import FinetuneConfig, FinetuneResult
from swath.verbs.labelled_feeds import records_contract, score_feed, train_feed
from swath.verbs.labelled_page import records_page
from swath.verbs.labelled_parts import open_labelled
from swath.verbs.labelled_records import Part
from swath.verbs.labelled_task import make_task
from swath.verbs.options import ModelOptions
from swath.verbs.provenance import learned_before, of_run
from swath.verbs.run_start import check_start, started
from swath.verbs.task_network import MAP_TASKS, task_network
from swath.verbs.task_options import ANY_SCORE, settled
from swath.weights.build import meta_for
from swath.weights.file import Loaded, load, save
from swath.weights.meta import MapClass, Quantity


def run_records(config: FinetuneConfig) -> FinetuneResult | None:
    """Runs a fine-tuning to its end, or on from where it was stopped; None in processes that do not lead it.

    Raises:
        SwathError: in one line, if the data, the options, the weights or the folder do not fit.
    """
    decided(lambda: check_start(config.run, config.training, ("auto", *ANY_SCORE)))
    source = load(config.weights) if config.weights else None
    train, validation = (open_labelled(config.data, name) for name in ("train", "validation"))
    training = settled(config.training, train.task)
    per_pixel = answers_per_pixel(train)
    head = settled_head(config.head, config.model, train, per_pixel)
    contract = records_contract(config.data, train, source, fixed_dates=head.dates == "concat")
    torch.manual_seed(derive(training.seed, "initialise"))
    network, transferred = task_network(
        source,
        settled_model(config.model, source, per_pixel),
        head,
        contract,
        train.task,
        train.meaning.outputs,
        per_pixel,
        training.augment.resize,
    )
    adapt(network, config, transferred)
    task = make_task(network, train, config.loss)
    each = check_dated((train, validation), network)
    feed = train_feed(config.data, train, contract, training.seed, each_date=each)
    place = world()
    scored = score_feed(
        config.data, validation, contract, batch_size=training.batch_size, rank=place.rank, world=place.size,
        each_date=each,
    )  # fmt: skip

    def validate(current: nn.Module) -> dict[str, float]:
        assert isinstance(current, Task)
        return dict(evaluate(current, scored).summary())

    with started(config, "finetune") as folder:
        title = f"fine-tune for {train.task}"
        result = fit(
            task,
            feed,
            training,
            folder,
            validate=validate,
            validated_on=(Contents.of((name, None) for name in validation.ids),),
            title=title,
        )
    if result.interrupted:
        raise SwathError(
            f"stopped at step {result.steps} of {training.steps}",
            where=folder.path,
            mend="go on with --run.resume true",
        )
    plain_again(network, config)
    scores = evaluate(task, scored, result.precision)
    if not place.leads:
        return None
    meta = meta_for(
        network,
        contract=contract,
        classes=tuple(MapClass(c.name, c.hex, c.value) for c in train.classes),
        provenance=provenance(config, train, validation, result, source),
        licence=config.licence,
        task=train.task,
        quantities=tuple(Quantity(name, unit) for name, unit in train.meaning.quantities.items()),
    )
    save(folder.weights, network, meta)
    parameters = sum(p.numel() for p in network.parameters())
    shown = answers(task, config.data, validation, contract)
    report = records_page(
        folder.path, config, (train, validation), result, scores.to_dict(), shown, parameters, transferred
    )
    return FinetuneResult.of(
        folder, report, result, transferred, parameters, task=train.task, selected_on="part"
    )


def answers_per_pixel(part: Part) -> bool:
    """Whether the targets are maps: always for some tasks, and for real numbers if the first one is."""
    if part.task != "regression":
        return part.task in MAP_TASKS
    return np.ndim(part.records[0].target) >= 2  # type: ignore[arg-type]  # a part's records have targets


def settled_model(model: ModelOptions, source: Loaded | None, per_pixel: bool) -> ModelOptions:
    """An ST-SwinUNet, where a map is to be drawn from scratch and nothing else is named."""
    if model.system == "auto" and source is None and per_pixel:
        return replace(model, system="st_swin_unet")
    return model


def provenance(
    config: FinetuneConfig, train: Part, validation: Part, result: FitResult, source: Loaded | None
) -> dict[str, Any]:
    """Where the weights come from."""
    data = config.data
    return {
        **of_run("finetune", config.training, result),
        "data": data.short_name,
        "train_records": len(train),
        "validation_records": len(validation),
        "parts": data.parts.by,
        "label_fraction": data.label_fraction,
        "label_seed": data.label_seed,
        "step": result.step,
        "pretrained": learned_before(source),
    }
