from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from swath.errors import WeightsError
from swath.weights.transfer import transfer


class Net(nn.Module):
    def __init__(self, head: int | None = None, places: int = 16) -> None:
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, places, 4))
        if head:
            self.head = nn.Linear(4, head)
        else:
            self.mask_token = nn.Parameter(torch.randn(1, 1, 4))


def test_every_tensor_is_accounted_for():
    old, new = Net(), Net(head=5)
    fresh = new.head.weight.detach().clone()
    report = transfer(old.state_dict(), new, allow_new=("head.*",), allow_dropped=("mask_token",))
    assert set(report.kept) == {"body.weight", "body.bias", "pos_embed"}
    assert report.new == ("head.weight", "head.bias") and report.dropped == ("mask_token",)
    assert torch.equal(new.body.weight, old.body.weight) and torch.equal(new.head.weight, fresh)
    assert torch.equal(new.pos_embed, old.pos_embed)
    report = replace(report, resized=(("pos_embed", (1, 16, 4), (1, 36, 4)),))
    text = str(report)
    assert "body.* (2)" in text and "[1, 16, 4] -> [1, 36, 4]" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow_new": ("head.*",), "allow_dropped": ("mask_token",)}, r"pos_embed: .*shape \[1, 16, 4\]"),
        ({"allow_new": ("head.*",)}, "mask_token: the network has no"),
        ({"allow_dropped": ("mask*",)}, "head.weight: the weights lack"),
    ],
)
def test_the_unexpected_is_an_error_that_names_the_tensor_and_changes_nothing(options, message):
    # Of another size only where its shape is what is wrong.
    new = Net(head=5, places=36 if message.startswith("pos_embed") else 16)
    before = {k: v.clone() for k, v in new.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        transfer(Net().state_dict(), new, **options)
    assert all(torch.equal(before[k], v) for k, v in new.state_dict().items())


def test_names_can_be_changed_but_not_into_one():
    state = {f"module.{k}": v for k, v in Net().state_dict().items()}
    report = transfer(state, Net(), rename=lambda n: n.removeprefix("module."))
    assert len(report.kept) == 4
    with pytest.raises(WeightsError, match="two tensors"):
        transfer(state, Net(), rename=lambda n: "pos_embed")
    with pytest.raises(WeightsError, match="no tensor of the weights"):
        transfer(state, Net(), allow_new=("*",), allow_dropped=("*",))


def test_nan_is_refused():
    state = Net().state_dict()
    state["body.bias"] = torch.full((4,), float("nan"))
    with pytest.raises(WeightsError, match=r"body\.bias: .*NaN"):
        transfer(state, Net())
