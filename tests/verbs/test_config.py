"""Recipes, YAML files and options become typed configs; every mistake is one line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError
from swath.verbs.config import dump_config, help_text, load_config


@dataclass(frozen=True)
class Train:
    """How to train."""

    steps: int = 10
    """Optimiser steps."""
    learning_rate: float = 1e-3
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    betas: tuple[float, float] = (0.9, 0.95)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps must be at least 1, not {self.steps}", where="training.steps")


@dataclass(frozen=True)
class Scene:
    """A scene."""

    files: tuple[Path, ...]
    nodata: float | None = None


@dataclass(frozen=True)
class Pair:
    """Groups with defaults that are not those of their classes."""

    training: Train = field(default_factory=lambda: Train(steps=3))
    scene: Scene = field(default_factory=lambda: Scene((Path("b.tif"),), 7.0))


@dataclass(frozen=True)
class Perhaps:
    """A group that may be null."""

    second: Pair | None = None


@dataclass(frozen=True)
class Example:
    """A verb's options."""

    output: Path
    """The folder of the run."""
    name: str | None = None
    quick: bool = False
    bands: tuple[str, ...] = ()
    scenes: tuple[Scene, ...] = ()
    mask: Scene | None = None
    options: dict[str, Any] = field(default_factory=dict)
    training: Train = field(default_factory=Train)


@dataclass(frozen=True)
class Outer:
    """Groups with a default as a whole, and lists of groups."""

    best: Scene = field(default_factory=lambda: Scene((Path("a.tif"),)))
    scenes: tuple[Scene, ...] = ()


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_values_of_all_kinds_arrive_with_their_types(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# An example\nformat_version: 1\nverb: example\noutput: runs/a\nbands: [NO, B02]\nquick: true\n"
        "scenes:\n  - files: [a.tif]\n    nodata: -99999\nmask: {files: [m.tif]}\n"
        "options: {when: 2000-05-07, vote: NO, deep: {width: 3}}\n"
        "training:\n  learning_rate: 1e-4\n  betas: [0, 1]\n",
    )
    config = load_config(Example, [path], verb="example")
    assert config == Example(
        output=Path("runs/a"),
        quick=True,
        bands=("NO", "B02"),
        scenes=(Scene((Path("a.tif"),), -99999.0),),
        mask=Scene((Path("m.tif"),)),
        options={"when": "2000-05-07", "vote": "NO", "deep": {"width": 3}},
        training=Train(learning_rate=1e-4, betas=(0.0, 1.0)),
    )


def test_options_win_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    first = write(tmp_path, "output: a\ntraining: {steps: 1, precision: fp32}\n")
    second = tmp_path / "second.yml"
    second.write_text("training: {steps: 2}\noptions: {a: 1}\n")
    config = load_config(Example, [first, second])
    assert config.training == Train(steps=2, precision="fp32")
    config = load_config(
        Example,
        [first, second],
        {"training.steps": "3", "options.b": "[1, x]", "bands": "[B02, B03]", "mask": "{files: [m]}"},
    )
    assert config.training == Train(steps=3, precision="fp32")
    assert config.options == {"a": 1, "b": [1, "x"]}
    assert config.bands == ("B02", "B03")
    assert config.mask == Scene((Path("m"),))
    assert load_config(Example, [first], {"training.steps": 4, "name": None}).training.steps == 4


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "is empty"),
        ("# only a comment\n", None, "is empty"),
        ("- 1\n- 2\n", None, "holds a list, not a mapping"),
        ("just text\n", None, "holds a single value"),
        ("output: a\noutput: b\n", 2, "the key 'output' is given twice"),
        ("training:\n  steps: 1\n  steps: 2\n", 3, "the key 'training.steps' is given twice"),
        ("training:\n\tsteps: 3\n", 2, "a tab stands where only spaces may; indent with spaces"),
        ("training: [1\n", None, "is not YAML"),
        ("output: !!python/object:os.system x\n", 1, "is not YAML"),
        ("training: &a [*a]\n", None, "refers to itself"),
        ("training: !!int five\n", None, "is not YAML"),
        ("? [1, 2]\n: 3\n", 1, "a key must be a plain word"),
        ("output: a\ntraning: {}\n", 2, "unknown key 'traning'; did you mean 'training'?"),
        ("output: a\nsteps: 4\n", 2, "unknown key 'steps'; did you mean 'training.steps'?"),
        (
            "output: a\ntraining:\n  learnin_rate: 1\n",
            3,
            "unknown key 'training.learnin_rate'; did you mean 'training.learning_rate'?",
        ),
        (
            "output: a\nscenes:\n- fils: [a]\n",
            3,
            "unknown key 'scenes.0.fils'; did you mean 'scenes.0.files'?",
        ),
        ("output: a\nzzzzzz: 1\n", 2, "unknown key 'zzzzzz'; the keys are: output"),
        ("output: a\ntraining: {steps: 2.5}\n", 2, "'training.steps' must be a whole number, not 2.5"),
        ("output: a\ntraining:\n  steps: x\n", 3, "'training.steps' must be a whole number, not 'x'"),
        ("output: a\ntraining: {betas: [1]}\n", 2, "'training.betas' must be a list of 2 numbers, not [1]"),
        (
            "output: a\ntraining: {precision: f}\n",
            2,
            "'training.precision' must be one of auto, bf16, fp32, not 'f'",
        ),
        ("output: a\ntraining: 4\n", 2, "'training' must be a mapping of keys to values, not 4"),
        ("output: a\ntraining:\n", 2, "'training' must be a mapping of keys to values, not None"),
        ("output: a\nquick: maybe\n", 2, "'quick' must be true or false, not 'maybe'"),
        ("output: a\nbands: B02\n", 2, "'bands' must be a list of texts, not 'B02'"),
        ("output: a\nname: 5\n", 2, "'name' must be text or null, not 5"),
        ("output: a\nscenes:\n- files: 3\n", 2, "'scenes.files' must be a list of paths, not 3"),
        ("output: a\nmask:\n  files: 5\n", 3, "'mask.files' must be a list of paths, not 5"),
        ("output: a\nmask: {nodata: 5}\n", None, "--mask.files: a required option is missing"),
        ("output: a\noptions: 5\n", 2, "'options' must be a mapping of keys to values, not 5"),
        ("output: a\nformat_version: 2\n", 2, "has format_version 2; this version of swath reads up to 1"),
        ("output: a\nformat_version: x\n", 2, "format_version must be 1"),
        ("output: a\nverb: predict\n", 2, "is for 'swath predict', not 'swath example'"),
        ("output: a\ntraining: {steps: 0}\n", None, "training.steps: steps must be at least 1, not 0"),
        ("name: x\n", None, "--output: a required option is missing; give it here or in a YAML file"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(Example, [path], verb="example")
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    if line is not None:
        assert message.startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"traning.steps": "3"}, "--traning.steps: unknown option; did you mean '--training.steps'?"),
        ({"steps": "3"}, "--steps: unknown option; did you mean '--training.steps'?"),
        ({"zzzzzz": "3"}, "--zzzzzz: unknown option; see --help"),
        ({"name.x": "3"}, "--name.x: unknown option"),
        ({"training.steps": "x"}, "--training.steps: 'training.steps' must be a whole number, not 'x'"),
        ({"training": "3"}, "--training: 'training' must be a mapping of keys to values, not '3'"),
        ({"training": "{steps: 3"}, "--training:1: is not YAML"),
    ],
)
def test_a_bad_option_is_one_line(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Example, [], {"output": "a", **options})
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_an_unreadable_file_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.yaml: (no such file|is not text)"):
        load_config(Example, [path])
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Example, [tmp_path / "."])


def test_an_unknown_recipe_names_the_nearest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from swath.verbs import yaml_file

    path = write(tmp_path, "output: a\n")
    monkeypatch.setattr(yaml_file, "recipes", lambda: {"demo-st-swin": path})
    assert load_config(Example, ["demo-st-swin"]).output == Path("a")
    with pytest.raises(ConfigError, match="no recipe is called 'demo-stswin'; did you mean 'demo-st-swin'"):
        load_config(Example, ["demo-stswin"])
    with pytest.raises(
        ConfigError, match=r"no recipe is called 'x'; the recipes are: demo-st-swin; or give the path"
    ):
        load_config(Example, ["x"])


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@given(
    st.builds(
        Example,
        output=st.just(Path("a b/ü")),
        name=texts.filter(lambda t: t.lower() not in ("null", "none", "~") and t.strip() == t),
        quick=st.booleans(),
        bands=st.lists(texts, max_size=3).map(tuple),
        options=st.dictionaries(texts, st.one_of(st.integers(), texts, st.booleans()), max_size=3),
        training=st.builds(Train, steps=st.integers(1, 10**9), learning_rate=st.floats(1e-12, 1e12)),
    )
)
def test_a_dumped_config_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, config: Example
) -> None:
    path = write(tmp_path_factory.mktemp("dump"), dump_config(config, verb="example"))
    assert load_config(Example, [path], verb="example") == config


def test_help_shows_field_docstrings_and_types() -> None:
    text = help_text(Example, "swath example")
    assert "The folder of the run. (required, type: Path)" in " ".join(text.split())
    assert "--training.steps" in text
    assert "Optimiser steps." in text
    assert "<class" not in text


def test_the_classes_under_test_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_config(Example, [], {"output": "a"}).quick = True  # type: ignore[misc]


@dataclass(frozen=True)
class Longer:
    """A verb whose training has other defaults than training in general."""

    training: Train = field(default_factory=lambda: Train(steps=500))


def test_the_defaults_of_a_group_are_those_its_verb_gives() -> None:
    assert load_config(Longer) == Longer()
    config = load_config(Longer, [], {"training.precision": "fp32"})
    assert config.training == Train(steps=500, precision="fp32")
    assert "Optimiser steps. (type: int, default: 500)" in " ".join(help_text(Longer, "").split())


@dataclass(frozen=True)
class Source:
    """Files with what is said of them."""

    SHORTHAND: ClassVar[str] = "files"
    files: str | tuple[str, ...]
    sensor: str = ""


@dataclass(frozen=True)
class Reader:
    """A verb that reads."""

    input: Source
    more: tuple[Source, ...] = ()
    other: Source | None = None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"input": "a b.tif"}, Reader(Source("a b.tif"))),
        ({"input": Path("a.tif")}, Reader(Source("a.tif"))),
        ({"input": "[a, b]"}, Reader(Source(("a", "b")))),
        ({"input": ["a", "b"]}, Reader(Source(("a", "b")))),
        ({"input": "{files: a, sensor: s}"}, Reader(Source("a", "s"))),
        ({"input": {"files": "a"}, "input.sensor": "s"}, Reader(Source("a", "s"))),
        ({"input": Source("a", "s")}, Reader(Source("a", "s"))),
        ({"input": "a", "input.sensor": "s"}, Reader(Source("a", "s"))),
        ({"input.sensor": "s", "input": "a"}, Reader(Source("a", "s"))),
        ({"input": "a", "more": "[b, {files: [c, d], sensor: s}]"},
         Reader(Source("a"), (Source("b"), Source(("c", "d"), "s")))),
        ({"input": "a", "more": ["b", Path("c")]}, Reader(Source("a"), (Source("b"), Source("c")))),
        ({"input": "a", "more": "b.tif"}, Reader(Source("a"), (Source("b.tif"),))),
        ({"input": "a", "other": "b"}, Reader(Source("a"), (), Source("b"))),
        ({"input": "a", "other": None}, Reader(Source("a"))),
    ],
)  # fmt: skip
def test_text_stands_for_the_field_that_a_class_names(options: dict[str, Any], expected: Reader) -> None:
    assert load_config(Reader, [], options) == expected


def test_shorthands_in_files_merge_with_options(tmp_path: Path) -> None:
    path = write(tmp_path, "input: a.tif\nmore: [b.tif, {files: c.tif}]\n")
    config = load_config(Reader, [path], {"input.sensor": "s"})
    assert config == Reader(Source("a.tif", "s"), (Source("b.tif"), Source("c.tif")))
    assert load_config(Reader, [path], {"input": "z.tif"}).input == Source("z.tif")
    path = write(tmp_path, dump_config(config))
    assert load_config(Reader, [path]) == config


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"input.sensor": "s"}, "--input.files: a required option is missing"),
        ({"input": "5"}, None),
        ({"input": "{fils: a}"}, "--input.fils: unknown option; did you mean '--input.files'?"),
        ({"input": 5}, "--input: 'input' must be a mapping of keys to values, not 5"),
        ({"input": "a", "more": "[{fils: b}]"},
         "--more.0.fils: unknown option; did you mean '--more.0.files'?"),
    ],
)  # fmt: skip
def test_what_a_shorthand_cannot_mean_is_refused(options: dict[str, Any], line: str | None) -> None:
    if line is None:
        assert load_config(Reader, [], options).input.files == "5"
        return
    with pytest.raises(ConfigError) as caught:
        load_config(Reader, [], options)
    assert str(caught.value).startswith(line)


def test_unknown_names_inside_mappings_are_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(
        ConfigError, match=r"^training\.stps: unknown option; did you mean 'training\.steps'\?$"
    ):
        load_config(Example, [], {"output": "a", "training": {"stps": 3}}, flag="")
    with pytest.raises(ConfigError, match=r"^--training\.stps: "):
        load_config(Example, [], {"output": "a", "training": "{stps: 3}"})


def test_unknown_names_in_a_group_that_may_be_null_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'second\.scen'; did you mean 'second\.scene'\?$"):
        load_config(Perhaps, [], {"second": {"scen": {"files": ["a.tif"]}}}, flag="")
    with pytest.raises(ConfigError, match=r"unknown key 'second\.training\.stps'"):
        load_config(Perhaps, [], {"second": {"training": {"stps": 3}}}, flag="")


def test_help_says_what_is_short_for_what() -> None:
    text = " ".join(help_text(Reader, "").split())
    assert "--input VALUE is short for --input.files VALUE" in text
    assert "Plain names are short for {files: NAME}: [a, b]." in text


@dataclass(frozen=True)
class Route:
    """Where from and where to.

    Attributes:
        start: the place to leave.
        over: places between.
    """

    start: str = field(default="", metadata={"option": "from"})
    over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trip:
    """A trip."""

    route: Route = field(default_factory=Route)


def test_an_option_may_be_a_word_of_python(tmp_path: Path) -> None:
    file = tmp_path / "trip.yaml"
    file.write_text("route: {from: here, over: [a, b]}\n")
    trip = load_config(Trip, [file])
    assert trip == Trip(Route("here", ("a", "b")))
    assert load_config(Trip, [file], {"route.from": "there"}).route.start == "there"
    file.write_text(dump_config(trip))
    assert "from: here" in file.read_text() and load_config(Trip, [file]) == trip
    assert "--route.from" in help_text(Trip, "") and "the place to leave" in help_text(Trip, "")
    with pytest.raises(ConfigError, match="unknown option"):
        load_config(Trip, (), {"route.start": "x"})


def test_one_text_alone_is_a_list_of_it() -> None:
    assert load_config(Route, (), {"over": "a/b"}).over == ("a/b",)
    assert load_config(Route, (), {"over": "[a, b]"}).over == ("a", "b")


def test_a_group_with_a_default_needs_no_more_than_what_changes() -> None:
    changed = load_config(Outer, [], {"best.nodata": "3"}).best
    assert changed == Scene((Path("a.tif"),), 3.0)
    usage = help_text(Outer, "swath x")
    assert "required" not in usage


def test_what_an_item_of_a_list_lacks_is_named_with_its_place(tmp_path: Path) -> None:
    file = write(tmp_path, "scenes:\n- files: [a.tif]\n- nodata: 3\n")
    with pytest.raises(
        ConfigError, match=r"recipe.yaml:3: number 2 of 'scenes' has no files; give each files"
    ):
        load_config(Outer, [file])
    with pytest.raises(ConfigError, match=r"--scenes: number 1 of 'scenes' has no files"):
        load_config(Outer, [], {"scenes": "[{nodata: 3}]"})


def test_a_group_that_may_be_null_keeps_its_own_defaults() -> None:
    found = load_config(Perhaps, [], {"second.training.learning_rate": 0.5}).second
    assert found == Pair(Train(steps=3, learning_rate=0.5))
    assert load_config(Perhaps, [], {"second": {}}).second == Pair()
    assert load_config(Perhaps, [], {"second": None}).second is None
    assert load_config(Perhaps, [], {}).second is None
    with pytest.raises(ConfigError, match=r"'second\.training\.steps' must be a whole number, not 'many'"):
        load_config(Perhaps, [], {"second": {"training": {"steps": "many"}}})
    with pytest.raises(ConfigError, match="steps must be at least 1, not 0"):
        load_config(Perhaps, [], {"second.training.steps": 0})
    with pytest.raises(ConfigError, match=r"'second\.training' must be a mapping of keys to values, not 3"):
        load_config(Perhaps, [], {"second": {"training": 3}})
