"""Which bands weights get, from what they say of themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swath.errors import ConfigError, WeightsError
from swath.scenes.layers import ClassLayers, LabelLayers, ValueLayers
from swath.verbs.map_layers import map_layers, task_of
from swath.weights.file import Loaded
from swath.weights.meta import Calibration, MapClass, Quantity, WeightsMeta

CLASSES = (MapClass("field", "#aabb00", 3), MapClass("wood"))


def loaded(**about: object) -> Loaded:
    return Loaded({}, replace(WeightsMeta("unet", {}), **about), "0" * 64, Path("w.safetensors"))  # type: ignore[arg-type]  # a test's shorthand


def test_each_task_has_its_bands() -> None:
    for task, title in (("segmentation", "class"), ("classification", "class"), ("change", "change")):
        layers = map_layers(loaded(task=task, classes=CLASSES))
        assert isinstance(layers, ClassLayers)
        assert [b.name for b in layers.bands] == [title, "confidence", "coverage"]
        assert [(c.value, c.name, c.hex) for c in layers.classes] == [
            (3, "field", "#aabb00"), (1, "wood", "#000000")
        ]  # fmt: skip
    labels = map_layers(loaded(task="multilabel", classes=CLASSES), probabilities=True)
    assert isinstance(labels, LabelLayers)
    assert map_layers(loaded(task="multilabel", classes=CLASSES), bits=16).dtype == "uint16"
    assert [b.name for b in labels.bands] == ["p(field)", "p(wood)", "coverage"]
    values = map_layers(
        loaded(task="regression", quantities=(Quantity("height", "m", 2.0, 0.5), Quantity("cover"))),
        disagreement=True,
    )
    assert isinstance(values, ValueLayers)
    assert (values.gain, values.bias, values.units) == ((2.0, 1.0), (0.5, 0.0), ("m", ""))
    assert [b.name for b in values.bands] == ["height", "cover", "coverage", "sd(height)", "sd(cover)"]


def test_weights_of_before_say_no_task() -> None:
    assert task_of(loaded()) == "segmentation"
    assert task_of(loaded(architecture="spectralgpt_change")) == "change"


def test_a_temperature_is_told_wherever_probabilities_are() -> None:
    said = Calibration(1.75, {"data": "two valleys"})
    layers = map_layers(loaded(task="segmentation", classes=CLASSES, calibration=said), probabilities=True)
    assert layers.temperature == 1.75
    meanings = [b.meaning for b in layers.bands]
    assert meanings[1] == "probability, calibrated by temperature 1.75, of that class"
    assert meanings[3] == "probability, calibrated by temperature 1.75, of field"
    assert layers.tags()["CALIBRATION_TEMPERATURE"] == "1.75"
    labels = map_layers(loaded(task="multilabel", classes=CLASSES, calibration=said))
    assert labels.temperature == 1.75 and "CALIBRATION_TEMPERATURE" in labels.tags()
    for other in (None, Calibration(None, {"conformal": 0.9})):
        plain = map_layers(loaded(task="segmentation", classes=CLASSES, calibration=other))
        assert plain.temperature is None and "CALIBRATION_TEMPERATURE" not in plain.tags()
        assert plain.bands[1].meaning == "probability of that class"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"w\.safetensors: do not name the quantities"):
        map_layers(loaded(task="regression"))
    with pytest.raises(WeightsError, match="a temperature, which is for probabilities"):
        map_layers(loaded(task="regression", quantities=(Quantity("a"),), calibration=Calibration(2.0)))
    with pytest.raises(WeightsError, match="draws no map; fine-tune them first"):
        map_layers(loaded(task="multilabel"))
    with pytest.raises(ConfigError, match="entropy: is not for multilabel"):
        map_layers(loaded(task="multilabel", classes=CLASSES), entropy=True)
    with pytest.raises(ConfigError, match="probabilities: is not for regression"):
        map_layers(loaded(task="regression", quantities=(Quantity("a"),)), probabilities=True)
