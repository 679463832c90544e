"""Progressive pretraining as one command: stages, each a run of its own that goes on from the one before.

The stages lie under the run's folder as stages/01-NAME, …; each is an ordinary run that can be looked at, and
whichever was stopped goes on. A stage that has its weights is done.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from swath.errors import ConfigError, InputError, OutputError
from swath.verbs.config import load_config, to_plain
from swath.verbs.options import PixelData
from swath.verbs.stage_options import MixOptions, StageOptions, StartOptions, inside

if TYPE_CHECKING:
    from swath.cube import Place
    from swath.feed.base import Feed
    from swath.verbs.pretrain import PretrainConfig, PretrainResult
    from swath.verbs.scene_data import Pretraining
    from swath.weights.transfer import TransferReport

log = logging.getLogger(__name__)

# Learned positions of all families, by the ends of their names.
SPATIAL = ("*pos_embed_spatial", "*pos_embed")
SPECTRAL = ("*pos_embed_spectral",)
DATES = ("*date_embed*",)


def stage_configs(config: PretrainConfig) -> list[PretrainConfig]:
    """Each stage as a run of its own, without the weights it goes on from.

    Raises:
        ConfigError: a stage's options are unknown or do not fit.
    """
    from swath.verbs.pretrain import PretrainConfig

    found = []
    plain = to_plain(config)
    for number, stage in enumerate(config.stages, 1):
        own = {key: plain[key] for key in plain if key not in ("stages", "replay")}
        own["data"] = {**plain["data"], **stage.data}
        own["mask"] = {**plain["mask"], **stage.mask}
        own["training"] = {
            **plain["training"],
            **stage.training,
            **({"steps": stage.steps} if stage.steps else {}),
        }
        own["training"]["seed"] = config.training.seed + number - 1 + stage.training.get("seed", 0)
        folder = Path(config.run.folder) / "stages" / f"{number:02d}{'-' + stage.name if stage.name else ''}"
        own["run"] = {"folder": str(folder)}
        own["start"] = to_plain(StartOptions("", stage.positions, stage.region, stage.weight, stage.mix))
        made = load_config(PretrainConfig, [], own, flag=f"stages[{number}].")
        if stage.epochs:
            made = replace(made, training=replace(made.training, steps=_steps(made, stage)))
        found.append(made)
    return found


def _steps(config: PretrainConfig, stage: StageOptions) -> int:
    from swath.training.ranks import world

    data = read_data(config)
    samples = sum(len(index) for _, index in data.records)
    samples += sum(_windows(cube.shape[2:], config.data) for cube in data.cubes)
    per_step = config.training.samples_per_step(world().size)
    return max(1, math.ceil(stage.epochs * samples / per_step))


def _windows(size: tuple[int, ...], data: PixelData) -> int:
    if data.patches or data.layout is not None:
        return 1  # a record is one sample of a pass, whatever its size
    return max(1, size[0] // data.window) * max(1, size[1] // data.window)


def run_stages(config: PretrainConfig) -> PretrainResult | None:
    """Runs the stages that are left, and puts the last one's weights and page into the run's folder.

    Raises:
        SwathError: a stage failed, or was stopped: `run.resume` goes on with it.
    """
    from swath.training.ranks import decided, world
    from swath.verbs.pretrain import run_stage

    folder = Path(config.run.folder)
    decided(lambda: _open(config, folder))
    result: PretrainResult | None = None
    weights = config.start.weights
    configs = stage_configs(config)
    for number, stage in enumerate(configs, 1):
        stage_folder = Path(stage.run.folder)
        begun = stage_folder.is_dir() and any(stage_folder.iterdir())
        run = replace(stage.run, resume=begun)
        log.info("stage %d of %d: %s", number, len(configs), stage_folder)
        result = run_stage(replace(stage, run=run, start=replace(stage.start, weights=weights)))
        weights = str(stage_folder / "weights.safetensors")
        decided(lambda: None)  # nobody reads the weights before they are written
    if result is None or not world().leads:
        return None
    for name in ("weights.safetensors", "report.html"):
        _copy(Path(configs[-1].run.folder) / name, folder / name)
    return replace(
        result,
        folder=str(folder),
        weights=str(folder / "weights.safetensors"),
        report=str(folder / "report.html"),
    )


def _open(config: PretrainConfig, folder: Path) -> None:
    from swath.files import atomic
    from swath.training.folder import check_run
    from swath.verbs.config import dump_config
    from swath.verbs.run_start import CONFIG, check_same

    check_run(folder, resume=config.run.resume, overwrite=config.run.overwrite)
    written = folder / CONFIG
    if config.run.resume and written.is_file():
        check_same(config, written)
        return
    if config.run.overwrite:
        shutil.rmtree(folder / "stages", ignore_errors=True)
        for name in ("weights.safetensors", "report.html"):
            (folder / name).unlink(missing_ok=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"cannot be made ({err.strerror})", where=folder, mend="check its rights") from err
    with atomic(written) as temporary:
        temporary.write_text(dump_config(config, verb="pretrain"), "utf-8")


def _copy(source: Path, to: Path) -> None:
    from swath.files import atomic

    with atomic(to) as temporary:
        shutil.copyfile(source, temporary)


def read_data(config: PretrainConfig) -> Pretraining:
    """What a run learns from, inside its region.

    Raises:
        InputError: nothing is there, or what is there has no place.
    """
    from swath.verbs.scene_data import read_pretraining

    return in_region(read_pretraining(config.data), config.start.region, config.data.cube)


def in_region(data: Pretraining, region: tuple[float, ...], cube_name: str = "") -> Pretraining:
    """The cubes and packed records whose centre lies in a region."""
    if not region:
        return data

    def lies(place: Place | None, source: str) -> bool:
        if place is None:
            raise InputError(
                "has no place, so nobody knows whether it lies in the region",
                where=source,
                mend="leave start.region out, or give data with a coordinate system",
            )
        return inside(place.lon, place.lat, region)

    pairs = zip(data.cubes, data.areas, strict=True)
    kept = [(cube, area) for cube, area in pairs if lies(cube.place, cube.source)]
    records = []
    for shards, index in data.records:
        name = shards.only_cube(cube_name)
        inner = [int(i) for i in index if lies(shards.place(int(i), name), shards.id(int(i)))]
        if inner:
            records.append((shards, np.array(inner, np.int64)))
    if not kept and not records:
        count = len(data.cubes) + sum(len(index) for _, index in data.records)
        raise InputError(
            f"none of {count} places lies in {list(region)}", where="start.region", mend="take a larger one"
        )
    return replace(
        data, cubes=tuple(c for c, _ in kept), areas=tuple(a for _, a in kept), records=tuple(records)
    )


def mixed_feed(config: PretrainConfig, first: Feed, contract: Any) -> Feed:
    """The feed of the run's data, mixed with those of `start.mix`.

    Raises:
        ConfigError: the data sets would be normalised in different ways by one contract.
    """
    from swath.feed.mix import MixFeed
    from swath.verbs.pretrain import make_feed

    if not config.start.mix:
        return first
    feeds: list[Feed] = [first]
    for i, other in enumerate(config.start.mix, 1):
        own = mix_config(config, other, i)
        data = read_data(own)
        if data.contract.normalisation != contract.normalisation:
            raise ConfigError(
                "its values are scaled by other statistics than those of the first data set, and the weights can hold "
                "one of them only",
                where=f"start.mix[{i}]",
                mend="set data.normalise.scope to scene or record",
            )
        feeds.append(make_feed(own, data))
    weights = [config.start.weight, *(m.weight for m in config.start.mix)]
    return MixFeed(feeds, weights, seed=config.training.seed)


def mix_config(config: PretrainConfig, other: MixOptions, number: int) -> PretrainConfig:
    """The run with the other data set in the place of its own, and draws of its own."""
    values = {**to_plain(config)["data"], **other.data}
    data = load_config(PixelData, [], values, flag=f"start.mix[{number}].data.")
    training = replace(config.training, seed=config.training.seed + 7919 * number)
    return replace(config, data=data, training=training, start=replace(config.start, mix=()))


def go_on_from(path: str, network: nn.Module, positions: str) -> TransferReport:
    """Weights of an earlier pretraining into a network, positions resized or drawn anew.

    Raises:
        WeightsError: they are of another architecture.
    """
    from swath.weights.file import load
    from swath.weights.transfer import bicubic_positions, transfer

    state: dict[str, Tensor] = dict(load(path).state)
    if positions == "reinit":
        # Those that fit are drawn anew as well: half a set of old positions would be neither.
        state = {k: v for k, v in state.items() if not _matches(k, (*SPATIAL, *SPECTRAL))}
    report = transfer(
        state,
        network,
        resize=dict.fromkeys(SPATIAL, bicubic_positions),
        allow_new=(*DATES, *(() if positions == "resize" else (*SPATIAL, *SPECTRAL))),
        allow_dropped=DATES,
    )
    log.info("going on from %s:\n%s", path, report)
    return report


def _matches(name: str, patterns: Sequence[str]) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(name, p) for p in patterns)
