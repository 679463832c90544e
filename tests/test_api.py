"""The verbs as functions of the package."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import swath
import swath.api
from swath.errors import ConfigError, InputError, WeightsError
from swath.verbs import registry
from swath.verbs.inspect import InspectResult
from swath.verbs.inspect_layouts import LayoutsResult


def test_every_verb_is_a_function_with_a_docstring_and_importing_the_package_is_light() -> None:
    rooms = {name for name in registry.VERBS if importlib.util.find_spec(f"swath.{name}")}
    assert rooms == {"ledger"}
    assert set(swath._VERBS) == set(registry.VERBS) - rooms
    for name in swath._VERBS:
        verb = getattr(swath, name)
        assert verb.__name__ == name
        assert "Raises:\n        SwathError" in verb.__doc__
        assert name in dir(swath)
        assert name in swath.__all__
        # As typed as the verb itself; None is for processes that do not lead a run, where nobody calls these.
        said = [str(inspect.signature(f).return_annotation) for f in (verb, registry.find(name).load().run)]
        assert {*said[0].split(" | ")} == {*said[1].split(" | ")} - {"None"}
    heavy = "{'torch', 'numpy', 'rasterio', 'yaml', 'swath.api'}"
    code = (
        f"import sys, swath; print({heavy} & set(sys.modules)); swath.pretrain; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\nFalse\n"


def test_what_inspect_returns_depends_on_whether_layouts_are_listed() -> None:
    listed: LayoutsResult = swath.inspect(layouts=True)
    assert "eurosat" in [info.name for info in listed.layouts]
    described: InspectResult = swath.inspect("demo:landsat")
    assert dict(described.rows)["coordinates"] == "EPSG:32119"


def test_what_convert_pack_and_ledger_are_given_by_place_and_name(tmp_path: Path) -> None:
    assert "spectralgpt" in [kind["name"] for kind in swath.convert(list=True).kinds]
    with pytest.raises(WeightsError, match=r"none\.pth: no such file"):
        swath.convert(tmp_path / "none.pth", tmp_path / "own.safetensors", kind="spectralgpt")
    with pytest.raises(InputError, match=r"empty: there is no such folder"):
        swath.pack("eurosat", tmp_path / "empty", tmp_path / "shards", workers=1)
    with pytest.raises(ConfigError, match="nothing is chosen to compare"):
        swath.api.ledger()
    with pytest.raises(ConfigError, match=r"^method: .*forest"):
        swath.baseline(method="forrest", data={"layout": {"name": "eurosat", "root": "x"}})
    with pytest.raises(ConfigError, match="names no file of weights"):
        swath.calibrate(weights="a", output="b", data={"layout": {"name": "eurosat", "root": "x"}})


def test_what_is_no_verb_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'swath' has no attribute 'pretrian'"):
        swath.pretrian  # type: ignore[attr-defined]  # noqa: B018


def test_the_stub_names_what_the_package_has() -> None:
    stub = Path(swath.__file__).with_suffix(".pyi").read_text("utf-8")
    named = [line.split()[-1] for line in stub.splitlines() if line.startswith("from")]
    assert sorted(named) == sorted(swath._VERBS)


def test_options_are_nested_or_dotted_and_win_over_recipes_and_files(tmp_path: Path) -> None:
    path = tmp_path / "more.yaml"
    path.write_text("training: {batch_size: 0}\n")
    with pytest.raises(ConfigError, match=r"^training\.batch_size: 0 is below 1"):
        swath.pretrain("demo-pretrain-st-swin", path)
    with pytest.raises(
        ConfigError, match=r"^training\.stps: unknown option; did you mean 'training\.steps'\?$"
    ):
        swath.pretrain("demo-pretrain-st-swin", training={"stps": 3})
    with pytest.raises(ConfigError, match=r"^training\.steps: 'training.steps' must be a whole number"):
        swath.pretrain("demo-pretrain-st-swin", **{"training.steps": "many"})
    with pytest.raises(ConfigError, match="is for 'swath pretrain', not 'swath finetune'"):
        swath.finetune("demo-pretrain-st-swin")
    with pytest.raises(ConfigError, match="no recipe is called 'demo-finetun'; did you mean 'demo-finetune'"):
        swath.finetune("demo-finetun")
    with pytest.raises(ConfigError, match=r"^weights, input, output: required options are missing"):
        swath.predict()


def test_inspect_takes_its_file_by_place(tmp_path: Path) -> None:
    rows = dict(swath.inspect("demo:landsat").rows)
    assert rows["size"].startswith("1 date, 6 bands, 443 x 489 pixels")
    with pytest.raises(InputError, match="there is no such file"):
        swath.inspect(tmp_path / "none.tif", sensor="landsat7")
