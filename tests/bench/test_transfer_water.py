"""The families of the water table: those that share a network from scratch really do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from swath.bench.transfer_water import FAMILIES, Words
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Encoding
from swath.verbs.head_options import HeadOptions
from swath.verbs.networks import PRETRAINABLE
from swath.verbs.options import ModelOptions
from swath.verbs.task_network import task_network

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07")


@pytest.fixture
def contract() -> InputContract:
    plain = contract_for("hls_l30", BANDS, Encoding("dn"), Normalisation("standard", "scene"), size=(64, 64))
    return replace(plain, min_dates=1, max_dates=1)


def scratch(words: Words, contract: InputContract) -> dict[str, torch.Tensor]:
    """What the network of a fine-tuning holds before its first step."""
    said = dict(zip(words[::2], words[1::2], strict=True))
    model = ModelOptions(
        system=said["--model.system"],
        preset=said.get("--model.preset", ""),
        options=json.loads(said["--model.options"]),
    )
    head = HeadOptions(kind=said.get("--head.kind", "auto"))  # type: ignore[arg-type]  # a word of the table
    torch.manual_seed(0)
    return task_network(None, model, head, contract, "segmentation", 2)[0].state_dict()


def test_every_family_that_learns_without_labels_is_in_the_table() -> None:
    systems = {family.pretrain[1] for family in FAMILIES.values()}
    assert systems == set(PRETRAINABLE)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.like])
def test_a_family_like_another_begins_as_it(name: str, contract: InputContract) -> None:
    mine = scratch(FAMILIES[name].finetune, contract)
    theirs = scratch(FAMILIES[FAMILIES[name].like].finetune, contract)
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
