"""`swath pretrain`: learn from images without labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.errors import InputError
from swath.pretraining.config import ViewConfig
from swath.training.config import TrainConfig
from swath.verbs.options import ModelOptions, PixelData, RunOptions
from swath.verbs.pretrain_options import ContrastOptions, MaskOptions, TokenizerOptions
from swath.verbs.provenance import learned_before, of_run
from swath.verbs.run_start import check_start, started
from swath.verbs.stage_options import StageOptions, StartOptions
from swath.verbs.watch_options import WatchOptions
from swath.words import counted

if TYPE_CHECKING:
    from torch import nn

    from swath.cube import CubeBatch
    from swath.feed.windows import WindowFeed
    from swath.training.run import FitResult
    from swath.verbs.mixing import Mixed
    from swath.verbs.replay import Replayed
    from swath.verbs.scene_data import Pretraining

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainConfig:
    """Learn from images without labels.

    Attributes:
        run: where the run goes.
        model: which network.
        data: what it learns from.
        mask: what is hidden.
        views: how the views of SimCLR and MoCo differ.
        contrast: how they are compared.
        tokenizer: the codebook of BEiT.
        training: how it is trained.
        watch: what is looked at meanwhile.
        start: what the run begins with, and what else it draws samples from.
        stages: in place of one run: several, each going on from the one before; what a stage does not say is as
            the run says it.
        licence: of the weights, which stands inside them; that of the data may ask for one.
        replay: a file of a run's bad_steps folder: show that step again, and train nothing.
    """

    run: RunOptions
    model: ModelOptions
    data: PixelData
    mask: MaskOptions = field(default_factory=MaskOptions)
    views: ViewConfig = field(default_factory=ViewConfig)
    contrast: ContrastOptions = field(default_factory=ContrastOptions)
    tokenizer: TokenizerOptions = field(default_factory=TokenizerOptions)
    training: TrainConfig = field(default_factory=TrainConfig)
    watch: WatchOptions = field(default_factory=WatchOptions)
    start: StartOptions = field(default_factory=StartOptions)
    stages: tuple[StageOptions, ...] = ()
    licence: str = "unknown"
    replay: str = ""

    def __post_init__(self) -> None:
        if self.model.system == "moco" and self.contrast.version is None:  # config.yaml says which it was
            object.__setattr__(self, "contrast", replace(self.contrast, version="v3"))


@dataclass(frozen=True)
class PretrainResult:
    """What pretraining came to.

    Attributes:
        folder: of the run.
        weights: the file of weights.
        report: the page about the run.
        steps: done.
        loss: of the last logged step.
        held_out_loss: on the places held out, or None if there are none.
        samples_per_second: while training.
        seconds: of this call.
        precision: what was computed in.
        parameters: of the network.
    """

    folder: str
    weights: str
    report: str
    steps: int
    loss: float
    held_out_loss: float | None
    samples_per_second: float
    seconds: float
    precision: str
    parameters: int

    def summary(self) -> str:
        """A few words for a terminal."""
        held = "" if self.held_out_loss is None else f", {self.held_out_loss:.4f} on places held out"
        return (
            f"{counted(self.steps, 'step')}, loss {self.loss:.4f}{held}; {self.samples_per_second:.0f} samples/s in "
            f"{self.precision}\nweights {self.weights}\nreport  {self.report}"
        )


def implied_sources(options: Mapping[str, object]) -> list[str]:
    """The config of the run that a bad step belongs to, so that `--replay FILE` is all that need be said."""
    replay = options.get("replay")
    if not replay:
        return []
    file = Path(str(replay)).absolute()
    config = file.parent.parent / "config.yaml"
    if not file.is_file():
        raise InputError("no such file", where=file, mend="give a file of a run's bad_steps folder")
    if not config.is_file():
        raise InputError(
            "does not lie in a run's bad_steps folder: there is no config.yaml above it",
            where=file,
            mend="leave it where the run put it",
        )
    return [str(config)]


def run(config: PretrainConfig) -> PretrainResult | Replayed | None:
    """Runs a pretraining to its end, or on from where it was stopped; or shows a bad step again.

    Returns:
        What it came to; None in the processes of a run that do not lead it.

    Raises:
        SwathError: in one line, if the data, the options or the folder do not fit.
    """
    if config.replay:
        from swath.verbs.replay import replay

        return replay(config)
    from swath.training.precision import choose_device
    from swath.training.ranks import joined, world

    if config.training.devices > 1 and world().size == 1:
        from swath.feed.shards import Shards
        from swath.verbs.pretrain_checks import check_options
        from swath.verbs.processes import in_processes

        check_options(config)
        if not config.stages:  # here it is one process that fails, and soon
            check_start(config.run, config.training, _monitors(config))
            for source in config.data.shards:
                Shards(source)
        return PretrainResult(**in_processes("pretrain", config, config.training.devices))
    with joined(choose_device(config.training.device, "training.device")):
        if config.stages:
            from swath.verbs.stages import run_stages

            return run_stages(config)
        return run_stage(config)


def _monitors(config: PretrainConfig) -> tuple[str, ...]:
    return ("held_out_loss",) if config.data.hold_out else ()


def run_stage(config: PretrainConfig) -> PretrainResult | None:
    """One run on one set of data; None in the processes that do not lead it."""
    import torch

    from swath.errors import SwathError
    from swath.feed.contents import Contents
    from swath.rng import derive
    from swath.training.ranks import decided, world
    from swath.training.run import fit
    from swath.verbs import run_report
    from swath.verbs.agreement import say_what_agreement_lacks
    from swath.verbs.going_on import go_on_from
    from swath.verbs.mixing import epoch_of, mixed_feed, read_mixed
    from swath.verbs.objectives import make_objective, prepare
    from swath.verbs.pretrain_checks import check_options
    from swath.verbs.stages import read_data
    from swath.verbs.watch import periodic
    from swath.weights.build import meta_for
    from swath.weights.file import load, save

    check_options(config)
    decided(lambda: check_start(config.run, config.training, _monitors(config)))
    data = read_data(config)
    torch.manual_seed(derive(config.training.seed, "initialise"))
    objective = make_objective(config, data)
    pretrained = None
    if config.start.weights:
        earlier = load(config.start.weights)
        go_on_from(earlier, objective, config.start.positions, data.contract)
        pretrained = learned_before(earlier)
        del earlier  # its tensors are copied
    mixed = read_mixed(config)
    feed = mixed_feed(config, make_feed(config, data), data.contract, mixed)
    if not config.start.weights:  # a network that goes on knows its codes by their numbers
        prepare(objective, feed, config)
    held = held_out_batch(data)
    seed = config.training.seed
    samples, per_step = epoch_of(config, data, mixed)
    epoch = Fraction(samples, per_step)
    say_what_agreement_lacks(config, objective, feed, (data, *(m.data for m in mixed)), samples)
    gsd = config.data.gsd
    looks = periodic(config.watch, Path(config.run.folder), feed, held, data.contract, seed, epoch, gsd)

    def validate(current: nn.Module) -> dict[str, float]:
        assert held is not None
        return {"held_out_loss": held_out_loss(current, held, seed, most=config.training.batch_size)}

    with started(config, "pretrain") as folder:
        result = fit(
            objective,
            feed,
            config.training,
            folder,
            validate=None if held is None else validate,
            validated_on=()
            if held is None
            else (Contents.of((name, tuple(held.pixels.shape)) for name in held.ids),),
            periodic=looks,
            title=f"pretrain {config.model.system}",
        )
    if result.interrupted:
        raise SwathError(
            f"stopped at step {result.steps} of {config.training.steps}",
            where=folder.path,
            mend="go on with --run.resume true",
        )
    if not world().leads:
        return None
    network: Any = objective.network
    parameters = sum(p.numel() for p in network.parameters())
    meta = meta_for(
        network,
        contract=data.contract,
        provenance=provenance(config, data, mixed, result, pretrained),
        licence=config.licence,
    )
    save(folder.weights, network, meta)
    numbers = result.metrics
    report = run_report.pretraining_page(folder.path, config, objective, held, result, parameters)
    return PretrainResult(
        str(folder.path),
        str(folder.weights),
        str(report),
        result.steps,
        result.loss,
        numbers.get("held_out_loss"),
        result.samples_per_second,
        result.seconds,
        result.precision.name,
        parameters,
    )


def make_feed(config: PretrainConfig, data: Pretraining) -> Any:
    """Windows of scenes, or crops of records: from memory, or from shards."""
    from swath.feed.windows import RecordFeed, WindowFeed

    size, seed = config.data.window, config.training.seed
    if data.records and (config.data.gsd or config.data.dates):
        from swath.feed.shard_records import ShardRecords

        dates = config.data.dates or None
        records = ShardRecords(
            data.records, data.contract, cube=config.data.cube, gsd=config.data.gsd, dates=dates
        )
        if dates is None:
            return RecordFeed(records, data.contract, size, seed=seed)
        feed = WindowFeed(
            records, data.contract, size, seed=seed, min_valid=config.data.window_valid, dates=dates
        )
        _say_undrawn(feed, config.data)
        return feed
    if data.records:
        from swath.feed.joined import JoinedFeed
        from swath.feed.shard_feed import ShardFeed

        feeds = [
            ShardFeed(
                shards, data.contract, size, seed=seed, cube=config.data.cube, index=index, targets=False
            )
            for shards, index in data.records
        ]
        return feeds[0] if len(feeds) == 1 else JoinedFeed(feeds)
    if config.data.patches or (config.data.layout is not None and not config.data.dates):
        return RecordFeed(data.cubes, data.contract, size, seed=seed)
    feed = WindowFeed(
        data.cubes,
        data.contract,
        size,
        seed=seed,
        allowed=data.areas,
        min_valid=config.data.window_valid,
        dates=config.data.dates or None,
    )
    _say_undrawn(feed, config.data)
    return feed


def _say_undrawn(feed: WindowFeed, data: PixelData) -> None:
    """Warns of records or scenes that are counted but have no window to draw."""
    if not feed.undrawn:
        return
    clear = f"{counted(data.dates, 'date')} of which" if data.dates else "of which"
    log.warning(
        "%d of %d %s have no window of %d pixels a side %s at least %g of the pixels are valid, and are never drawn, "
        "though epochs count them: take a lower data.min_valid, a smaller window%s, or leave them out",
        feed.undrawn,
        len(feed.records),
        "scenes" if data.scenes else "records",
        data.window,
        f"with {clear}" if data.dates else clear,
        data.window_valid,
        " or fewer data.dates" if data.dates else "",
    )


def held_out_batch(data: Pretraining) -> CubeBatch | None:
    """The places held out, as large as the smallest of them, or None."""
    from swath.feed.windows import RecordFeed

    if not data.held_out:
        return None
    side = min(min(cube.shape[2:]) for cube in data.held_out)
    return RecordFeed(data.held_out, data.contract, side, seed=0).take(0, len(data.held_out))


def held_out_loss(
    objective: nn.Module, batch: CubeBatch, seed: int, draws: int = 4, most: int | None = None
) -> float:
    """The loss on some places, over several masks: always the same ones.

    Args:
        objective: in eval mode.
        batch: the places.
        seed: of the masks.
        draws: masks of each place.
        most: samples of a forward pass; None: all.
    """
    from swath.training.evaluate import evaluate_objective

    count = len(batch.ids)
    losses = [
        evaluate_objective(objective, batch.parts(most or count), seed=seed, first=i * count)["loss"]
        for i in range(draws)
    ]
    return sum(losses) / draws


def data_names(data: Pretraining, most: int = 100) -> list[str]:
    """What was learned from, by name: files, records, or folders of shards; of very many only the first."""
    if data.records:
        return [
            f"{Path(shards.where).name} ({counted(len(index), 'record')})" for shards, index in data.records
        ]
    names = [Path(cube.source).name for cube in data.cubes]
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]


def provenance(
    config: PretrainConfig,
    data: Pretraining,
    mixed: Sequence[Mixed],
    result: FitResult,
    pretrained: dict[str, Any] | None,
) -> dict[str, Any]:
    """Where the weights come from; `pretrained`: those they went on from, as `learned_before` says it."""
    others = [{"data": data_names(other.data), "weight": other.weight} for other in mixed]
    return {
        **of_run("pretrain", config.training, result),
        "data": data_names(data),
        **({"weight": config.start.weight, "mixed_with": others} if others else {}),
        "steps": result.steps,
        "mask_ratio": config.mask.ratio,
        **({"started_from": Path(config.start.weights).parent.name} if config.start.weights else {}),
        "pretrained": pretrained,
    }
