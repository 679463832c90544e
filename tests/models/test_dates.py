"""Dates without data leave and their places come back."""

from __future__ import annotations

import torch

from swath.models.dates import DateGroup, group_by_dates


def held(*rows: str) -> torch.Tensor:
    """bool [B,T,1,2,2]; a date with data has one valid pixel."""
    valid = torch.zeros(len(rows), len(rows[0]), 1, 2, 2, dtype=torch.bool)
    valid[:, :, 0, 1, 0] = torch.tensor([[c == "x" for c in row] for row in rows])
    return valid


def test_nothing_to_drop_is_no_groups() -> None:
    assert group_by_dates(None) is None
    assert group_by_dates(held("xx", "xx")) is None
    assert group_by_dates(held(".", "x")) is None


def test_groups_of_equal_number() -> None:
    groups = group_by_dates(held("x.x", ".xx", "...", "xxx", "..x"))
    assert groups is not None
    found = [(g.rows.tolist(), g.dates.tolist()) for g in groups]
    assert found == [([2, 4], [[0], [2]]), ([0, 1], [[0, 2], [1, 2]]), ([3], [[0, 1, 2]])]


def test_taken_and_put_back() -> None:
    valid = held("x.x", ".xx", "xxx")
    x = torch.randn(3, 3, 4)
    groups = group_by_dates(valid)
    assert groups is not None
    whole = torch.zeros_like(x)
    for group in groups:
        whole = group.put(whole, group.take(x), group.dates)
    kept = valid.flatten(2).any(dim=2)
    assert torch.equal(whole[kept], x[kept])
    assert not whole[~kept].any()


def test_tubes_of_two_dates_never_meet() -> None:
    group = DateGroup(torch.tensor([0]), torch.tensor([[0, 3, 4, 6, 7]]))
    assert group.tubes(2).tolist() == [[0, 2, 3]]
    assert group.tubes(1).tolist() == [[0, 3, 4, 6, 7]]
