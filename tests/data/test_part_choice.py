"""Parts of items: official names, groups by name, shares of train, and nested fractions of labels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.data.part_choice import fraction, members, share_of_train
from swath.data.part_spec import PartsSpec
from swath.data.split_parts import Box, Located
from swath.errors import ConfigError, InputError

ITEMS = [Located(f"i{n}", f"g{n // 3}") for n in range(30)]


@given(st.integers(1, 60), st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 9))
def test_a_smaller_fraction_lies_within_a_larger_one(count: int, a: float, b: float, seed: int) -> None:
    ids = [f"r{i}" for i in range(count)]
    less, more = (fraction(ids, share, seed) for share in sorted((a, b)))
    assert set(less) <= set(more)
    assert less == sorted(less) and 1 <= len(less) <= count
    assert len(more) >= max(a, b) * count - 1e-6
    # Which records are taken depends on their ids, not on their order.
    turned = fraction(ids[::-1], min(a, b), seed)
    assert {ids[::-1][i] for i in turned} == {ids[i] for i in less}


def test_fractions_are_exact_counts_and_differ_by_seed() -> None:
    ids = [f"r{i}" for i in range(30)]
    assert [len(fraction(ids, f, 0)) for f in (0.01, 0.1, 0.25, 1.0)] == [1, 3, 8, 30]
    assert fraction(ids, 0.1, 0) != fraction(ids, 0.1, 1)


def test_official_parts_are_found_by_their_usual_names() -> None:
    spec = PartsSpec()
    assert spec.official("validation", ("train", "val", "test")) == ("val",)
    assert spec.official("validation", ("train", "valid", "test", "bolivia")) == ("valid",)
    assert PartsSpec(test=("bolivia", "test")).official("test", ("train", "test", "bolivia")) == (
        "bolivia",
        "test",
    )
    # A validation part that is scored as the test is not selected on as well.
    spec = PartsSpec(test=("validation",), validation_share=0.1)
    assert spec.official("test", ("train", "validation")) == ("validation",)
    assert spec.official("validation", ("train", "validation")) == ()
    with pytest.raises(ConfigError, match=r"official part 'validation' is used as another"):
        PartsSpec(test=("validation",)).official("validation", ("train", "validation"))
    with pytest.raises(ConfigError, match=r"no validation part; .* or give data.parts.validation_share"):
        PartsSpec().official("validation", ("train", "test"))
    with pytest.raises(ConfigError, match=r"data.parts.test: there is no part 'tset'; use train, test"):
        PartsSpec(test=("tset",)).official("test", ("train", "test"))


def test_groups_by_name_keep_to_their_part() -> None:
    spec = PartsSpec(by="groups", train=("g0",), validation=("g1", "g2"), test=("g3",))
    assert members(ITEMS, spec, "train") == [0, 1, 2]
    assert members(ITEMS, spec, "validation") == [3, 4, 5, 6, 7, 8]
    assert members(ITEMS, spec, "test") == [9, 10, 11]
    with pytest.raises(ConfigError, match=r"no group 'g77'; use g0, g1, .* …"):
        members(ITEMS, PartsSpec(by="groups", train=("g77",)), "train")
    with pytest.raises(ConfigError, match=r"data.parts.test: no item is of part test"):
        members(ITEMS, PartsSpec(by="groups", train=("g0",)), "test")


def test_patterns_name_the_groups_that_are_not_written_out() -> None:
    spec = PartsSpec(by="groups", train=("g0",), validation=("g[13579]",), test=("g[02468]",))
    found = {p: {ITEMS[i].group for i in members(ITEMS, spec, p)} for p in ("train", "validation", "test")}  # type: ignore[arg-type]
    assert found == {
        "train": {"g0"},
        "validation": {"g1", "g3", "g5", "g7", "g9"},
        "test": {"g2", "g4", "g6", "g8"},
    }
    with pytest.raises(ConfigError, match=r"data.parts.test: group 'g1' is in validation and in test"):
        members(ITEMS, PartsSpec(by="groups", train=("g0",), validation=("g[1-3]",), test=("g1*",)), "test")


@given(st.floats(0.1, 0.8), st.integers(0, 99))
def test_validation_takes_whole_groups_of_train(share: float, seed: int) -> None:
    spec = PartsSpec(validation_share=share, seed=seed)
    train, validation = (share_of_train(ITEMS, spec, p) for p in ("train", "validation"))
    assert sorted(train + validation) == list(range(30))
    assert not {ITEMS[i].group for i in train} & {ITEMS[i].group for i in validation}
    assert abs(len(validation) / 30 - share) <= 0.1


def test_one_group_cannot_give_whole_ones_away() -> None:
    alone = [Located(f"i{n}", "munich") for n in range(5)]
    with pytest.raises(ConfigError, match=r"1 group of train cannot give whole ones to validation"):
        share_of_train(alone, PartsSpec(validation_share=0.2), "train")
    with pytest.raises(InputError, match=r"item i0 has no group"):
        share_of_train([Located("i0"), Located("i1")], PartsSpec(validation_share=0.5), "train")


def test_random_parts_warn(caplog: pytest.LogCaptureFixture) -> None:
    spec = PartsSpec(validation_share=0.2, validation_by="random")
    assert len(share_of_train([Located(f"i{n}") for n in range(10)], spec, "validation")) == 2
    assert "neighbours that look alike" in caplog.text


def test_blocks_of_the_ground_and_regions_of_time() -> None:
    boxes = [Located(f"i{n}", None, Box("EPSG:1", n * 10, 0, n * 10 + 10, 10)) for n in range(120)]
    spec = PartsSpec(by="blocks", block=60, buffer=10, shares={"train": 0.6, "validation": 0.2, "test": 0.2})
    found = [members(boxes, spec, p) for p in ("train", "validation", "test")]
    assert all(found) and len({i for part in found for i in part}) == sum(map(len, found))
    for a in found[0]:
        assert all(abs(a - b) >= 2 for b in found[1] + found[2])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"validation_share": 1.0}, "data.parts.validation_share: is 1.0"),
        ({"validation": ("a",), "validation_share": 0.1}, "data.parts: validation is named, and a share"),
        ({"train": ("a",), "test": ("a",)}, "data.parts: 'a' is in two parts; name it in one"),
        ({"by": "blocks", "shares": {"train": 0.5, "test": 0.5}}, "data.parts.block: is missing"),
        ({"by": "groups"}, "data.parts: groups need names or shares"),
        ({"by": "groups", "shares": {"trian": 1.0}}, "data.parts: 'trian' is no part; use train, validation"),
        ({"by": "random", "shares": {"train": 0.5}}, "data.parts.shares: shares {'train': 0.5} are not above 0"),
        ({"by": "random", "train": ("a",)}, "data.parts: parts are named, but divided by random"),
        ({"validation_by": "blocks", "validation_share": 0.5}, "data.parts.block: is missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PartsSpec(**given)
    assert str(caught.value).startswith(words)


def test_dates_and_lists_need_what_they_say() -> None:
    with pytest.raises(ConfigError, match=r"data.parts.starts: holds no date"):
        members(ITEMS, PartsSpec(by="dates", starts={"train": "soon"}), "train")
    with pytest.raises(ConfigError, match=r"data.parts.file: is missing"):
        members(ITEMS, PartsSpec(by="regions"), "train")
