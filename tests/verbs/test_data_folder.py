"""`--data FOLDER`: what lies there says whether it is a folder of one's own or shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import own_folder
import pytest

from swath import cli
from swath.data.folder_spec import FILE
from swath.errors import ConfigError
from swath.feed.shard_format import MANIFEST
from swath.verbs.config import dump_config, help_text, load_config
from swath.verbs.data_folder import named_source
from swath.verbs.options import LayoutOptions
from swath.verbs.registry import available

OWN: dict[str, dict[str, Any]] = {
    "pretrain": {"model.system": "mae", "run.folder": "run"},
    "finetune": {"model.system": "unet", "run.folder": "run"},
    "probe": {"weights": "w.safetensors"},
    "evaluate": {"weights": "w.safetensors"},
    "baseline": {"method": "forest"},
    "card": {"folder": "card"},
    "calibrate": {"weights": "w.safetensors", "output": "c.safetensors"},
}


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own").mkdir()
    return own_folder.describe(tmp_path / "own")


@pytest.fixture
def packed(tmp_path: Path) -> str:
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / MANIFEST).write_text("{}")
    return str(tmp_path / "packed")


def test_every_verb_that_reads_data_takes_a_folder(own: str, packed: str) -> None:
    reading = {v.name for v in available() if hasattr(getattr(_data(v.name), "type", None), "of_text")}
    assert reading == set(OWN)
    for verb, options in OWN.items():
        config = next(v for v in available() if v.name == verb).load().config
        data = load_config(config, [], {**options, "data": own}).data
        assert data.layout == LayoutOptions("folder", own) and not data.shards
        data = load_config(config, [], {**options, "data": packed, "data.window": 64}).data
        assert data.shards == (packed,) and data.layout is None and data.window == 64
        data = load_config(config, [], {**options, "data.window": "32", "data": Path(own)}).data
        assert (data.layout.root, data.window) == (own, 32)


def test_a_probe_that_watches_takes_a_folder(own: str) -> None:
    from swath.verbs.pretrain import PretrainConfig

    given = {"model.system": "mae", "run.folder": "r", "data.patches": "demo:bigearthnet"}
    watched = load_config(PretrainConfig, [], {**given, "watch.probe": own, "watch.probe.window": 16}).watch
    assert watched.probe is not None and watched.probe.layout == LayoutOptions("folder", own)
    assert watched.probe.window == 16


def _data(verb: str) -> Any:
    from swath.verbs.schema import keys

    return keys(next(v for v in available() if v.name == verb).load().config).get("data")


def test_a_folder_replaces_what_a_file_named_and_keeps_the_rest(
    own: str, packed: str, tmp_path: Path
) -> None:
    from swath.verbs.finetune import FinetuneConfig

    file = tmp_path / "f.yaml"
    head = "model: {system: unet}\nrun: {folder: r}\n"
    file.write_text(f"{head}data: {{layout: {{name: eurosat, root: EuroSAT}}, window: 48}}\n")
    data = load_config(FinetuneConfig, [file], {"data": packed}).data
    assert (data.layout, data.shards, data.window) == (None, (packed,), 48)
    file.write_text(f"{head}data: {{scene: a.tif, window: 48}}\n")
    data = load_config(FinetuneConfig, [file], {"data": own}).data
    assert data.scene is None and data.layout == LayoutOptions("folder", own) and data.window == 48
    file.write_text(f"{head}data: {own}\n")
    config = load_config(FinetuneConfig, [file], {"data.window": 8})
    assert config.data.layout == LayoutOptions("folder", own) and config.data.window == 8
    file.write_text(dump_config(config))
    assert load_config(FinetuneConfig, [file]) == config


def test_what_a_folder_is_is_not_guessed(own: str, packed: str, tmp_path: Path) -> None:
    assert named_source(f"{own}/{FILE}") == {"layout": {"name": "folder", "root": f"{own}/{FILE}"}}
    assert named_source("s3://bucket/set") == {"shards": ["s3://bucket/set"]}
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.tif").write_bytes(b"x")
    both = Path(own_folder.describe(Path(packed)))
    for path, words in (
        (tmp_path / "none", "there is no such folder of data; check the path"),
        (tmp_path / "empty", "holds neither dataset.yaml .* nor shards.json .*; write dataset.yaml"),
        (tmp_path / "a.tif", "is a file, and data are folders; name the folder"),
        (both, "holds both dataset.yaml and shards.json; say which is meant"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            named_source(str(path))
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_folder_stands_second_where_weights_stand_first(own: str, tmp_path: Path) -> None:
    verb = next(v for v in available() if v.name == "evaluate").load()
    line = cli._split(verb, ["w.safetensors", own, "more.yaml"])
    assert (line.options, line.sources) == ({"weights": "w.safetensors", "data": own}, ["more.yaml"])


def test_a_wrong_folder_is_one_line_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert cli.main(["card", "--folder", str(tmp_path / "card"), "--data", str(tmp_path / "empty")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "holds neither dataset.yaml" in said[0]


def test_help_says_what_is_short_for_what() -> None:
    from swath.verbs.card import CardConfig

    text = " ".join(help_text(CardConfig, "").split())
    assert "--data FOLDER is short for the layout of its dataset.yaml, or for its shards" in text
    assert "--labels VALUE is short for --data.labels VALUE" in text


def test_labels_of_a_card_are_those_of_its_data(own: str, tmp_path: Path) -> None:
    from swath.verbs.card import CardConfig

    short = load_config(CardConfig, [], {"folder": "c", "data": own, "labels": "a.gpkg", "attribute": "crop"})
    long = {"data.labels": "a.gpkg", "data.attribute": "crop"}
    assert short == load_config(CardConfig, [], {"folder": "c", "data": own, **long})
    assert (short.data.labels, short.data.attribute) == ("a.gpkg", "crop")
    with pytest.raises(ConfigError, match=r"is of data\.labels"):
        load_config(CardConfig, [], {"folder": "c", "data": own, "attribute": "crop"})
    json.dumps(dump_config(short))
