"""Progressive pretraining as one command: stages, each a run of its own that goes on from the one before.

The stages lie under the run's folder as stages/01-NAME, …; each is an ordinary run that can be looked at, and
whichever was stopped goes on. A stage that has its weights is done.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import ConfigError, InputError
from swath.verbs.config import dump_config, laid_over, load_config, to_plain
from swath.verbs.mixing import data_over, epoch_of, mix_config, read_mixed
from swath.verbs.pretrain_checks import check_options
from swath.verbs.probe_pixels import check_sizes
from swath.verbs.run_start import CONFIG, check_same
from swath.verbs.stage_options import StageOptions, StartOptions, inside
from swath.verbs.yaml_file import read_yaml
from swath.words import counted

if TYPE_CHECKING:
    from swath.cube import Place
    from swath.verbs.pretrain import PretrainConfig, PretrainResult
    from swath.verbs.scene_data import Pretraining

log = logging.getLogger(__name__)


def stage_configs(config: PretrainConfig) -> list[PretrainConfig]:
    """Each stage as a run of its own, without the weights it goes on from.

    Raises:
        ConfigError: a stage's options are unknown or do not fit.
    """
    from swath.verbs.pretrain import PretrainConfig

    found = []
    plain = to_plain(config)
    usual = StartOptions()
    for name in ("positions", "region", "weight", "mix"):
        if config.stages and getattr(config.start, name) != getattr(usual, name):
            raise ConfigError(
                "is said by each stage of several", where=f"start.{name}", mend=f"give it as stages[].{name}"
            )
    for number, stage in enumerate(config.stages, 1):
        own = {key: plain[key] for key in plain if key not in ("stages", "replay")}
        for key in ("steps", "epochs"):
            if getattr(stage, key) and "steps" in stage.training:
                raise ConfigError(
                    f"{stage.training['steps']} steps, and {key} {getattr(stage, key):g} beside them",
                    where=f"stages[{number}].training.steps",
                    mend=f"give one of training.steps and {key}",
                )
        own["data"] = data_over(config.data, stage.data)
        own["mask"] = laid_over(config.mask, stage.mask)
        own["training"] = laid_over(config.training, stage.training)
        if stage.steps:
            own["training"]["steps"] = stage.steps
        own["training"]["seed"] = stage.training.get("seed", config.training.seed + number - 1)
        folder = Path(config.run.folder) / "stages" / f"{number:02d}{'-' + stage.name if stage.name else ''}"
        own["run"] = {"folder": str(folder)}
        own["start"] = to_plain(StartOptions("", stage.positions, stage.region, stage.weight, stage.mix))
        made = load_config(PretrainConfig, [], own, flag=f"stages[{number}].")
        check_options(made)  # of all of them before the first begins
        for i, other in enumerate(stage.mix, 1):
            mix_config(made, other, i, f"stages[{number}].")
        if stage.epochs:
            made = replace(made, training=replace(made.training, steps=_steps(made, stage, number)))
        found.append(made)
    return found


def _steps(config: PretrainConfig, stage: StageOptions, number: int) -> int:
    samples, per_step = epoch_of(config, read_data(config), read_mixed(config))
    steps = max(1, math.ceil(stage.epochs * samples / per_step))
    log.info(
        "stages[%d]: %g epochs of %d samples%s are %s",
        number,
        stage.epochs,
        samples,
        f" of {len(stage.mix) + 1} data sets" if stage.mix else "",
        counted(steps, "step"),
    )
    return steps


def run_stages(config: PretrainConfig) -> PretrainResult | None:
    """Runs the stages that are left, and puts the last one's weights and page into the run's folder.

    Raises:
        SwathError: a stage failed, or was stopped: `run.resume` goes on with it.
    """
    from swath.training.folder import check_run
    from swath.training.ranks import decided, world
    from swath.verbs.pretrain import run_stage

    folder = Path(config.run.folder)
    decided(lambda: check_run(folder, resume=config.run.resume, overwrite=config.run.overwrite))
    configs = stage_configs(config)
    if config.watch.probe is not None:  # every stage asks it: a later one must not end where it begins
        check_sizes(config.watch.probe, [c.data.gsd for c in configs])
    result: PretrainResult | None = None
    weights = config.start.weights
    with _opened(config, folder):
        for number, stage in enumerate(configs, 1):
            stage_folder = Path(stage.run.folder)
            run = replace(stage.run, resume=_begun(stage_folder))
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


def _begun(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@contextlib.contextmanager
def _opened(config: PretrainConfig, folder: Path) -> Iterator[None]:
    """The run's folder with its config; a new run whose first stage cannot begin takes them away again."""
    from swath.training.claim import claimed
    from swath.training.ranks import decided, world

    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            stack.enter_context(claimed(folder))
            _open(config, folder)

        decided(begin)
        try:
            yield
        except BaseException:
            if world().leads and not config.run.resume and not _begun(folder / "stages"):
                (folder / CONFIG).unlink(missing_ok=True)
                for path in (folder / "stages", *missing):
                    with contextlib.suppress(OSError):  # what is not empty is not ours
                        path.rmdir()
            raise


def _open(config: PretrainConfig, folder: Path) -> None:
    from swath.files import atomic
    from swath.training.folder import clear_run

    written = folder / CONFIG
    if config.run.resume and written.is_file() and not _changed(config, written):
        return
    if config.run.overwrite:
        clear_run(folder)
    with atomic(written) as temporary:
        temporary.write_text(dump_config(config, verb="pretrain"), "utf-8")


def _changed(config: PretrainConfig, written: Path) -> bool:
    """Whether stages that have not begun are others now; all else of a run that goes on must be as it began."""
    earlier = read_yaml(written).values
    if not earlier.get("stages") and (written.parent / "checkpoints").is_dir():
        raise ConfigError(
            "the run began without stages",
            where=written,
            mend="resume it without them, or start a new run in another folder",
        )
    before, now = list(earlier.get("stages", ())), list(to_plain(config)["stages"])
    stages = written.parent / "stages"
    begun = sum(_begun(path) for path in stages.iterdir()) if stages.is_dir() else 0
    if len(now) < begun or before[:begun] != now[:begun]:
        raise ConfigError(
            f"the run began with stages that are others now: {begun} of them have begun",
            where=written,
            mend="resume with the same ones, or start a new run in another folder",
        )
    check_same(config, written, free=("stages",))
    return before != now


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
