"""What `swath predict` and `swath embed` do alike, from the names they are given to the finished file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from swath.contract import InputContract
from swath.errors import WeightsError
from swath.files import refuse_own_input
from swath.scenes.area import pixel_km2
from swath.scenes.cells import cell_grid
from swath.scenes.engine import WindowNetwork
from swath.scenes.estimate import Estimate, estimate
from swath.scenes.job import WeightsJob
from swath.scenes.mapping import Course, Summary
from swath.scenes.measured import keep_statistics, kept_statistics, made_up, measured, pass_bytes
from swath.scenes.progress import MapBar
from swath.scenes.runners.choice import Runner
from swath.scenes.sources.files import on_disk
from swath.scenes.sources.opening import Source
from swath.scenes.target import Target
from swath.scenes.work import output_path
from swath.scenes.worker import torch_threads
from swath.training.precision import choose_device, choose_precision
from swath.verbs.scene_options import SceneOptions
from swath.weights.file import Loaded, load

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Given:
    """What a scene is mapped with, checked before the scene is opened.

    Attributes:
        output: where the output goes.
        inputs: files that it must not be written over.
        loaded: the weights.
        contract: theirs.
        size: of their windows.
    """

    output: Path
    inputs: tuple[str, ...]
    loaded: Loaded
    contract: InputContract
    size: tuple[int, int]

    def refuse(self, target: Target, scene: Source) -> None:
        """Raises OutputError if something that the scene is made of would be written over."""
        target.refuse_inputs([*self.inputs, *(on_disk(name) for name in scene.files)])


def given_by(options: SceneOptions, wrote: str) -> Given:
    """Checks the names, and reads the weights.

    Args:
        options: of the verb.
        wrote: who writes weights that it can use, for the mend.

    Raises:
        OutputError: the output lies elsewhere, has no name or is one of the inputs.
        WeightsError: the weights cannot be read, or do not say what they eat.
    """
    inputs = (options.weights, *(name for row in options.input.file_table for name in row))
    output = output_path(options.output)
    refuse_own_input(output, inputs)
    loaded = load(options.weights)
    contract = loaded.meta.contract
    if contract is None or contract.size is None:
        raise WeightsError(
            "do not say what they eat", where=loaded.path, mend=f"use weights that {wrote} wrote"
        )
    return Given(output, inputs, loaded, contract, contract.size)


def shared(
    options: SceneOptions, given: Given, scene: Source, begun: Mapping[str, Any], cores: int
) -> dict[str, Any]:
    """What a job of either verb holds, by the names of `WeightsJob`.

    Args:
        options: of the verb.
        given: checked.
        scene: open.
        begun: what an interrupted output was begun with, or nothing.
        cores: that workers share.
    """
    device = choose_device(options.device)
    # A plan needs no statistics: `estimated` makes some up.
    whole = given.contract.normalisation.measured and not options.plan
    return {
        "weights": str(Path(options.weights).resolve()),
        "input": scene.spec,
        "contract": given.contract,
        "batch_size": options.batch_size,
        "threads": options.threads or begun.get("threads") or max(1, cores // options.workers),
        "device": device,
        "precision": "bf16" if choose_precision(options.precision, device).name == "bf16" else "fp32",
        "holes": options.max_holes > 0,
        "statistics": measured(given.output, scene) if whole else None,
        "sha256": given.loaded.sha256,
    }


def tags_of(loaded: Loaded) -> dict[str, str]:
    """What an output's metadata says of the weights."""
    return {
        "MODEL": loaded.meta.architecture,
        "WEIGHTS_SHA256": loaded.sha256,
        "LICENCE": loaded.meta.licence,
    }


def estimated(
    options: SceneOptions, job: WeightsJob, scene: Source, network: nn.Module, finished: int
) -> Estimate:
    """What it will take, where so many blocks are finished already; reads next to nothing and writes nothing."""
    once_more = 0
    if job.contract.normalisation.measured:
        if kept_statistics(output_path(options.output), scene) is None:
            once_more = pass_bytes(scene)
        job = replace(job, statistics=made_up(len(scene.bands)))
    with torch_threads(job.threads):
        return estimate(
            job.engine(scene, network.to(job.device)),
            job.layers,
            stored_bands=len(scene.bands),
            stored=scene.dtype.itemsize,
            workers=options.workers,
            threads=job.threads,
            finished=finished,
            copies=scene.COPIES,
            statistics_bytes=once_more,
        )


def carry_out(
    options: SceneOptions,
    job: WeightsJob,
    scene: Source,
    network: nn.Module,
    target: Target,
    about: Mapping[str, Any],
) -> tuple[Summary, int]:
    """Computes what is left and finishes the output; also how many values lay beyond the file's range.

    Raises:
        SwathError: in one line; the output is not there then.
    """
    area = pixel_km2(cell_grid(scene.grid, job.cell))

    def here() -> Any:
        moved: WindowNetwork = network.to(job.device)
        return job.worker(scene, moved)

    with MapBar() as bar, target.begin(job.plan, about) as store:
        if job.statistics is not None:
            keep_statistics(target.path, scene, job.statistics)
        course = Course(job.plan, store, area, scene.source, options.max_holes, bar.update)
        if course.kept:
            log.info("%d of %d blocks are finished already", course.kept, job.plan.block_count)
        Runner(options.engine, options.workers, options.ray_address).run(job, course, here)
        course.check()
        beyond = sum(r.beyond for r in store.finished.values())
    return course.summary(store.finished), beyond
