"""Parts of a labelled data set: what teaches, what selects, what scores. A part is opened only when it is asked for.

    train = open_part(config.data, "train")
    train.task, train.classes, len(train.records), train.groups[0]

Nothing of another part is read. Two things look further: a folder of one's own reads the headers of all its images,
to know where they lie, and PhilEO's draw of shots looks at labels of its train and val parts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from swath.cube import Array, Cube, Sample
from swath.data.legend import LandClass
from swath.data.part_choice import fraction, members, share_of_train
from swath.data.part_spec import PartName
from swath.data.part_within import restrict
from swath.data.split_parts import Box
from swath.errors import InputError
from swath.feed.shards import Shards
from swath.verbs.labelled_options import RecordData, TaskName
from swath.verbs.labelled_sources import Source, open_source
from swath.verbs.record_data import chosen_bands, named_cube
from swath.verbs.target_meaning import Meaning, meaning_of
from swath.words import counted

log = logging.getLogger(__name__)
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Part:
    """Records of one part.

    Attributes:
        name: of the part.
        meaning: of the targets.
        records: each with one cube of the chosen bands as read, before any contract, and its target; from shards they
            are read when they are asked for.
        ids: of the records.
        groups: what no split divides; None where unknown.
        boxes: where they lie, or None.
        packed: shards and the numbers of their records, in the order of `records`; empty for a layout.
        block: side of the squares of the ground that divided the data, in units of their reference system; 0: none did.
    """

    name: PartName
    meaning: Meaning
    records: Sequence[Sample]
    ids: tuple[str, ...]
    groups: tuple[str | None, ...]
    boxes: tuple[Box | None, ...]
    packed: tuple[tuple[Shards, IntArray], ...] = ()
    block: float = 0.0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def task(self) -> TaskName:
        """What the targets are for."""
        return self.meaning.task

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """In the order of the class numbers; empty for real-valued targets."""
        return self.meaning.classes

    @property
    def dated(self) -> bool:
        """Whether its targets are maps of each date, as those of its first record are."""
        return self.meaning.of_dates(np.asarray(self.records[0].target))

    @property
    def cubes(self) -> tuple[Cube, ...]:
        """All cubes; of shards, views of their files."""
        return tuple(r.cube for r in self.records)

    @property
    def targets(self) -> tuple[Array, ...]:
        """All targets."""
        return tuple(_target(r) for r in self.records)


def open_part(data: RecordData, part: PartName) -> Part:
    """Reads a part, or for shards finds its records.

    Raises:
        ConfigError: there is no such part, or the options do not fit the data.
        InputError: records cannot be read, or have no targets.
    """
    source = open_source(data)
    chosen = _chosen(source, data, part)
    if part == "train" and data.label_fraction < 1:
        chosen = _fraction(source, chosen, data)
    meaning = meaning_of(source.info, data)

    def prepare(sample: Sample) -> Sample:
        return prepared(sample, data, meaning, part)

    records, packed = source.records(chosen, prepare)
    if not len(records):
        raise InputError("no record of it can be read", where=f"part {part}", mend="check the data set")
    located = source.located_records(chosen, records)
    log.info("%s: %s", part, counted(len(records), "record"))
    return Part(
        part,
        meaning,
        records,
        tuple(item.id for item in located),
        tuple(item.group for item in located),
        tuple(item.box for item in located),
        packed,
        data.parts.block if "blocks" in (data.parts.by, data.parts.validation_by) else 0.0,
    )


def prepared(sample: Sample, data: RecordData, meaning: Meaning, part: PartName) -> Sample:
    """A record with one cube of the chosen bands, named after its id, and a target in the task's numbers."""
    if sample.target is None:
        raise InputError(
            "has no target", where=sample.id, mend="choose another split, or a layout with labels"
        )
    name, cube = named_cube(sample, data.cube)
    if data.bands:
        cube = chosen_bands(cube, data.bands)
    if cube.statistics is None:
        cube = cube.with_statistics()
    target = meaning.numbers(np.asarray(sample.target), sample.id, cube.shape)
    one = replace(sample, cubes={name: replace(cube, source=sample.id)}, target=target)
    return restrict(one, data.parts, part) if data.parts.by == "within" else one


def _chosen(source: Source, data: RecordData, part: PartName) -> dict[str | None, list[int]]:
    """Official part (None: all items) -> indices of its items."""
    spec = data.parts
    if spec.by == "within":
        log.warning("parts are squares of the same records: neighbours look alike, so scores flatter")
        return {None: list(range(len(source.items(None))))}
    if spec.by != "official":
        return {None: members(source.items(None), spec, part)}
    if part == "test" or not spec.validation_share:
        names = spec.official(part, source.splits)
        return {name: list(range(len(source.items(name)))) for name in names}
    places = [
        (name, i) for name in spec.official("train", source.splits) for i in range(len(source.items(name)))
    ]
    items = [source.items(name)[i] for name, i in places]
    chosen: dict[str | None, list[int]] = {}
    for k in share_of_train(items, spec, part):
        chosen.setdefault(places[k][0], []).append(places[k][1])
    return chosen


def _fraction(
    source: Source, chosen: Mapping[str | None, list[int]], data: RecordData
) -> dict[str | None, list[int]]:
    places = [(split, i) for split, index in chosen.items() for i in index]
    ids = [source.items(split)[i].id for split, i in places]
    kept: dict[str | None, list[int]] = {}
    for k in fraction(ids, data.label_fraction, data.label_seed):
        kept.setdefault(places[k][0], []).append(places[k][1])
    return kept


def _target(sample: Sample) -> Array:
    assert sample.target is not None
    return sample.target
