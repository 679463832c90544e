"""Whatever number an option is given, it is taken or refused in one line that names the option."""

from __future__ import annotations

import copy
import math
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from swath.errors import ConfigError
from swath.verbs import schema
from swath.verbs.config import load_config
from swath.verbs.finetune import FinetuneConfig
from swath.verbs.pretrain import PretrainConfig

SCENE = {"files": "a.tif", "sensor": "landsat7"}


def layout() -> dict[str, Any]:
    return {"layout": {"name": "eurosat", "root": "EuroSAT"}}


GIVEN: dict[type[Any], dict[str, Any]] = {
    PretrainConfig: {
        "run": {"folder": "run"}, "model": {"system": "mae"}, "data": layout(),
        "watch": {"health_every": 10, "probe": layout()}, "start": {"mix": [{}]}, "stages": [{"mix": [{}]}],
    },
    FinetuneConfig: {"run": {"folder": "run"}, "data": layout(), "lora": {}},
}  # fmt: skip


def numbers(config: type[Any], prefix: str = "") -> Iterator[tuple[str, schema.Key]]:
    """Options that take a number or some, items of lists as `[]`."""
    for key in schema.keys(config).values():
        below = key.nested or key.item
        if below is not None:
            yield from numbers(below, f"{prefix}{key.name}.{'[].' if key.nested is None else ''}")
        elif {int, float} & set(_parts(key.type)):
            yield prefix + key.name, key


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    if typing.get_origin(kind) not in (dict, typing.Literal):
        for part in typing.get_args(kind):
            yield from _parts(part)


def given(base: dict[str, Any], name: str, value: object) -> dict[str, Any]:
    options = copy.deepcopy(base)
    here: Any = options
    *groups, leaf = name.replace(".[]", "[]").split(".")
    for group in groups:
        if group.endswith("[]"):
            items = here.setdefault(group.removesuffix("[]"), [])
            items or items.append({})
            here = items[0]
        else:
            here = here.setdefault(group, {})
        if group in ("scene", "scenes[]"):
            here.update(SCENE)
    here[leaf] = value
    return options


OPTIONS = [(config, *found) for config in GIVEN for found in numbers(config)]


def test_all_groups_are_asked() -> None:
    names = {name for _, name, _ in OPTIONS}
    assert len(OPTIONS) > 120
    assert {"training.augment.noise", "stages.[].epochs", "watch.probe.min_valid", "loss.dice"} <= names
    assert {"lora.alpha", "data.scenes.[].nodata", "start.mix.[].weight", "training.betas"} <= names


VALUES = (math.nan, math.inf, -math.inf, -1, 1 << 80)


def _taken_or_refused(config: type[Any], name: str, key: schema.Key, value: float) -> None:
    number = not key.finite or (math.isfinite(value) and abs(value) < 1 << 63)
    several = tuple in map(typing.get_origin, _parts(key.type))
    for spelled in (value, [value, value]) if several else (value,):
        try:
            load_config(config, [], given(GIVEN[config], name, spelled))
        except ConfigError as err:
            assert "\n" not in str(err), name
            if not number and "finite" in str(err):
                assert f"'{name.replace('.[]', '')}' must be a finite number" in str(err)
        else:
            assert number, (name, value)


def test_a_number_is_taken_or_refused_by_name() -> None:
    for i, (config, name, key) in enumerate(OPTIONS[::4]):  # the slow test asks all of them
        _taken_or_refused(config, name, key, VALUES[i % len(VALUES)])


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES)
def test_every_number_of_every_option_is_taken_or_refused_by_name(value: float) -> None:
    for config, name, key in OPTIONS:
        _taken_or_refused(config, name, key, value)


def test_text_of_a_number_that_is_none_is_the_same() -> None:
    for text in ("nan", ".nan", "inf", "-.inf"):
        with pytest.raises(
            ConfigError, match=r"^--training\.learning_rate: 'training\.learning_rate' must be a"
        ):
            load_config(PretrainConfig, [], {**GIVEN[PretrainConfig], "training.learning_rate": text})


def test_what_a_group_that_may_be_null_lacks_is_told_by_its_name() -> None:
    lacking = given(GIVEN[PretrainConfig], "watch.probe.layout", {"bad_items": 0.1})
    with pytest.raises(
        ConfigError, match=r"^watch\.probe\.layout\.name, watch\.probe\.layout\.root: required"
    ):
        load_config(PretrainConfig, [], lacking)


def test_null_is_no_number() -> None:
    for name in ("training.steps", "training.augment.noise", "mask.ratio"):
        with pytest.raises(ConfigError, match=rf"'{name}' must be a(?: whole)? number, not None"):
            load_config(PretrainConfig, [], given(GIVEN[PretrainConfig], name, None))


def test_no_data_may_be_nan() -> None:
    scene = {"scenes": [{**SCENE, "nodata": math.nan}]}
    taken = load_config(PretrainConfig, [], {**GIVEN[PretrainConfig], "data": scene, "stages": []})
    assert math.isnan(taken.data.scenes[0].nodata or 0.0)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("training.steps", 0, "training.steps: 0 is below 1"),
        ("training.augment.chance", 0.0, "training.augment.chance: 0.0 is not in"),
        ("training.augment.noise", 1.5, "training.augment.noise: 1.5 is not in"),
        ("loss.auxiliary", -1.0, "loss.auxiliary: -1.0 is negative"),
        ("loss.label_smoothing", 1.0, "loss.label_smoothing: 1.0 is not below 1"),
        ("data.parts.block", -5.0, "data.parts.block: -5.0 is negative"),
        ("data.normalise.columns", [-1, 3], "data.normalise.columns: [-1, 3] is no range"),
    ],
)
def test_a_class_of_options_refuses_by_the_full_name(name: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(FinetuneConfig, [], given(GIVEN[FinetuneConfig], name, value))
    assert str(caught.value).startswith(words)


def test_a_class_that_stands_elsewhere_is_named_where_it_stands() -> None:
    for name in ("watch.probe.parts.validation_share", "watch.probe.window"):
        with pytest.raises(ConfigError, match=rf"^{name}: is -1"):
            load_config(PretrainConfig, [], given(GIVEN[PretrainConfig], name, -1))
