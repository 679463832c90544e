"""Whether the weights that a card is to judge can do what its cells ask, found out before the first of them runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from swath.errors import ConfigError, SwathError
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import Part

if TYPE_CHECKING:
    from swath.weights.file import Loaded

FROZEN, TUNED = ("random", "probe"), ("lora", "full")
LORA_RANK = 8


def check_weights(
    files: Sequence[str], methods: Collection[str], data: LabelledData, train: Part
) -> tuple[str, ...]:
    """What must be said with the scores of weights that fit; each is taken as far as a cell takes it before it learns.

    Args:
        files: of weights.
        methods: that are asked of them.
        data: that the cells learn from.
        train: its part that teaches, or some records of it.

    Raises:
        SwathError: of the first file that a cell would refuse; it names the file.
    """
    from swath.weights.file import load

    notes = []
    for file in files:
        try:
            loaded = load(file)
            _fits(loaded, methods, data, train)
        except SwathError as error:
            if error.where is not None and Path(error.where) == Path(file):
                raise
            what = error.what if error.where is None else f"{error.where}: {error.what}"
            raise type(error)(what, where=file, mend=error.mend) from error
        if loaded.meta.task is not None:
            notes.append(_learned(loaded, file))
    return tuple(notes)


def _fits(loaded: Loaded, methods: Collection[str], data: LabelledData, train: Part) -> None:
    from swath.models.lora import add_lora
    from swath.models.lora_config import LoRAConfig
    from swath.training.features import Frozen
    from swath.verbs.answerer import per_pixel
    from swath.verbs.each_date import settled_head
    from swath.verbs.head_options import HeadOptions
    from swath.verbs.labelled_feeds import records_contract
    from swath.verbs.options import ModelOptions
    from swath.verbs.probe_work import frozen_contract
    from swath.verbs.task_network import task_network
    from swath.weights.build import build_loaded
    from swath.weights.origins import encoder_in

    encoder_in(loaded)
    contract = records_contract(data, train, loaded)
    contract.convert(train.records[0].cube)
    maps = per_pixel(train)
    if any(m in methods for m in FROZEN):
        try:
            frozen_contract(data, train, loaded)
        except ConfigError as error:
            mend = f"{error.mend}; or ask for methods other than {' and '.join(FROZEN)}"
            raise ConfigError(error.what, where=error.where, mend=mend) from error
        Frozen(build_loaded(loaded), maps=maps, change=train.task == "change", each_date=train.dated)
    if any(m in methods for m in TUNED):
        model = ModelOptions("auto")
        head = settled_head(HeadOptions(), model, train, maps)
        network, _ = task_network(loaded, model, head, contract, train.task, train.meaning.outputs, maps)
        if "lora" in methods:
            add_lora(network, LoRAConfig(rank=LORA_RANK))


def _learned(loaded: Loaded, file: str) -> str:
    of = loaded.meta.provenance.get("data")
    labels = f"labels of {of}" if of else "labels"
    return (
        f"{file} learned {loaded.meta.task} from {labels} before: where they are labels of these data, records that "
        "score may have taught it, and it flatters."
    )
